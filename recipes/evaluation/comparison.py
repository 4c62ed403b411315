"""From what a user asks to compare to files, systems and settings; what is missing here is left out with a note."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError
from vqcodec.models import registry
from vqcodec.models.config import BEYOND, DEFAULT_EFFORT
from vqcodec.rates.target import Packing

from ..metrics import METRICS, missing
from . import systems
from .results import SystemFacts
from .store import REFERENCE, RunFacts
from .systems import System, Vqcodec
from .under_loss import LossPlan, others_under_loss, ours_under_loss

ALL = "all"
"""The baseline that stands for every codec whose tools are installed, at its usual rates."""


MODES: Mapping[str, tuple[bool, Packing | None]] = {
    "variable": (True, None),
    "constant": (False, None),
    "variable-plain": (True, "plain"),
    "constant-context": (False, "context"),
}
"""Ways of spending bits: whether the bitrate varies (with models that can vary), and how codes are packed."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The files, systems and scores of an evaluation."""

    files: Mapping[str, Path]
    """Paths by the names that a report gives to the files."""
    systems: tuple[System, ...]
    facts: RunFacts


def compare(
    folders: Sequence[Path],
    models: Sequence[str],
    bitrates_bps: Sequence[float],
    *,
    modes: Sequence[str] = ("variable",),
    effort: int = DEFAULT_EFFORT,
    baselines: Sequence[str] = (),
    scores: Sequence[str] = (),
    loss: LossPlan | None = None,
) -> Comparison:
    """Compare models, other codecs and the unprocessed sound at the sample rate of the first model.

    Args:
        folders: with recordings, searched recursively.
        models: at least one name of a model that ships, or path of a `.safetensors` file; a report is about the first.
        bitrates_bps: of the models; where they are constant, the nearest possible are used.
        modes: how the models spend their bits, keys of `MODES`.
        effort: width of the models' search for codes.
        baselines: as `vqcodec.recipes.evaluation.systems.parse` takes them, or "all".
        scores: names in `METRICS`; empty for all whose packages are installed. Those that the first model was not
            trained on come first.
        loss: try the models, and Opus of the baselines, over a network that loses packets; bitrates are constant then.

    Raises:
        AudioError: there is no sound file.
        ConfigError: an unknown score or baseline, or two systems of the same name.
        ModelMismatch, CorruptFile: as `Codec.load`.
    """
    files = find(folders)
    main = registry.describe(registry.find(models[0]))
    metrics, notes = _metrics(scores, main)
    ours: list[Sequence[System]]
    if loss is None:
        ours = [_ours(model, bitrates_bps, effort, mode) for model in models for mode in modes]
        others, skipped = _others([REFERENCE, *baselines])
    else:
        ours = [ours_under_loss(model, bitrates_bps, loss) for model in models]
        others, skipped = others_under_loss(baselines, loss)
        others = [*_others([REFERENCE])[0], *others]
    everything = _without_repetition([*others[:1], *itertools.chain(*ours), *others[1:]])
    facts = RunFacts(
        sample_rate=main.config.sample_rate,
        metrics=metrics,
        systems=tuple(facts_of(system) for system in everything),
        files={name: path.stat().st_size for name, path in files.items()},
        model=_facts_of_model(main, effort),
        codes_of=ours[0][-1].name if loss is None else None,
        notes=(*notes, *skipped),
    )
    return Comparison(files=files, systems=everything, facts=facts)


def find(folders: Sequence[Path]) -> dict[str, Path]:
    """The sound files of one or more folders, by the names a report gives them.

    Returns:
        Paths by name: relative to the folder, with "/"; where there are several, the folder's own name comes first.

    Raises:
        AudioError: a folder is missing, or there is no sound file.
        ConfigError: two files would have the same name.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        prefix = "" if len(folders) == 1 else f"{folder.resolve().name}/"
        for path in audio.find(folder):
            name = prefix + path.relative_to(folder).as_posix()
            if name in files:
                raise ConfigError(f"{path} and {files[name]} would both be called {name}; rename one of the folders")
            files[name] = path
    if not files:
        raise AudioError(f"{', '.join(str(folder) for folder in folders)}: no sound files found")
    return files


def facts_of(system: System) -> SystemFacts:
    """Collect what a report says of a system."""
    return SystemFacts(name=system.name, codec=system.codec, setting=system.setting, version=system.version)


def _metrics(names: Sequence[str], model: registry.ModelInfo) -> tuple[tuple[str, ...], list[str]]:
    """The scores to compute, the model's independent judges first, and notes on what is missing or not known."""
    found, notes = _possible(names)
    trained_on = model.trained_on_scores
    if trained_on is None:
        notes.append(f"not known: which scores {model.name} was trained on; its file does not say")
    return tuple(sorted(found, key=lambda name: name in (trained_on or ()))), notes


def _possible(names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The scores that can be had, and why others cannot. One that was asked for by name must be there."""
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"unknown score {name!r}; choose from {', '.join(METRICS)}")
        if reason := missing(METRICS[name]):
            raise ConfigError(reason)
    if names:
        return tuple(names), []
    reasons = {name: missing(metric) for name, metric in METRICS.items()}
    notes = [f"left out: {reason}" for reason in dict.fromkeys(reasons.values()) if reason]
    return tuple(name for name, reason in reasons.items() if reason is None), notes


def _ours(model: str, bitrates_bps: Sequence[float], effort: int, mode: str) -> list[Vqcodec]:
    """A model at these bitrates, lowest first, in one of `MODES`; constant bitrates are the nearest possible."""
    config = registry.describe(registry.find(model)).config
    varies, packing = MODES[mode]
    if varies and config.kind.can_vary:
        lowest, highest = config.bitrates_bps[0] / BEYOND, config.bitrates_bps[-1] * BEYOND
        near = sorted({min(max(wanted, lowest), highest) for wanted in bitrates_bps})
        return [Vqcodec(model=model, kbps=wanted / 1000, packing=packing, effort=effort) for wanted in near]
    nearest = {config.stages_for(wanted) for wanted in bitrates_bps}
    return [Vqcodec(model=model, stages=stages, packing=packing, effort=effort) for stages in sorted(nearest)]


def _others(specs: Sequence[str]) -> tuple[list[System], list[str]]:
    """The systems that are named, and why some are left out."""
    wanted = [name for spec in specs for name in (systems.NAMES if spec == ALL else [spec])]
    found: list[System] = []
    notes = []
    for spec in wanted:
        try:
            found += systems.parse(spec)
        except systems.Unavailable as reason:
            notes.append(f"left out: {reason}")
    return found, notes


def _without_repetition(some: Sequence[System]) -> tuple[System, ...]:
    """The systems, each once, in order."""
    by_name: dict[str, System] = {}
    for system in some:
        if by_name.setdefault(system.name, system) != system:
            raise ConfigError(f"two different codecs would be called {system.name}; compare them in separate runs")
    return tuple(by_name.values())


def _facts_of_model(model: registry.ModelInfo, effort: int) -> dict[str, Any]:
    config, trained_on = model.config, model.trained_on_scores
    return {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "parameters": model.parameters,
        "bytes": model.bytes,
        "effort": effort,
        "sample_rate": config.sample_rate,
        "num_stages": config.num_stages,
        "codebook_size": config.codebook_size,
        "latency_s": config.latency_s,
        "frame_rate_hz": config.frame_rate,
        "trained_on_scores": None if trained_on is None else list(trained_on),
    }
