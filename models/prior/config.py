"""Sizes of a prior, and what its codes are. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vqcodec.errors import ConfigError

TRANSFORMER = "transformer"
PIXELCNN = "pixelcnn"
KINDS = (TRANSFORMER, PIXELCNN)

MAX_NAMES = 100_000
"""The most speakers, and the most characters, that a prior may know."""

HEAD_DIM = 64
"""Of an attention head, where the width allows."""

_LIMITS = {
    "num_stages": (1, 64),
    "first_stage": (0, 63),
    "codebook_size": (2, 65_536),
    "context_frames": (2, 65_536),
    "width": (2, 8192),
    "layers": (1, 128),
    "depth_layers": (1, 32),
    "code_dim": (1, 1024),
}


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """Sizes of a prior; any that are out of range raise `ConfigError`."""

    KEY: ClassVar[str] = "prior"
    """Of the metadata of a prior's file."""

    kind: str = TRANSFORMER
    """One of `KINDS`."""
    fingerprint: str
    """Of the model whose codes these are."""
    num_stages: int
    """Codes of a frame that the prior predicts."""
    first_stage: int = 0
    """The first stage that it predicts; those before, of all frames, are given."""
    codebook_size: int
    """Values that a code can take."""
    frame_rate: float
    """Frames a second."""
    context_frames: int = 400
    """The most frames that the prior sees, or writes, at once."""
    width: int = 256
    """Activations of a frame."""
    layers: int = 6
    """Blocks over frames."""
    depth_layers: int = 1
    """Blocks over the stages of a frame; of a transformer only."""
    code_dim: int = 64
    """Numbers that stand for a code before they are brought to the width."""
    speakers: tuple[str, ...] = ()
    """Names of the speakers that it can be conditioned on."""
    characters: str = ""
    """Characters of the texts that it can be conditioned on."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"prior.kind is one of {', '.join(KINDS)}, not {self.kind!r}")
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"prior.{name} must be a whole number from {low} to {high}, not {value!r}")
        if self.width % (2 * self.heads):
            raise ConfigError(f"prior.width must be a multiple of {2 * self.heads}, not {self.width}")
        if type(self.frame_rate) not in (int, float) or not 0 < self.frame_rate < 1e6:
            raise ConfigError(f"prior.frame_rate must be a positive number, not {self.frame_rate!r}")
        if not isinstance(self.fingerprint, str) or not isinstance(self.characters, str):
            raise ConfigError("prior.fingerprint and prior.characters must be text")
        if max(len(self.speakers), len(self.characters)) > MAX_NAMES:
            raise ConfigError(f"a prior knows at most {MAX_NAMES} speakers, and as many characters")
        if self.kind == PIXELCNN and (self.characters or self.first_stage):
            raise ConfigError("a prior of the kind 'pixelcnn' is conditioned on nothing but speakers")

    @property
    def heads(self) -> int:
        """Attention heads of a block over frames, and over stages."""
        return max(1, self.width // HEAD_DIM)

    @property
    def context_s(self) -> float:
        """Seconds of the context."""
        return self.context_frames / self.frame_rate

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as JSON can hold them."""
        return {**dataclasses.asdict(self), "speakers": list(self.speakers)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PriorConfig:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: a field is missing, unknown or out of range.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if names != set(values):
            raise ConfigError(f"the prior has other settings than this version: {sorted(names ^ set(values))}")
        speakers = values["speakers"]
        if not isinstance(speakers, list) or not all(isinstance(name, str) for name in speakers):
            raise ConfigError("prior.speakers must be a list of names")
        return cls(**{**values, "speakers": tuple(speakers)})
