"""The folder of an evaluation -> one HTML page that needs nothing else, for readers who never saw the project.

What the page says is computed here, how it looks is in `templates/report.html`, its pictures are those of `charts`.
All but the interactive curves is there without JavaScript.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio
from vqcodec.errors import ConfigError
from vqcodec.files import atomic_output

from ..metrics import Metric
from ..metrics.imitated import TRAINED_ON, TRAINED_ON_NOTE
from ..reporting import charts, html
from ..statistics import CONFIDENCE, RESAMPLES, Interval, StageUsage
from .analysis import (
    ComparedCodec,
    Ranking,
    ReportedScore,
    best_systems,
    codecs_of,
    needed_bitrate,
    rank_files,
    scores_of,
)
from .results import EvaluationResult, SystemFacts
from .store import REFERENCE, Evaluation

PAGE_NAME = "report.html"

_ENOUGH_FRAMES = 10
"""Frames a code: with fewer, the entropy of the codes comes out clearly too low."""

_LOUD_PERCENT = 99.8
"""Share of a reference's spectrogram that is darker than its brightest colour."""


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A featured file after one system."""

    codec: ComparedCodec
    system: SystemFacts
    result: EvaluationResult | None
    audio: str | None
    """A data URI; None where the sound was not kept."""
    spectrogram: str | None
    """Likewise."""
    stages: str | None
    """Stages of the frames over time, an SVG; None where their number does not vary."""
    problem: str | None
    """Why there is nothing to hear."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A file to be seen and heard."""

    file: str
    reason: str
    """Why this one."""
    duration_s: float
    sounds: tuple[Sound, ...]


def write_report(evaluation: Evaluation, title: str, featured: Sequence[str]) -> Path:
    """Write the page of an evaluation into its folder, in place of an older one.

    Args:
        title: of the page.
        featured: files to be seen and heard, in this order; their sounds should have been kept.

    Returns:
        The path of the page.

    Raises:
        ConfigError: a file is not of this evaluation, a score is unknown, or a package is missing.
        AudioError: a sound that was kept is damaged.
    """
    for file in featured:
        if file not in evaluation.facts.files:
            raise ConfigError(f"{file} is not a file of the evaluation in {evaluation.store.folder}")
    page = _render(evaluation, title, featured)
    path = evaluation.store.folder / PAGE_NAME
    with atomic_output(path, force=True) as output:
        output.write(page.encode())
    return path


def featured_files(evaluation: Evaluation, count: int = 6) -> list[str]:
    """A few files that show how bad, how ordinary and how good it gets.

    Judged by the first score of the evaluated model at its middle bitrate: the worst files, worst first, then the
    median one and the best.

    Args:
        count: how many, at least 1.
    """
    ranking = rank_files(evaluation)
    files = ranking.files if ranking else list(evaluation.facts.files)
    worst = files[: max(1, count - 2)]
    return list(dict.fromkeys([*worst, files[len(files) // 2], files[-1], *files]))[:count]


def _render(evaluation: Evaluation, title: str, featured: Sequence[str]) -> str:
    html.check_packages()
    summaries = evaluation.summaries
    codecs = codecs_of(evaluation, summaries)
    scores = scores_of(evaluation)
    ranking = rank_files(evaluation)
    features = [_feature(evaluation, file, codecs, ranking) for file in featured]
    drawn = [(score, chart) for score in scores if (chart := _chart(score, codecs))]
    return html.render(
        "report.html",
        [
            html.drawing(
                chart,
                _chart_in_words(score, chart),
                far=", ".join(f"{one.label} {score.number(one.value)}" for one in chart.far_ceilings),
            )
            for score, chart in drawn
        ],
        {"kbps": _kbps, "duration": _duration, "speed": _speed},
        title=title,
        facts=evaluation.facts,
        failures=evaluation.failures,
        summaries=summaries,
        notes=evaluation.notes,
        compared=[codec for codec in codecs if not codec.ceiling],
        legend_label="Codecs in the charts",
        ceilings=[codec for codec in codecs if codec.ceiling],
        scores=scores,
        trained_on_mark=TRAINED_ON,
        trained_on_note=TRAINED_ON_NOTE,
        best={score.metric.name: _best(score.metric, codecs) for score in scores},
        answer=_answer(codecs, scores, ranking),
        features=features,
        anchors={feature.file: f"file-{number}" for number, feature in enumerate(features, start=1)},
        ranking=ranking,
        by_file=_by_file(evaluation, ranking),
        usage=_usage(evaluation.usage),
        versions=list(dict.fromkeys((system.codec, system.version) for system in evaluation.facts.systems)),
        confidence=CONFIDENCE,
        resamples=RESAMPLES,
        sizes=_sizes(features),
    )


def _best(metric: Metric, codecs: Sequence[ComparedCodec]) -> frozenset[str]:
    return best_systems([one for codec in codecs if not codec.ceiling for one in codec.summaries], metric)


def _answer(
    codecs: Sequence[ComparedCodec], scores: Sequence[ReportedScore], ranking: Ranking | None
) -> dict[str, Any] | None:
    """Bitrates that other codecs need for the scores of the main one at its middle bitrate; None if it has no means."""
    if ranking is None or not codecs or not codecs[0].summaries:
        return None
    main, rivals = codecs[0], [codec for codec in codecs[1:] if not codec.ceiling]
    found = [one for one in main.summaries if one.system == ranking.system]
    if not found or ranking.metric.name not in found[0].scores:
        return None
    return {
        "main": main,
        "ours": found[0],
        "score": next(score for score in scores if score.metric is ranking.metric),
        "rivals": rivals,
        "ceilings": [one for codec in codecs if codec.ceiling for one in codec.curve(ranking.metric)],
        "needed": {
            (score.metric.name, codec.label): needed_bitrate(
                codec.curve(score.metric), score.metric, found[0].scores[score.metric.name].value
            )
            for score in scores
            for codec in rivals
            if score.metric.name in found[0].scores and codec.curve(score.metric)
        },
    }


def _chart(score: ReportedScore, codecs: Sequence[ComparedCodec]) -> charts.Chart | None:
    """A score against bitrate; None where no codec has it."""
    name = score.metric.name
    curves = tuple(
        charts.Curve(
            label=codec.label,
            number=codec.number,
            points=tuple(
                charts.Point(
                    label=one.system.title,
                    rate=one.bitrate_bps.value / 1000,
                    value=one.scores[name].value,
                    low=one.scores[name].low,
                    high=one.scores[name].high,
                )
                for one in codec.curve(score.metric)
            ),
        )
        for codec in codecs
        if not codec.ceiling and codec.curve(score.metric)
    )
    ceilings = tuple(
        charts.Ceiling(label=one.system.title, value=one.scores[name].value)
        for codec in codecs
        if codec.ceiling
        for one in codec.curve(score.metric)
    )
    if not curves:
        return None
    axis = ", ".join(part for part in (score.metric.unit, score.direction) if part)
    return charts.Chart(name=name, title=score.label, axis=axis, curves=curves, ceilings=ceilings)


def _chart_in_words(score: ReportedScore, chart: charts.Chart) -> str:
    curves = [
        f"{curve.label}: "
        + ", ".join(f"{score.number(point.value)} at {point.rate:.3g} kbit/s" for point in curve.points)
        for curve in chart.curves
    ]
    ceilings = [f"{ceiling.label}: {score.number(ceiling.value)}" for ceiling in chart.ceilings]
    return f"{chart.title} against bitrate. {'; '.join([*curves, *ceilings])}."


def _feature(evaluation: Evaluation, file: str, codecs: Sequence[ComparedCodec], ranking: Ranking | None) -> Feature:
    """A file through all systems, the unprocessed sound first."""
    systems = [(codec, system) for codec in codecs for system in codec.systems]
    systems.sort(key=lambda pair: pair[1].name != REFERENCE)
    results = {one.system: one for one in evaluation.results if one.file == file}
    problems = {one.system: one.reason for one in evaluation.failures if one.file == file}
    paths = {system.name: evaluation.store.audio_path(file, system.name) for _, system in systems}
    levels = {name: _levels_db(path) for name, path in paths.items() if path.exists()}
    scale = levels.get(REFERENCE, next(iter(levels.values()), None))
    top_db = 0.0 if scale is None else float(np.percentile(scale, _LOUD_PERCENT))
    sounds = []
    for codec, system in systems:
        kept = system.name in levels
        problem = problems.get(system.name) or problems.get(None) or "This sound was not kept."
        sounds.append(
            Sound(
                codec=codec,
                system=system,
                result=results.get(system.name),
                audio=_data_uri("audio/flac", paths[system.name].read_bytes()) if kept else None,
                spectrogram=_spectrogram(levels[system.name], top_db) if kept else None,
                stages=_stages(evaluation.store.codes(file, system.name)),
                problem=None if kept else problem,
            )
        )
    return Feature(
        file=file,
        reason=ranking.place(file) if ranking else "",
        duration_s=max((one.duration_s for one in results.values()), default=0.0),
        sounds=tuple(sounds),
    )


def _levels_db(path: Path) -> NDArray[np.float32]:
    waveform, sample_rate = audio.read(path)
    return charts.levels_db(waveform[0], sample_rate)


def _spectrogram(levels: NDArray[np.float32], top_db: float) -> str:
    return _data_uri("image/webp", charts.draw_spectrogram(levels, top_db))


def _stages(codes: NDArray[np.int32] | None) -> str | None:
    """Draw how many codes each frame has, of codes [stage, frame] that may be absent."""
    if codes is None or codes.min(initial=0) >= 0:
        return None
    return charts.draw_stages((codes >= 0).sum(axis=0), len(codes))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _by_file(evaluation: Evaluation, ranking: Ranking | None) -> list[tuple[str, dict[str, EvaluationResult]]]:
    """Each file's results by system, the worst file first, and last those that are not ranked."""
    found: dict[str, dict[str, EvaluationResult]] = {file: {} for file in (ranking.files if ranking else ())}
    for one in evaluation.results:
        found.setdefault(one.file, {})[one.system] = one
    return list(found.items())


def _usage(stages: Sequence[StageUsage]) -> dict[str, Any] | None:
    """Usage of the codebooks; None without a model."""
    if not stages:
        return None
    codes, frames = len(stages[0].counts), int(stages[0].counts.sum())
    return {
        "stages": stages,
        "codes": codes,
        "frames": frames,
        "few": frames < _ENOUGH_FRAMES * codes,
        "bits": math.log2(codes),
        "saving": 1 - sum(one.entropy_bits for one in stages) / (len(stages) * math.log2(codes)),
        "svg": charts.draw_usage(stages),
    }


def _sizes(features: Sequence[Feature]) -> dict[str, float]:
    """Sizes of the parts of the page, in megabytes."""
    sounds = [sound for feature in features for sound in feature.sounds]
    return {
        "sounds": sum(len(sound.audio or "") for sound in sounds) / 1e6,
        "spectrograms": sum(len(sound.spectrogram or "") for sound in sounds) / 1e6,
        "plotly.js for the interactive curves": len(html.plotly_script()) / 1e6,
    }


def _kbps(bitrate_bps: float) -> str:
    """A bitrate in kbit/s with three significant digits."""
    kbps = bitrate_bps / 1000
    return f"{kbps:.0f}" if kbps >= 100 else f"{kbps:#.3g}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def _speed(cpu_seconds: Interval) -> str:
    """CPU seconds per second of audio as a multiple of real time."""
    if cpu_seconds.value <= 0:
        return "–"
    times = 1 / cpu_seconds.value
    return f"{times:.0f}" if times >= 100 else f"{times:.3g}"
