"""Files of tensors: the same bytes for the same content, and a checksum that sees every change."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vqcodec import Codec
from vqcodec.errors import CorruptFile, VqcodecError
from vqcodec.models import checkpoint, registry, tensor_file
from vqcodec.models.context import store as context_store
from vqcodec.models.quantizers import store as quantizer_store
from vqcodec.models.quantizers.scalar import ScalarQuantizer

GOLDEN = Path(__file__).parents[1] / "golden"
TENSORS = {
    "b": np.arange(6, dtype=np.float16).reshape(2, 3),
    "a": np.array(7, np.int8),
    "wide": np.zeros((0, 5), np.float64),
    "c": np.array([1, -2], np.int32),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tiny model in a file with a checksum."""
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, checkpoint.load(GOLDEN / "tiny.safetensors"), {"steps": 1})
    return path


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(tensor_file.to_bytes(TENSORS, {"k": "é"}))
    with safe_open(path, framework="numpy") as file:
        read = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert metadata.pop("sha256") and metadata == {"k": "é"}
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype and read[name].shape == tensor.shape and (read[name] == tensor).all()


def test_the_order_makes_no_difference() -> None:
    facts = {str(number): "x" for number in range(20)}
    first = tensor_file.to_bytes(TENSORS, facts)
    again = tensor_file.to_bytes(dict(reversed(TENSORS.items())), dict(reversed(facts.items())))
    assert first == again


def test_saving_twice_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    for _ in range(8):
        checkpoint.save(model, checkpoint.load(model), {"steps": 1})
        assert model.read_bytes() == before
    context = context_store.load(GOLDEN / "context.safetensors")
    assert context is not None
    written = set()
    for number in range(4):
        path = tmp_path / f"{number}.safetensors"
        context_store.attach(model, path, context.config, context.tensors)
        written.add(path.read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize("name", ["encoder.blocks.0.contract.bias", "encoder.project_out.bias"])
def test_a_flipped_bit_in_the_encoder_is_found(model: Path, name: str) -> None:
    data = model.read_bytes()
    length = int.from_bytes(data[:8], "little")
    at = 8 + length + json.loads(data[8 : 8 + length])[name]["data_offsets"][0]
    model.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    with pytest.raises(CorruptFile, match="is damaged: its bytes do not match its checksum"):
        checkpoint.load(model)


def test_every_byte_of_the_file_counts(model: Path) -> None:
    """No change of a single byte goes unnoticed: not in the tensors, nor in their description."""
    data = model.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(0)
    places = [*rng.integers(0, header, 60), *rng.integers(header, len(data), 60), len(data) - 1]
    at = data.index(b'"sha256":"')
    for place in [*places, *range(at, at + 14)]:
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(7))
        model.write_bytes(changed)
        with pytest.raises(VqcodecError, match=r"model\.safetensors"):
            checkpoint.load(model)


def test_a_file_without_a_checksum_is_read_as_before(tmp_path: Path) -> None:
    with safe_open(GOLDEN / "tiny.safetensors", framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert tensor_file.CHECKSUM not in metadata
    assert registry.describe(GOLDEN / "tiny.safetensors").fingerprint == metadata["fingerprint"]
    save_file(tensors, tmp_path / "x.safetensors", {**metadata, "sha257": "0" * 64})
    with pytest.raises(CorruptFile, match="'sha257' in the metadata is unknown, and there is no checksum"):
        checkpoint.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", registry.names())
def test_shipped_models_have_a_checksum(name: str) -> None:
    with safe_open(registry.find(name), framework="numpy") as file:
        assert tensor_file.CHECKSUM in file.metadata()
    assert Codec.load(name, "cpu").config.name == name


def test_a_context_model_is_covered(tmp_path: Path) -> None:
    path, context = tmp_path / "x.safetensors", context_store.load(GOLDEN / "context.safetensors")
    assert context is not None
    context_store.attach(GOLDEN / "tiny.safetensors", path, context.config, context.tensors)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # int8 stands last
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match="checksum"):
        context_store.load(path)


def test_a_quantizer_is_covered(tmp_path: Path) -> None:
    path = tmp_path / "q.safetensors"
    quantizer = ScalarQuantizer(bits=6).fit(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)))
    quantizer_store.save(path, quantizer)
    data = path.read_bytes()
    quantizer_store.save(path, quantizer_store.load(path))
    assert path.read_bytes() == data
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CorruptFile, match="checksum"):
        quantizer_store.load(path)


def test_a_header_of_any_length_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((tensor_file.MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
    with path.open("r+b") as file:
        file.truncate(tensor_file.MAX_HEADER_BYTES + 1000)
    for read in (checkpoint.load, registry.describe, context_store.load, quantizer_store.load):
        with pytest.raises(CorruptFile, match="a header of 8388609 bytes"):
            read(path)
