"""The codec on onnxruntime gives what it gives on torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

import synthetic
from vqcodec import Codec, Rate, audio
from vqcodec.cli.main import app
from vqcodec.errors import AudioError, ConfigError, CorruptFile, VqcodecError
from vqcodec.models import checkpoint
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig
from vqcodec.models.search import prefix_search

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("onnxscript", reason="the package onnxscript is not installed")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")

from vqcodec import light  # noqa: E402
from vqcodec.integrations.onnx import write_folder  # noqa: E402
from vqcodec.light.search import endings  # noqa: E402

GOLDEN = Path(__file__).parents[2] / "golden"
VOICE = synthetic.voice(6.0)


def random_model(folder: Path) -> Path:
    """A model that samples, of random weights, whose decoder has some of everything."""
    torch.manual_seed(0)
    sizes = {"latent_dim": 8, "num_stages": 4, "codebook_size": 32, "encoder_width": 16, "decoder_width": 24}
    blocks = {"encoder_blocks": 2, "decoder_blocks": 2, "encoder_fast_blocks": 1, "decoder_fast_blocks": 1}
    model = Autoencoder(ModelConfig(**sizes, **blocks, decoder_stochastic=True)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    for book in model.quantizer.books:
        book.vectors.normal_(std=0.5)
    model.decoder.texture_scale.uniform_(0.2, 1)
    model.learn_silence()
    checkpoint.save(folder / "random.safetensors", model)
    return folder / "random.safetensors"


@pytest.fixture(scope="module", params=["random", "context"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Codec, light.Codec]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "random":
        path = random_model(folder)
        write_folder(path, folder / "exported")
    else:
        path = GOLDEN / "context.safetensors"
        done = CliRunner().invoke(app, ["export", "--onnx", str(folder / "exported"), "--model", str(path)])
        assert done.exit_code == 0, done.output
    return Codec.load(path, "cpu", "float32"), light.Codec.load(folder / "exported")


def same_share(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Share of frames whose codes are the same."""
    assert ours.shape == theirs.shape
    return float((ours == theirs).all(axis=(0, 1)).mean())


def test_codes_and_sounds_are_those_of_torch(pair: tuple[Codec, light.Codec]) -> None:
    heavy, lighter = pair
    stereo = np.stack([VOICE, VOICE[::-1]])
    for rate in (Rate(stages=4), Rate(stages=2), Rate(heavy.bitrates[1], mode="variable")):
        theirs = heavy.encode(stereo, rate=rate, effort=3)
        ours = lighter.encode(stereo, rate=rate, effort=3)
        assert same_share(ours.codes, np.asarray(theirs.codes)) >= 0.999
        for texture in (1.0, 0.3):
            expected, found = heavy.decode(theirs, texture=texture), lighter.decode(theirs, texture=texture)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_files_are_those_of_torch(pair: tuple[Codec, light.Codec], tmp_path: Path) -> None:
    heavy, lighter = pair
    audio.write(tmp_path / "in.wav", VOICE[None], 16_000)
    for name, codec in (("heavy", heavy), ("light", lighter)):
        codec.encode_file(tmp_path / "in.wav", tmp_path / f"{name}.vq", bitrate_bps=heavy.bitrates[1])
        codec.decode_file(tmp_path / "heavy.vq", tmp_path / f"{name}.wav", sample_rate=8000)
    sizes = [(tmp_path / f"{name}.vq").stat().st_size for name in ("heavy", "light")]
    assert abs(sizes[0] - sizes[1]) <= 0.01 * sizes[0]
    sounds = [audio.read(tmp_path / f"{name}.wav", 8000)[0] for name in ("heavy", "light")]
    np.testing.assert_allclose(*sounds, atol=2e-4)  # 16 bits a sample


@pytest.mark.parametrize("block_frames", [1, 7])
def test_streams_carry_their_state(pair: tuple[Codec, light.Codec], block_frames: int) -> None:
    _, lighter = pair
    encoder = lighter.encoder(stages=4, block_frames=block_frames)
    parts = [encoder.push(part[None]) for part in np.split(VOICE, [100, 5000, 5001, 40_000])]
    codes = np.concatenate([*parts, encoder.flush()], axis=-1)
    whole = lighter.encode(VOICE, stages=4).codes
    assert same_share(codes, whole) >= 0.999
    decoder = lighter.decoder(block_frames=block_frames, num_samples=len(VOICE))
    parts = [decoder.push(part) for part in np.split(whole, [1, 2, 60], axis=-1)]
    waveform = np.concatenate([*parts, decoder.flush()], axis=-1)
    np.testing.assert_allclose(waveform, lighter.decode(lighter.encode(VOICE, stages=4)), atol=1e-4)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_search_is_that_of_torch(width: int) -> None:
    random = np.random.default_rng(width)
    x, silence = random.normal(size=(3000, 8)).astype(np.float32), random.normal(size=8).astype(np.float32)
    books = [random.normal(0, 0.5**stage, (32, 8)).astype(np.float32) for stage in range(4)]
    codes, errors = endings(x, books, silence, width)
    expected, their_errors = prefix_search(torch.from_numpy(x), [torch.from_numpy(book) for book in books], width)
    assert (codes == expected.numpy()).mean() > 0.9999
    np.testing.assert_allclose(errors[:, 1:], their_errors[:, 1:], atol=1e-5)
    np.testing.assert_allclose(errors[:, 0], np.square(x - silence).mean(-1), rtol=1e-6)


def test_weights_are_stored_in_half_the_space(pair: tuple[Codec, light.Codec]) -> None:
    _, lighter = pair
    kinds: dict[int, int] = {}
    for name in ("encoder.onnx", "decoder.onnx"):
        for tensor in onnx.load(lighter._folder / name).graph.initializer:
            kinds[tensor.data_type] = kinds.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    heavy, _ = pair
    parts = (heavy.model.encoder, heavy.model.decoder)
    assert kinds[onnx.TensorProto.FLOAT16] >= sum(p.numel() for part in parts for p in part.parameters())
    transforms = 2 * 2 * heavy.config.mdct_hop**2
    assert kinds[onnx.TensorProto.FLOAT] < transforms + 10_000  # and the table of noise


def test_export_says_what_goes_together(tmp_path: Path) -> None:
    for arguments in (["run", "out", "--onnx", "folder"], ["--onnx", "folder", "--best"], ["run", "--model", "tiny"]):
        done = CliRunner().invoke(app, ["export", *arguments])
        assert done.exit_code == 2 and "--onnx" in done.output
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = CliRunner().invoke(app, ["export", "--onnx", str(tmp_path / "full")])
    assert done.exit_code != 0 and "--force" in done.output


def test_bad_input_is_refused(pair: tuple[Codec, light.Codec], tmp_path: Path) -> None:
    heavy, lighter = pair
    with pytest.raises(AudioError, match="NaN"):
        lighter.encode(np.full(1000, np.nan, np.float32))
    with pytest.raises(AudioError, match="sample 3 "):
        lighter.encoder().push(np.array([[0, 0, 0, np.inf]], np.float32))
    with pytest.raises(AudioError, match="channels"):
        lighter.encoder(2).push(np.zeros((1, 10), np.float32))
    with pytest.raises(ConfigError, match="effort"):
        lighter.encode(VOICE, effort=0)
    with pytest.raises(ConfigError, match="texture"):
        lighter.decode(heavy.encode(VOICE), texture=2)
    for codes in (np.full((1, 4, 2), 10_000), np.array([[[-1], [3]]]), np.zeros((1, 5, 2), np.int64)):
        with pytest.raises(CorruptFile):
            lighter.decoder().push(codes)


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "codes.safetensors"])
def test_damaged_folders_are_refused(pair: tuple[Codec, light.Codec], tmp_path: Path, name: str) -> None:
    _, lighter = pair
    for file in lighter._folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptFile, match=name.partition(".")[0]):
        codec = light.Codec.load(tmp_path)
        codec.decode(codec.encode(VOICE))
    (tmp_path / name).unlink()
    with pytest.raises(VqcodecError, match=name.partition(".")[0]):
        codec = light.Codec.load(tmp_path)
        codec.decode(codec.encode(VOICE))


def test_a_model_whose_frames_cannot_vary_is_refused(tmp_path: Path) -> None:
    model = Autoencoder(ModelConfig(bottleneck="none", encoder_width=8, decoder_width=8, latent_dim=4))
    checkpoint.save(tmp_path / "none.safetensors", model)
    with pytest.raises(ConfigError, match="cannot be exported"):
        write_folder(tmp_path / "none.safetensors", tmp_path / "out")


def test_the_command_line_needs_no_torch(pair: tuple[Codec, light.Codec], tmp_path: Path) -> None:
    _, lighter = pair
    audio.write(tmp_path / "in.wav", VOICE[None], 16_000)
    script = (
        "import sys\nfrom vqcodec.light.__main__ import main\n"
        "folder, *arguments = sys.argv[1:]\n"
        "code = main(['--model', folder, *arguments])\n"
        "assert not {'torch', 'librosa', 'onnx'} & set(sys.modules)\n"
        "sys.exit(code)"
    )

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, lighter._folder, *arguments]
        return subprocess.run([str(part) for part in command], capture_output=True, text=True)

    for arguments in (
        ("encode", tmp_path / "in.wav", tmp_path / "x.vq"),
        ("decode", tmp_path / "x.vq", tmp_path / "y.wav"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    again = run("encode", tmp_path / "in.wav", tmp_path / "x.vq")
    assert again.returncode == 1
    assert again.stderr.startswith("error: ") and again.stderr.count("\n") == 1
