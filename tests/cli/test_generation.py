"""`vqcodec train-prior`, `sample`, `continue`, `infill` and `score`, from recordings to sounds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner, Result

from synthetic import voice
from vqcodec import Codec
from vqcodec.cli.main import app

TINY = Path(__file__).parents[1] / "golden" / "tiny.safetensors"
CPU = ["--device", "cpu"]
SMALL = ["--context", "1", "--width", "16", "--layers", "1", "--steps", "3", "--items", "1", *CPU]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def failure(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 1 and done.stderr.count("\n") == 1, done.output
    return done.stderr


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    for seed in range(3):
        (folder / str(seed)).mkdir()
        sf.write(folder / str(seed) / "a.wav", voice(3, seed=seed), 16_000)
    return folder


@pytest.fixture(scope="module")
def prior(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prior") / "prior.safetensors"
    done = run("train-prior", "--data", speech, "--model", TINY, "--out", out, "--speakers", *SMALL)
    assert done.exit_code == 0, done.output
    assert re.search(r"order 0: \d\.\d+ bits a code .*\ntransformer: \d\.\d+ bits a code", done.stderr)
    return out


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    sf.write(tmp_path / "prompt.wav", voice(0.5, seed=9), 16_000)
    return tmp_path / "prompt.wav"


def test_samples(prior: Path, tmp_path: Path) -> None:
    arguments = ("--prior", prior, "--model", TINY, "--seconds", 0.4, *CPU)
    unknown = failure("sample", tmp_path / "x.wav", *arguments, "--speaker", "nobody")
    name = re.search(r"the speaker 'nobody'; it knows 2, such as (\S+),", unknown)
    assert name is not None
    arguments = (*arguments, "--speaker", name[1])
    assert run("sample", tmp_path / "a.wav", *arguments, "--count", 2, "--seed", 5).exit_code == 0
    assert run("sample", tmp_path / "b.wav", *arguments, "--seed", 6).exit_code == 0
    first, second, same = (sf.read(tmp_path / name)[0] for name in ("a-1.wav", "a-2.wav", "b.wav"))
    assert len(first) == pytest.approx(0.4 * 16_000, abs=1000)
    assert np.array_equal(second, same) and not np.array_equal(first, second)
    again = run("sample", tmp_path / "b.wav", *arguments)
    assert again.exit_code == 1 and "exists" in again.stderr


def test_a_continuation_begins_with_the_prompt(prior: Path, prompt: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    done = run("continue", prompt, out, "--prior", prior, "--model", TINY, "--seconds", 0.3, *CPU)
    assert done.exit_code == 0, done.output
    sound, rate = sf.read(out)
    codec = Codec.load(TINY, "cpu", "float32")
    plain = codec.decode(codec.encode(prompt, stages=4, effort=1))[0]
    assert rate == codec.sample_rate and len(sound) >= len(plain) + 4000
    kept = int(0.35 * rate)
    np.testing.assert_allclose(sound[:kept], plain[:kept], atol=1e-4)


def test_an_infilled_sound_is_the_coded_one_outside_the_gap(prior: Path, prompt: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    done = run("infill", prompt, out, "--prior", prior, "--model", TINY, "--from", 0.2, "--to", 0.3, *CPU)
    assert done.exit_code == 0, done.output
    codec = Codec.load(TINY, "cpu", "float32")
    plain, sound = codec.decode(codec.encode(prompt, stages=4, effort=1))[0], sf.read(out)[0]
    kept = int(0.1 * codec.sample_rate)
    np.testing.assert_allclose(sound[:kept], plain[:kept], atol=1e-4)
    assert np.abs(sound[3500:4500] - plain[3500:4500]).max() > 0.01
    outside = failure("infill", prompt, out, "-f", "--prior", prior, "--model", TINY, "--from", 0.2, "--to", 7, *CPU)
    assert "the gap from frame" in outside


def test_scores(prior: Path, prompt: Path) -> None:
    done = run("score", prompt, "--prior", prior, "--model", TINY, *CPU)
    assert done.exit_code == 0, done.output
    found = re.search(r": ([\d.]+) bits a code .*, (\d+) bits a second, log-likelihood (-[\d.]+)", done.stdout)
    assert found is not None
    bits, a_second, likelihood = map(float, found.groups())
    assert 0 < bits < 10
    assert likelihood == pytest.approx(-a_second * 0.5 * np.log(2), rel=0.05)
    twice = run("score", prompt, prompt, "--prior", prior, "--model", TINY, *CPU).stdout.splitlines()
    assert len(twice) == 3 and twice[0] == twice[1] and twice[2].startswith(f"all: {bits:.3f} bits a code")


def test_training_goes_on_only_when_told(prior: Path, speech: Path) -> None:
    command = ("train-prior", "--data", speech, "--model", TINY, "--out", prior, "--speakers", *SMALL)
    assert "exists already" in failure(*command)
    content = prior.read_bytes()
    prior.unlink()
    assert "--resume" in failure(*command)
    done = run(*command, "--resume", "--quiet")
    assert done.exit_code == 0 and done.stderr == ""
    assert prior.read_bytes() == content


def test_pixelcnn_of_tokens(speech: Path, prompt: Path, tmp_path: Path) -> None:
    tokens, out = tmp_path / "tokens", tmp_path / "pixel.safetensors"
    made = run("tokenize", speech, "--out", tokens, "--model", TINY, "--stages", 2, "--effort", 1, "--format", "npy",
               "--precision", "float32", *CPU, "--jobs", 1)  # fmt: skip
    assert made.exit_code == 0, made.output
    command = ("train-prior", "--data", tokens, "--model", TINY, "--out", out, "--kind", "pixelcnn", *SMALL)
    assert "has 2 stages; 4 are wanted" in failure(*command)
    assert run(*command, "--stages", 2).exit_code == 0
    done = run("continue", prompt, tmp_path / "out.wav", "--prior", out, "--model", TINY, "--seconds", 0.1, *CPU)
    assert done.exit_code == 0, done.output
    assert "knows no frames behind a gap" in failure(
        "infill", prompt, tmp_path / "x.wav", "--prior", out, "--model", TINY, "--from", 0.1, "--to", 0.2, *CPU
    )


def test_coarse_codes_then_fine_ones(speech: Path, tmp_path: Path) -> None:
    """The priors of a VQ-VAE-2: of the coarse codes, and of the fine ones given all coarse codes."""
    from vqcodec.models import checkpoint
    from vqcodec.models.autoencoder import Autoencoder
    from vqcodec.models.config import ModelConfig

    sizes = {"encoder_width": 16, "encoder_blocks": 1, "decoder_width": 16, "decoder_blocks": 1, "latent_dim": 8}
    config = ModelConfig(name="two", bottleneck="hierarchical", num_stages=6, codebook_size=16, **sizes)
    model = tmp_path / "two.safetensors"
    untrained = Autoencoder(config)
    for book in (*untrained.quantizer.coarse.books, *untrained.quantizer.fine.books):
        book.vectors.normal_()
    checkpoint.save(model, untrained)
    priors = [tmp_path / "top.safetensors", tmp_path / "bottom.safetensors"]
    given = config.coarse_stages
    for prior, stages, before in zip(priors, (given, 6 - given), (0, given), strict=True):
        command = ("train-prior", "--data", speech, "--model", model, "--out", prior, "--stages", stages)
        done = run(*command, "--given", before, *SMALL)
        assert done.exit_code == 0, done.output
    own = ("--model", model, *CPU, "--seconds", 0.4)
    done = run("sample", tmp_path / "a.wav", "--prior", priors[0], "--fine", priors[1], *own)
    assert done.exit_code == 0, done.output
    assert run("sample", tmp_path / "b.wav", "--prior", priors[0], *own).exit_code == 0
    whole, coarse = (sf.read(tmp_path / name)[0] for name in ("a.wav", "b.wav"))
    assert len(whole) == len(coarse) and np.abs(whole - coarse).max() > 1e-4
    out = tmp_path / "c.wav"
    assert "predicts later stages only" in failure("sample", out, "--prior", priors[1], *own)
    assert "is given 0 stages; " in failure("sample", out, "--prior", priors[0], "--fine", priors[0], *own)


def test_bad_input_is_one_clear_line(prior: Path, speech: Path, prompt: Path, tmp_path: Path) -> None:
    from vqcodec.models import registry

    own = ("--prior", prior, "--model", TINY, *CPU)
    out = tmp_path / "out.wav"
    long = tmp_path / "long.wav"
    sf.write(long, voice(2), 16_000)
    assert "a prompt of 2 s is longer than the context of the prior, 1 s" in failure("continue", long, out, *own)
    assert "longer than the context" in failure("continue", prompt, out, *own, "--seconds", 3)
    assert "not trained with texts" in failure("sample", out, *own, "--text", "hello", "--seconds", 0.1)
    assert "there is no such prior" in failure("sample", out, "--prior", tmp_path / "none", *CPU)
    assert "is no prior" in failure("sample", out, "--prior", TINY, *CPU)
    assert "name its file with --model" in failure("sample", out, "--prior", prior, *CPU)
    if registry.DEFAULT in registry.names():
        other = ("--prior", prior, "--model", registry.DEFAULT, *CPU)
        assert "is a prior of the codes of" in failure("sample", out, *other)
    command = ("train-prior", "--data", speech, "--model", TINY, "--out", tmp_path / "t.safetensors", *SMALL)
    assert "a.wav has no transcript" in failure(*command, "--texts")
    assert not out.exists()
