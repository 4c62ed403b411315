"""The logs of a run: a file of JSON lines and, if wanted, event files for TensorBoard."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.codec import Codec
from vqcodec.errors import ConfigError
from vqcodec.files import atomic_output
from vqcodec.models.autoencoder import Autoencoder

from ..config import Recipe
from ..data.batches import Example
from .losses.spectral import FLOOR, log_magnitude, stft
from .validation import SHORTEST_S, listened_to, without_codes

METRICS = "metrics.jsonl"

COUNTS = ("skipped",)
"""Metrics that count from the beginning of the run, so that the last value stands for all."""

FOLDER = "tensorboard"
"""Folder of the event files in that of a run."""

RECORDINGS = 3
"""Held-out recordings that are shown."""

LENGTH_S = 4.0
"""Seconds of each of them, from its beginning."""

WINDOW_S = 0.032
"""Length of the windows of the spectrograms."""

RANGE = (math.log(FLOOR), math.log(50.0))
"""Log magnitudes that are black and white in them."""


class MetricsLog:
    """The metrics file of a run, one JSON object per line, and its TensorBoard logger."""

    def __init__(self, run: Path, step: int = 0, tensorboard: TensorBoardLogger | None = None) -> None:
        """
        Args:
            run: the folder of the run.
            step: where it begins or goes on; lines about later steps, which will come again, are dropped.
            tensorboard: gets the same entries, if given.
        """
        path = run / METRICS
        if path.exists():
            _drop_after(path, step)
        self._tensorboard = tensorboard
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._tensorboard:
            self._tensorboard.close()

    def training(self, step: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Means over the steps since the last line."""
        self._write(step=step, **metrics, perplexity=list(perplexities))
        if self._tensorboard:
            self._tensorboard.scalars(step, "training", metrics)
            stages = {f"stage_{number}": value for number, value in enumerate(perplexities, 1)}
            self._tensorboard.scalars(step, "perplexity", stages)

    def validation(self, step: int, scores: Mapping[str, float], model: Autoencoder, quantizes: bool) -> None:
        """Scores on the held-out recordings, and what TensorBoard shows of the model that was scored."""
        self._write(step=step, validation=dict(scores))
        if self._tensorboard:
            self._tensorboard.scalars(step, "validation", scores)
            if quantizes:
                self._tensorboard.codes(step, model)
                if model.config.decoder_kind == "mdct":  # others take many times as long as the sound
                    self._tensorboard.decoded(step, model)

    def _write(self, **values: Any) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()


class Meter:
    """Means of the metrics between two lines of the metrics log."""

    def __init__(self, audio_s: float) -> None:
        self.audio_s = audio_s
        """Seconds of audio in a step, over all processes."""
        self.restart()

    def restart(self) -> None:
        """Forget everything, the time as well."""
        self._metrics: list[dict[str, Tensor]] = []
        self._waited_s = 0.0
        self._start = time.monotonic()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """The body waits for a batch."""
        start = time.monotonic()
        yield
        self._waited_s += time.monotonic() - start

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Note one step."""
        self._metrics.append(metrics)

    def read(self) -> tuple[dict[str, float], list[float]]:
        """Mean of each metric, and of each stage's perplexity, since the last call; of counts the last value.

        A step that was refused for its NaN says nothing about the others: what is not finite is left out.

        With the speed come "audio_s_per_s", seconds of audio per second, and "data_share", of the time in which the
        step waited for its batch.
        """
        names = self._metrics[-1].keys()
        recent = [metrics for metrics in self._metrics if metrics.keys() == names]
        means = {name: _finite_mean(torch.stack([m[name] for m in recent]).float()) for name in names}
        perplexities: list[float] = means.pop("perplexity", torch.zeros(0)).tolist()
        metrics = {name: float(value) for name, value in means.items() if value.isfinite()}
        metrics |= {name: float(self._metrics[-1][name]) for name in COUNTS if name in names}
        elapsed_s = time.monotonic() - self._start
        metrics["audio_s_per_s"] = len(self._metrics) * self.audio_s / elapsed_s
        metrics["data_share"] = self._waited_s / elapsed_s
        self.restart()
        return metrics, perplexities


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


def _finite_mean(values: Tensor) -> Tensor:
    """Mean along the first axis of what is finite; NaN where nothing is."""
    return torch.where(values.isfinite(), values, torch.nan).nanmean(0)


def _drop_after(path: Path, step: int) -> None:
    """Keep the whole lines of a metrics file up to a step: a killed process may have left half a line."""
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if _is_up_to(line, step)]
    with atomic_output(path, force=True) as output:
        output.write(b"".join(kept))


def _is_up_to(line: bytes, step: int) -> bool:
    try:
        return line.endswith(b"\n") and json.loads(line)["step"] <= step
    except (ValueError, KeyError, TypeError):
        return False


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
