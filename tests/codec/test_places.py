"""What `Codec` takes and gives besides waveforms in float and paths: open files, whole numbers, blocks of a file."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import synthetic
from vqcodec import AudioError, Codec, CorruptFile, audio
from vqcodec.models import checkpoint
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig

TINY = Path(__file__).parents[1] / "golden" / "tiny.safetensors"
CODEC = Codec.load(TINY, "cpu")
VOICE = synthetic.voice(2.0)


def test_int16_is_scaled() -> None:
    pcm = audio.to_pcm(VOICE)
    expected = CODEC.encode(audio.from_pcm(pcm)).codes
    np.testing.assert_array_equal(CODEC.encode(pcm).codes, expected)
    np.testing.assert_array_equal(CODEC.encode(torch.from_numpy(pcm[None])).codes, expected)
    with pytest.raises(AudioError, match=r"floats in \[-1, 1\] or of int16, not int32"):
        CODEC.encode(pcm.astype(np.int32))


def test_open_files_are_taken(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", VOICE[None], 16000)
    encoded = CODEC.encode(tmp_path / "a.wav")
    sound = (tmp_path / "a.wav").read_bytes()
    assert CODEC.encode(io.BytesIO(sound)).to_bytes() == encoded.to_bytes()
    with open(tmp_path / "a.wav", "rb") as file:
        assert CODEC.encode(file).to_bytes() == encoded.to_bytes()
    encoded.save(tmp_path / "a.vq")
    expected = CODEC.decode(encoded)
    for data in (encoded.to_bytes(), bytearray(encoded.to_bytes()), memoryview(encoded.to_bytes())):
        np.testing.assert_array_equal(CODEC.decode(data), expected)
        np.testing.assert_array_equal(CODEC.decode(io.BytesIO(data)), expected)
    with open(tmp_path / "a.vq", "rb") as file:
        np.testing.assert_array_equal(CODEC.decode(file), expected)


def test_files_to_files_in_memory(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", VOICE[None], 16000)
    CODEC.encode_file(tmp_path / "a.wav", tmp_path / "a.vq")
    coded = io.BytesIO()
    result = CODEC.encode_file(io.BytesIO((tmp_path / "a.wav").read_bytes()), coded)
    assert coded.getvalue() == (tmp_path / "a.vq").read_bytes()
    assert (result.bytes_in, result.bytes_out) == (0, len(coded.getvalue()))
    CODEC.decode_file(tmp_path / "a.vq", tmp_path / "back.wav")
    coded.seek(0)
    back = io.BytesIO()
    assert CODEC.decode_file(coded, back).bytes_out == 0
    assert back.getvalue() == (tmp_path / "back.wav").read_bytes()


def test_the_blocks_of_a_file(tmp_path: Path) -> None:
    CODEC.encode(synthetic.voice(12.0)).save(tmp_path / "a.vq")
    with CODEC.open_file(tmp_path / "a.vq", sample_rate=8000) as sound:
        assert (sound.sample_rate, sound.channels) == (8000, 1)
        blocks = list(sound.blocks)
        assert sound.damage is None
    assert len(blocks) > 2
    expected = CODEC.decode(tmp_path / "a.vq", sample_rate=8000)
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), expected)
    (tmp_path / "a.vq").write_bytes((tmp_path / "a.vq").read_bytes()[:-3])
    with pytest.raises(CorruptFile), CODEC.open_file(tmp_path / "a.vq") as sound:
        list(sound.blocks)
    with CODEC.open_file(tmp_path / "a.vq", salvage=True) as sound:
        list(sound.blocks)
        assert sound.damage is not None


@pytest.mark.parametrize("thing", [123, None, {"a": 1}, object()])
def test_what_is_no_sound_and_no_codes(thing: Any) -> None:
    with pytest.raises(TypeError, match=f"a path or a file, not {type(thing).__name__}"):
        CODEC.encode(thing)
    with pytest.raises(TypeError, match=f"a .vq file .* or codes .* not {type(thing).__name__}"):
        CODEC.decode(thing)


def test_files_that_are_open_for_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    for use in (CODEC.encode, CODEC.decode):
        with open(tmp_path / "a.txt") as file, pytest.raises(TypeError, match=r'open it with open\(path, "rb"\)'):
            use(file)


def test_what_it_says_of_itself() -> None:
    assert repr(CODEC) == "<Codec golden: 16000 Hz, 0.3 to 1.2 kbit/s, on cpu>"
    assert CODEC.device == torch.device("cpu")
    config = ModelConfig(name="dry", latent_dim=8, bottleneck="none", encoder_width=8, decoder_width=8)
    model = Autoencoder(config)
    assert repr(Codec(model, checkpoint.fingerprint_of(model))) == "<Codec dry: 16000 Hz, no codes, on cpu>"


def test_the_threads_of_torch_are_left_alone() -> None:
    before = torch.get_num_threads()
    CODEC.decode(CODEC.encode(VOICE))
    assert torch.get_num_threads() == before
    assert "leaves that setting alone" in " ".join((Codec.__doc__ or "").split())


BLOCKED = """
import sys
sys.modules["torchaudio"] = sys.modules["librosa"] = None  # an import fails
from vqcodec.cli.main import app
folder, model = sys.argv[1:]
app(["encode", f"{folder}/a.wav", "--model", model], standalone_mode=False)
app(["decode", f"{folder}/a.vq", f"{folder}/b.wav", "--model", model], standalone_mode=False)
app(["info", f"{folder}/a.vq"], standalone_mode=False)
"""


def test_neither_torchaudio_nor_librosa_need_be_importable(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", VOICE[None], 16000)
    command = [sys.executable, "-c", BLOCKED, str(tmp_path), str(TINY)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert audio.read(tmp_path / "b.wav")[0].shape == (1, len(VOICE))
