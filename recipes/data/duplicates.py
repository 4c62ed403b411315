"""Duplicates among recordings: hashes of their samples, fingerprints of their sound, and a search for both."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from vqcodec.audio import Pcm

from .shard_format import SourceFile

FINGERPRINT_TIMES = 17
FINGERPRINT_WINDOWS = 1088
"""Number of windows that are looked at in a long recording."""
FINGERPRINT_EDGES_HZ = (300, 430, 580, 760, 980, 1240, 1560, 1950, 2430, 3000)
"""Edges of bands that a telephone passes on as well."""
FINGERPRINT_WINDOW_S = 0.064

SIMILAR_BITS = 16
"""Fingerprints (of 128 bits) that differ in no more are of the same sound. In 11 000 recordings all such pairs were;
the nearest fingerprints of different sounds were 17 bits apart, most of them 40 and more."""
SIMILAR_LENGTH = 0.02
"""Lengths of the same sound differ by no more than this share."""
SHORTEST_SIMILAR_S = 1.0
"""Two recordings of one word may sound alike; only copies bit by bit are duplicates among shorter ones."""


def content_hash(pcm: Pcm) -> str:
    """Hash the samples, whatever file they came in."""
    return hashlib.blake2b(pcm.astype("<i2").tobytes(), digest_size=16).hexdigest()


def fingerprint(pcm: Pcm, sample_rate: int) -> str:
    """Compute 128 bits, in hexadecimal, that a change of level, rate or format leaves nearly as they are.

    Each says whether the difference of neighbouring bands rises or falls from one time to the next, at 17 times spread
    over the recording (Haitsma and Kalker, A highly robust audio fingerprinting system, 2002).
    """
    window = round(FINGERPRINT_WINDOW_S * sample_rate)
    padded = np.pad(pcm, (0, max(0, window - len(pcm)))).astype(np.float32)
    windows = np.clip(2 * len(padded) // window, FINGERPRINT_TIMES, FINGERPRINT_WINDOWS)
    starts = np.linspace(0, len(padded) - window, windows).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[starts] * np.hanning(window).astype(np.float32)
    edges = np.round(np.array(FINGERPRINT_EDGES_HZ) * window / sample_rate).astype(int)
    power = np.abs(np.fft.rfft(frames)) ** 2  # [window, frequency]
    energies = np.add.reduceat(power, edges, axis=1)[:, :-1]  # [window, band]
    times = np.stack([part.mean(0) for part in np.array_split(energies, FINGERPRINT_TIMES)])  # [time, band]
    levels = np.log(times + 1e-4 * times.mean() + 1e-9)
    bits = np.diff(np.diff(levels, axis=1), axis=0) > 0  # [time - 1, band - 1]
    return np.packbits(bits).tobytes().hex()


class KnownSounds:
    """The sounds that were kept so far."""

    def __init__(self) -> None:
        self._contents: dict[str, str] = {}  # content hash -> path
        self._similar: dict[int, _Prints] = {}  # by length, on a logarithmic scale

    def add(self, source: SourceFile) -> None:
        """Remember a source, unless it was dropped."""
        if not source.dropped:
            self._contents[source.content] = source.path
            if source.fingerprint:
                self._similar.setdefault(_length_class(source), _Prints()).add(source)

    def twin(self, source: SourceFile) -> str | None:
        """Return the path of what this source duplicates, if anything; a source that was dropped duplicates nothing."""
        if source.dropped:
            return None
        return self._contents.get(source.content) or self._similar_to(source)

    def _similar_to(self, source: SourceFile) -> str | None:
        if not source.fingerprint:
            return None
        near = _length_class(source)
        found = (self._similar[size].find(source) for size in (near - 1, near, near + 1) if size in self._similar)
        return next(filter(None, found), None)


def _length_class(source: SourceFile) -> int:
    return int(np.floor(np.log(source.duration_s) / np.log1p(SIMILAR_LENGTH)))


class _Prints:
    """Fingerprints of recordings of about one length, in an array that grows."""

    def __init__(self) -> None:
        self._bits: NDArray[np.uint64] = np.zeros((8, 2), np.uint64)
        self._sources: list[tuple[str, float]] = []  # path and length in seconds

    def add(self, source: SourceFile) -> None:
        if len(self._sources) == len(self._bits):
            self._bits = np.concatenate([self._bits, np.zeros_like(self._bits)])
        self._bits[len(self._sources)] = _bits(source)
        self._sources.append((source.path, source.duration_s))

    def find(self, source: SourceFile) -> str | None:
        """The path of the first that sounds the same."""
        differing = np.bitwise_count(self._bits[: len(self._sources)] ^ _bits(source)).sum(axis=1)
        for index in np.flatnonzero(differing <= SIMILAR_BITS):
            path, duration_s = self._sources[index]
            if abs(duration_s - source.duration_s) <= SIMILAR_LENGTH * duration_s:
                return path
        return None


def _bits(source: SourceFile) -> NDArray[np.uint64]:
    return np.frombuffer(bytes.fromhex(source.fingerprint), np.uint64)
