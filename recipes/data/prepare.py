"""Folders of recordings -> shards: decoded, resampled and cleaned once, duplicates left out.

Files come in an order that mixes speakers and corpora, the same whenever it is asked for, so that a shard is a fair
sample of the whole, and work that was interrupted goes on behind the last whole shard.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError, VqcodecError

from ..parallel import usable_cpus
from . import corpora, shard_format
from .cleaning import CleaningSettings, level_db, loud_parts, read_pcm
from .corpora import Recording
from .duplicates import SHORTEST_SIMILAR_S, KnownSounds, content_hash, fingerprint
from .inventory import Inventory
from .shard_format import Facts, Shard, SourceFile

Report = Callable[[str], None]
Progress = Callable[[int, str], None]
"""A function that is called with the files that are done, and a few words."""

PLAN = "prepare.json"
"""File that says what a folder of shards is being made of; written at the start."""
REPORT = "report.json"

ORDER = {"test": 0, "validation": 1}
"""Official parts that come first: of duplicates the first stays, and so no test file is trained on in disguise."""


@dataclass(frozen=True)
class Preparation:
    """The work of a run, which may have begun in an earlier run."""

    folders: Sequence[Path]
    out: Path
    settings: CleaningSettings
    recordings: Sequence[Recording]
    """All recordings, in the order in which they are prepared."""
    done: Sequence[Shard] = ()
    """The shards that are there already."""

    @property
    def sources_done(self) -> int:
        """Files that the shards that are there were made of."""
        return sum(len(shard.sources) for shard in self.done)


def plan(folders: Sequence[Path], out: Path, settings: CleaningSettings, force: bool = False) -> Preparation:
    """Find the recordings and make `out` ready for their shards, or find part of the work done there already.

    Args:
        folders: searched recursively.
        out: the folder of shards, which may not exist yet.
        settings: how recordings are cleaned.
        force: begin anew where there are shards.

    Raises:
        AudioError: a folder is missing, or there is no audio.
        ConfigError: a setting is out of range; or `out` holds shards of other files or settings and `force` is false.
        VqcodecError: `out` holds finished shards and `force` is false, or holds something else.
    """
    _check(settings)
    recordings = sorted(corpora.find(folders), key=lambda recording: _order(recording, folders))
    plan = Preparation(folders, out, settings, recordings)
    facts = {
        "digest": corpora.digest((recording.path for recording in recordings), asdict(settings)),
        "files": len(recordings),
        "settings": asdict(settings),
    }
    if not (out / PLAN).is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise VqcodecError(f"{out} exists and holds no shards; name another folder")
        out.mkdir(parents=True, exist_ok=True)
    elif force:
        _clear(out)
    elif shard_format.is_corpus(out):
        raise VqcodecError(f"{out} holds a prepared corpus already; add --force to prepare it anew")
    elif shard_format.read_json(out / PLAN) != facts:
        raise ConfigError(f"{out} holds shards of other files or settings; name another folder, or add --force")
    else:
        return replace(plan, done=_whole_shards(out))
    shard_format.write_json(out / PLAN, facts)
    return plan


def run(plan: Preparation, report: Report, progress: Progress) -> Inventory:
    """Write the shards that are missing, the report and, last of all, the index; return what the corpus holds.

    Files that cannot be read are named through `report`.

    Raises:
        AudioError: nothing is left of the recordings.
        VqcodecError: the disk is full.
    """
    shards = list(plan.done)
    cleaned = _told(_judged(_in_order(plan), plan.done), plan.sources_done, report, progress)
    for group in _shardfuls(cleaned, plan.settings.shard_mb * 1e6):
        sources = [file.source for file in group]
        parts = [part for file in group for part in file.parts]
        if not parts and not shards:
            reasons = ", ".join(sorted({source.dropped for source in sources}))
            raise AudioError(f"nothing is left of {len(sources)} files ({reasons}); there is nothing to write")
        shards.append(shard_format.write_shard(plan.out, len(shards), parts, sources))
    inventory = Inventory.of(shards)
    shard_format.write_json(plan.out / REPORT, {"settings": asdict(plan.settings), **inventory.to_dict()})
    shard_format.write_index(plan.out, shards, plan.settings.sample_rate)
    return inventory


@dataclass(frozen=True)
class _Cleaned:
    """A file as it may go into a shard."""

    source: SourceFile
    parts: list[tuple[Facts, bytes]] = field(default_factory=list)


def _clean(recording: Recording, path: str, settings: CleaningSettings) -> _Cleaned:
    """Decode a file, cut it and pack it; all that can be done without knowing of the others."""
    source = SourceFile(path, recording.corpus, recording.speaker, recording.split)
    try:
        pcm, found_rate = read_pcm(recording.path, settings.sample_rate)
    except AudioError as error:
        return _Cleaned(replace(source, dropped="unreadable", detail=str(error)))
    sample_rate = settings.sample_rate
    ranges = loud_parts(pcm, settings)
    source = replace(
        source,
        sample_rate=found_rate,
        duration_s=len(pcm) / sample_rate,
        silence_s=(len(pcm) - sum(map(len, ranges))) / sample_rate,
        dropped="" if ranges else "silent",
        content=content_hash(pcm),
        fingerprint=fingerprint(pcm, sample_rate) if len(pcm) >= SHORTEST_SIMILAR_S * sample_rate else "",
    )
    parts = []
    for part in ranges:
        cut = pcm[part.start : part.stop]
        who = (recording.corpus, recording.speaker, recording.split)
        facts = Facts(path, part.start / sample_rate, *who, sample_rate, len(cut), *level_db(cut))
        parts.append((facts, audio.to_flac(cut, sample_rate)))
    return _Cleaned(source, parts)


def _in_order(plan: Preparation) -> Iterator[_Cleaned]:
    """Clean the files that are left, in parallel, a few of them ahead of their use."""
    workers = usable_cpus()
    waiting: deque[Future[_Cleaned]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for recording in plan.recordings[plan.sources_done :]:
                waiting.append(pool.submit(_clean, recording, _name(recording.path, plan.folders), plan.settings))
                if len(waiting) > 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _judged(cleaned: Iterable[_Cleaned], done: Sequence[Shard]) -> Iterator[_Cleaned]:
    """Drop what is a duplicate of something before it."""
    known = KnownSounds()
    for shard in done:
        for source in shard.sources:
            known.add(source)
    for file in cleaned:
        twin = known.twin(file.source)
        if twin:
            yield _Cleaned(replace(file.source, dropped="duplicate", detail=twin))
        else:
            known.add(file.source)
            yield file


def _told(cleaned: Iterable[_Cleaned], done: int, report: Report, progress: Progress) -> Iterator[_Cleaned]:
    """Pass everything on, and say how it goes."""
    dropped: Counter[str] = Counter()
    for number, file in enumerate(cleaned, done + 1):
        if file.source.dropped:
            dropped[file.source.dropped] += 1
        if file.source.dropped == "unreadable":
            report(f"skipped: {file.source.detail}")
        progress(number, ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())))
        yield file


def _shardfuls(cleaned: Iterable[_Cleaned], room: float) -> Iterator[list[_Cleaned]]:
    """Group what comes by bytes. Whatever was dropped goes with what came before it."""
    group: list[_Cleaned] = []
    size = 0
    for file in cleaned:
        added = sum(len(flac) for _, flac in file.parts)
        if size and added and size + added > room:
            yield group
            group, size = [], 0
        group.append(file)
        size += added
    if group:
        yield group


def _check(settings: CleaningSettings) -> None:
    limits = {
        "sample_rate": (1000, 192_000),
        "shard_mb": (0.01, 1e5),
        "silence_db": (-120.0, -10.0),
        "longest_pause_s": (0.05, 3600.0),
        "shortest_s": (0.02, 3600.0),
    }
    for name, (low, high) in limits.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise ConfigError(f"{name} = {value:g} is out of range; choose {low:g} to {high:g}")


def _order(recording: Recording, folders: Sequence[Path]) -> tuple[int, bytes]:
    name = _name(recording.path, folders)
    return ORDER.get(recording.split or "", len(ORDER)), hashlib.sha256(name.encode()).digest()


def _name(path: Path, folders: Sequence[Path]) -> str:
    """A file's path from the folder on that was searched, whose own name it begins with, as text."""
    folder = next(folder for folder in folders if path.is_relative_to(folder))
    return corpora.legible((Path(folder.resolve().name) / path.relative_to(folder)).as_posix())


def _whole_shards(out: Path) -> list[Shard]:
    """The shards of interrupted work; what else it left is removed."""
    tars = [path.with_suffix(".tar") for path in sorted(out.glob("shard-*.json"))]
    for leftover in {*out.glob(".*.part"), *out.glob("shard-*.tar")}.difference(tars):
        leftover.unlink()
    return [shard_format.read_shard(tar) for tar in tars]


def _clear(out: Path) -> None:
    """Remove what an earlier run wrote, the index first, and nothing else."""
    for pattern in (shard_format.INDEX, REPORT, "shard-*.json", "shard-*.tar", ".*.part", PLAN):
        for path in out.glob(pattern):
            path.unlink()
