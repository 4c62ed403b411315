"""Files of format version 1, made once and never again, still decode to the same codes and the same sound."""

from pathlib import Path

import numpy as np
import pytest

from vqcodec import Codec, Encoded, audio

GOLDEN = Path(__file__).parents[1] / "golden"
FINGERPRINT = "5611297bb24039b956b34d1bd4711e8fdd5d866328920dd56bba939e9372d789"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.vq"))


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(GOLDEN / "tiny.safetensors", "cpu", "float32")


def test_all_are_there() -> None:
    assert NAMES == ["mono", "one_sample", "packets", "peeled", "rate_44100", "stereo", "unknown_length", "variable"]


def test_the_fingerprint(codec: Codec) -> None:
    assert codec.fingerprint == FINGERPRINT


@pytest.mark.parametrize("name", NAMES)
def test_codes(name: str) -> None:
    expected = np.load(GOLDEN / f"{name}.npz")
    encoded = Encoded.load(GOLDEN / f"{name}.vq")
    assert np.array_equal(encoded.codes, expected["codes"])
    assert encoded.num_samples == expected["num_samples"]
    assert encoded.source_sample_rate == expected["source_sample_rate"]
    assert encoded.fingerprint == FINGERPRINT[:16]


@pytest.mark.parametrize("name", NAMES)
def test_waveform(codec: Codec, name: str) -> None:
    expected = np.load(GOLDEN / f"{name}.npz")
    waveform = codec.decode(GOLDEN / f"{name}.vq")
    assert waveform.shape[-1] == -(-int(expected["num_samples"]) * 16_000 // int(expected["source_sample_rate"]))
    np.testing.assert_allclose(waveform[:, :: int(expected["step"])], expected["waveform"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_written_again_byte_for_byte(name: str) -> None:
    data = (GOLDEN / f"{name}.vq").read_bytes()
    if name == "unknown_length":
        assert data[25:30] == b"\xff" * 5
        data = Encoded.from_bytes(data).to_bytes()[:32] + data[32:]
    assert Encoded.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize("path", sorted((GOLDEN / "former").glob("*.vq")), ids=lambda path: path.stem)
def test_weights_that_were_trained_on_decode_the_files_of_the_weights_before(path: Path) -> None:
    encoded, shipped = Encoded.load(path), Codec.load(device="cpu", precision="float32")
    assert not shipped.fingerprint.startswith(encoded.fingerprint)
    assert any(known.startswith(encoded.fingerprint) for known in shipped.decodes)
    original, _ = audio.read(Path(__file__).parents[2] / "examples" / "hello.wav", 16_000)
    decoded = shipped.decode(path)
    assert decoded.shape == original.shape
    envelopes = [
        np.abs(sound[0, : original.shape[1] // 800 * 800]).reshape(-1, 800).mean(1) for sound in (original, decoded)
    ]
    assert np.corrcoef(*envelopes)[0, 1] > 0.9


def test_the_shipped_context_model_never_changes() -> None:
    """Files of variable bitrate need the very context model that coded them, as long as the fingerprint is the same."""
    path = GOLDEN / "shipped" / "context.vq"
    expected = np.load(GOLDEN / "shipped" / "context.npz")["codes"]
    assert np.array_equal(Encoded.load(path).codes, expected)
    shipped = Codec.load(device="cpu", precision="float32")
    assert Encoded.load(path).to_bytes(shipped.context) == path.read_bytes()
    original, _ = audio.read(Path(__file__).parents[2] / "examples" / "hello.wav", 16_000)
    assert shipped.decode(path).shape == original.shape
