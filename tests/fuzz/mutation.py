"""Random damage to bytes, where no coverage guides it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_TELLING = (0, 1, 0x7F, 0x80, 0xFF)
_LONGEST_RUN = 64


def changed(data: bytes, random: Random, others: list[bytes]) -> bytes:
    """Damage data in one to four places; `others` are inputs of which parts may be taken."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        data = random.choice(_WAYS)(data, random, others)
    return data


def _flip(data: bytes, random: Random, others: list[bytes]) -> bytes:
    bit = 1 << random.randrange(8)
    return _with_byte(data, random, lambda byte: byte ^ bit)


def _set(data: bytes, random: Random, others: list[bytes]) -> bytes:
    value = random.choice((random.randrange(256), random.choice(_TELLING)))
    return _with_byte(data, random, lambda _: value)


def _step(data: bytes, random: Random, others: list[bytes]) -> bytes:
    step = random.choice((-1, 1))
    return _with_byte(data, random, lambda byte: byte + step & 0xFF)


def _with_byte(data: bytes, random: Random, new: Callable[[int], int]) -> bytes:
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes([new(data[place])]) + data[place + 1 :]


def _fill(data: bytes, random: Random, others: list[bytes]) -> bytes:
    start, end = _run(data, random)
    return data[:start] + bytes([random.choice(_TELLING)]) * (end - start) + data[end:]


def _leave_out(data: bytes, random: Random, others: list[bytes]) -> bytes:
    start, end = _run(data, random)
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random, others: list[bytes]) -> bytes:
    start, end = _run(data, random)
    return data[:end] + data[start:]


def _insert(data: bytes, random: Random, others: list[bytes]) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + random.randbytes(random.choice((1, 2, 5))) + data[place:]


def _cut(data: bytes, random: Random, others: list[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _splice(data: bytes, random: Random, others: list[bytes]) -> bytes:
    other = random.choice(others)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _run(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.randrange(1, _LONGEST_RUN))


_WAYS = (_flip, _flip, _set, _set, _step, _fill, _leave_out, _repeat, _insert, _cut, _splice)
