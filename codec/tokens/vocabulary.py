"""Numbers of tokens: codes of several stages and special tokens in one vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary of codes, in which every stage has numbers of its own, and of special tokens behind or before them.

    Raises:
        ConfigError: a size is below 1, the offset below 0, or a special token is named twice.
    """

    codebook_size: int
    """Values that a code can take."""
    num_stages: int
    """Stages whose codes it holds."""
    specials: tuple[str, ...] = ("pad", "begin", "end", "mask")
    """Names of special tokens; they come before all codes."""
    offset: int = 0
    """Number of the first token: the size of a text vocabulary that this one is put behind."""

    def __post_init__(self) -> None:
        if self.codebook_size < 1 or self.num_stages < 1 or self.offset < 0:
            raise ConfigError("a vocabulary has at least one code and one stage, and no negative offset")
        if len(set(self.specials)) < len(self.specials):
            raise ConfigError(f"special tokens have different names, not {', '.join(self.specials)}")

    def __len__(self) -> int:
        return len(self.specials) + self.num_stages * self.codebook_size

    def special(self, name: str) -> int:
        """Number of a special token.

        Raises:
            ConfigError: there is none of this name.
        """
        if name not in self.specials:
            raise ConfigError(f"there is no special token {name!r}, only {', '.join(self.specials)}")
        return self.offset + self.specials.index(name)

    def encode(self, codes: Tensor) -> Tensor:
        """Numbers of codes [..., stage, frame], of the first stages or all; -1, a code that is not sent, becomes "pad".

        Returns:
            int64 of the same shape.

        Raises:
            ConfigError: a code or the number of stages does not fit, or -1 has no "pad" to become.
        """
        stages = codes.shape[-2] if codes.ndim > 1 else 0
        if not 1 <= stages <= self.num_stages:
            raise ConfigError(f"codes of 1 to {self.num_stages} stages have numbers, not {list(codes.shape)}")
        if codes.numel() and not (codes.min() >= -1 and codes.max() < self.codebook_size):
            raise ConfigError(f"codes lie from -1 to {self.codebook_size - 1}, not {codes.min()} to {codes.max()}")
        first = self._first + torch.arange(stages, device=codes.device)[:, None] * self.codebook_size
        if "pad" not in self.specials and (codes < 0).any():
            raise ConfigError('codes that are not sent need a special token "pad"')
        return torch.where(codes < 0, self.special("pad") if (codes < 0).any() else 0, first + codes)

    def decode(self, tokens: Tensor) -> Tensor:
        """The inverse of `encode`: tokens [..., stage, frame] -> codes int64, -1 where no code of that stage stands."""
        stages = torch.arange(tokens.shape[-2], device=tokens.device)[:, None]
        codes = tokens.long() - self._first - stages * self.codebook_size
        return torch.where((codes >= 0) & (codes < self.codebook_size), codes, -1)

    def allowed(self, stage: int) -> slice:
        """Tokens of a stage, for masking the logits of all others [..., offset + len(vocabulary)].

        Raises:
            ConfigError: there is no such stage.
        """
        if not 0 <= stage < self.num_stages:
            raise ConfigError(f"stages are counted from 0 to {self.num_stages - 1}, not {stage}")
        first = self._first + stage * self.codebook_size
        return slice(first, first + self.codebook_size)

    @property
    def _first(self) -> int:
        return self.offset + len(self.specials)
