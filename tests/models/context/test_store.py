"""Context models in model files: what is read, what is refused, and the fingerprints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contexts import context_model, small_config, tensors_of
from numpy.typing import NDArray
from safetensors import safe_open

from vqcodec import Codec
from vqcodec.errors import ConfigError, CorruptFile, VqcodecError
from vqcodec.models import tensor_file
from vqcodec.models.context.config import MAX_BYTES, ContextConfig
from vqcodec.models.context.store import attach, load, whole_vectors

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"


@pytest.fixture
def config() -> ContextConfig:
    return small_config(codebook_size=60, latent_dim=16)


@pytest.fixture
def path(tmp_path: Path, config: ContextConfig) -> Path:
    attach(TINY, tmp_path / "model.safetensors", config, tensors_of(config))
    return tmp_path / "model.safetensors"


def parts_of(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118


def rewrite(path: Path, tensors: Mapping[str, Any] = {}, metadata: Mapping[str, str] = {}) -> None:
    """Change a file, and its checksum with it: a tensor that becomes None is left out."""
    old, facts = parts_of(path)
    kept = {k: v for k, v in {**old, **tensors}.items() if v is not None}
    path.write_bytes(tensor_file.to_bytes(kept, {**facts, **metadata}))


def test_what_is_attached_is_read(path: Path, config: ContextConfig) -> None:
    model = load(path)
    assert model is not None and model.config == config
    expected = tensors_of(config)
    assert set(model.tensors) == set(expected)
    assert all((model.tensors[name] == expected[name]).all() for name in expected)
    books = [book.vectors.numpy() for book in Codec.load(TINY, "cpu").model.quantizer.books]
    assert (model.vectors == np.floor(np.stack(books) * 64 + 0.5).clip(-511, 511)).all()


def test_the_codec_stays_as_it_is(path: Path) -> None:
    before, after = (Codec.load(place, "cpu", "float32") for place in (TINY, path))
    assert before.fingerprint == after.fingerprint
    state = after.model.state_dict()
    assert all((tensor == state[name]).all() for name, tensor in before.model.state_dict().items())


def test_a_file_without_a_context_model() -> None:
    assert load(TINY) is None


def test_attaching_again_replaces(path: Path, config: ContextConfig, tmp_path: Path) -> None:
    first, other = load(path), small_config(codebook_size=60, latent_dim=16, blocks=1)
    attach(path, tmp_path / "again.safetensors", other, tensors_of(other, 5))
    again = load(tmp_path / "again.safetensors")
    assert first is not None and again is not None
    assert again.config == other and again.fingerprint != first.fingerprint
    with pytest.raises(VqcodecError, match="exists already"):
        attach(TINY, path, config, tensors_of(config))


def test_the_fingerprint_covers_every_number(config: ContextConfig) -> None:
    model = context_model(config)
    prints = {model.fingerprint, context_model(config, 1).fingerprint}
    for name in model.tensors:
        tensors = {key: tensor.copy() for key, tensor in model.tensors.items()}
        tensors[name].flat[-1] = 1 if name == "exponentials" else tensors[name].flat[-1] - 1
        prints.add(type(model)(config=config, tensors=tensors, vectors=model.vectors).fingerprint)
    vectors = model.vectors.copy()
    vectors[-1, -1, -1] += 1
    prints.add(type(model)(config=config, tensors=model.tensors, vectors=vectors).fingerprint)
    assert len(prints) == len(model.tensors) + 3


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"context.input.weight": None}, "not those of its settings"),
        ({"context.more": np.zeros(1, np.int8)}, "not those of its settings"),
        ({"context.input.weight": np.zeros((32, 3), np.int8)}, "context.input.weight is not int8"),
        ({"context.input.weight": np.zeros((32, 32), np.int16)}, "context.input.weight is not int8"),
        ({"context.input.shift": np.zeros(1, np.int32)}, "must lie between 1 and 22"),
        ({"context.exponentials": np.full(312, 1 << 20, np.int32)}, "context.exponentials"),
        ({"context.exponentials": np.zeros(312, np.int32)}, "context.exponentials"),
        ({"context.input.table": np.full((6, 32), 1 << 24, np.int32)}, "float32 does not hold"),
        ({"quantizer.codebooks.3.vectors": None}, "not those of its settings"),
        ({"quantizer.codebooks.3.vectors": np.zeros((60, 16), np.float32)}, "float16"),
        ({"quantizer.codebooks.3.vectors": np.full((60, 16), np.nan, np.float16)}, "NaN or infinite"),
    ],
)
def test_damage_is_refused(path: Path, tensors: dict[str, Any], message: str) -> None:
    rewrite(path, tensors)
    with pytest.raises(CorruptFile, match=message):
        load(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [("{", CorruptFile), ("[]", CorruptFile), ("{}", ConfigError), (None, ConfigError)],
)
def test_damaged_settings_are_refused(path: Path, config: ContextConfig, text: str | None, error: type) -> None:
    rewrite(path, metadata={"context": text or json.dumps({**config.to_dict(), "width": 10**9})})
    with pytest.raises(error):
        load(path)


def test_no_model_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(CorruptFile):
        load(tmp_path / "x")
    with pytest.raises(CorruptFile):
        load(tmp_path / "absent")


def test_vectors_are_rounded_half_up_and_clipped() -> None:
    values = np.array([0.25, -0.25, 0.2, 1000, -1000], np.float16)
    assert whole_vectors(values, 1).tolist() == [1, 0, 0, 511, -511]


@pytest.mark.parametrize(("stages", "size"), [(1, 1024), (12, 1024), (16, 1024), (18, 1024), (32, 256)])
def test_sizes_that_fit(stages: int, size: int) -> None:
    config = ContextConfig.fitting(num_stages=stages, codebook_size=size, latent_dim=64, vector_shift=6)
    assert config.bytes <= MAX_BYTES
    assert config.bytes == sum(tensor.nbytes for tensor in tensors_of(config).values())
    assert config.hidden == 128 or config.bytes > 0.93 * MAX_BYTES


def test_sizes_out_of_range() -> None:
    with pytest.raises(ConfigError, match="codebook_size"):
        small_config(codebook_size=1 << 16)
    with pytest.raises(ConfigError, match="more than"):
        ContextConfig.fitting(num_stages=64, codebook_size=4096, latent_dim=64, vector_shift=6)
