"""A second reader of `.vq` files, written from docs/FORMAT.md and docs/CONTEXT.md alone, in plain Python.

It shares nothing with the package's own reader, so that both understand the pages in the same way, or a test fails.
"""

from __future__ import annotations

import binascii
import itertools
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from context_reference import Reference
from safetensors import safe_open

Codes = list[list[list[int | None]]]
"""[channel][stage][frame]; None where a frame has fewer stages."""


class Refused(Exception):
    """A file is refused; the text is the error that the page's table of errors names."""


@dataclass
class File:
    """What a file says."""

    channels: int
    stages: int
    bits: int
    hop: int
    coding: int
    kind: int
    fingerprint: str
    codec_rate: int
    source_rate: int
    samples: int | None
    packets: list[Codes] = field(default_factory=list)

    def codes(self) -> list[list[list[int]]]:
        """Join the codes of all packets, -1 for those that frames do not have."""
        return [
            [
                [-1 if code is None else code for packet in self.packets for code in packet[c][s]]
                for s in range(self.stages)
            ]
            for c in range(self.channels)
        ]


def read(data: bytes, context: Any = None) -> File:
    """Read a whole file. `context`: what `load_context` returned, for payload coding 2."""
    file = _header(data)
    if file.coding > 2:
        raise Refused("UnsupportedVersion")
    place, frames = 32, 0
    while True:
        head = data[place : place + 10]
        _need(len(head) == 10)
        count, length, crc = (int.from_bytes(head[a:b], "little") for a, b in ((0, 2), (2, 6), (6, 10)))
        _need(_may_be(file, count, length))
        payload = data[place + 10 : place + 10 + length]
        _need(len(payload) == length)
        _need(zlib.crc32(head[:6] + payload) == crc)
        place += 10 + length
        if count == 0:
            break
        file.packets.append(_codes(file, payload, count, context))
        frames += count
    _finish(file, int.from_bytes(payload, "little"), frames)
    _need(place == len(data))
    return file


def _header(data: bytes) -> File:
    if not data or data[:3] != b"VQC"[: len(data)]:
        raise Refused("NotVqcodecFile")
    if len(data) > 3 and data[3] != 1:
        raise Refused("UnsupportedVersion")
    _need(len(data) >= 32)
    _need(binascii.crc_hqx(data[:30], 0xFFFF) == int.from_bytes(data[30:32], "little"))
    if data[5] >> 4 > 5:
        raise Refused("UnsupportedVersion")
    samples = int.from_bytes(data[25:30], "little")
    file = File(
        channels=data[6],
        stages=data[7],
        bits=data[8],
        hop=int.from_bytes(data[9:11], "little"),
        coding=data[5] & 15,
        kind=data[5] >> 4,
        fingerprint=data[11:19].hex(),
        codec_rate=int.from_bytes(data[19:22], "little"),
        source_rate=int.from_bytes(data[22:25], "little"),
        samples=None if samples == 2**40 - 1 else samples,
    )
    _need(file.channels >= 1 and file.stages >= 1 and 1 <= file.bits <= 16 and file.hop >= 1 and file.codec_rate >= 1)
    _need(1000 <= file.source_rate <= 768_000 and file.source_rate * file.channels <= 2**24)
    return file


def _may_be(file: File, frames: int, length: int) -> bool:
    """Whether a packet may have so many frames and a payload of this length."""
    if frames == 0:
        return length == 5
    codes = frames * file.channels * file.stages
    plain = -(-codes * file.bits // 8)
    if file.coding == 0:
        return length == plain
    return length <= 2 * plain + 64 and codes <= 2**21


def _finish(file: File, samples: int, frames: int) -> None:
    """The end packet: does it contradict the header, or count more samples than the frames hold?"""
    _need(samples <= 2**40 - 2)
    _need(file.samples in (None, samples))
    _need(-(-samples * file.codec_rate // file.source_rate) <= frames * file.hop)
    file.samples = samples


def _codes(file: File, payload: bytes, frames: int, context: Any) -> Codes:
    if file.coding == 0:
        everything = [[file.stages] * frames for _ in range(file.channels)]
        return _unpacked(file, payload, everything)
    if file.coding == 1:
        _need(len(payload) >= 2)
        end = 2 + int.from_bytes(payload[:2], "little")
        _need(len(payload) >= end)
        return _unpacked(file, payload[end:], _counts(payload[2:end], file.channels, frames, file.stages))
    _need(len(payload) >= 2)
    if payload[:2] != bytes.fromhex(context.fingerprint)[:2]:
        raise Refused("ModelMismatch")
    return _in_context(file, payload[2:], frames, context)


def _unpacked(file: File, packed: bytes, counts: list[list[int]]) -> Codes:
    codes: Codes = [[[None] * len(row) for _ in range(file.stages)] for row in counts]
    total = file.bits * sum(map(sum, counts))
    _need(len(packed) == -(-total // 8))
    bits = f"{int.from_bytes(packed, 'big'):0{8 * len(packed)}b}" if packed else ""
    _need("1" not in bits[total:])
    place = 0
    for stage in range(file.stages):
        for channel, row in enumerate(counts):
            for frame, count in enumerate(row):
                if stage < count:
                    codes[channel][stage][frame] = int(bits[place : place + file.bits], 2)
                    place += file.bits
    return codes


class _Symbols:
    """The range coder of docs/CONTEXT.md."""

    def __init__(self, data: bytes) -> None:
        self.sound = data[:1] not in (b"", b"\0")
        data = b"\0" * (len(data) % 2) + data
        self.words = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)][::-1]
        self.x = 0
        for _ in range(3):
            self._refill()

    def take(self, shares: list[int]) -> int:
        """The next symbol, all symbols having so many shares."""
        share, first, symbol = self.x % 65536, 0, 0
        while first + shares[symbol] <= share:
            first, symbol = first + shares[symbol], symbol + 1
        self.x = shares[symbol] * (self.x // 65536) + share - first
        self._refill()
        return symbol

    def finish(self) -> None:
        _need(self.sound and not self.words and self.x == 256)

    def _refill(self) -> None:
        if self.x < 2**32 and self.words:
            self.x = self.x * 65536 + self.words.pop()


def _counts(data: bytes, channels: int, frames: int, stages: int) -> list[list[int]]:
    symbols, counts = _Symbols(data), []
    weights = [[1 + 24 // (1 + abs(b - c)) for c in range(stages + 1)] for b in range(stages + 1)]
    for _ in range(channels):
        row, before = [], stages
        for _ in range(frames):
            w = weights[before]
            ends = [sum(w[:c]) * 65536 // sum(w) for c in range(stages + 2)]
            count = symbols.take([end - begin for begin, end in itertools.pairwise(ends)])
            w[count] += 24
            if sum(w) > 8192:
                w[:] = [(x + 1) // 2 for x in w]
            row.append(count)
            before = count
        counts.append(row)
    symbols.finish()
    return counts


def _in_context(file: File, data: bytes, frames: int, context: Any) -> Codes:
    symbols, networks = _Symbols(data), [Reference(context) for _ in range(file.channels)]
    codes: Codes = [[[None] * frames for _ in range(file.stages)] for _ in networks]
    nothing = np.zeros(context.config.latent_dim, np.int64)
    sums, heads = [nothing] * file.channels, [nothing] * file.channels
    before = [context.config.num_stages + 1] * file.channels
    for frame in range(frames):
        x = [
            n.trunk(np.concatenate(s).clip(-511, 511), b)
            for n, *s, b in zip(networks, sums, heads, before, strict=True)
        ]
        before = [symbols.take(n.count_shares(y, file.stages).tolist()) for n, y in zip(networks, x, strict=True)]
        sums, heads = [nothing] * file.channels, [nothing] * file.channels
        for stage in range(max(before)):
            for channel, count in enumerate(before):
                if stage >= count:
                    continue
                shares = networks[channel].code_shares(stage, x[channel], count, sums[channel].clip(-511, 511))
                code = symbols.take(shares.tolist())
                codes[channel][stage][frame] = code
                sums[channel] = sums[channel] + context.vectors[stage][code]
                if stage < 2:
                    heads[channel] = sums[channel]
    symbols.finish()
    return codes


def load_context(path: Path, fingerprint: str) -> Any:
    """Read the context model of a model file, as docs/CONTEXT.md lays it out."""
    with safe_open(path, "numpy") as stored:
        config = SimpleNamespace(**json.loads(stored.metadata()["context"]))
        tensors = {name[8:]: stored.get_tensor(name) for name in stored.keys() if name.startswith("context.")}  # noqa: SIM118
        books = [stored.get_tensor(f"quantizer.codebooks.{stage}.vectors") for stage in range(config.num_stages)]
    whole = np.floor(np.stack(books).astype(np.float64) * 2**config.vector_shift + 0.5).clip(-511, 511)
    return SimpleNamespace(config=config, tensors=tensors, vectors=whole.astype(np.int64), fingerprint=fingerprint)


def _need(fine: bool) -> None:
    if not fine:
        raise Refused("CorruptFile")
