"""The results of a listening test: CSV files of many listeners -> ratings -> screened listeners -> scores.

Reading is one thing (`read_ratings`), judging another: `screen` and `summarise` are pure. The clauses are those
of ITU-R BS.1534-3.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqcodec.errors import ConfigError
from vqcodec.files import atomic_output

from ..evaluation.store import REFERENCE
from ..result_store import csv_of
from ..statistics import CONFIDENCE
from .page import LOW_ANCHOR, MID_ANCHOR, PAGE_VERSION, Key, Trial, read_key

COLUMNS = ("listener", "trial", "file", "condition", "score", "time_s", "order", "test", "page_version")
"""Columns of the CSV that the page hands out, with one line for each rating."""

HIGH = 90.0
"""Below it nobody should rate the hidden reference, above it nobody an anchor; 4.1.2."""
TOLERATED_SHARE = 0.15
"""Share of the files for which a listener may do so all the same; 4.1.2."""
HARMLESS_SHARE = 0.25
"""With more of the listeners rating an anchor that high for a file, the anchor says nothing there; 4.1.2."""


@dataclass(frozen=True, kw_only=True)
class Rating:
    """One sound, rated by one listener."""

    listener: str
    file: str
    system: str
    score: float
    """0 to 100."""
    trial: int
    """Place of the file among the files, as this listener heard them, from 1."""
    order: int
    """Place of the sound on the page, from 1: 1 was labelled A."""
    time_s: float
    """Seconds that the listener spent on the trial."""


@dataclass(frozen=True)
class Remark:
    """A remark about a listener."""

    listener: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SystemScore:
    """All accepted ratings of one system."""

    name: str
    title: str
    mean: float
    """Over listeners, of each listener's mean over the files."""
    low: float | None
    high: float | None
    """Ends of the 95 % interval of the mean: Student's t over the listeners' means. The files are taken as given:
    it says what other listeners would make of these files. None with fewer than two listeners."""
    median: float
    """Median of all ratings, as the quartiles are."""
    lower_quartile: float
    upper_quartile: float
    listeners: int
    ratings: int


@dataclass(frozen=True, kw_only=True)
class ListeningSummary:
    """Results of a listening test."""

    test: str
    title: str
    files: int
    listeners: tuple[str, ...]
    """Listeners who count."""
    excluded: tuple[Remark, ...]
    """Listeners who do not count, by the rules of BS.1534-3, 4.1.2."""
    remarks: tuple[Remark, ...]
    """Remarks that exclude nobody, but should be looked at."""
    systems: tuple[SystemScore, ...]
    """Hidden reference, systems, anchors."""


HEADINGS = ("System", "Mean", "95 %", "Median", "IQR", "Ratings")
"""Headings of `table_rows`."""


def score_listening_test(paths: Sequence[Path], key: Key | Path) -> ListeningSummary:
    """Read the results of all listeners, leave out those who fail the screening, and score the systems.

    Args:
        paths: CSV files that listeners sent back.
        key: of the test, or where it lies: `listen_key.json` or its folder.

    Raises:
        ConfigError: a file is unreadable, damaged, incomplete or of another test; a listener appears twice; or
            nobody is left after the screening.
    """
    key = read_key(key) if isinstance(key, Path) else key
    ratings = read_ratings(paths, key)
    excluded, remarks = screen(ratings)
    gone = {one.listener for one in excluded}
    accepted = [rating for rating in ratings if rating.listener not in gone]
    if not accepted:
        raise ConfigError(f"no listener is left after the screening: {'; '.join(map(_sentence, excluded))}")
    return ListeningSummary(
        test=key.test,
        title=key.title,
        files=len(key.trials),
        listeners=_listeners(accepted),
        excluded=tuple(excluded),
        remarks=tuple(remarks),
        systems=tuple(summarise(accepted, key.systems)),
    )


def screen(ratings: Sequence[Rating]) -> tuple[list[Remark], list[Remark]]:
    """Post-screening after BS.1534-3, 4.1.2.

    A listener is excluded who rates, for more than 15 % of the files, the hidden reference below 90, or the
    mid-range anchor (where there is one) above 90. Files whose mid-range anchor more than 25 % of all listeners
    rate above 90 do not count for the latter. Who rates the low anchor above 90 that often is only remarked upon.

    Args:
        ratings: of all listeners, complete.

    Returns:
        Who is excluded, and who is to be looked at.
    """
    harmless = _harmless(ratings, MID_ANCHOR.name)
    excluded, remarks = [], []
    for listener in _listeners(ratings):
        own = [rating for rating in ratings if rating.listener == listener]
        telling = [rating for rating in own if rating.file not in harmless]
        faults = [
            _fault(own, REFERENCE, "hidden reference below", lambda score: score < HIGH),
            _fault(telling, MID_ANCHOR.name, "mid-range anchor above", lambda score: score > HIGH),
        ]
        excluded += [Remark(listener, fault) for fault in faults if fault][:1]
        if doubt := _fault(own, LOW_ANCHOR.name, "low anchor above", lambda score: score > HIGH):
            remarks.append(Remark(listener, doubt))
    return excluded, remarks


def summarise(ratings: Sequence[Rating], systems: Mapping[str, str]) -> list[SystemScore]:
    """Scores of the systems, from complete ratings of the accepted listeners, at least one.

    Args:
        systems: titles by name, in the order wanted.
    """
    found = []
    for name, title in systems.items():
        scores: dict[str, list[float]] = {}
        for rating in ratings:
            if rating.system == name:
                scores.setdefault(rating.listener, []).append(rating.score)
        everything = [score for some in scores.values() for score in some]
        mean, low, high = t_interval([float(np.mean(some)) for some in scores.values()])
        lower, median, upper = quartiles(everything)
        found.append(
            SystemScore(
                name=name,
                title=title,
                mean=mean,
                low=low,
                high=high,
                median=median,
                lower_quartile=lower,
                upper_quartile=upper,
                listeners=len(scores),
                ratings=len(everything),
            )
        )
    return found


def t_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean of independent values, and the ends of its 95 % interval after Student; None with fewer than two values.

    The ends may lie outside the scale.
    """
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None, None
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half_width = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return mean, mean - half_width, mean + half_width


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile as BS.1534-3 (4.1.2) has them.

    The quartiles are the medians of the lower and the upper half; with an odd number of values, the one in the
    middle belongs to both halves.
    """
    ordered = sorted(values)
    half = (len(ordered) + 1) // 2
    lower, median, upper = (float(np.median(part)) for part in (ordered[:half], ordered, ordered[-half:]))
    return lower, median, upper


def table_rows(summary: ListeningSummary) -> list[tuple[str, ...]]:
    """The scores as text, a row for each system, under `HEADINGS`."""
    return [
        (
            one.title,
            f"{one.mean:.1f}",
            "–" if one.low is None or one.high is None else f"{one.low:.1f} to {one.high:.1f}",
            f"{one.median:.1f}",
            f"{one.lower_quartile:.1f} to {one.upper_quartile:.1f}",
            str(one.ratings),
        )
        for one in summary.systems
    ]


def write_scores(summary: ListeningSummary, folder: Path) -> None:
    """Write `listen_scores.csv`, a line for each system, and `listen_scores.json`, which has everything."""
    columns = [field.name for field in dataclasses.fields(SystemScore)]
    table = csv_of(columns, map(dataclasses.asdict, summary.systems), line_end="\n")
    content = json.dumps(dataclasses.asdict(summary), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_output(folder / "listen_scores.csv", force=True) as output:
        output.write(table.encode())
    with atomic_output(folder / "listen_scores.json", force=True) as output:
        output.write((content + "\n").encode())


def read_ratings(paths: Sequence[Path], key: Key) -> list[Rating]:
    """Read the results of all listeners, and check that everybody rated everything once.

    Raises:
        ConfigError: a file is unreadable, damaged, incomplete or of another test, or a listener appears twice.
    """
    ratings: list[Rating] = []
    source: dict[str, Path] = {}
    for path in paths:
        found = list(_read_file(path, key))
        for listener in _listeners(found):
            if listener in source:
                raise ConfigError(
                    f"{path}: the listener {listener!r} is in {source[listener]} already; leave one of the two out, "
                    "or rename one listener if they are two people"
                )
            source[listener] = path
        ratings += found
    if not ratings:
        raise ConfigError("a listening test needs the results of a listener at least")
    return ratings


def _read_file(path: Path, key: Key) -> Iterable[Rating]:
    """The ratings of one file, of one listener or several."""
    meaning = {name: (trial, system) for trial in key.trials for name, system in trial.conditions.items()}
    seen: dict[str, dict[str, int]] = {}  # listener -> name of the sound -> line
    ratings = []
    for line, values in _lines(path):
        place = f"{path}, line {line}"
        _check_test(values, key, place)
        rating = _rating(values, meaning, place)
        lines = seen.setdefault(rating.listener, {})
        if values["condition"] in lines:
            first = lines[values["condition"]]
            raise ConfigError(f"{place}: {rating.listener!r} has rated this sound on line {first} already")
        lines[values["condition"]] = line
        ratings.append(rating)
    for listener, lines in seen.items():
        if missing := len(meaning) - len(lines):
            raise ConfigError(
                f"{path}: {missing} of the {len(meaning)} ratings of {listener!r} are missing; "
                "ask for the whole file, or leave it out"
            )
    return ratings


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The lines of a file behind its head, with their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; listeners should send the file as the page saved it") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines = []
    try:
        if (head := tuple(next(reader, ()))) != COLUMNS:
            raise ConfigError(
                f"{path}, line 1: this is not the result of a listening test; its columns are {','.join(COLUMNS)}, "
                f"not {','.join(head)[:80] or 'none'}"
            )
        for values in reader:
            if len(values) != len(COLUMNS):
                raise ConfigError(f"{path}, line {reader.line_num}: {len(values)} values, not {len(COLUMNS)}")
            lines.append((reader.line_num, dict(zip(COLUMNS, values, strict=True))))
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: {error}") from None
    if not lines:
        raise ConfigError(f"{path} holds no ratings")
    return lines


def _check_test(values: Mapping[str, str], key: Key, place: str) -> None:
    if values["test"] != key.test:
        raise ConfigError(f"{place}: the result is of the test {values['test']!r}, but the key is of {key.test!r}")
    if {values["page_version"], str(key.page_version)} != {str(PAGE_VERSION)}:
        raise ConfigError(
            f"{place}: the page had version {values['page_version']} and the key has {key.page_version}; "
            f"this version of vqcodec reads {PAGE_VERSION}"
        )


def _rating(values: Mapping[str, str], meaning: Mapping[str, tuple[Trial, str]], place: str) -> Rating:
    listener = values["listener"].strip()
    if not listener:
        raise ConfigError(f"{place}: the listener has no name")
    if values["condition"] not in meaning:
        raise ConfigError(f"{place}: this test has no sound {values['condition']!r}")
    trial, system = meaning[values["condition"]]
    if values["file"] != trial.name:
        belongs = f"belongs to {trial.name!r}, not to {values['file']!r}"
        raise ConfigError(f"{place}: the sound {values['condition']!r} {belongs}")
    return Rating(
        listener=listener,
        file=trial.file,
        system=system,
        score=_number(values, "score", 0, 100, place),
        trial=int(_number(values, "trial", 1, math.inf, place, whole=True)),
        order=int(_number(values, "order", 1, math.inf, place, whole=True)),
        time_s=_number(values, "time_s", 0, math.inf, place),
    )


def _number(
    values: Mapping[str, str], column: str, least: float, most: float, place: str, whole: bool = False
) -> float:
    try:
        number = float(values[column])
    except ValueError:
        number = math.nan
    if not (least <= number <= most) or math.isinf(number) or (whole and number % 1):
        wanted = f"{'a whole number' if whole else 'a number'} from {least:g}"
        wanted += f" to {most:g}" if most < math.inf else " on"
        raise ConfigError(f"{place}: {column} is {wanted}, not {values[column]!r}")
    return number


def _listeners(ratings: Iterable[Rating]) -> tuple[str, ...]:
    """Names of the listeners, in the order of appearance."""
    return tuple(dict.fromkeys(rating.listener for rating in ratings))


def _harmless(ratings: Sequence[Rating], anchor: str) -> Collection[str]:
    """Files for which more than 25 % of the listeners rate an anchor above 90."""
    scores: dict[str, list[float]] = {}
    for rating in ratings:
        if rating.system == anchor:
            scores.setdefault(rating.file, []).append(rating.score)
    return {file for file, some in scores.items() if sum(s > HIGH for s in some) / len(some) > HARMLESS_SHARE}


def _fault(ratings: Sequence[Rating], system: str, what: str, wrong: Callable[[float], bool]) -> str | None:
    """Describes what a listener does wrong for more than 15 % of the files; None if for fewer."""
    scores = [rating.score for rating in ratings if rating.system == system]
    count = sum(map(wrong, scores))
    if not scores or count / len(scores) <= TOLERATED_SHARE:
        return None
    return f"rated the {what} {HIGH:g} for {count} of {len(scores)} files (more than 15 %: BS.1534-3, 4.1.2)"


def _sentence(remark: Remark) -> str:
    return f"{remark.listener} {remark.reason}"
