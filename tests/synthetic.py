"""Small deterministic sounds for the tests: float32 `[sample]` in [-1, 1], the same on every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]

# Centre frequencies in Hz of the first three formants of a few vowels: a, e, i, o, u.
_VOWELS = np.array([[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]])
_FORMANT_WIDTHS = np.array([90.0, 110.0, 150.0])
_SYLLABLE_S = 0.22


def voice(duration_s: float, sample_rate: int = 16000, seed: int = 0, pitch_hz: float = 120.0) -> Sound:
    """Something like speech: the harmonics of a wavering pitch through moving formants, hiss, and pauses."""
    random = np.random.default_rng(seed)
    time = np.arange(round(duration_s * sample_rate)) / sample_rate
    syllables = int(duration_s / _SYLLABLE_S) + 2
    centres = np.arange(syllables) * _SYLLABLE_S

    melody = 1.0 + 0.15 * random.standard_normal(syllables).clip(-2, 2)
    pitch = pitch_hz * np.interp(time, centres, melody)  # [sample]
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    vowels = _VOWELS[random.integers(len(_VOWELS), size=syllables)]
    formants = [np.interp(time, centres, track) for track in vowels.T]

    sound = np.zeros(len(time))
    for harmonic in range(1, int(min(5000, sample_rate / 2) / pitch_hz) + 1):
        frequency = harmonic * pitch
        gain = sum(1 / (1 + ((frequency - f) / w) ** 2) for f, w in zip(formants, _FORMANT_WIDTHS, strict=True))
        sound += gain / harmonic * (frequency < sample_rate / 2) * np.sin(harmonic * phase)
    sound += 0.02 * random.standard_normal(len(time))

    loudness = np.interp(time, centres, random.choice([0.0, 0.5, 1.0], size=syllables, p=[0.2, 0.3, 0.5]))
    sound *= loudness * (1 - 0.5 * np.cos(2 * np.pi * time / _SYLLABLE_S))
    return _scaled(sound, 0.7)


def chirp(duration_s: float, sample_rate: int = 16000, start_hz: float = 50.0, stop_hz: float | None = None) -> Sound:
    """A sine that glides from `start_hz` to `stop_hz`, by default nearly half the sample rate; amplitude 0.5."""
    time = np.arange(round(duration_s * sample_rate)) / sample_rate
    stop = 0.45 * sample_rate if stop_hz is None else stop_hz
    phase = 2 * np.pi * (start_hz * time + (stop - start_hz) * time**2 / (2 * duration_s))
    return (0.5 * np.sin(phase)).astype(np.float32)


def tone(duration_s: float, sample_rate: int = 16000, frequency_hz: float = 440.0) -> Sound:
    """A sine of amplitude 0.5."""
    time = np.arange(round(duration_s * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def noise(duration_s: float, sample_rate: int = 16000, seed: int = 0) -> Sound:
    """White noise, uniform in [-0.5, 0.5]."""
    random = np.random.default_rng(seed)
    return random.uniform(-0.5, 0.5, round(duration_s * sample_rate)).astype(np.float32)


def silence(duration_s: float, sample_rate: int = 16000) -> Sound:
    """Zeros."""
    return dc(duration_s, sample_rate, 0.0)


def dc(duration_s: float, sample_rate: int = 16000, level: float = 0.5) -> Sound:
    """A constant."""
    return np.full(round(duration_s * sample_rate), level, np.float32)


def square(duration_s: float, sample_rate: int = 16000, frequency_hz: float = 100.0) -> Sound:
    """A square wave of full scale: only -1 and 1."""
    time = np.arange(round(duration_s * sample_rate)) / sample_rate
    return np.where((time * frequency_hz) % 1 < 0.5, 1.0, -1.0).astype(np.float32)


def clicks(duration_s: float, sample_rate: int = 16000, interval_s: float = 0.1) -> Sound:
    """Single samples of full scale, the first of them at half an interval, in silence."""
    sound = silence(duration_s, sample_rate)
    interval = round(interval_s * sample_rate)
    sound[interval // 2 :: interval] = 1.0
    return sound


def _scaled(sound: NDArray[np.float64], peak: float) -> Sound:
    return (sound * (peak / max(float(np.abs(sound).max(initial=0.0)), 1e-9))).astype(np.float32)
