"""Sound files come back as they were, and what is no sound is refused in one line."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import synthetic
from vqcodec import audio
from vqcodec.errors import AudioError, VqcodecError

LOSSLESS = ["wav", "flac", "aiff", "aif", "au", "caf", "w64", "rf64"]
LOSSY = ["ogg", "oga", "opus", "mp3"]


def needs(name: str) -> None:
    format = audio.FORMATS[name]
    if not soundfile.check_format(format.container, format.subtype):
        pytest.skip(f"this libsndfile has no {format.container} {format.subtype}")


def sixteen_bits(channels: int, samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise `[channel, sample]` in steps of 2^-15, both extremes included."""
    levels = np.random.default_rng(seed).integers(-32768, 32768, (channels, samples))
    levels.flat[:2] = -32768, 32767
    return (levels / 32768).astype(np.float32)


def wav_bytes(values: NDArray[Any], sample_rate: int = 16000, subtype: str = "FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, values, sample_rate, format="WAV", subtype=subtype)
    return file.getvalue()


# Formats


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_come_back_bit_for_bit(tmp_path: Path, name: str, channels: int) -> None:
    needs(name)
    path = tmp_path / f"sound.{name}"
    waveform = sixteen_bits(channels, 4321)
    audio.write(path, waveform, 22050)
    back, rate = audio.read(path)
    assert rate == 22050
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, waveform)


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_twenty_four_bits_come_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    levels = np.random.default_rng(0).integers(-(1 << 23), 1 << 23, (2, 1000))
    waveform = (levels / (1 << 23)).astype(np.float32)
    audio.write(tmp_path / f"x.{name}", waveform, 48000, subtype="PCM_24")
    np.testing.assert_array_equal(audio.read(tmp_path / f"x.{name}")[0], waveform)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_keep_length_and_time(tmp_path: Path, name: str, channels: int) -> None:
    needs(name)
    path = tmp_path / f"sound.{name}"
    waveform = np.stack([synthetic.voice(3.0, seed=seed) for seed in range(channels)])
    audio.write(path, waveform, 16000)
    back, rate = audio.read(path)
    assert (rate, back.shape) == (16000, waveform.shape)
    error_db = 10 * np.log10(np.mean((back - waveform) ** 2) / np.mean(waveform**2))
    assert error_db < -10  # one sample of shift would cost more


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000, 192000])
def test_rates(tmp_path: Path, rate: int) -> None:
    samples = round(0.05 * rate)
    for name in ("wav", "flac", "ogg"):
        path = tmp_path / f"x.{name}"
        audio.write(path, synthetic.noise(0.05, rate)[None], rate)
        with audio.Reader(path) as reader:
            assert (reader.sample_rate, reader.num_samples) == (rate, samples)
            assert reader.duration_s == samples / rate


def test_properties(tmp_path: Path) -> None:
    needs("opus")
    audio.write(tmp_path / "x.opus", np.zeros((2, 8000), np.float32), 16000)
    with audio.Reader(tmp_path / "x.opus") as reader:
        assert (reader.sample_rate, reader.channels, reader.num_samples) == (16000, 2, 8000)
        assert (reader.format, reader.subtype, reader.duration_s) == ("OGG", "OPUS", 0.5)


def test_floats_are_clipped_both_ways(tmp_path: Path) -> None:
    (tmp_path / "loud.wav").write_bytes(wav_bytes(np.array([0.5, 1.5, -7.0, 1e30], np.float32)))
    np.testing.assert_array_equal(audio.read(tmp_path / "loud.wav")[0], [[0.5, 1.0, -1.0, 1.0]])
    audio.write(tmp_path / "out.wav", np.array([[0.5, 1.5, -7.0]], np.float32), 16000, subtype="FLOAT")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out.wav")[0], [0.5, 1.0, -1.0])


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_wav_coding_is_read(tmp_path: Path, subtype: str) -> None:
    sound = synthetic.tone(0.1)
    (tmp_path / "x.wav").write_bytes(wav_bytes(sound, subtype=subtype))
    np.testing.assert_allclose(audio.read(tmp_path / "x.wav")[0][0], sound, atol=0.02)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.wav"
    try:
        open(name, "wb").close()
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    path = os.fsdecode(name)
    audio.write(path, np.zeros((1, 9), np.float32), 16000, force=True)
    assert audio.read(path)[0].shape == (1, 9)


def test_find_lists_audio_below_a_folder(tmp_path: Path) -> None:
    for name in ("b.wav", "a/C.FLAC", "a/b/d.opus", "a/notes.txt", ".hidden.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    assert audio.find(tmp_path) == [tmp_path / name for name in ("a/C.FLAC", "a/b/d.opus", "b.wav")]
    with pytest.raises(AudioError, match="is not a folder"):
        audio.find(tmp_path / "b.wav")


# Blocks and crops


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "opus", "mp3"])
def test_blocks_are_the_same_sound(tmp_path: Path, name: str) -> None:
    needs(name)
    path = tmp_path / f"x.{name}"
    audio.write(path, np.stack([synthetic.voice(5.0, seed=1), synthetic.noise(5.0)]), 16000)
    whole, _ = audio.read(path)
    with audio.Reader(path) as reader:
        for block_samples in (160, 160, 16000, 65537, 10**6):  # from the start every time
            blocks = list(reader.blocks(block_samples))
            assert all(block.shape == (2, block_samples) for block in blocks[:-1])
            np.testing.assert_allclose(np.concatenate(blocks, axis=1), whole, atol=1e-6, err_msg=f"{block_samples}")


@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])
def test_crops(tmp_path: Path, name: str) -> None:
    needs(name)
    path = tmp_path / f"x.{name}"
    audio.write(path, np.stack([synthetic.voice(5.0), synthetic.noise(5.0)]), 16000)
    whole, _ = audio.read(path)
    with audio.Reader(path) as reader:
        for start, samples in ((40001, 1234), (0, 100), (79990, 100), (80000, 5), (17, 0)):
            crop = reader.read(start, samples)
            np.testing.assert_allclose(crop, whole[:, start : start + samples], atol=1e-6)
        for start in (-1, 80001):
            with pytest.raises(AudioError, match=f"sample {start} does not exist"):
                reader.read(start, 1)


def test_opus_crops_are_in_time(tmp_path: Path) -> None:
    needs("opus")
    sound = synthetic.voice(5.0)
    audio.write(tmp_path / "x.opus", sound[None], 16000)
    whole, _ = audio.read(tmp_path / "x.opus")
    with audio.Reader(tmp_path / "x.opus") as reader:
        crop = reader.read(40001, 8000)
    assert np.abs(crop - whole[:, 40001:48001]).max() < 0.1 * np.abs(crop).max()  # the decoder settles in


# Resampling

RATES = [(8000, 16000), (11025, 16000), (22050, 16000), (44100, 16000), (48000, 16000), (96000, 16000)]
RATES += [(192000, 16000), (16000, 8000), (16000, 44100), (16000, 48000), (16000, 192000), (192000, 8000)]
RATES += [(8000, 192000), (44101, 16000), (16000, 16000)]


@pytest.mark.parametrize(("source", "target"), RATES)
def test_resampled_length_is_exact_and_chunks_do_not_matter(source: int, target: int) -> None:
    random = np.random.default_rng(0)
    for samples in (0, 1, 2, 159, 4567):
        waveform = random.uniform(-1, 1, (2, samples)).astype(np.float32)
        expected = -(-samples * target // source)
        assert audio.resampled_length(samples, source, target) == expected
        whole = None
        for size in (samples + 1, 1000, 1 if samples < 1000 else 7):
            resampler = audio.Resampler(source, target, 2)
            parts = [resampler.push(waveform[:, i : i + size]) for i in range(0, samples, size)]
            parts.append(resampler.push(waveform[:, :0]))
            parts.append(resampler.flush())
            result = np.concatenate(parts, axis=1)
            assert result.shape == (2, expected)
            assert result.dtype == np.float32
            whole = result if whole is None else whole
            np.testing.assert_allclose(result, whole, atol=1e-6)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_resampling_keeps_the_time(source: int, target: int) -> None:
    top = 0.4 * min(source, target)
    chirp = synthetic.chirp(1.0, source, stop_hz=top)
    resampler = audio.Resampler(source, target, 1)
    result = np.concatenate([resampler.push(chirp[None]), resampler.flush()], axis=1)[0]
    expected = synthetic.chirp(1.0, target, stop_hz=top)
    middle = slice(target // 20, -target // 20)
    np.testing.assert_allclose(result[middle], expected[middle], atol=1e-3)


def test_there_and_back_has_at_least_the_length() -> None:
    for rate in (8000, 11025, 22050, 44100, 48000, 192000):
        for samples in range(1, 500, 7):
            there = audio.resampled_length(samples, rate, 16000)
            assert audio.resampled_length(there, 16000, rate) >= samples


def test_equal_rates_change_nothing() -> None:
    waveform = sixteen_bits(2, 100)
    resampler = audio.Resampler(16000, 16000, 2)
    np.testing.assert_array_equal(resampler.push(waveform), waveform)
    assert resampler.flush().shape == (2, 0)


def test_a_resampler_starts_anew_after_flush() -> None:
    resampler = audio.Resampler(44100, 16000, 1)
    sound = synthetic.noise(0.1, 44100)[None]
    first, second = (np.concatenate([resampler.push(sound), resampler.flush()], axis=1) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_resampler_refuses_what_it_cannot_do() -> None:
    with pytest.raises(AudioError, match="must be positive"):
        audio.Resampler(0, 16000, 1)
    with pytest.raises(AudioError, match=r"shape \[1, sample\]; this one has \[2, 5\]"):
        audio.Resampler(8000, 16000, 1).push(np.zeros((2, 5), np.float32))


def test_read_resamples(tmp_path: Path) -> None:
    audio.write(tmp_path / "x.wav", synthetic.tone(1.0, 44100)[None], 44100)
    waveform, rate = audio.read(tmp_path / "x.wav", 16000)
    assert (rate, waveform.shape) == (16000, (1, 16000))
    np.testing.assert_allclose(waveform[0, 1000:-1000], synthetic.tone(1.0)[1000:-1000], atol=1e-3)


# What cannot be read


def refused(source: audio.Place) -> str:
    with pytest.raises(AudioError) as caught:
        audio.read(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.wav") == f"cannot read {tmp_path / 'none.wav'}: No such file or directory"
    assert str(tmp_path) in refused(tmp_path)
    assert "cannot read" in refused("nul\0l.wav")


@pytest.mark.parametrize("name", ["notes.txt", "notes.wav", "notes.mp3", "notes.raw"])
def test_a_text_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Dear diary,\n" * 100)
    said = refused(tmp_path / name)
    assert f"{tmp_path / name} is not a sound file that can be read" in said
    assert "WAV, FLAC, OGG, Opus, MP3" in said


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    assert "x.wav is empty" in refused(tmp_path / "x.wav")


def test_a_sound_of_no_samples(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav_bytes(np.zeros(0, np.float32)))
    assert refused(tmp_path / "x.wav").endswith("x.wav holds no samples")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(tmp_path: Path, value: float) -> None:
    sound = synthetic.noise(20.0)
    sound[200000] = value
    (tmp_path / "x.wav").write_bytes(wav_bytes(sound))
    assert "NaN or infinite at 12.500000 s" in refused(tmp_path / "x.wav")


def test_an_absurd_rate(tmp_path: Path) -> None:
    header = bytearray(wav_bytes(np.zeros(100, np.int16), subtype="PCM_16"))
    header[24:28] = struct.pack("<I", 1)
    (tmp_path / "x.wav").write_bytes(header)
    assert "1000 to 768000 samples a second" in refused(tmp_path / "x.wav")


def test_a_truncated_flac(tmp_path: Path) -> None:
    audio.write(tmp_path / "x.flac", synthetic.noise(10.0)[None], 16000)
    whole = (tmp_path / "x.flac").read_bytes()
    (tmp_path / "x.flac").write_bytes(whole[: len(whole) // 2])
    assert "x.flac is damaged or cut short" in refused(tmp_path / "x.flac")


def test_a_truncated_wav_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    waveform = sixteen_bits(1, 1000)
    audio.write(tmp_path / "x.wav", waveform, 16000)
    whole = (tmp_path / "x.wav").read_bytes()
    (tmp_path / "x.wav").write_bytes(whole[:-1000])
    np.testing.assert_array_equal(audio.read(tmp_path / "x.wav")[0], waveform[:, :500])


def test_a_flac_that_does_not_tell_its_length(tmp_path: Path) -> None:
    audio.write(tmp_path / "x.flac", synthetic.noise(1.0)[None], 16000)
    data = bytearray((tmp_path / "x.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # 36 bits of STREAMINFO: the number of samples
    (tmp_path / "x.flac").write_bytes(data)
    assert "does not say how long it is" in refused(tmp_path / "x.flac")


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "opus", "mp3"])
def test_damage_never_gives_more_than_an_audio_error(tmp_path: Path, name: str) -> None:
    needs(name)
    path = tmp_path / f"x.{name}"
    audio.write(path, synthetic.voice(3.0)[None], 16000)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    readable = 0
    for _ in range(60):
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(data)
        try:
            waveform, _ = audio.read(path, 16000)
        except AudioError:
            continue
        assert np.isfinite(waveform).all()
        readable += 1
    assert readable or name == "flac"  # which finds all damage; the others must not refuse everything


def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav_bytes(np.zeros(9, np.float32)))
    (tmp_path / "x.wav").chmod(0)
    if os.access(tmp_path / "x.wav", os.R_OK):
        pytest.skip("this user may read everything")
    assert refused(tmp_path / "x.wav").endswith("x.wav: Permission denied")


# Pipes and open files


def test_a_file_in_memory() -> None:
    sound = sixteen_bits(2, 5000)
    memory = io.BytesIO()
    audio.write(memory, sound, 24000, format="flac")
    assert memory.getvalue()[:4] == b"fLaC"
    memory.seek(0)
    back, rate = audio.read(memory)
    assert rate == 24000
    np.testing.assert_array_equal(back, sound)


def test_an_open_file_and_a_file_that_is_no_sound(tmp_path: Path) -> None:
    audio.write(tmp_path / "x.wav", sixteen_bits(1, 50), 16000)
    with open(tmp_path / "x.wav", "rb") as file:
        np.testing.assert_array_equal(audio.read(file)[0], sixteen_bits(1, 50))
    assert "is not a sound file" in refused(io.BytesIO(b"no sound"))


@pytest.mark.parametrize("name", ["wav", "flac", "opus", "mp3"])
def test_a_pipe(name: str) -> None:
    needs(name)
    memory = io.BytesIO()
    audio.write(memory, synthetic.voice(5.0)[None], 16000, format=name)
    reader, writer = os.pipe()

    def feed() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(memory.getvalue())

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(reader, "rb") as pipe:
        back, _ = audio.read(pipe)
    feeder.join()
    memory.seek(0)
    np.testing.assert_array_equal(back, audio.read(memory)[0])


THROUGH = """
from vqcodec import audio
waveform, rate = audio.read("-")
audio.write("-", waveform, rate)
"""


def test_standard_input_to_standard_output() -> None:
    sound = sixteen_bits(2, 70000)
    data = wav_bytes(sound.T, subtype="PCM_16")
    command = [sys.executable, "-c", THROUGH]
    piped = subprocess.run(command, input=data, capture_output=True, check=True)
    assert piped.stderr == b""
    back, rate = audio.read(io.BytesIO(piped.stdout))
    assert rate == 16000
    np.testing.assert_array_equal(back, sound)


# What cannot be written


def test_unknown_formats_name_the_choices(tmp_path: Path) -> None:
    silence = np.zeros((1, 10), np.float32)
    for name, problem in {"x.xyz": "suffix '.xyz' is not a sound format", "x": "has no suffix"}.items():
        with pytest.raises(AudioError, match=rf"{problem}; choose one of wav, flac, ogg"):
            audio.write(tmp_path / name, silence, 16000)
    with pytest.raises(AudioError, match="unknown format 'xyz'; choose one of wav"):
        audio.write(io.BytesIO(), silence, 16000, format="xyz")
    with pytest.raises(AudioError, match=r"cannot write .*x\.wav"):
        audio.write(tmp_path / "x.wav", silence, 16000, subtype="VORBIS")
    assert os.listdir(tmp_path) == []


def test_rates_and_channels_that_a_format_lacks(tmp_path: Path) -> None:
    for name, rate, channels, problem in (
        ("x.opus", 44100, 1, "no rate of 44100 Hz, only 8000, 12000, 16000, 24000, 48000"),
        ("x.mp3", 96000, 1, "no rate of 96000 Hz, only 8000, 11025, "),
        ("x.mp3", 16000, 3, "holds 1 to 2 channels, not 3"),
        ("x.flac", 16000, 9, "holds 1 to 8 channels, not 9"),
        ("x.wav", 16000, 0, "holds 1 to 1024 channels, not 0"),
        ("x.flac", 10**6, 1, "cannot write"),
    ):
        with pytest.raises(AudioError, match=problem):
            audio.write(tmp_path / name, np.zeros((channels, 10), np.float32), rate)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["opus", "mp3"])
def test_the_rates_in_the_tables_are_true(name: str) -> None:
    needs(name)
    for rate in audio.FORMATS[name].rates:
        memory = io.BytesIO()
        audio.write(memory, synthetic.noise(0.1, rate)[None], rate, format=name)
        memory.seek(0)
        assert audio.read(memory)[0].shape == (1, round(0.1 * rate))


def test_waveforms_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"shape \[channel, sample\]; this one has \[10\]"):
        audio.write(tmp_path / "x.wav", np.zeros(10, np.float32), 16000)
    with pytest.raises(AudioError, match="NaN or infinity"):
        audio.write(tmp_path / "x.wav", np.full((1, 10), np.nan, np.float32), 16000)
    assert os.listdir(tmp_path) == []


def test_an_existing_sound_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    audio.write(path, sixteen_bits(1, 10), 16000)
    with pytest.raises(VqcodecError, match="exists already; add --force"):
        audio.write(path, sixteen_bits(1, 20), 16000)
    assert audio.read(path)[0].shape == (1, 10)
    audio.write(path, sixteen_bits(1, 20), 16000, force=True)
    assert audio.read(path)[0].shape == (1, 20)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_sound(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "x.flac"
    audio.write(path, sixteen_bits(1, 10), 16000)
    old = path.read_bytes()
    with pytest.raises(error), audio.Writer(path, 16000, 1, force=True) as writer:
        writer.write(sixteen_bits(1, 100_000))
        raise error
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["x.flac"]


class Interrupted(io.BytesIO):
    """A file in whose `write` Ctrl-C is pressed."""

    def write(self, data: Any, /) -> int:
        raise KeyboardInterrupt


def test_an_interrupt_inside_of_libsndfile_is_not_lost() -> None:
    sink = audio.writer._Sink(Interrupted(), 100, "x")
    with pytest.raises(KeyboardInterrupt), audio.writer._Encoder(sink, "x", 16000, 1, ("WAV", "PCM_16")) as encoder:
        encoder.write(np.zeros((100_000, 1), np.int32))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "opus", "mp3", "caf"])
@pytest.mark.parametrize("samples", [10, 100_000])
def test_a_full_disk(name: str, samples: int, capfd: pytest.CaptureFixture[str]) -> None:
    needs(name)
    with pytest.raises(VqcodecError, match="cannot write /dev/full: No space left on device"):
        audio.write("/dev/full", sixteen_bits(1, samples), 16000, format=name)
    assert capfd.readouterr().err == ""


LIMITED = """
import resource, sys
import numpy as np
from vqcodec import audio
from vqcodec.errors import VqcodecError
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    with audio.Writer(sys.argv[1], 16000, 1, force=True) as writer:
        for seed in range(10):
            random = np.random.default_rng(seed)
            writer.write(random.uniform(-1, 1, (1, 8000)).astype(np.float32))
except VqcodecError as error:
    print(error, end="")
"""


@pytest.mark.skipif(os.name != "posix", reason="size limits are of POSIX")
@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "opus", "mp3"])
def test_a_file_that_grows_too_large_leaves_the_old_one(tmp_path: Path, name: str) -> None:
    needs(name)
    path = tmp_path / f"x.{name}"
    path.write_bytes(b"old")
    said = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    assert said.stdout == f"cannot write {path}: File too large"
    assert said.stderr == ""
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_a_wav_of_more_than_four_gibibytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert audio.FORMATS["wav"].max_bytes == 2**32 - 1
    monkeypatch.setitem(audio.FORMATS, "wav", audio.FORMATS["wav"]._replace(max_bytes=1000))
    audio.write(tmp_path / "short.wav", sixteen_bits(1, 478), 16000)  # 956 + 44 bytes
    with pytest.raises(AudioError, match=r"holds no more than .* GiB; write \.flac or \.rf64"):
        audio.write(tmp_path / "long.wav", sixteen_bits(1, 479), 16000)
    assert os.listdir(tmp_path) == ["short.wav"]


def test_a_long_vorbis_file_in_one_call(tmp_path: Path) -> None:
    samples = 16000 * 300
    audio.write(tmp_path / "x.ogg", np.zeros((1, samples), np.float32), 16000)
    with audio.Reader(tmp_path / "x.ogg") as reader:
        assert reader.num_samples == samples


def test_sixteen_bits_come_back_as_they_were() -> None:
    levels = np.arange(-(1 << 15), 1 << 15, dtype=np.int16)
    assert np.array_equal(audio.to_pcm(audio.from_pcm(levels)), levels)
    assert audio.to_pcm(np.array([-1.0, 1.0], np.float32)).tolist() == [-32_768, 32_767]


# Files that are not what they promise


def _read_all(place: Any) -> audio.Reader:
    with audio.Reader(place) as reader:
        for _ in reader.blocks(1 << 16):
            pass
    return reader


@pytest.mark.parametrize("name", ["wav", "aiff", "au", "w64", "rf64"])
def test_what_is_missing_of_a_cut_file(tmp_path: Path, name: str) -> None:
    needs(name)
    path = tmp_path / f"cut.{name}"
    audio.write(path, sixteen_bits(2, 30_000), 16_000)
    assert _read_all(path).missing_samples == 0
    data = path.read_bytes()
    path.write_bytes(data[: -4 * 10_000])
    assert abs(_read_all(path).missing_samples - 10_000) <= 40
    assert abs(_read_all(io.BytesIO(path.read_bytes())).missing_samples - 10_000) <= 40


def test_a_length_that_a_pipe_does_not_know_is_none() -> None:
    data = bytearray(wav_bytes(np.zeros(4000), subtype="PCM_16"))
    for length in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFF0000):
        data[4:8] = data[40:44] = length.to_bytes(4, "little")
        assert _read_all(io.BytesIO(bytes(data))).missing_samples == 0


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.wav"
    audio.write(path, sixteen_bits(1, 300_000), 16_000)
    with audio.Reader(path) as reader:
        blocks = reader.blocks(1 << 16)
        taken = next(blocks).shape[1]
        os.truncate(path, 44 + 2 * 100_000)
        taken += sum(block.shape[1] for block in blocks)
    assert taken == 100_000
    assert reader.missing_samples == 200_000


class Endless(io.RawIOBase):
    """A pipe without an end: some bytes, and then zeros, or the same number again and again."""

    def __init__(self, head: bytes) -> None:
        self._head = io.BytesIO(head)
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        assert self.given < 1 << 24, "it should have been refused"
        data = self._head.read(len(buffer)) or bytes(len(buffer))
        buffer[: len(data)] = data
        self.given += len(data)
        return len(data)


@pytest.mark.parametrize("head", [b"", b"VQC\1" * 100, b"ID3\4\0\0\0\1\0\0"], ids=["zeros", "vq", "tag"])
def test_an_endless_stream_that_is_no_sound_is_refused_early(head: bytes) -> None:
    stream = Endless(head)
    with pytest.raises(AudioError, match="the open file is not a sound file"):
        audio.Reader(io.BufferedReader(stream))
    assert stream.given < 1 << 19


def test_a_file_that_cannot_seek_is_read_as_soundfile_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "phone.wav"
    soundfile.write(path, synthetic.voice(3.0, 8000), 8000, subtype="GSM610")
    expected, _ = soundfile.read(path, dtype="float32")
    waveform, rate = audio.read(path)
    assert rate == 8000
    np.testing.assert_array_equal(waveform[0], expected)
