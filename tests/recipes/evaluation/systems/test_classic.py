"""The codecs of the command line that an evaluation compares with, each where its programs are installed."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic import Sound, chirp, clicks, noise, silence, tone, voice
from vqcodec import audio
from vqcodec.recipes.evaluation.systems import System, Unavailable, ogg, parse

SPEECH = Path(__file__).resolve().parents[5] / "shared" / "speech" / "dev"

# The lowest, a middle and a high bitrate of each codec that keeps the waveform.
WAVEFORM_CODECS = (
    *("opus:6", "opus:12", "opus:32", "opus-wb:6", "opus-wb:16"),
    *("speex:5.75", "speex:16.8", "speex:42.2"),
    *("amrwb:6.6", "amrwb:23.85", "lc3:16", "lc3:32"),
)
CODEC2 = tuple(f"codec2:{rate}" for rate in ("0.7", "1.2", "1.3", "1.4", "1.6", "2.4", "3.2"))
VOCODERS = ("speex:3.95", *CODEC2)
ONE_OF_EACH = ("opus:6", "opus-wb:9", "speex:3.95", "amrwb:6.6", "lc3:16", "codec2:0.7", "codec2:3.2")

LARGEST_DELAY_S = 0.003


def available(spec: str) -> System:
    """The one system of a spec; the test is skipped where its programs are not installed."""
    try:
        (system,) = parse(spec)
    except Unavailable as reason:
        pytest.skip(str(reason))
    return system


def delay_s(reference: NDArray[np.floating], decoded: NDArray[np.floating], sample_rate: int) -> tuple[float, float]:
    """Where the cross-correlation has its peak, between samples by a parabola, and how high it is, up to 1."""
    size = 2 * len(reference)
    spectrum = np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(reference, size))
    correlation = np.fft.irfft(spectrum, size)
    peak = int(np.argmax(correlation))
    before, at, after = correlation[[peak - 1, peak, (peak + 1) % size]]
    lag = (peak + size // 2) % size - size // 2 + 0.5 * (before - after) / (before - 2 * at + after)
    return lag / sample_rate, at / np.sqrt((reference @ reference) * (decoded @ decoded))


def envelope(sound: Sound, sample_rate: int) -> NDArray[np.float64]:
    """Root mean square over 20 ms round each sample, its mean taken out."""
    width = sample_rate // 50
    smooth = np.sqrt(np.convolve(np.square(sound, dtype=np.float64), np.hanning(width), "same") + 1e-12)
    return smooth - smooth.mean()


def bursts(duration_s: float, sample_rate: int) -> Sound:
    """Noise that comes and goes, now longer, now shorter."""
    time = np.arange(round(duration_s * sample_rate)) / sample_rate
    on = np.sin(2 * np.pi * 2.3 * time) + np.sin(2 * np.pi * 3.1 * time) > 0.5
    return (noise(duration_s, sample_rate) * (0.02 + 0.6 * on)).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [8000, 44_100])
@pytest.mark.parametrize("spec", WAVEFORM_CODECS)
def test_no_delay_is_left(spec: str, sample_rate: int, tmp_path: Path) -> None:
    system = available(spec)
    # Short and long: speexdec takes its delay out only if the file has more than one page of sound.
    for make, duration_s in ((make_clicks, 1.0), (make_chirp, 6.0)):
        sound = make(duration_s, sample_rate)
        folder = tmp_path / make.__name__
        folder.mkdir()
        found_s, likeness = delay_s(sound, system.run(sound, sample_rate, folder).waveform, sample_rate)
        assert abs(found_s) < LARGEST_DELAY_S, (make.__name__, duration_s, found_s)
        assert likeness > 0.1


def make_clicks(duration_s: float, sample_rate: int) -> Sound:
    """Three samples each, so that they have something below 4 kHz at any rate."""
    return np.convolve(clicks(duration_s, sample_rate, 0.3), [0.4, 0.8, 0.4], "same").astype(np.float32)


def make_chirp(duration_s: float, sample_rate: int) -> Sound:
    return chirp(duration_s, sample_rate, 100, 3000)


@pytest.mark.parametrize("sample_rate", [8000, 48_000])
@pytest.mark.parametrize("spec", VOCODERS)
def test_no_delay_is_left_by_vocoders(spec: str, sample_rate: int, tmp_path: Path) -> None:
    """They do not keep the waveform, and a click falls anywhere in a frame of 20 or 40 ms: compare the loudness."""
    system = available(spec)
    sound = bursts(6.0, sample_rate)
    decoded = system.run(sound, sample_rate, tmp_path).waveform
    found_s, likeness = delay_s(envelope(sound, sample_rate), envelope(decoded, sample_rate), sample_rate)
    assert abs(found_s) < LARGEST_DELAY_S
    assert likeness > 0.8


@pytest.mark.parametrize("samples_and_rate", [(1, 8000), (160, 16_000), (1, 48_000), (12_345, 44_100)])
@pytest.mark.parametrize("spec", ONE_OF_EACH)
def test_lengths_are_exact(spec: str, samples_and_rate: tuple[int, int], tmp_path: Path) -> None:
    samples, sample_rate = samples_and_rate
    system = available(spec)
    sound = noise(1.5, sample_rate)[:samples]
    coded = system.run(sound, sample_rate, tmp_path)
    assert coded.waveform.shape == sound.shape
    assert coded.waveform.dtype == np.float32
    assert np.isfinite(coded.waveform).all()
    assert coded.bytes > 0
    assert min(coded.encode_s, coded.decode_s) > 0
    assert coded.codes is None


@pytest.mark.parametrize("spec", ONE_OF_EACH)
def test_silence(spec: str, tmp_path: Path) -> None:
    sound = silence(0.7777, 16_000)
    coded = available(spec).run(sound, 16_000, tmp_path)
    assert coded.waveform.shape == sound.shape
    assert np.sqrt(np.mean(coded.waveform**2)) < 1e-3


@pytest.mark.parametrize("spec", ["opus:64", "speex:42.2", "lc3:64"])
def test_what_is_too_loud_is_clipped_not_folded(spec: str, tmp_path: Path) -> None:
    sound = 3 * tone(1.0, 16_000)  # amplitude 1.5
    coded = available(spec).run(sound, 16_000, tmp_path)
    assert np.abs(coded.waveform).max() < 1.1
    found_s, likeness = delay_s(sound, coded.waveform, 16_000)
    assert abs(found_s) < LARGEST_DELAY_S
    assert likeness > 0.97


def test_codec2_is_given_clipped_samples(tmp_path: Path) -> None:
    available("codec2:3.2").run(3 * tone(0.5, 8000), 8000, tmp_path)
    raw = np.fromfile(tmp_path / "in.raw", "<i2")
    assert (raw.min(), raw.max()) == (-32_768, 32_767)
    assert np.abs(np.diff(raw.astype(int))).max() < 20_000  # one step of the sine, not of a fold


@pytest.mark.parametrize("spec", ["opus:32", "speex:42.2", "amrwb:23.85", "lc3:32"])
def test_the_end_is_not_lost(spec: str, tmp_path: Path) -> None:
    sound = tone(0.5037, 16_000, 300)
    coded = available(spec).run(sound, 16_000, tmp_path)
    last = slice(-80, None)  # 5 ms
    assert np.mean(coded.waveform[last] ** 2) > 0.3 * np.mean(sound[last] ** 2)


# Bitrates: frames of whole bytes and the frames at the ends cost a little more than the nominal rate.


@pytest.mark.parametrize(
    ("spec", "nominal_bps", "tolerance"),
    [
        *((spec, 1000 * float(spec.partition(":")[2]), 0.05) for spec in CODEC2),
        *((f"speex:{rate}", 1000 * rate, 0.06) for rate in (3.95, 5.75, 9.8, 27.8)),
        *((f"amrwb:{rate}", 400 * frame, 0.01) for rate, frame in ((6.6, 18), (12.65, 33))),  # frame in bytes
        *((f"lc3:{rate}", 1000 * rate, 0.01) for rate in (16, 24)),
        *((f"opus:{rate}", 1000 * rate, 0.25) for rate in (6, 9, 12, 24)),  # variable
        *((f"opus-wb:{rate}", 1000 * rate, 0.25) for rate in (9, 24)),
    ],
)
def test_bitrates(spec: str, nominal_bps: float, tolerance: float, tmp_path: Path) -> None:
    duration_s = 8.0
    coded = available(spec).run(voice(duration_s), 16_000, tmp_path)
    assert 8 * coded.bytes / duration_s == pytest.approx(nominal_bps, rel=tolerance)


def test_bytes_are_those_of_the_packets(tmp_path: Path) -> None:
    """Each system's count, against the size of its file: the container is what is left."""
    counts = {}
    for spec, file in (("opus:12", "coded.opus"), ("speex:9.8", "coded.spx"), ("lc3:16", "coded.lc3")):
        folder = tmp_path / file
        folder.mkdir()
        counts[spec] = available(spec).run(voice(2.0), 16_000, folder).bytes, (folder / file).read_bytes()
    for spec in ("opus:12", "speex:9.8"):
        count, data = counts[spec]
        overhead = sum(27 + len(lacing) for lacing, _ in ogg.pages(data))
        headers = ogg.packets(data)[:2]
        assert headers[0][:5] in (b"OpusH", b"Speex")
        assert count == len(data) - overhead - sum(map(len, headers))
    count, data = counts["lc3:16"]
    frames = 201  # of 10 ms and 20 bytes; one more for the delay
    assert (count, len(data)) == (20 * frames, 18 + 22 * frames)


@pytest.mark.parametrize(("spec", "frame_samples", "frame_bytes"), [("codec2:1.3", 320, 6.5), ("codec2:0.7", 320, 3.5)])
def test_codec2_counts_bits_not_whole_bytes(spec: str, frame_samples: int, frame_bytes: float, tmp_path: Path) -> None:
    coded = available(spec).run(voice(1.0, 8000), 8000, tmp_path)
    frames = (tmp_path / "out.raw").stat().st_size / 2 / frame_samples
    assert coded.bytes == np.ceil(frames * frame_bytes)
    assert (tmp_path / "coded.bin").stat().st_size == frames * np.ceil(frame_bytes)


def test_amrwb_counts_frames_of_its_mode(tmp_path: Path) -> None:
    coded = available("amrwb:12.65").run(voice(1.0), 16_000, tmp_path)
    assert coded.bytes == 51 * (1 + 32)  # 253 bits in 20 ms; one frame more for the delay


# What the settings do.


def bandwidths(spec: str, folder: Path) -> set[str]:
    """Those that the packets of an Opus file name in their first byte, RFC 6716 section 3.1."""
    available(spec).run(noise(2.0, 48_000), 48_000, folder)
    names = ("NB",) * 4 + ("MB",) * 4 + ("WB",) * 4 + ("SWB",) * 2 + ("FB",) * 2
    names += ("NB",) * 4 + ("WB",) * 4 + ("SWB",) * 4 + ("FB",) * 4
    return {names[packet[0] >> 3] for packet in ogg.packets((folder / "coded.opus").read_bytes())[2:]}


@pytest.mark.parametrize("rate", [6, 12, 32])
def test_opus_wideband_is_wideband(rate: int, tmp_path: Path) -> None:
    assert bandwidths(f"opus-wb:{rate}", tmp_path) == {"WB"}


def test_opus_chooses_its_bandwidth(tmp_path: Path) -> None:
    for rate, expected in ((6, "NB"), (64, "FB")):
        folder = tmp_path / str(rate)
        folder.mkdir()
        assert expected in bandwidths(f"opus:{rate}", folder)


@pytest.mark.parametrize("spec", ["opus:6,24", "speex:3.95,27.8", "amrwb:6.6,23.85", "lc3:16,64"])
def test_more_bits_come_nearer(spec: str, tmp_path: Path) -> None:
    name, _, rates = spec.partition(":")
    low, high = (available(f"{name}:{rate}") for rate in rates.split(","))
    sound = voice(2.0)
    errors = []
    for system in (low, high):
        folder = tmp_path / system.name
        folder.mkdir()
        errors.append(np.mean((system.run(sound, 16_000, folder).waveform - sound) ** 2))
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ("opus:9", "opusenc 0."),
        ("speex:9.8", "speexenc 1."),
        ("codec2:1.2", "c2enc "),
        ("amrwb:6.6", "ffmpeg "),
        ("lc3:16", "elc3 "),
    ],
)
def test_versions(spec: str, start: str) -> None:
    version = available(spec).version
    assert version.startswith(start)
    assert "\n" not in version


def test_in_another_process(tmp_path: Path) -> None:
    system = available("codec2:1.2")
    sound = voice(0.5)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        there = pool.submit(system.run, sound, 16_000, tmp_path).result()
    here = system.run(sound, 16_000, tmp_path)
    np.testing.assert_array_equal(there.waveform, here.waveform)
    assert there.bytes == here.bytes


# Real speech.


def test_opus_on_speech_gets_better(tmp_path: Path) -> None:
    """A delay of a few milliseconds would not matter to PESQ, but a wrong rate, level or order of bytes would."""
    pytest.importorskip("pesq", reason="the eval extra is not installed")
    from vqcodec.recipes.metrics import pesq_wb

    recordings = audio.find(SPEECH / "librispeech_dev_clean") if SPEECH.is_dir() else []
    if not recordings:
        pytest.skip("no recorded speech beside the project")
    sound = audio.read(recordings[0], 16_000)[0][0, : 6 * 16_000]
    scores = []
    for rate in (6, 9, 16):
        folder = tmp_path / str(rate)
        folder.mkdir()
        decoded = available(f"opus:{rate}").run(sound, 16_000, folder).waveform
        scores.append(pesq_wb(sound, decoded, 16_000))
    assert scores == sorted(scores)
    assert scores[-1] > 3
