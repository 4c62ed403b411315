"""What is in a `.vq` file whose bitrate varies: rate over time, bits by stage. Needs no codec model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bitstream import Header
from .payloads.codings import Codes, Coding
from .payloads.plain import ABSENT


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """Bits and stages of a file, all channels together; heads of packets and header not counted."""

    stages_mean: float
    """Codes per frame and channel."""
    sent: NDArray[np.int64]
    """Codes of each stage [stage]"""
    stage_bits: NDArray[np.float64]
    """Bits that they take, of each stage [stage]"""
    count_bits: float
    """Bits that the numbers of stages of the frames take."""
    plain_bytes: int
    """Bytes of the same codes, plainly packed."""
    bps: NDArray[np.float64]
    """Bits per second, for each second [second]; the last may be incomplete."""

    @property
    def peak_bps(self) -> float:
        """Bits of the second that has most."""
        return float(self.bps.max(initial=0.0))


def contents_of(packets: Iterable[Codes], coding: Coding, header: Header) -> Contents:
    """Count the bits of the codes [channel, stage, frame] of packets."""
    sent, bits, by_frame = np.zeros(header.stages, np.int64), np.zeros(1 + header.stages), []
    frames = 0
    for codes in packets:
        costs = coding.costs(codes)
        sent += (codes != ABSENT).sum((0, 2))
        bits += costs.sum((0, 2))
        by_frame.append(costs.sum((0, 1)))
        frames += codes.shape[-1]
    return Contents(
        stages_mean=float(sent.sum() / max(1, frames * header.channels)),
        sent=sent,
        stage_bits=bits[1:],
        count_bits=float(bits[0]),
        plain_bytes=-(-int(sent.sum()) * header.bits_per_code // 8),
        bps=_by_second(np.concatenate([np.zeros(0), *by_frame]), header.frame_rate),
    )


def _by_second(bits: NDArray[np.float64], frame_rate: float) -> NDArray[np.float64]:
    """Bits of frames [frame] -> of each second [second]."""
    second = (np.arange(len(bits)) / frame_rate).astype(np.int64)
    return np.bincount(second, weights=bits).astype(np.float64)
