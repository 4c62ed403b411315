"""Codes <-> the payload bytes of a packet, plainly packed: payload coding 0 of those in `codings`.

Plain packing writes every code in `bits` bits, most significant bit first, in the order stage,
channel, frame (the stage varies slowest), without gaps. Bits left over in the last byte are zero:

    stage 0                      stage 1
    channel 0      channel 1     channel 0      channel 1
    f0 f1 f2 ...   f0 f1 f2 ...  f0 f1 f2 ...   f0 f1 f2 ...  0000

A prefix of the stages is thus a prefix of the bits, which is what makes peeling possible.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptFile

MAX_BITS = 16
PLAIN = 0

ABSENT = -1
"""Stands in the place of a code that is not sent, in the last stages of frames that have fewer than others."""


def payload_bytes(*, channels: int, stages: int, frames: int, bits: int) -> int:
    """Length in bytes of a plainly packed payload."""
    return (channels * stages * frames * bits + 7) // 8


def pack(codes: NDArray[np.integer[Any]], bits: int) -> bytes:
    """Pack codes `[channel, stage, frame]`, each in [0, 2**bits), with `bits` bits a code.

    Raises ValueError if the codes do not have three axes, are not integers or need more bits.
    """
    _check_bits(bits)
    codes = np.asarray(codes)
    if codes.ndim != 3 or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes must be integers [channel, stage, frame], not {codes.dtype} {codes.shape}")
    if codes.size and (codes.min() < 0 or codes.max() >= 1 << bits):
        raise ValueError(f"codes from {codes.min()} to {codes.max()} do not fit in {bits} bits")
    words = codes.transpose(1, 0, 2).astype(">u2").reshape(-1, 1).view(np.uint8)  # [code, 2]
    bit_rows = np.unpackbits(words, axis=1)[:, MAX_BITS - bits :]  # [code, bits]
    return np.packbits(bit_rows).tobytes()


def unpack(payload: bytes, *, channels: int, stages: int, frames: int, bits: int) -> NDArray[np.int64]:
    """Mirror of `pack`: the codes `[channel, stage, frame]` of a plainly packed payload.

    Raises CorruptFile if the payload has another length or its padding bits are not zero.
    """
    _check_bits(bits)
    expected = payload_bytes(channels=channels, stages=stages, frames=frames, bits=bits)
    if len(payload) != expected:
        raise CorruptFile(f"a payload of {frames} frames has {len(payload)} bytes instead of {expected}")
    count = channels * stages * frames
    stream = np.unpackbits(np.frombuffer(payload, np.uint8))
    if stream[count * bits :].any():
        raise CorruptFile("the padding bits at the end of a payload are not zero")
    bit_rows = np.zeros((count, MAX_BITS), np.uint8)  # [code, 16]
    bit_rows[:, MAX_BITS - bits :] = stream[: count * bits].reshape(count, bits)
    words = np.packbits(bit_rows, axis=1).view(">u2")  # [code, 1]
    by_stage = words.reshape(stages, channels, frames)
    return by_stage.transpose(1, 0, 2).astype(np.int64, order="C")


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"bits per code must be 1 to {MAX_BITS}, not {bits}")
