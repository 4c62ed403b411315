"""Cleaning of recordings before they go into shards: decoding, mixing down, cutting out long silence."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio
from vqcodec.audio import Pcm

FULL_SCALE = 32_768
"""Full scale of samples of 16 bits."""

FRAME_S = 0.02
"""Loudness is measured in frames of this length."""
LONGEST_S = 60.0
"""Recordings are cut into parts no longer than this, so that a crop never needs a long one decoded."""
BLOCK = 1 << 16
LOWEST_DB = -120.0


@dataclass(frozen=True)
class CleaningSettings:
    """Settings of the preparation of a corpus."""

    sample_rate: int = 16_000
    """Samples per second of everything in the shards."""
    shard_mb: float = 256.0
    """A shard is full when it holds this many millions of bytes."""
    silence_db: float = -50.0
    """Frames of less power than this, against full scale, are silent."""
    longest_pause_s: float = 1.0
    """Longer silence is cut out, except for half of this at either side."""
    shortest_s: float = 0.2
    """Sounds shorter than this between two such silences are noise, and are cut out with them."""


def read_pcm(path: Path, sample_rate: int) -> tuple[Pcm, int]:
    """Read a file, its channels mixed down [sample], 16 bits at `sample_rate`, and its own rate; block by block.

    Raises:
        AudioError: the file cannot be read.
    """
    with audio.Reader(path) as reader:
        resampler = audio.Resampler(reader.sample_rate, sample_rate, 1)
        parts = [audio.to_pcm(resampler.push(block.mean(0, keepdims=True))[0]) for block in reader.blocks(BLOCK)]
        parts.append(audio.to_pcm(resampler.flush()[0]))
        return np.concatenate(parts), reader.sample_rate


def loud_parts(pcm: Pcm, settings: CleaningSettings) -> list[range]:
    """Find the samples between long silences, with a short pause at both ends; long parts are cut into equal ones."""
    frame = round(FRAME_S * settings.sample_rate)
    loud = np.flatnonzero(_power(pcm, frame) > FULL_SCALE**2 * 10 ** (settings.silence_db / 10))
    if not len(loud):
        return []
    pause = settings.longest_pause_s * settings.sample_rate
    breaks = np.flatnonzero(np.diff(loud) * frame > pause + frame) + 1
    parts: list[range] = []
    for run in np.split(loud, breaks):
        first, last = int(run[0]) * frame, (int(run[-1]) + 1) * frame
        if last - first >= settings.shortest_s * settings.sample_rate:
            parts += _cut(max(0, first - int(pause / 2)), min(len(pcm), last + int(pause / 2)), settings.sample_rate)
    return parts


def level_db(pcm: Pcm) -> tuple[float, float]:
    """Root mean square and peak in dB against full scale."""
    values = audio.from_pcm(pcm)
    return _decibels(float(np.sqrt(np.mean(values**2)))), _decibels(float(np.abs(values).max()))


def _power(pcm: Pcm, frame: int) -> NDArray[np.float32]:
    """Mean square of each frame [frame], of the last one too if it is not whole."""
    padded = np.pad(pcm, (0, -len(pcm) % frame)).astype(np.float32).reshape(-1, frame)
    power: NDArray[np.float32] = np.einsum("fs,fs->f", padded, padded) / frame
    return power


def _cut(first: int, last: int, sample_rate: int) -> list[range]:
    parts = -(-(last - first) // round(LONGEST_S * sample_rate))
    edges = np.linspace(first, last, parts + 1).astype(int).tolist()
    return [range(start, end) for start, end in itertools.pairwise(edges)]


def _decibels(value: float) -> float:
    return round(float(20 * np.log10(max(value, 10 ** (LOWEST_DB / 20)))), 2)
