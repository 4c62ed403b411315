"""Bits that codes cost: under a prior, by how often each code is used, and in files with a context model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec import Codec
from vqcodec.models.prior.base import Condition, Prior, bits_of
from vqcodec.models.prior.slots import arrange
from vqcodec.payloads.context import ContextCoder

from .batches import batch_of
from .corpus import Corpus, Recording

_AT_ONCE = 4
_MOST_WINDOWS = 128
_PACKET_FRAMES = 250
_UNSEEN = 1.0  # uses that every code is given beside its real ones


@dataclass(frozen=True, kw_only=True)
class Bits:
    """What codes cost."""

    label: str
    stages: tuple[float, ...]
    """Mean bits of a code of each stage; of a single number, of a code of any stage."""
    codes_per_s: float

    @property
    def code(self) -> float:
        """Mean bits of a code."""
        return float(np.mean(self.stages))

    @property
    def second(self) -> float:
        """Bits a second."""
        return self.code * self.codes_per_s


@torch.no_grad()
def of_prior(prior: Prior, corpus: Corpus, label: str = "prior") -> Bits:
    """Measure what codes cost under a prior, in stretches as long as its context, with all that it knows of them."""
    sums, count = np.zeros(prior.config.num_stages), 0
    crops = list(_stretches(prior, corpus))
    prior.eval()
    for begin in range(0, len(crops), _AT_ONCE):
        batch = batch_of(prior.config, crops[begin : begin + _AT_ONCE]).to(prior.device)
        slots = arrange(batch.codes)
        sums += bits_of(prior(slots, batch.condition), slots).sum((0, 2)).cpu().numpy()
        count += int((batch.codes[:, 0] >= 0).sum())
    return Bits(label=label, stages=tuple((sums / count).tolist()), codes_per_s=_codes_per_s(prior))


def of_counts(taught: Corpus, held: Corpus, first: int, frame_rate: float) -> Bits:
    """Order 0: what codes cost by how often each is used in the codes that were learnt from."""
    size = 1 + max(int(taught.codes.max()), int(held.codes.max()))
    means = []
    for own, other in zip(taught.codes[first:], held.codes[first:], strict=True):
        counts = np.bincount(own, minlength=size) + _UNSEEN
        means.append(float(-np.log2(counts / counts.sum())[other].mean()))
    return Bits(label="order 0", stages=tuple(means), codes_per_s=frame_rate * len(means))


def of_context(coder: ContextCoder, held: Corpus, frame_rate: float, most_frames: int) -> Bits:
    """Count the bytes of codes that a context model has coded, in packets of 5 s, all that a packet needs included."""
    stages, frames = len(held.codes), min(_PACKET_FRAMES, held.frames)
    starts = range(0, min(held.frames, most_frames) - frames + 1, frames)
    packets = [held.codes[None, :, start : start + frames].astype(np.int64) for start in starts]
    counts = np.full((1, frames), stages)
    payloads = coder.encode([(packet, counts) for packet in packets])
    bits = 8 * sum(map(len, payloads)) / (len(packets) * frames * stages)
    return Bits(label="context model", stages=(bits,), codes_per_s=frame_rate * stages)


@torch.no_grad()
def of_recording(prior: Prior, codes: Tensor, condition: Condition) -> Tensor:
    """Compute the bits of each code of a recording of any length.

    Each code is predicted from as many frames before it as half a context has, at least, or from all there are.

    Args:
        prior: in evaluation mode.
        codes: int64 [stage, frame].
        condition: what they are predicted from.

    Returns:
        float32 [stage, frame]; the sum over all is -log2 of the probability of the recording.
    """
    half, frames = max(1, prior.config.context_frames // 2), codes.shape[-1]
    parts: list[Tensor] = []
    for start in range(0, max(1, frames - half), half):
        stretch = codes[None, :, start : start + 2 * half]
        bits = prior.bits(stretch, condition)[0]
        parts.append(bits if start == 0 else bits[:, half:])
    return torch.cat(parts, -1)


def compared(prior: Prior, taught: Corpus, held: Corpus, codec: Codec) -> Iterator[Bits]:
    """Measure held-out codes under the prior, at order 0, and, where they can be compared, by the context model."""
    config = prior.config
    frames = min(held.frames, _MOST_WINDOWS * config.context_frames)
    yield of_counts(taught, held, config.first_stage, config.frame_rate)
    if codec.context is not None and config.first_stage == 0:
        yield of_context(codec.context, held, config.frame_rate, frames)
    yield of_prior(prior, held, config.kind)


def _stretches(prior: Prior, corpus: Corpus) -> Iterator[tuple[Recording, NDArray[np.uint16]]]:
    """Stretches of the joined recordings; of a prior that reads texts, the beginnings of recordings."""
    frames = prior.config.context_frames
    if prior.config.characters:
        yield from ((one, one.codes[:, :frames]) for one in corpus.recordings[:_MOST_WINDOWS])
        return
    length = min(frames, corpus.frames)
    for start in range(0, corpus.frames - length + 1, length)[:_MOST_WINDOWS]:
        yield corpus.at(start), corpus.codes[:, start : start + length]


def _codes_per_s(prior: Prior) -> float:
    return prior.config.frame_rate * prior.config.num_stages


def log_likelihood(bits: Tensor) -> float:
    """The natural logarithm of the probability of codes, from their bits."""
    return -float(bits.double().sum()) * math.log(2)
