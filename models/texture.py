"""Noise for a decoder that samples: a counter-based generator, and the distribution that coefficients are drawn from.

A draw depends on the number of its frame in the stream, on the number of its coefficient and on a key, and on nothing
else. So a stream sounds the same to the bit however it is cut into blocks, on any number of threads and on any device,
and no pattern comes again within 2^32 frames. Counter-based generators: Salmon et al. 2011, "Parallel random numbers:
as easy as 1, 2, 3". All arithmetic is on integers below 2^63.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TABLE_BITS = 12
"""Draws are looked up in a table of 2^12 values."""

_MASK = 0xFFFFFFFF
_BIN_STEP = 0x9E3779B9
"""2^32 over the golden ratio: neighbouring coefficients begin far apart."""


def draws(table: Tensor, keys: Tensor, first_frame: int | Tensor, frames: int, bins: int) -> Tensor:
    """Draws from a table at random [key, bin, frame].

    Args:
        table: values, all as likely [2^TABLE_BITS]; see `partial_table`.
        keys: whole numbers below 2^31, int64 [key]: each is a stream of noise of its own. Its device is the result's.
        first_frame: number of the first frame in the stream; a tensor [] in a graph that is traced.
        frames: how many.
        bins: coefficients in a frame.
    """
    return table[_hashes(keys, first_frame, frames, bins) >> (32 - TABLE_BITS)]


def uniforms(key: int, first: int, count: int, each: int) -> Tensor:
    """Numbers between 0 and 1, all as likely, float64 [count, each]: some for each sample, from number `first` on.

    As `draws`, with samples for frames and (hash + 1/2) / 2^32 for what a table has.
    """
    hashes = _hashes(torch.tensor([key]), first, count, each)[0].T
    return (hashes.double() + 0.5) / (1 << 32)


def _hashes(keys: Tensor, first_frame: int | Tensor, frames: int, bins: int) -> Tensor:
    """Numbers below 2^32 that look like chance [key, bin, frame]; arguments as of `draws`."""
    device = keys.device
    frame = first_frame + torch.arange(frames, device=device)
    frame_hash = _mix((_mix(keys)[:, None] + frame) & _MASK)  # [key, frame]
    offset = torch.arange(bins, device=device)[:, None] * _BIN_STEP
    return _mix((frame_hash[:, None] + offset) & _MASK)


def partial_table() -> Tensor:
    """sign(cos t) |cos t|^0.3 for t all round the circle [2^12]: the compressed coefficients of a partial of any phase.

    In units of 2^-14, so that the values are the same on every machine.
    """
    phase = 2 * math.pi * (torch.arange(1 << TABLE_BITS, dtype=torch.float64) + 0.5) / (1 << TABLE_BITS)
    values = phase.cos().sign() * phase.cos().abs().pow(0.3)
    return ((values * (1 << 14)).round() / (1 << 14)).float()


def _mix(x: Tensor) -> Tensor:
    """A permutation of the numbers below 2^32 that looks like chance (multiply and xor-shift)."""
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & _MASK
    x = ((x ^ (x >> 15)) * 0x7FEB352D) & _MASK
    return x ^ (x >> 15)
