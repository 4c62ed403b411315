"""The laboratory: all quantizers on the latents of a model, at equal bits.

The audio is encoded once. Every quantizer is fitted on one part of the latents and measured on the other, of other
speakers; then the model's decoder makes sound of what it left of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path

from vqcodec.codec import Codec
from vqcodec.errors import ConfigError
from vqcodec.models import registry

from .. import parallel
from ..metrics import METRICS, missing
from . import candidates, latents
from .candidates import Candidate
from .latents import Latents
from .measure import QuantizerJob, bits_of_stages, measure
from .results import SCORES, Findings, QuantizerFailure, QuantizerResult, Unquantized
from .split import RecordingSplit, divide
from .store import LaboratoryStore, facts_of

__all__ = ["MAX_BITS", "SCORED_FILES", "Findings", "LaboratoryStore", "run"]

MAX_BITS = 4096
"""Largest number of bits of a vector."""

SCORED_FILES = 20
"""Recordings of the test part that are decoded and scored, whole."""

_TEST_SHARE = 1 / 3
"""Minutes to measure on, at most, over those to fit on."""
_ENCODING_SHARE = 0.05
"""Share of the progress bar for encoding."""

Progress = Callable[[float, str], None]
"""Called with the share that is done, 0 to 1, and a few words."""


def run(
    data: Sequence[Path],
    out: Path,
    *,
    fit: Sequence[Path] = (),
    model: str,
    bits: Sequence[int],
    kinds: Sequence[str] = (),
    minutes: float = 30.0,
    scores: bool = True,
    jobs: int = 1,
    force: bool = False,
    progress: Progress = lambda done, text: None,
) -> Findings:
    """Measure every quantizer at every number of bits that is not in `out` yet, and write the tables.

    Args:
        data: folders of recordings to measure on; and to fit on, if `fit` is empty: of other speakers then.
        out: folder for the latents and the results, each kept as it comes.
        fit: folders of recordings to fit on.
        model: a model that ships, or the path of one.
        bits: bits of a vector that may be spent, each 1 to `MAX_BITS`.
        kinds: which of `candidates.KINDS`; all of them if empty.
        minutes: of sound to fit on; a third as many are measured on, at most.
        scores: whether to decode and score the sound as well.
        jobs: number of worker processes.
        force: start anew, whatever `out` holds.

    Raises:
        ConfigError: a setting is out of range, a package is missing, or `out` holds something else.
        AudioError: there are no recordings, or none that can be read.
        VqcodecError: a worker process died.
        KeyboardInterrupt: on Ctrl-C; what is done is kept.
    """
    budgets = _checked_bits(bits)
    candidates.check_kinds(kinds)
    if not 0 < minutes < float("inf"):
        raise ConfigError(f"minutes is {minutes}, not a positive number")
    if reason := next(filter(None, (missing(METRICS[name]) for name in SCORES)), None) if scores else None:
        raise ConfigError(f"{reason}; or do without --scores")
    codec = Codec.load(model, "auto", "float32")
    parts = divide(data, fit)
    trained_on = registry.describe(registry.find(model)).trained_on_scores
    store, facts = (
        LaboratoryStore(out),
        facts_of(codec, parts.fit, parts.test, minutes) | {"trained_on_scores": trained_on},
    )
    if not store.begin(facts, force):
        found, notes = _encode(codec, parts, 60 * minutes, progress)
        store.save_latents(found, facts, [*parts.notes, *notes])
    wanted, notes = _members(codec, store.load_latents(), budgets, kinds)
    todo = _todo(store, wanted, scores)
    files = SCORED_FILES if scores else 0
    _work(
        [QuantizerJob(member=one, latents=store.latents_path, model=model, scored_files=files) for one in todo],
        store,
        jobs,
        progress,
    )
    findings = store.load(candidates.ORDER, notes)
    store.write_tables(findings)
    return findings


def _checked_bits(bits: Sequence[int]) -> list[int]:
    for number in bits:
        if not 1 <= number <= MAX_BITS:
            raise ConfigError(f"{number} bits a vector are not between 1 and {MAX_BITS}")
    if not bits:
        raise ConfigError("name at least one number of bits a vector")
    return sorted(set(bits))


def _encode(codec: Codec, parts: RecordingSplit, seconds: float, progress: Progress) -> tuple[Latents, list[str]]:
    """The latents of both parts, and notes."""

    def told(share: float) -> None:
        progress(_ENCODING_SHARE * share, "encoding")

    fit, fit_notes = latents.collect(codec, parts.fit, seconds, lambda done: told(0.75 * done))
    test, test_notes = latents.collect(codec, parts.test, seconds * _TEST_SHARE, lambda done: told(0.75 + 0.25 * done))
    return Latents(fit=fit, test=test), [*fit_notes, *test_notes]


def _members(
    codec: Codec, found: Latents, budgets: Sequence[int], kinds: Sequence[str]
) -> tuple[list[Candidate], list[str]]:
    """Candidates to compare, the slow ones last; and notes on why others are left out."""
    dim, speakers = found.fit.vectors.shape[1], len(set(found.fit.speakers))
    family, notes = candidates.family(budgets, kinds, dim, speakers)
    wanted = [*candidates.trained(budgets, kinds, bits_of_stages(codec.config)), *family]
    if not codec.config.has_codes:
        notes.append(
            f"The model has no codes of its own to compare with: its bottleneck is {codec.config.bottleneck!r}."
        )
    if not wanted:
        raise ConfigError(f"no quantizer of these can spend {', '.join(map(str, budgets))} bits: {'; '.join(notes)}")
    return sorted(wanted, key=lambda member: (member.slow, member.budget)), notes


def _todo(store: LaboratoryStore, wanted: Sequence[Candidate], scores: bool) -> list[Candidate | None]:
    """Candidates that have not been measured yet, or with other settings; None stands for the unquantized latents."""
    records = store.records()
    done = {one.key: one for one in records if isinstance(one, QuantizerResult)}
    todo: list[Candidate | None] = [
        member for member in wanted if member.key not in done or not done[member.key].answers(member, scores)
    ]
    if scores and not any(isinstance(one, Unquantized) for one in records):
        todo.insert(0, None)
    return todo


def _work(todo: Sequence[QuantizerJob], store: LaboratoryStore, jobs: int, progress: Progress) -> None:
    """Do the jobs, and keep what comes of each at once.

    Ctrl-C ends the workers with what they do: it may be minutes until it is done.
    """
    if not todo:
        return
    with parallel.pool(min(jobs, len(todo)), finish=False) as pool:
        futures = {pool.submit(measure, job): job for job in todo}
        try:
            _record(futures, store, progress)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _record(
    futures: Mapping[Future[QuantizerResult | Unquantized | QuantizerFailure], QuantizerJob],
    store: LaboratoryStore,
    progress: Progress,
) -> None:
    progress(_ENCODING_SHARE, f"0 of {len(futures)}")
    for count, future in enumerate(as_completed(futures), start=1):
        store.append(future.result())
        member = futures[future].member
        words = f"{count} of {len(futures)}: {f'{member.title}, {member.budget} bits' if member else 'unquantized'}"
        progress(_ENCODING_SHARE + (1 - _ENCODING_SHARE) * count / len(futures), words)
