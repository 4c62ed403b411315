"""Sounds that a prior makes: out of nothing, after a prompt, or in a gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec import Codec, audio
from vqcodec.errors import AudioError, ConfigError
from vqcodec.models.prior.base import Condition, Prior, character_numbers, speaker_numbers
from vqcodec.models.prior.sampling import Draws, Progress, Sampling, extend, infill

from .corpus import EFFORT
from .likelihood import of_recording


@dataclass(frozen=True, kw_only=True, eq=False)
class Generator:
    """A codec and a prior of its codes.

    Each of its methods raises `ConfigError` where a length or a condition does not suit the prior.
    """

    codec: Codec
    prior: Prior
    sampling: Sampling
    fine: Prior | None = None
    """Predicts the stages behind those of the prior, given these."""
    speaker: str | None = None
    """Who is to speak, of the speakers that the prior knows."""
    text: str | None = None
    """What is to be said."""

    def codes_of(self, path: Path) -> Tensor:
        """Encode a sound file, its channels mixed, into the frames that it fills: int64 [1, stage, frame].

        Raises:
            AudioError: it cannot be read, or is shorter than a frame.
        """
        waveform = audio.read(path, self.codec.sample_rate)[0].mean(axis=0)
        frames = len(waveform) // self.codec.hop_length
        if not frames:
            raise AudioError(f"{path} is shorter than a frame of {self.codec.hop_length} samples")
        found = self.codec.encode(waveform, stages=self.prior.config.num_stages, effort=EFFORT)
        return torch.from_numpy(np.asarray(found.codes)[..., :frames].astype(np.int64)).to(self.prior.device)

    def sample(self, seconds: float, seeds: Sequence[int], progress: Progress | None = None) -> Tensor:
        """Draw codes out of nothing, an item for each seed: int64 [item, stage, frame]."""
        nothing = torch.zeros(len(seeds), self.prior.config.num_stages, 0, dtype=torch.int64, device=self.prior.device)
        draws = Draws(self.sampling, seeds)
        codes = self._extended(nothing, seconds, draws, progress)
        return codes if self.fine is None else self._refined(self.fine, codes, draws, progress)

    def extend(self, prompt: Tensor, seconds: float, seeds: Sequence[int], progress: Progress | None = None) -> Tensor:
        """Continue a prompt int64 [1, stage, frame], once for each seed: int64 [item, stage, frame]."""
        most = self.prior.config.context_frames
        if prompt.shape[-1] >= most:
            length, context = prompt.shape[-1] / self.codec.frame_rate, self.prior.config.context_s
            raise ConfigError(f"a prompt of {length:g} s is longer than the context of the prior, {context:g} s")
        return self._extended(prompt.expand(len(seeds), -1, -1), seconds, Draws(self.sampling, seeds), progress)

    def fill(
        self, codes: Tensor, start_s: float, end_s: float, seed: int = 0, progress: Progress | None = None
    ) -> Tensor:
        """Draw the frames of a gap anew, and leave all others as they are: int64 [1, stage, frame]."""
        rate = self.codec.frame_rate
        gap = round(start_s * rate), round(end_s * rate)
        draws = Draws(self.sampling, [seed])
        return infill(self.prior, codes, gap, draws, self._condition(len(codes)), progress=progress)

    def bits(self, codes: Tensor) -> Tensor:
        """Compute the bits of each code of a recording int64 [1, stage, frame]: float32 [stage, frame]."""
        return of_recording(self.prior, codes[0], self._condition(1))

    def write(self, path: Path, codes: Tensor, force: bool = False) -> None:
        """Decode the codes of an item int64 [stage, frame], and write the sound file.

        Raises:
            VqcodecError: it cannot be written, or exists already and `force` is false.
        """
        waveform: NDArray[np.float32] = self.codec.decode(codes[None].cpu().numpy())
        with audio.Writer(path, self.codec.sample_rate, 1, force=force) as writer:
            writer.write(waveform)

    def _extended(self, prompt: Tensor, seconds: float, draws: Draws, progress: Progress | None) -> Tensor:
        frames = round(seconds * self.codec.frame_rate)
        if frames < 1:
            raise ConfigError(f"{seconds:g} s are shorter than a frame")
        condition = self._condition(len(prompt))
        return extend(self.prior, prompt, frames, draws, condition, progress=progress)

    @staticmethod
    def _refined(fine: Prior, codes: Tensor, draws: Draws, progress: Progress | None) -> Tensor:
        nothing = codes.new_zeros(len(codes), fine.config.num_stages, 0)
        refined = extend(fine, nothing, codes.shape[-1], draws, Condition(given=codes), progress=progress)
        return torch.cat([codes, refined], 1)

    def _condition(self, items: int) -> Condition:
        config, device = self.prior.config, self.prior.device
        speakers = characters = None
        if self.speaker is not None:
            speakers = speaker_numbers(config, [self.speaker] * items).to(device)
        if self.text is not None:
            characters = character_numbers(config, [self.text] * items).to(device)
        condition = Condition(speakers=speakers, characters=characters)
        self.prior.check(condition)
        return condition
