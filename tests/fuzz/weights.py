"""Model files, files of quantizers and of priors through everything that reads them."""

from __future__ import annotations

import functools
import hashlib
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch

from vqcodec.errors import VqcodecError
from vqcodec.models import checkpoint, registry
from vqcodec.models.context import store as context_store
from vqcodec.models.prior import store as prior_store
from vqcodec.models.prior.config import KINDS, PriorConfig
from vqcodec.models.quantizers import store as quantizer_store
from vqcodec.models.quantizers.base import Quantizer
from vqcodec.models.quantizers.product import ProductQuantizer
from vqcodec.models.quantizers.scalar import ScalarQuantizer

from .bitstream import GOLDEN, codec
from .damaged_values import changed_number

_CHECKSUM = re.compile(rb'"sha256":"([0-9a-f]{64})"')


@functools.cache
def _path() -> Path:
    """A file for the input, on a disk in memory where there is one."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(dir=memory if memory.is_dir() else None)
    return Path(folder) / "weights.safetensors"


def seeds() -> list[bytes]:
    """A tiny model, one with a context model that does not fit it, one without a checksum, quantizers and priors."""
    path = _path()
    checkpoint.save(path, codec().model, {"steps": 1}, ["00" * 32], ["pesq_wb"])
    files = [path.read_bytes()]
    context = context_store.load(GOLDEN / "context.safetensors")
    assert context is not None
    context_store.attach(GOLDEN / "tiny.safetensors", path, context.config, context.tensors, force=True)
    files += [path.read_bytes(), (GOLDEN / "tiny.safetensors").read_bytes()]
    vectors = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    quantizers: list[Quantizer] = [ScalarQuantizer(bits=6), ProductQuantizer(num_books=2, codes_per_book=4)]
    for quantizer in quantizers:
        quantizer_store.save(path, quantizer.fit(vectors))
        files.append(path.read_bytes())
    for kind in KINDS:
        sizes = {"num_stages": 2, "codebook_size": 4, "width": 4, "layers": 1, "code_dim": 2}
        config = PriorConfig(kind=kind, fingerprint="0" * 64, frame_rate=50.0, speakers=("a",), **sizes)
        prior_store.save(path, prior_store.build(config), {"model": "x"}, force=True)
        files.append(path.read_bytes())
    return files


def check(data: bytes) -> None:
    """Describe and load."""
    path = _path()
    path.write_bytes(data)
    for read in (registry.describe, checkpoint.load, context_store.load, quantizer_store.load, prior_store.load):
        try:
            read(path)
        except VqcodecError as error:
            assert str(path) in str(error) and "\n" not in str(error)


def mutate(data: bytes, random: Random, change: Callable[[bytes], bytes]) -> bytes:
    """Damage header or tensors, and make the length of the header and the checksum right again."""
    end = 8 + int.from_bytes(data[:8], "little")
    header, tensors = data[8:end], data[end:]
    if random.random() < 0.5:
        header = changed_number(header, random)
    elif random.random() < 0.7:
        header = change(header)
    else:
        tensors = change(tensors)
    return _sealed(len(header).to_bytes(8, "little") + header, tensors)


def _sealed(start: bytes, tensors: bytes) -> bytes:
    found = _CHECKSUM.search(start)
    if found is None:
        return start + tensors
    before, after = start[: found.start(1)], start[found.end(1) :]
    digits = hashlib.sha256(before + b"0" * 64 + after + tensors).hexdigest().encode()
    return before + digits + after + tensors
