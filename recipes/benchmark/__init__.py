"""Speed, memory and arithmetic of the codec on this machine.

A machine is shared and its clock varies, so what is compared runs in turn, round by round (`timing.interleaved`), and a
figure is the best of the rounds beside their median.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from . import machine, neural, processes, speed, streaming
from .measurement import Figure
from .report import BenchmarkedModel, BenchmarkReport
from .settings import BenchmarkSettings
from .subject import Subject
from .timing import Skipped

__all__ = ["BenchmarkReport", "BenchmarkSettings", "Progress", "run"]

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being measured."""


def run(
    model: str | os.PathLike[str], settings: BenchmarkSettings, progress: Progress = lambda done, what: None
) -> BenchmarkReport:
    """Measure everything, in the order of the list in here.

    Args:
        model: name of a model that ships, or path of one.
        settings: what to measure, and how often.
        progress: called before, and now and then during, each measurement.

    Raises:
        ModelMismatch, CorruptFile: the model is not there or is none.
        ConfigError: a device cannot be used, or the model's decoder is a WaveNet.
    """
    facts = machine.facts(settings.devices)
    subject = Subject(model, settings)
    measurements = {
        "whole waveform, steps, arithmetic": speed.measure,
        "streaming": streaming.measure,
        **({"start-up": processes.start_up, "memory": processes.memory} if settings.processes else {}),
        **({"other codecs": neural.measure} if settings.neural else {}),
    }
    figures: list[Figure] = []
    skipped: list[str] = []
    for index, (title, measure) in enumerate(measurements.items()):
        try:
            figures += measure(subject, functools.partial(_report, progress, title, index, len(measurements)))
        except Skipped as reason:
            skipped.append(f"{title}: {reason}")
    return BenchmarkReport(
        machine=facts,
        model=BenchmarkedModel.of(subject.codec),
        settings=settings,
        figures=tuple(figures),
        skipped=tuple(skipped),
    )


def _report(progress: Progress, title: str, index: int, count: int, share: float) -> None:
    progress((index + share) / count, title)
