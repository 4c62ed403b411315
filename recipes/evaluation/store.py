"""The folder of an evaluation: its settings, a line for each result, the decoded sounds and the codes.

OUT/run.json         what is compared: files, systems, scores
OUT/results.jsonl    one JSON object per line: a result, or a file that could not be read; appended as they come
OUT/audio/FILE/      reference.flac and SYSTEM.flac of each file
OUT/codes/FILE.npy   `[stage, frame]`, int32: the model's codes at its highest bitrate, -1 where a frame has fewer
OUT/results.csv      the results as a table
OUT/summary.json     totals, means and intervals; the table that is printed
OUT/report.html      the report
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio
from vqcodec.errors import ConfigError
from vqcodec.files import atomic_output

from ..result_store import ResultStore
from ..statistics import StageUsage, count_codes
from .results import EvaluationResult, SystemFacts, SystemSummary, summarise

FORMAT = 1
COLUMNS = ("file", "system", "duration_s", "bytes", "bitrate_bps", "encode_s", "decode_s")
"""Columns of `results.csv` before the scores."""
REFERENCE = "reference"
"""Name of the unprocessed sound in `OUT/audio/FILE/`, and of the system that hands it through."""


@dataclass(frozen=True, kw_only=True)
class EvaluationFailure:
    """A file that could not be measured, and why."""

    file: str
    reason: str
    system: str | None = None
    """Which system failed; None where the file itself could not be read."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Description of what an evaluation compares. Two runs can share a folder only where these agree.

    Files and systems may be added later; what is there already must be the same.
    """

    sample_rate: int
    """At which all sounds are compared, in Hz."""
    metrics: tuple[str, ...]
    systems: tuple[SystemFacts, ...]
    files: Mapping[str, int]
    """Size in bytes of each sound file, by its name relative to the folder of the data."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Properties of the evaluated model: name, fingerprint, parameters, codebook_size, trained_on_scores, ..."""
    codes_of: str | None = None
    """The system whose codes are counted: the model at its highest bitrate."""
    notes: tuple[str, ...] = ()
    """Notes for the reader on what was left out, and why."""

    @property
    def trained_on_scores(self) -> frozenset[str]:
        """The scores that the model's losses imitate, as far as that is known."""
        return frozenset(self.model.get("trained_on_scores") or ())


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All data of a report."""

    store: EvaluationStore
    facts: RunFacts
    results: tuple[EvaluationResult, ...]
    failures: tuple[EvaluationFailure, ...]
    usage: tuple[StageUsage, ...]

    @functools.cached_property
    def summaries(self) -> list[SystemSummary]:
        """One a system that has results, in the order of the systems.

        Over the files that every system has done; the mean of a score over those where every system has it: a codec
        that returns silence, which has no PESQ, must not be better off for it.
        """
        by_system: dict[str, list[EvaluationResult]] = {}
        for one in self._shared:
            by_system.setdefault(one.system, []).append(one)
        defined = {name: self._defined(name) for name in self.facts.metrics}
        return [
            summarise(system, [_only(one, defined) for one in by_system[system.name]], self.facts.metrics)
            for system in self.facts.systems
            if system.name in by_system
        ]

    @property
    def notes(self) -> list[str]:
        """Notes on what was left out: systems and scores that are missing here, and scores undefined for files."""
        files = len({one.file for one in self._shared})
        counts = {name: files - len(self._defined(name)) for name in self.facts.metrics}
        return [
            *self.facts.notes,
            *(
                f"{name}: undefined for {count} of {files} files with one codec or another; its means are without them"
                for name, count in counts.items()
                if count
            ),
        ]

    @functools.cached_property
    def _shared(self) -> list[EvaluationResult]:
        """The results of the files that every system has done."""
        files: dict[str, set[str]] = {}
        for one in self.results:
            files.setdefault(one.system, set()).add(one.file)
        shared = set.intersection(*files.values()) if files else set()
        return [one for one in self.results if one.file in shared]

    def _defined(self, metric: str) -> set[str]:
        """The shared files for which every system has the score, systems aside that never have it."""
        able = {one.system for one in self._shared if metric in one.scores}
        lacking = {one.file for one in self._shared if one.system in able and metric not in one.scores}
        return {one.file for one in self._shared} - lacking if able else set()


class EvaluationStore(ResultStore):
    """The folder of one evaluation.

    Args:
        folder: `OUT`; made when something is written.
    """

    @property
    def _settings(self) -> Path:
        return self.folder / "run.json"

    def begin(self, facts: RunFacts, force: bool = False) -> None:
        """Make the folder ready for a run, keeping what an earlier, compatible one has done.

        Args:
            force: forget what does not fit, instead of refusing it.

        Raises:
            ConfigError: the folder holds something else, or a run with other settings.
        """
        self._drop_torn_line()
        if not self._settings.exists():
            self._check_unused("an evaluation")
        elif difference := _difference(self.facts(), facts, {one.file for one in self.records()[0]}):
            if not force:
                raise self._mismatch(difference)
            self._forget()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_json("run.json", {"format": FORMAT, **dataclasses.asdict(facts)})

    def _forget(self) -> None:
        for path in (self._settings, self._lines):
            path.unlink(missing_ok=True)
        for folder in ("audio", "codes"):
            shutil.rmtree(self.folder / folder, ignore_errors=True)

    def facts(self) -> RunFacts:
        """The settings of the run in this folder.

        Raises:
            ConfigError: there is none, or it is damaged.
        """
        try:
            content = json.loads(self._settings.read_text(encoding="utf-8"))
            if content.pop("format") != FORMAT:
                raise ConfigError(f"{self._settings} was written by another version of vqcodec; name a new folder")
            content["systems"] = tuple(SystemFacts(**one) for one in content["systems"])
            content["metrics"], content["notes"] = tuple(content["metrics"]), tuple(content["notes"])
            return RunFacts(**content)
        except FileNotFoundError:
            raise ConfigError(f"{self.folder} holds no evaluation") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(f"{self._settings} is damaged; name a new folder") from None

    def append(self, record: EvaluationResult | EvaluationFailure) -> None:
        """Add a result, or a file that failed, as one line."""
        self._append_line(dataclasses.asdict(record))

    def records(self) -> tuple[list[EvaluationResult], list[EvaluationFailure]]:
        """Read what was appended so far, the last word on each file and system.

        Raises:
            ConfigError: a line is damaged.
        """
        results: dict[tuple[str, str], EvaluationResult] = {}
        failures: dict[tuple[str, str | None], EvaluationFailure] = {}
        for record in self._read_lines(_record):
            if isinstance(record, EvaluationFailure):
                failures[record.file, record.system] = record
            else:
                results[record.file, record.system] = record
        readable = {file for file, _ in results}
        mended = [key for key in failures if key in results or (key[1] is None and key[0] in readable)]
        for key in mended:  # by a later try
            del failures[key]
        return list(results.values()), list(failures.values())

    def audio_path(self, file: str, system: str = REFERENCE) -> Path:
        """Path of the sound of a file from a system, if it was kept: FLAC, mono, at the rate of comparison."""
        return self.folder / "audio" / file / f"{system}.flac"

    def keep_audio(self, file: str, system: str, waveform: NDArray[np.float32], sample_rate: int) -> None:
        """Write the sound `[sample]` of a file from a system."""
        path = self.audio_path(file, system)
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path, waveform[None], sample_rate, force=True)

    def keep_codes(self, file: str, system: str, codes: NDArray[np.int64]) -> None:
        """Write the codes `[stage, frame]` of a file from a system."""
        path = self._codes_path(file, system)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(path, force=True) as output:
            np.save(output, codes.astype(np.int32))

    def codes(self, file: str, system: str) -> NDArray[np.int32] | None:
        """Read the codes `[stage, frame]` of a file from a system, -1 where a frame has fewer; None without codes."""
        path = self._codes_path(file, system)
        found: NDArray[np.int32] | None = np.load(path, allow_pickle=False) if path.exists() else None
        return found

    def _codes_path(self, file: str, system: str) -> Path:
        return self.folder / "codes" / system / f"{file}.npy"

    def drop_audio(self, kept: Iterable[str]) -> None:
        """Delete the sounds of all files but these."""
        names = {self.audio_path(file).parent for file in kept}
        for path in self.folder.glob("audio/**/*.flac"):
            if path.parent not in names and path.is_file():  # a folder has the name of a sound file
                path.unlink()

    def load(self) -> Evaluation:
        """All that this folder holds.

        Raises:
            ConfigError: there is no evaluation in it, or it is damaged.
        """
        facts = self.facts()
        results, failures = self.records()
        order = {system.name: place for place, system in enumerate(facts.systems)}
        known = [one for one in results if one.system in order and one.file in facts.files]
        paths = [self._codes_path(file, facts.codes_of) for file in facts.files] if facts.codes_of else []
        codes = (np.load(path, allow_pickle=False) for path in paths if path.exists())
        return Evaluation(
            store=self,
            facts=facts,
            results=tuple(sorted(known, key=lambda one: (one.file, order[one.system]))),
            failures=tuple(sorted((one for one in failures if one.file in facts.files), key=lambda one: one.file)),
            usage=tuple(count_codes(codes, facts.model.get("codebook_size", 1))),
        )

    def write_tables(self, evaluation: Evaluation) -> None:
        """Write `results.csv` and `summary.json`."""
        metrics = evaluation.facts.metrics
        self._write_csv("results.csv", [*COLUMNS, *metrics], [_row(one, metrics) for one in evaluation.results])
        self._write_json("summary.json", _summary(evaluation))


def _only(result: EvaluationResult, defined: Mapping[str, Set[str]]) -> EvaluationResult:
    """The result without the scores that are not comparable for its file."""
    scores = {name: score for name, score in result.scores.items() if result.file in defined.get(name, ())}
    return dataclasses.replace(result, scores=scores)


def _difference(old: RunFacts, new: RunFacts, measured: Set[str]) -> str | None:
    """Describes in what an older run of these files does not fit a new one; None if it fits."""
    if old.sample_rate != new.sample_rate:
        return f"a comparison at {old.sample_rate} Hz"
    if old.metrics != new.metrics:
        return f"other scores ({', '.join(old.metrics)})"
    renewed = {system.name: system for system in new.systems}
    for system in old.systems:
        if renewed.get(system.name, system) != system:
            return f"another version of {system.title}: {system.version}"
    for file, size in old.files.items():
        if file in measured and new.files.get(file, size) != size:
            return f"another recording named {file}"
    return None


def _record(content: dict[str, Any]) -> EvaluationResult | EvaluationFailure:
    return EvaluationFailure(**content) if "reason" in content else EvaluationResult(**content)


def _row(one: EvaluationResult, metrics: Sequence[str]) -> dict[str, Any]:
    numbers = [one.duration_s, one.bytes, round(one.bitrate_bps, 1), one.encode_s, one.decode_s]
    scores = {name: one.scores.get(name, "") for name in metrics}
    return dict(zip(COLUMNS, [one.file, one.system, *numbers], strict=True)) | scores


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    facts = evaluation.facts
    return {
        "format": FORMAT,
        "sample_rate": facts.sample_rate,
        "model": dict(facts.model),
        "files": len({one.file for one in evaluation.results}),
        "systems": [dataclasses.asdict(summary) for summary in evaluation.summaries],
        "stages": [
            {
                "entropy_bits": stage.entropy_bits,
                "perplexity": stage.perplexity,
                "used_share": stage.used_share,
            }
            for stage in evaluation.usage
        ],
        "failures": [dataclasses.asdict(one) for one in evaluation.failures],
        "notes": evaluation.notes,
    }
