"""A cache of decoded recordings.

A corpus is decoded once, at the codec's rate and in 16 bits, into one file that is mapped into memory: reading
a crop then costs next to nothing, in any number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqcodec import audio
from vqcodec.audio import Pcm
from vqcodec.errors import AudioError
from vqcodec.files import atomic_output

from ..parallel import usable_cpus
from . import corpora
from .augment import Sound
from .corpora import Recording

Report = Callable[[str], None]
"""Takes a line of news."""


@dataclass(frozen=True)
class CachedClip:
    """One decoded recording in the corpus."""

    recording: Recording
    start: int
    """First sample in the corpus."""
    samples: int


class PcmCache:
    """Decoded audio files, mono and end to end, at one sample rate."""

    def __init__(self, file: Path, clips: Sequence[CachedClip]) -> None:
        self._pcm: Pcm = np.memmap(file, dtype="<i2", mode="r")
        self.file, self.clips = file, list(clips)

    def __reduce__(self) -> tuple[type[PcmCache], tuple[Path, list[CachedClip]]]:
        """Let another process map the same file, instead of sending it all that is in it."""
        return PcmCache, (self.file, self.clips)

    def read(self, clip: CachedClip, start: int = 0, samples: int | None = None) -> Sound:
        """Samples `start`, `start + 1`, ... of a clip [sample], zero-padded behind its end."""
        wanted = clip.samples - start if samples is None else samples
        end = min(start + wanted, clip.samples)
        pcm = self._pcm[clip.start + start : clip.start + end]
        waveform = np.zeros(wanted, np.float32)
        waveform[: len(pcm)] = audio.from_pcm(pcm)
        return waveform

    @classmethod
    def build(cls, recordings: Sequence[Recording], sample_rate: int, cache: Path, report: Report) -> PcmCache:
        """Decode recordings into `cache`, or find that done already.

        Channels are mixed down. Files that cannot be read are skipped, named and counted through `report`.

        Raises:
            AudioError: none of them is readable.
        """
        paths = [recording.path for recording in recordings]
        stem = cache / f"corpus_{corpora.digest(paths, sample_rate)[:16]}"
        pcm, index = stem.with_suffix(".pcm"), stem.with_suffix(".json")
        if not index.exists():
            cache.mkdir(parents=True, exist_ok=True)
            _decode_all(paths, sample_rate, pcm, index, report)
        by_path = {str(recording.path): recording for recording in recordings}
        entries = json.loads(index.read_text(encoding="utf-8"))
        clips = [CachedClip(by_path[path], start, samples) for path, start, samples in entries]
        if not clips:
            raise AudioError(f"none of the {len(paths)} audio files is readable, such as {paths[0]}")
        return cls(pcm, clips)


def _decode_all(paths: Sequence[Path], sample_rate: int, pcm: Path, index: Path, report: Report) -> None:
    """Write the corpus and, last of all, its index: an index stands only beside a whole corpus."""
    entries: list[tuple[str, int, int]] = []  # path, first sample, samples
    start, skipped = 0, 0
    with open(pcm, "wb") as file, ThreadPoolExecutor(usable_cpus()) as pool:
        for number, (path, decoded) in enumerate(_in_order(pool, paths, sample_rate)):
            if isinstance(decoded, AudioError):
                skipped += 1
                report(f"skipped: {decoded}")
                continue
            file.write(decoded.astype("<i2").tobytes())
            entries.append((str(path), start, len(decoded)))
            start += len(decoded)
            if number % 1000 == 999:
                report(f"decoded {number + 1} of {len(paths)} files")
    hours = start / sample_rate / 3600
    report(
        f"{len(entries)} files, {hours:.2f} h of audio" + (f"; {skipped} unreadable ones skipped" if skipped else "")
    )
    with atomic_output(index, force=True) as output:
        output.write(json.dumps(entries).encode())


def _in_order(
    pool: ThreadPoolExecutor, paths: Sequence[Path], sample_rate: int
) -> Iterator[tuple[Path, Pcm | AudioError]]:
    """Decode in parallel, a bounded number of files ahead of their use."""
    for first in range(0, len(paths), 256):
        part = paths[first : first + 256]
        yield from zip(part, pool.map(lambda path: _decode(path, sample_rate), part), strict=True)


def _decode(path: Path, sample_rate: int) -> Pcm | AudioError:
    try:
        waveform, _ = audio.read(path, sample_rate)
    except AudioError as error:
        return error
    return audio.to_pcm(waveform.mean(0))
