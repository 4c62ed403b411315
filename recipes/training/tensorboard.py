"""The TensorBoard logger: curves, a few held-out recordings as sound and as pictures, and the use of codes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.codec import Codec
from vqcodec.errors import ConfigError
from vqcodec.models.autoencoder import Autoencoder

from ..config import Recipe
from ..data.batches import Example
from .losses.spectral import FLOOR, log_magnitude, stft
from .validation import SHORTEST_S, listened_to, without_codes

FOLDER = "tensorboard"
"""Where the event files lie in the folder of a run."""

RECORDINGS = 3
"""Held-out recordings that are shown."""

LENGTH_S = 4.0
"""Seconds of each of them, from its beginning."""

WINDOW_S = 0.032
"""Length of the windows of the spectrograms."""

RANGE = (math.log(FLOOR), math.log(50.0))
"""Log magnitudes that are black and white in them."""


class TensorBoardLogger:
    """Writes the event files of a run. They grow by a few megabytes with every validation."""

    def __init__(self, run: Path, recipe: Recipe, step: int, held_out: Sequence[Example]) -> None:
        """
        Args:
            run: the folder of the run.
            recipe: its settings.
            step: where it begins or goes on; what was shown of later steps is taken back.
            held_out: whole recordings, of which the first ones that are long enough are shown.

        Raises:
            ConfigError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(f"TensorBoard cannot be used ({error}); pip install tensorboard") from error
        self.sample_rate = recipe.model.sample_rate
        self.recordings = _beginnings(held_out, self.sample_rate)
        self._writer = SummaryWriter(str(run / FOLDER), purge_step=step + 1 if step else None)
        if step == 0:
            self._writer.add_text("recipe", f"```json\n{recipe.to_json()}\n```", 0)
            for number, recording in enumerate(self.recordings, 1):
                self._show(f"recording_{number}/input", recording, 0)

    def close(self) -> None:
        """Write what is left to write."""
        self._writer.close()

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Points of curves that are shown together."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name.replace('@', '_at_')}", value, step)

    def codes(self, step: int, model: Autoencoder) -> None:
        """Log how often the codes of each codebook were used lately, over their mean: 1 if all are used alike."""
        for number, book in enumerate(model.quantizer.books, 1):
            used = book.counts / book.counts.mean().clamp_min(1e-12)
            self._writer.add_histogram(f"code_usage/stage_{number}", used.cpu(), step)

    def decoded(self, step: int, model: Autoencoder) -> None:
        """The recordings after encoding and decoding, at several bitrates or without codes."""
        training = model.training
        for number, recording in enumerate(self.recordings, 1):
            for name, waveform in _decoded(model.eval(), recording).items():
                self._show(f"recording_{number}/{name}", waveform, step)
        model.train(training)

    def _show(self, name: str, waveform: NDArray[np.float32], step: int) -> None:
        sound = torch.from_numpy(waveform)
        self._writer.add_audio(name, sound[None], step, self.sample_rate)
        self._writer.add_image(name, spectrogram(sound, self.sample_rate), step)


def spectrogram(waveform: Tensor, sample_rate: int) -> Tensor:
    """A picture of [sample]: log magnitudes as grey in 0..1, low frequencies at the bottom [1, bin, frame]."""
    window = round(WINDOW_S * sample_rate / 4) * 4
    darkest, brightest = RANGE
    grey = (log_magnitude(stft(waveform[None], window)) - darkest) / (brightest - darkest)
    return grey.clamp(0, 1).flip(1)


def _decoded(model: Autoencoder, recording: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Decode a recording [sample] after encoding it: by the bitrate [sample]."""
    if not model.config.has_codes:
        return {"without_codes": without_codes(model, recording)}
    codec = Codec(model)
    encoded = codec.encode(recording, stages=codec.num_stages)
    return {
        f"{model.config.bitrate_of(stages) / 1000:g}_kbit_per_s": codec.decode(encoded, stages=stages)[0]
        for stages in listened_to(model.config)
    }


def _beginnings(held_out: Sequence[Example], sample_rate: int) -> list[NDArray[np.float32]]:
    """Waveforms [sample] of the first few recordings, as far as they are shown."""
    chosen: list[NDArray[np.float32]] = []
    for index in range(len(held_out)):
        waveform = held_out[index].waveform[0].numpy()
        if len(waveform) >= SHORTEST_S * sample_rate:
            chosen.append(waveform[: round(LENGTH_S * sample_rate)])
        if len(chosen) == RECORDINGS:
            break
    return chosen
