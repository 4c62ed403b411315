"""Crops of a corpus, all that is random in them coming from (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.models.prior.base import Condition, character_numbers, speaker_numbers
from vqcodec.models.prior.config import PriorConfig
from vqcodec.models.prior.slots import NONE

from .corpus import Corpus, Recording

_UNKNOWN_SHARE = 0.1
"""Of the items, whose speaker, or whose text, is kept from the prior."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Codes to be predicted, and what from."""

    codes: Tensor
    """int64 [item, stage, frame], `NONE` behind the end of an item"""
    condition: Condition

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        condition = Condition(
            speakers=_moved(self.condition.speakers, device),
            characters=_moved(self.condition.characters, device),
            given=_moved(self.condition.given, device),
        )
        return Batch(self.codes.to(device), condition)


class Batches:
    """Draws crops for a prior.

    Args:
        config: of the prior.
        corpus: to draw from.
        items: of a batch.
        seed: of all that is random.
    """

    def __init__(self, config: PriorConfig, corpus: Corpus, items: int, seed: int) -> None:
        self._config, self._corpus, self._items, self._seed = config, corpus, items, seed

    def at(self, step: int) -> Batch:
        """Draw the batch of a step."""
        random = np.random.default_rng((self._seed, step))
        drawn = [self._crop(random) for _ in range(self._items)]
        return batch_of(self._config, drawn, random)

    def gap(self, step: int, share: float) -> tuple[int, int] | None:
        """Draw a gap of the batch of a step; None in all but a share of the steps."""
        random = np.random.default_rng((self._seed, step, 1))
        if random.random() >= share:
            return None
        frames = self._config.context_frames
        length = int(random.integers(1, frames // 2 + 1))
        start = int(random.integers(0, frames - length + 1))
        return start, start + length

    def _crop(self, random: np.random.Generator) -> tuple[Recording, NDArray[np.uint16]]:
        """A crop of the joined recordings, and the one that it begins in; with a text, the beginning of a recording."""
        frames = self._config.context_frames
        if self._config.characters:
            recording = self._corpus.recordings[int(random.integers(len(self._corpus.recordings)))]
            return recording, recording.codes[:, :frames]
        start = int(random.integers(max(1, self._corpus.frames - frames + 1)))
        return self._corpus.at(start), self._corpus.codes[:, start : start + frames]


def batch_of(
    config: PriorConfig,
    crops: list[tuple[Recording, NDArray[np.uint16]]],
    random: np.random.Generator | None = None,
) -> Batch:
    """Put crops side by side.

    Args:
        config: of the prior.
        crops: recordings and codes of all stages up to the last one predicted [stage, frame].
        random: keeps speakers and texts of some from the prior; None for none of them.
    """
    unknown = np.zeros(len(crops), bool) if random is None else random.random(len(crops)) < _UNKNOWN_SHARE
    codes = _padded([crop for _, crop in crops], config.context_frames)
    speakers = characters = None
    if config.speakers:
        known = set(config.speakers)
        names = [recording.speaker for recording, _ in crops]
        numbers = [speaker_numbers(config, [name]) if name in known else torch.zeros(1).long() for name in names]
        speakers = torch.cat(numbers) * torch.from_numpy(~unknown)
    if config.characters:
        texts = ["" if left_out else recording.text for (recording, _), left_out in zip(crops, unknown, strict=True)]
        characters = character_numbers(config, texts)
    first = config.first_stage
    given = codes[:, :first].clamp_min(0) if first else None
    return Batch(codes[:, first:], Condition(speakers=speakers, characters=characters, given=given))


def _padded(crops: list[NDArray[np.uint16]], most: int) -> Tensor:
    frames = min(most, max(crop.shape[1] for crop in crops))
    padded = np.full((len(crops), len(crops[0]), frames), NONE, np.int64)
    for row, crop in zip(padded, crops, strict=True):
        row[:, : crop.shape[1]] = crop[:, :frames]
    return torch.from_numpy(padded)


def _moved(values: Tensor | None, device: torch.device) -> Tensor | None:
    return None if values is None else values.to(device)
