"""What all kinds of priors have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcodec.errors import ConfigError

from .config import PriorConfig
from .slots import NONE, Slots, arrange


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """What codes are predicted from, beside those before them."""

    speakers: Tensor | None = None
    """Numbers of the speakers, 0 if unknown and 1 for the first one, int64 [item]"""
    characters: Tensor | None = None
    """Numbers of characters, 0 where there is none and 1 for the first one, int64 [item, character]"""
    given: Tensor | None = None
    """Codes of the stages before the first one, int64 [item, stage, frame]"""


class Session(ABC):
    """Codes of several items, predicted one after the other."""

    @abstractmethod
    def read(self, codes: Tensor, place: int) -> None:
        """Go to a place, and take in frames from there on; the one behind them is next.

        Args:
            codes: int64 [item, stage, frame], any number of frames.
            place: of the first frame.
        """

    @abstractmethod
    def logits(self, begun: Tensor) -> Tensor:
        """Logits of the next code [item, code], from the codes that its frame has so far, int64 [item, stage]."""

    @abstractmethod
    def push(self, codes: Tensor) -> None:
        """Take in a frame int64 [item, stage]; the one behind it is next."""


class Prior(nn.Module, ABC):
    """A network that predicts codes.

    Args:
        config: the sizes.
    """

    can_infill = False
    """Whether the codes of a gap can be predicted from both sides."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, slots: Slots, condition: Condition) -> Tensor:
        """Logits of all codes: [item, slot, stage, code]."""

    @abstractmethod
    def begin(self, items: int, condition: Condition, cached: bool = True) -> Session:
        """Begin to predict the codes of several items.

        Args:
            items: how many.
            condition: as in `forward`.
            cached: keep what was computed; otherwise compute everything anew for each code, to the same effect.
        """

    @abstractmethod
    def begin_with(self, vectors: Tensor | None, counts: Tensor) -> None:
        """Start from what is known before any training.

        Args:
            vectors: code vectors of the codec [stage, code, dim], if it has such.
            counts: how often each code is used [stage, code], nowhere 0.
        """

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    def check(self, condition: Condition) -> None:
        """Refuse a condition that the prior does not know, or lacks.

        Raises:
            ConfigError: the message says which.
        """
        if condition.speakers is not None and not self.config.speakers:
            raise ConfigError("the prior was not trained with speakers")
        if condition.characters is not None and not self.config.characters:
            raise ConfigError("the prior was not trained with texts")
        stages = 0 if condition.given is None else condition.given.shape[1]
        if stages != self.config.first_stage:
            raise ConfigError(f"the prior is given the codes of {self.config.first_stage} stages, not of {stages}")

    def bits(self, codes: Tensor, condition: Condition, gap: tuple[int, int] | None = None) -> Tensor:
        """Bits of each code, -log2 of its probability: int64 [item, stage, frame] -> float32 of the same shape.

        Args:
            codes: the codes, at most `context_frames` frames.
            condition: what they are predicted from.
            gap: frames that are predicted last, as in `slots.arrange`.
        """
        slots = arrange(codes, gap)
        return bits_of(self(slots, condition), slots)[..., slots.order]


def bits_of(logits: Tensor, slots: Slots) -> Tensor:
    """Bits of the codes of slots [item, stage, slot], 0 where there are none, from logits [item, slot, stage, code]."""
    targets = slots.targets.transpose(1, 2)
    losses = F.cross_entropy(logits.float().flatten(0, 2), targets.flatten(), ignore_index=NONE, reduction="none")
    return losses.view(targets.shape).transpose(1, 2) / math.log(2)


def speaker_numbers(config: PriorConfig, names: Sequence[str]) -> Tensor:
    """Number the speakers of items [item].

    Raises:
        ConfigError: the prior does not know one of them, or was not trained with speakers.
    """
    if not config.speakers:
        raise ConfigError("the prior was not trained with speakers")
    known = {name: number for number, name in enumerate(config.speakers, 1)}
    unknown = [name for name in names if name not in known]
    if unknown:
        some = ", ".join(config.speakers[:3])
        raise ConfigError(f"the prior does not know the speaker {unknown[0]!r}; it knows {len(known)}, such as {some}")
    return torch.tensor([known[name] for name in names])


def character_numbers(config: PriorConfig, texts: Sequence[str]) -> Tensor:
    """Number the characters of texts [item, character]; those that the prior does not know are left out."""
    known = {character: number for number, character in enumerate(config.characters, 1)}
    rows = [[known[one] for one in text.lower() if one in known] for text in texts]
    longest = max(map(len, rows), default=0)
    return torch.tensor([[0] * (longest - len(row)) + row for row in rows], dtype=torch.int64)
