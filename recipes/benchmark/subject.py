"""The subject of a benchmark: a model on every device, and a signal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqcodec.codec import Codec

from .settings import BenchmarkSettings
from .timing import Place

SYLLABLES_HZ = 4.0
PITCH_HZ = 120.0


@dataclass(frozen=True)
class Bitrate:
    """A bitrate that the model has."""

    stages: int
    kbps: float

    def __str__(self) -> str:
        return f"{self.kbps:g} kbit/s"


class Subject:
    """A model, loaded on every device of the settings, and the signal that it codes."""

    def __init__(self, model: str | os.PathLike[str], settings: BenchmarkSettings) -> None:
        self.model = model
        self.settings = settings
        self.codecs: Mapping[str, Codec] = {
            device: Codec.load(model, device, settings.precision) for device in settings.devices
        }
        self.codec = next(iter(self.codecs.values()))
        self.codec.config.require_mdct("a benchmark of the steps")
        self.waveform = voice(settings.seconds, self.codec.sample_rate)

    @property
    def places(self) -> list[Place]:
        """Every device, the CPU with every number of threads."""
        threads = tuple(dict.fromkeys(self.settings.threads))
        return [
            Place(device, count)
            for device in self.codecs
            for count in (threads if device == "cpu" else (max(threads),))
        ]

    @property
    def bitrates(self) -> list[Bitrate]:
        """The bitrates nearest to those of the settings."""
        chosen = {self.codec.stages_for(kbps * 1000) for kbps in self.settings.bitrates}
        return [Bitrate(stages, self.codec.config.bitrate_of(stages) / 1000) for stages in sorted(chosen)]

    @property
    def bitrate(self) -> Bitrate:
        """The one in the middle."""
        return self.bitrates[len(self.bitrates) // 2]


def voice(duration_s: float, sample_rate: int, seed: int = 0) -> NDArray[np.float32]:
    """Synthesises a signal like a voice, [sample] in [-1, 1]: a buzz of wavering pitch, breath, and syllables."""
    random = np.random.default_rng(seed)
    time = np.arange(round(duration_s * sample_rate)) / sample_rate
    syllables = np.arange(int(duration_s * SYLLABLES_HZ) + 2)
    melody = PITCH_HZ * (1 + 0.15 * random.standard_normal(len(syllables)).clip(-2, 2))
    phase = np.cumsum(np.interp(time * SYLLABLES_HZ, syllables, melody)) / sample_rate
    buzz = 2 * (phase % 1) - 1
    breath = 0.05 * random.standard_normal(len(time))
    loudness = np.interp(time * SYLLABLES_HZ, syllables, random.uniform(0.2, 1, len(syllables)))
    envelope = loudness * (0.55 - 0.45 * np.cos(2 * np.pi * SYLLABLES_HZ * time))
    return (0.5 * envelope * (buzz + breath)).clip(-1, 1).astype(np.float32)
