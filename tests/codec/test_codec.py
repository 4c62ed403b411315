"""`Codec` and `Encoded`: waveforms, codes, bytes and files, in every direction."""

import binascii
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import synthetic
from vqcodec import Codec, Encoded, Rate, audio, bitstream
from vqcodec.codec import DEFAULT_BITRATE_BPS
from vqcodec.errors import (
    AudioError,
    ConfigError,
    CorruptFile,
    ModelMismatch,
    NotVqcodecFile,
    UnsupportedVersion,
    VqcodecError,
)
from vqcodec.models import checkpoint
from vqcodec.packets import regrouped
from vqcodec.payloads import codings

TINY = Path(__file__).parents[1] / "golden" / "tiny.safetensors"
CODEC = Codec.load(TINY, "cpu")
HOP = CODEC.hop_length
VOICE = synthetic.voice(2.0)
LONG = synthetic.voice(12.0, seed=4)  # three packets


# Facts.


def test_facts() -> None:
    assert CODEC.name == "golden"
    assert CODEC.sample_rate == 16_000
    assert CODEC.hop_length == 320
    assert CODEC.frame_rate == 50
    assert CODEC.num_stages == 4
    assert CODEC.codebook_size == 60
    assert CODEC.bitrates == (300, 600, 900, 1200)
    assert CODEC.latency == pytest.approx(0.07)
    assert re.fullmatch("[0-9a-f]{64}", CODEC.fingerprint)


def test_a_codec_from_a_model() -> None:
    assert Codec(checkpoint.load(TINY)).fingerprint == CODEC.fingerprint


@pytest.mark.parametrize(("bitrate", "stages"), [(75, 1), (300, 1), (449, 1), (451, 2), (900, 3), (1199, 4), (4800, 4)])
def test_the_nearest_bitrate(bitrate: float, stages: int) -> None:
    assert CODEC.stages_for(bitrate) == stages
    assert CODEC.encode(VOICE[:1000], bitrate_bps=bitrate).stages == stages
    assert CODEC.encoder(bitrate_bps=bitrate).stages == stages


@pytest.mark.parametrize("bitrate", [0.9, 74, 4801, 1e9, 0, -1, float("nan")])
@pytest.mark.parametrize("mode", ["constant", "variable"])
def test_a_bitrate_in_another_unit_is_refused(bitrate: float, mode: Literal["constant", "variable"]) -> None:
    with pytest.raises(ConfigError, match=r"300 to 1200 bits a second and channel \(0.3 to 1.2 kbit/s\), not at"):
        CODEC.encode(VOICE[:1000], rate=Rate(bitrate, mode=mode))


@pytest.mark.parametrize("bitrate", [0, -1, float("nan"), float("inf")])
def test_impossible_bitrates(bitrate: float) -> None:
    with pytest.raises(ConfigError, match="positive number"):
        CODEC.stages_for(bitrate)


def test_the_default_bitrate() -> None:
    assert CODEC.encode(VOICE).stages == CODEC.stages_for(DEFAULT_BITRATE_BPS)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "cpu:x", "meta", "mps"])
def test_impossible_devices(device: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(device))) as caught:
        Codec.load(TINY, device)
    assert "\n" not in str(caught.value)


def test_no_such_model() -> None:
    with pytest.raises(ModelMismatch, match="'speech_17k'"):
        Codec.load("speech_17k")


# Waveforms and codes.


@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, HOP + 1, 16_000, 191_999])
@pytest.mark.parametrize("rate", [16_000, 8000, 44_100, 48_000])
def test_lengths(samples: int, rate: int) -> None:
    encoded = CODEC.encode(LONG[:samples], rate)
    at_codec_rate = -(-samples * 16_000 // rate)
    assert encoded.num_samples == samples
    assert encoded.codes.shape == (1, 4, CODEC.config.num_frames(at_codec_rate))
    assert encoded.duration_s == samples / rate
    assert CODEC.decode(encoded).shape == (1, at_codec_rate)
    assert CODEC.decode(encoded, sample_rate="source").shape == (1, samples)
    assert CODEC.decode(encoded, sample_rate=22_050).shape == (1, -(-samples * 22_050 // rate))


def test_numpy_and_torch_alike() -> None:
    plain = CODEC.encode(VOICE)
    assert isinstance(plain.codes, np.ndarray)
    tensor = CODEC.encode(torch.from_numpy(VOICE))
    assert isinstance(tensor.codes, torch.Tensor)
    assert np.array_equal(tensor.codes.numpy(), plain.codes)
    assert tensor.to_bytes() == plain.to_bytes()
    decoded = CODEC.decode(tensor)
    assert isinstance(decoded, torch.Tensor)
    assert np.array_equal(decoded.numpy(), CODEC.decode(plain))
    assert decoded.shape == (1, len(VOICE))


def test_every_way_to_decode_gives_the_same(tmp_path: Path) -> None:
    encoded = CODEC.encode(VOICE)
    expected = CODEC.decode(encoded)
    encoded.save(tmp_path / "voice.vq")
    assert np.array_equal(CODEC.decode(encoded.to_bytes()), expected)
    assert np.array_equal(CODEC.decode(tmp_path / "voice.vq"), expected)
    assert np.array_equal(CODEC.decode(str(tmp_path / "voice.vq")), expected)
    assert np.array_equal(CODEC.decode(encoded.codes)[:, : len(VOICE)], expected)
    assert isinstance(CODEC.decode(torch.as_tensor(encoded.codes)), torch.Tensor)


def test_streams_give_the_same() -> None:
    encoded = CODEC.encode(LONG, stages=3)
    encoder, decoder = CODEC.encoder(stages=3), CODEC.decoder(num_samples=len(LONG))
    codes = np.concatenate([encoder.push(LONG[None]), encoder.flush()], axis=-1)
    assert np.array_equal(codes, encoded.codes)
    waveform = np.concatenate([decoder.push(codes), decoder.flush()], axis=-1)
    assert np.array_equal(waveform, CODEC.decode(encoded))


def test_channels_are_restored() -> None:
    sound = np.stack([VOICE, synthetic.chirp(2.0), synthetic.silence(2.0)])
    decoded = CODEC.decode(CODEC.encode(sound))
    for channel, waveform in zip(sound, decoded, strict=True):
        assert np.array_equal(waveform, CODEC.decode(CODEC.encode(channel))[0])


def test_the_codes_follow_the_sound() -> None:
    """Shifting the sound by whole frames shifts the codes: the delay is accounted for."""
    shifted = CODEC.encode(np.concatenate([np.zeros(10 * HOP, np.float32), VOICE])).codes[..., 10:]
    same = shifted[..., 20:] == CODEC.encode(VOICE).codes[..., 20:]
    assert np.mean(same) > 0.95


def test_fewer_stages() -> None:
    encoded = CODEC.encode(VOICE, effort=1)
    low = encoded.with_stages(2)
    assert low.stages == 2
    assert low.bitrate_bps == 600
    assert len(low.to_bytes()) < len(encoded.to_bytes())
    assert np.array_equal(low.codes, CODEC.encode(VOICE, bitrate_bps=600, effort=1).codes)
    assert np.array_equal(CODEC.decode(encoded, stages=2), CODEC.decode(low))
    for stages in (0, 5):
        with pytest.raises(ConfigError, match="1 to 4 stages"):
            encoded.with_stages(stages)
        with pytest.raises(ConfigError, match="1 to 4 stages"):
            CODEC.decode(encoded, stages=stages)


@pytest.mark.parametrize(
    "sound", [synthetic.silence(0.5), synthetic.square(0.5), synthetic.dc(0.5), synthetic.clicks(0.5)]
)
def test_hard_sounds(sound: NDArray[np.float32]) -> None:
    decoded = CODEC.decode(CODEC.encode(sound))
    assert decoded.shape == (1, len(sound))
    assert np.isfinite(decoded).all()


def test_too_many_channels_for_their_rate() -> None:
    with pytest.raises(AudioError, match="1 to 21 channels of 768000 Hz, not 22"):
        CODEC.encode(np.zeros((22, 10)), 768_000)


def test_beyond_full_scale_is_clipped() -> None:
    loud = CODEC.encode(VOICE * 100, 8000)
    assert np.array_equal(loud.codes, CODEC.encode(np.clip(VOICE * 100, -1, 1), 8000).codes)


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros((2, 0)), "no samples"),
        (np.zeros((0, 10)), "0"),
        (np.zeros((256, 10)), "1 to 255 channels"),
        (np.zeros((1, 1, 10)), "shape"),
        (np.float32(0.5), "shape"),
        (np.zeros(10, np.int32), "floats"),
        (np.array([0, np.nan]), "sample 1 "),
        (torch.tensor([[0, 0, -torch.inf]]), "sample 2 "),
    ],
)
def test_what_cannot_be_encoded(sound: Any, message: str) -> None:
    for rate in (None, 8000):
        with pytest.raises(AudioError, match=message):
            CODEC.encode(sound, rate)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bitrate_bps": 600, "stages": 2}, "not both"),
        ({"stages": 0}, "1 to 4 stages"),
        ({"stages": 5}, "1 to 4 stages"),
        ({"effort": 0}, "effort"),
        ({"effort": 17}, "effort"),
        ({"sample_rate": 0}, "sample rate"),
        ({"sample_rate": 44_100.5}, "sample rate"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CODEC.encode(VOICE, **settings)


def test_rates_of_the_output() -> None:
    encoded = CODEC.encode(VOICE)
    for rate in (0, -1, 1.5, True, "target", 999, 768_001):
        with pytest.raises(ConfigError, match="sample rate"):
            CODEC.decode(encoded, sample_rate=rate)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="bare codes"):
        CODEC.decode(encoded.codes, sample_rate="source")


def test_bare_codes_of_another_shape() -> None:
    with pytest.raises(ConfigError, match="shape"):
        CODEC.decode(np.zeros((4, 10), np.int64))
    with pytest.raises(CorruptFile, match="60 entries"):
        CODEC.decode(np.full((1, 4, 10), 63))


# Bytes.


def test_the_model_is_looked_at_before_the_codes() -> None:
    """A file of another model is refused before any of it is unpacked, even if it is damaged as well."""
    data = bytearray(CODEC.encode(VOICE).to_bytes())
    data[11] ^= 1
    data[30:32] = binascii.crc_hqx(bytes(data[:30]), 0xFFFF).to_bytes(2, "little")
    data[60] ^= 1
    with pytest.raises(ModelMismatch):
        CODEC.decode(bytes(data))


def test_bytes_round_trip() -> None:
    for encoded in (CODEC.encode(LONG, stages=3), CODEC.encode(np.stack([VOICE, VOICE]), 44_100)):
        again = Encoded.from_bytes(encoded.to_bytes())
        assert np.array_equal(again.codes, encoded.codes)
        for name in ("num_samples", "source_sample_rate", "sample_rate", "hop_length", "bits_per_code", "fingerprint"):
            assert getattr(again, name) == getattr(encoded, name)


def test_size_on_disk() -> None:
    minute = CODEC.encode(np.tile(LONG, 5), stages=4)
    codes_bytes = 60 * CODEC.bitrates[3] / 8
    assert len(minute.to_bytes()) <= 1.02 * codes_bytes + 32


def test_saving_is_careful(tmp_path: Path) -> None:
    encoded, path = CODEC.encode(VOICE), tmp_path / "voice.vq"
    path.write_bytes(b"precious")
    with pytest.raises(VqcodecError, match="exists already"):
        encoded.save(path)
    assert path.read_bytes() == b"precious"
    encoded.save(path, force=True)
    assert path.read_bytes() == encoded.to_bytes()
    assert np.array_equal(Encoded.load(path).codes, encoded.codes)
    with pytest.raises(VqcodecError, match="cannot read"):
        Encoded.load(tmp_path / "missing.vq")
    with pytest.raises(VqcodecError, match="cannot read"):
        Encoded.load(tmp_path)


def test_another_model(tmp_path: Path) -> None:
    model = checkpoint.load(TINY)
    model.decoder.norm_in.bias.add_(0.5)
    other = Codec(model)
    for encoded in (other.encode(VOICE), other.encode(VOICE).to_bytes()):
        with pytest.raises(ModelMismatch, match=rf"golden \({CODEC.fingerprint[:16]}\).* {other.fingerprint[:16]}"):
            CODEC.decode(encoded)


def test_a_model_whose_decoder_was_trained_on_decodes_earlier_files(tmp_path: Path) -> None:
    model = checkpoint.load(TINY)
    model.decoder.norm_in.bias.add_(0.5)
    checkpoint.save(tmp_path / "later.safetensors", model, decodes=[CODEC.fingerprint])
    later = Codec.load(tmp_path / "later.safetensors")
    assert later.fingerprint != CODEC.fingerprint and later.decodes == (CODEC.fingerprint,)
    old = CODEC.encode(VOICE)
    assert np.array_equal(old.codes, later.encode(VOICE).codes)
    assert later.decode(old).shape == CODEC.decode(old).shape
    assert not np.array_equal(later.decode(old), CODEC.decode(old))
    with pytest.raises(ModelMismatch):
        CODEC.decode(later.encode(VOICE))


def changed(encoded: Encoded, codes: NDArray[Any] | None = None, **header: Any) -> bytes:
    """A file whose checksums are right, but whose content is not."""
    file = io.BytesIO()
    writer = bitstream.Writer(file, replace(encoded.header, **header))
    coding = codings.of_header(writer.header)
    for part in regrouped([np.asarray(encoded.codes if codes is None else codes)], writer.header):
        writer.write(bitstream.Packet(part.shape[-1], coding.encode([part])[0]))
    writer.finish(writer.header.num_samples or encoded.num_samples)
    return file.getvalue()


def lies() -> dict[str, bytes]:
    encoded = CODEC.encode(VOICE)
    codes = np.asarray(encoded.codes)
    many = np.concatenate([codes, codes], axis=1)
    return {
        "code": changed(encoded, np.full_like(codes, 63)),
        "frames": changed(encoded, np.concatenate([codes, codes[..., -1:]], axis=-1)),
        "samples": changed(encoded, num_samples=len(VOICE) - 1000),
        "rate": changed(encoded, source_sample_rate=48_000),
        "codec rate": changed(encoded, sample_rate=8000, source_sample_rate=8000),
        "hop": changed(encoded, hop_length=640),
        "bits": changed(encoded, bits_per_code=7),
        "stages": changed(encoded, many, stages=8),
    }


@pytest.mark.parametrize("lie", lies())
def test_files_that_cannot_be(lie: str, tmp_path: Path) -> None:
    data = lies()[lie]
    with pytest.raises(CorruptFile):
        CODEC.decode(data)
    (tmp_path / "lie.vq").write_bytes(data)
    with pytest.raises(CorruptFile, match=r"lie\.vq"):
        CODEC.decode_file(tmp_path / "lie.vq", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("frames", [0, CODEC.config.num_frames(0)])
def test_a_file_without_samples(frames: int, tmp_path: Path) -> None:
    codes = np.zeros((2, 4, frames), np.int64)
    empty = Encoded(codes=codes, header=replace(CODEC.encode(VOICE).header, channels=2, num_samples=0))
    assert CODEC.decode(empty.to_bytes()).shape == (2, 0)
    empty.save(tmp_path / "empty.vq")
    result = CODEC.decode_file(tmp_path / "empty.vq", tmp_path / "empty.wav", sample_rate="source")
    assert (result.num_samples, result.duration_s, result.bitrate_bps) == (0, 0, 0)


def outcome(data: bytes, expected: NDArray[Any]) -> str:
    """Decode damaged data: an error of ours, or what was there before; nothing else."""
    try:
        decoded = CODEC.decode(data)
    except VqcodecError as error:
        assert "\n" not in str(error)
        return type(error).__name__
    assert np.array_equal(decoded, expected)
    return "unharmed"


def test_every_truncation() -> None:
    encoded = CODEC.encode(VOICE[:4000])
    data, expected = encoded.to_bytes(), CODEC.decode(encoded)
    outcomes = {outcome(data[:length], expected) for length in range(len(data))}
    assert outcomes == {"NotVqcodecFile", "CorruptFile"}


def test_every_bit_flip() -> None:
    encoded = CODEC.encode(VOICE[:4000])
    data, expected = encoded.to_bytes(), CODEC.decode(encoded)
    outcomes = set()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        outcomes.add(outcome(bytes(flipped), expected))
    assert outcomes == {"NotVqcodecFile", "UnsupportedVersion", "CorruptFile"}


# Files.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    audio.write(tmp_path / "mono.wav", VOICE[None], 16_000)
    audio.write(tmp_path / "long.wav", LONG[None], 16_000)
    stereo = np.stack([synthetic.voice(1.5, 44_100), synthetic.chirp(1.5, 44_100)])
    audio.write(tmp_path / "stereo.flac", stereo, 44_100)
    return tmp_path


@pytest.mark.parametrize("mode", ["constant", "variable"])
@pytest.mark.parametrize("name", ["mono.wav", "stereo.flac", "long.wav"])
def test_files_and_arrays_give_the_same(folder: Path, name: str, mode: Literal["constant", "variable"]) -> None:
    wish = Rate(900, mode=mode)
    result = CODEC.encode_file(folder / name, folder / "sound.vq", rate=wish)
    waveform, rate = audio.read(folder / name)
    encoded = CODEC.encode(waveform, rate, rate=wish)
    assert (folder / "sound.vq").read_bytes() == encoded.to_bytes()
    assert (encoded.codes == -1).any() == (mode == "variable")
    from_file = CODEC.encode(folder / name, rate=wish)
    assert from_file.to_bytes() == encoded.to_bytes()

    size = (folder / "sound.vq").stat().st_size
    assert result.num_samples == waveform.shape[1]
    assert result.duration_s == waveform.shape[1] / rate
    assert result.channels == len(waveform)
    assert result.stages == encoded.stages == {"constant": 3, "variable": 4}[mode]
    assert result.bytes_in == (folder / name).stat().st_size
    assert result.bytes_out == size
    assert result.bitrate_bps == pytest.approx(size * 8 / result.duration_s)
    assert result.damage is None

    for wanted, sample_rate in ((None, 16_000), ("source", rate), (8000, 8000)):
        result = CODEC.decode_file(folder / "sound.vq", folder / "back.w64", sample_rate=wanted, force=True)  # type: ignore[arg-type]
        back, back_rate = audio.read(folder / "back.w64")
        assert back_rate == sample_rate
        expected = CODEC.decode(encoded, sample_rate=wanted)  # type: ignore[arg-type]
        assert back.shape == expected.shape
        np.testing.assert_allclose(back, expected.clip(-1, 1), rtol=0, atol=1 / 32768)
        assert result.num_samples == back.shape[1]
        assert result.duration_s == pytest.approx(waveform.shape[1] / rate, abs=1e-3)
        assert (result.channels, result.stages) == (len(waveform), encoded.stages)
        assert result.bytes_in == size
        assert result.bytes_out == (folder / "back.w64").stat().st_size


def test_formats_and_stages_of_the_output(folder: Path) -> None:
    CODEC.encode_file(folder / "mono.wav", folder / "mono.vq")
    CODEC.decode_file(folder / "mono.vq", folder / "back", format="flac", stages=2)
    back, _ = audio.read(folder / "back")
    np.testing.assert_allclose(back, CODEC.decode(folder / "mono.vq", stages=2), rtol=0, atol=1 / 32768)
    with pytest.raises(AudioError, match="suffix"):
        CODEC.decode_file(folder / "mono.vq", folder / "back.xyz")
    with pytest.raises(ConfigError, match="1 to 4 stages"):
        CODEC.decode_file(folder / "mono.vq", folder / "back.wav", stages=5)


def test_progress(folder: Path) -> None:
    for convert, source, target in (
        (CODEC.encode_file, "long.wav", "long.vq"),
        (CODEC.decode_file, "long.vq", "back.wav"),
    ):
        seen: list[float] = []
        convert(folder / source, folder / target, progress=seen.append)
        assert len(seen) > 2
        assert seen == sorted(seen)
        assert seen[-1] == pytest.approx(12.0)


@pytest.mark.parametrize("convert", ["encode", "decode"])
def test_failures_leave_nothing_behind(folder: Path, convert: str) -> None:
    CODEC.encode_file(folder / "long.wav", folder / "long.vq")
    source, target = ("long.wav", "new.vq") if convert == "encode" else ("long.vq", "new.wav")
    run: Callable[..., Any] = CODEC.encode_file if convert == "encode" else CODEC.decode_file
    before = {path: path.read_bytes() for path in folder.iterdir()}

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder / source, folder / target, progress=stop)
    with pytest.raises(VqcodecError, match="exists already"):
        run(folder / source, folder / "mono.wav")
    with pytest.raises(VqcodecError, match="nowhere"):
        run(folder / source, folder / "nowhere" / target)
    with pytest.raises(VqcodecError, match="missing"):
        run(folder / "missing", folder / target)
    with pytest.raises(VqcodecError, match=re.escape(str(folder))):
        run(folder, folder / target)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"just text\n" * 20])
def test_no_such_files(folder: Path, content: bytes) -> None:
    (folder / "other").write_bytes(content)
    with pytest.raises(NotVqcodecFile, match="other"):
        CODEC.decode_file(folder / "other", folder / "out.wav")
    with pytest.raises(AudioError, match="other"):
        CODEC.encode_file(folder / "other", folder / "out.vq")
    with pytest.raises(ConfigError, match="a file has its own"):
        CODEC.encode(folder / "mono.wav", 16_000)
    assert not list(folder.glob("out.*"))


def test_a_newer_version(folder: Path) -> None:
    CODEC.encode_file(folder / "mono.wav", folder / "mono.vq")
    data = bytearray((folder / "mono.vq").read_bytes())
    data[3] = 2
    (folder / "mono.vq").write_bytes(data)
    with pytest.raises(UnsupportedVersion, match=r"mono\.vq"):
        CODEC.decode_file(folder / "mono.vq", folder / "out.wav")


# Salvage.


def packet_ends(data: bytes) -> list[int]:
    reader = bitstream.Reader(io.BytesIO(data))
    return [reader.offset for _ in reader]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("packets", [1, 2, 3])
def test_salvage(tmp_path: Path, packets: int, known: bool) -> None:
    encoded = CODEC.encode(LONG)
    data = encoded.to_bytes()
    if not known:
        header = replace(encoded.header, num_samples=None)
        data = header.to_bytes() + data[bitstream.HEADER_BYTES :]
    whole = CODEC.decode(encoded)
    (tmp_path / "cut.vq").write_bytes(data[: packet_ends(data)[packets - 1] + 3])
    with pytest.raises(CorruptFile, match=r"cut short.*--salvage"):
        CODEC.decode_file(tmp_path / "cut.vq", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()

    result = CODEC.decode_file(tmp_path / "cut.vq", tmp_path / "out.wav", salvage=True)
    assert result.damage is not None
    assert "cut short" in result.damage
    saved, _ = audio.read(tmp_path / "out.wav")
    frames = [250, 500, encoded.codes.shape[-1]][packets - 1]
    held = frames * HOP - CODEC.config.delay
    assert saved.shape[1] == result.num_samples == (min(held, len(LONG)) if known else held)
    common = min(held, len(LONG))
    np.testing.assert_allclose(saved[:, :common], whole[:, :common], rtol=0, atol=1 / 32768)


def test_salvage_at_the_source_rate(tmp_path: Path) -> None:
    sound = synthetic.voice(11.0, 44_100)
    data = CODEC.encode(sound, 44_100).to_bytes()
    ends = packet_ends(data)
    for length, exact in ((ends[1] + 1, False), (ends[-1], True)):
        (tmp_path / "cut.vq").write_bytes(data[:length])
        result = CODEC.decode_file(
            tmp_path / "cut.vq", tmp_path / "out.wav", sample_rate="source", salvage=True, force=True
        )
        held = -(-(500 * HOP - CODEC.config.delay) * 44_100 // 16_000)
        assert result.num_samples == (len(sound) if exact else held)


def test_salvage_of_nothing(tmp_path: Path) -> None:
    data = CODEC.encode(VOICE).to_bytes()
    (tmp_path / "cut.vq").write_bytes(data[:40])
    with pytest.raises(CorruptFile, match="nothing can be saved"):
        CODEC.decode_file(tmp_path / "cut.vq", tmp_path / "out.wav", salvage=True)
    assert not (tmp_path / "out.wav").exists()


def test_salvage_of_a_whole_file_is_no_different(tmp_path: Path) -> None:
    CODEC.encode(VOICE).save(tmp_path / "voice.vq")
    result = CODEC.decode_file(tmp_path / "voice.vq", tmp_path / "out.wav", salvage=True)
    assert result.damage is None
    assert result.num_samples == len(VOICE)


# Pipes and memory, in processes of their own.

PIPE = f"from vqcodec import Codec\ncodec = Codec.load({str(TINY)!r}, 'cpu')\n"


def test_pipes(folder: Path) -> None:
    CODEC.encode_file(folder / "long.wav", folder / "long.vq")
    CODEC.decode_file(folder / "long.vq", folder / "back.wav")
    encode = f"{PIPE}result = codec.encode_file('-', '-')\nassert result.bytes_in == 0 < result.bytes_out"
    sound = (folder / "long.wav").read_bytes()
    encoded = subprocess.run([sys.executable, "-c", encode], input=sound, capture_output=True, check=True).stdout
    assert encoded[25:30] == b"\xff" * 5, "a pipe cannot be patched"
    assert Encoded.from_bytes(encoded).to_bytes() == (folder / "long.vq").read_bytes()
    decode = f"{PIPE}result = codec.decode_file('-', '-')\nassert result.bytes_out == 0 < result.bytes_in"
    decoded = subprocess.run([sys.executable, "-c", decode], input=encoded, capture_output=True, check=True).stdout
    assert decoded == (folder / "back.wav").read_bytes()


PEAK = """
import resource, sys
for sound in sys.argv[1:]:
    codec.encode_file(sound, sound + ".vq", stages=1)
    codec.decode_file(sound + ".vq", sound + ".back.wav", sample_rate="source")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux only")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    sounds = [tmp_path / f"{minutes}.wav" for minutes in (1, 10)]
    for minutes, sound in zip((1, 10), sounds, strict=True):
        with audio.Writer(sound, 16_000, 1) as writer:
            for _ in range(5 * minutes):
                writer.write(LONG[None])
    done = subprocess.run([sys.executable, "-c", PIPE + PEAK, *sounds], capture_output=True, text=True, check=True)
    for sound in sounds:
        assert os.path.getsize(f"{sound}.back.wav") == os.path.getsize(sound)
    short, long = map(int, done.stdout.split())
    assert long < 1.1 * short


def test_a_header_that_does_not_fit_the_codes() -> None:
    encoded = CODEC.encode(VOICE)
    with pytest.raises(ConfigError, match="codes of 1 channels and 2 stages"):
        replace(encoded, header=replace(encoded.header, stages=2))
    with pytest.raises(ConfigError, match="how many samples"):
        replace(encoded, header=replace(encoded.header, num_samples=None))
