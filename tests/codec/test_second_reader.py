"""The package reads files as a second reader does, which was written from the documentation alone."""

from __future__ import annotations

import functools
from pathlib import Path
from random import Random
from typing import Any

import format_reader
import numpy as np
import pytest

from fuzz import bitstream as target
from fuzz import mutation
from vqcodec import Encoded, VqcodecError
from vqcodec.bitstream import KINDS

GOLDEN = Path(__file__).parents[1] / "golden"
VALID = [*(path.read_bytes() for path in sorted(GOLDEN.glob("*.vq"))), *target.seeds()]
CASES = 1000


@functools.cache
def context() -> Any:
    coder = target.codec().context
    assert coder is not None
    return format_reader.load_context(GOLDEN / "context.safetensors", coder.fingerprint)


def by_the_pages(data: bytes) -> tuple[Any, ...]:
    """What the second reader makes of a file: facts and codes, or the name of an error."""
    try:
        file = format_reader.read(data, context())
    except format_reader.Refused as refused:
        return (str(refused),)
    return file.samples, file.source_rate, file.codec_rate, file.hop, file.kind, file.fingerprint, file.codes()


def by_the_package(data: bytes) -> tuple[Any, ...]:
    """The same of the package."""
    try:
        encoded = Encoded.from_bytes(data, coder=target.codec().context)
    except VqcodecError as error:
        return (type(error).__name__,)
    h = encoded.header
    kind = {name: number for number, name in KINDS.items()}[h.kind]
    codes = np.asarray(encoded.codes).tolist()
    return h.num_samples, h.source_sample_rate, h.sample_rate, h.hop_length, kind, h.fingerprint.hex(), codes


@pytest.mark.parametrize("data", VALID, ids=range(len(VALID)))
def test_valid_files(data: bytes) -> None:
    read = by_the_pages(data)
    assert len(read) > 1
    assert read == by_the_package(data)


@pytest.mark.parametrize("coding", [0, 1, 2])
def test_random_files(coding: int) -> None:
    random = np.random.default_rng(coding)
    for _ in range(8):
        channels, stages, samples = (int(random.integers(1, high)) for high in (4, 5, 60))
        header = target.codec().header(samples, int(random.integers(1000, 48_000)), channels, stages, coding)
        frames = target.codec().config.num_frames(header.codec_samples(samples))
        counts = random.integers(0, stages + 1, (channels, 1, frames)) if coding else stages
        codes = random.integers(0, 60, (channels, stages, frames))
        codes = np.where(np.arange(stages)[:, None] < counts, codes, -1)
        data = Encoded(codes=codes, header=header).to_bytes(target.codec().context)
        assert by_the_pages(data)[-1] == codes.tolist()
        assert by_the_package(data) == by_the_pages(data)


def test_damaged_files() -> None:
    """Most of them with right checksums, so that damage gets to the codes."""
    random, seeds = Random(0), target.seeds()
    refused = 0
    for number in range(CASES):
        change = lambda data: mutation.changed(data, random, seeds)  # noqa: E731
        data = random.choice(seeds)
        data = target.mutate(data, random, change) if number % 4 else change(data)
        if len(data) > 7 and (data[7] > 4 or target.frames_of(data) > 200):  # beyond the context model; or too slow
            continue
        pages, package = by_the_pages(data), by_the_package(data)
        if {pages[0], package[0]} != {"ModelMismatch", "CorruptFile"}:  # a file may be both
            assert package == pages, data.hex()
        refused += len(pages) == 1
    assert CASES / 4 < refused < CASES
