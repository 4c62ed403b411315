"""What is done to a recording before it goes into a shard: decoded once, freed of long silence, made recognisable."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio

Pcm = NDArray[np.int16]

FULL_SCALE = 32_768
FRAME_S = 0.02
"""Loudness is measured in frames of this length."""
LONGEST_S = 60.0
"""Recordings are cut into parts no longer than this, so that a crop never needs a long one decoded."""
BLOCK = 1 << 16
LOWEST_DB = -120.0

FINGERPRINT_TIMES = 17
FINGERPRINT_WINDOWS = 1088
"""Of a long recording so many are looked at."""
FINGERPRINT_EDGES_HZ = (300, 430, 580, 760, 980, 1240, 1560, 1950, 2430, 3000)
"""What a telephone passes on as well."""
FINGERPRINT_WINDOW_S = 0.064


@dataclass(frozen=True)
class Settings:
    """How a corpus is prepared."""

    sample_rate: int = 16_000
    """In Hz, of everything in the shards."""
    shard_mb: float = 256.0
    """A shard is full when it holds this many millions of bytes."""
    silence_db: float = -50.0
    """Frames of less power than this, against full scale, are silent."""
    longest_pause_s: float = 1.0
    """Of longer silence only half of this is left at either side."""
    shortest_s: float = 0.2
    """What is shorter than this between two such silences is noise, and goes with them."""


def read_pcm(path: Path, sample_rate: int) -> tuple[Pcm, int]:
    """A file's channels mixed down [sample], 16 bits at `sample_rate`, and the rate it was found in; block by block.

    Raises:
        AudioError: the file cannot be read.
    """
    with audio.Reader(path) as reader:
        resampler = audio.Resampler(reader.sample_rate, sample_rate, 1)
        parts = [_rounded(resampler.push(block.mean(0, keepdims=True))) for block in reader.blocks(BLOCK)]
        parts.append(_rounded(resampler.flush()))
        return np.concatenate(parts), reader.sample_rate


def loud_parts(pcm: Pcm, settings: Settings) -> list[range]:
    """The samples between long silences, a short pause left at both ends; long parts cut into equal ones."""
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
    values = pcm.astype(np.float32) / FULL_SCALE
    return _decibels(float(np.sqrt(np.mean(values**2)))), _decibels(float(np.abs(values).max()))


def content_hash(pcm: Pcm) -> str:
    """The same for the same samples, whatever file they came in."""
    return hashlib.blake2b(pcm.astype("<i2").tobytes(), digest_size=16).hexdigest()


def fingerprint(pcm: Pcm, sample_rate: int) -> str:
    """128 bits in hexadecimal that a change of level, rate or format leaves nearly as they are.

    Whether the difference of neighbouring bands rises or falls from one time to the next (Haitsma and Kalker, A highly
    robust audio fingerprinting system, 2002), at 17 times spread over the recording.
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


def _rounded(waveform: audio.Waveform) -> Pcm:
    pcm: Pcm = np.rint(waveform[0] * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return pcm


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
