"""A crop -> what the codec hears, and what it is to give back.

The effects come in the order in which they happen to a recording: a room, noise in it, a narrow channel, a lossy file.
None of them moves the sound in time, so that the crop before them can be the target. Speed and colour belong to the
recording itself, and so to the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, firwin, firwin2

from vqcodec import audio
from vqcodec.errors import ConfigError

from ..config import AugmentConfig

Sound: TypeAlias = NDArray[np.float32]
"""A waveform of one channel: [sample], in [-1, 1]."""

LOWEST_CUTOFF_HZ = 2000.0
HIGHEST_CUTOFF = 0.95
"""Highest cutoff frequency, as a share of half the sample rate."""
REVERBERATION_S = (0.1, 1.0)
"""Range of the time in which a room's response falls by 60 dB."""
DIRECT_TO_REVERBERANT_DB = (0.0, 15.0)
PREDELAY_S = (0.002, 0.03)
"""Range of the time between the direct sound and the first reflection."""
LOSSY_BPS = (8_000.0, 32_000.0)
LOSSY_FORMATS = ("mp3", "opus")

SPEEDS = (0.9, 1.1)
"""Range of how many times as fast a crop is played."""
EQUALISER_DB = 6.0
"""Largest gain or loss of the equaliser at each of its frequencies."""
EQUALISER_BANDS = 7
"""Number of these frequencies, evenly spaced in octaves from 100 Hz to half the sample rate."""

_SILENCE = 1e-6  # root mean square under which a sound has no level that noise could be set against


class Pair(NamedTuple):
    """The input of the codec and the output that it is trained to give [sample]."""

    waveform: Sound
    target: Sound


class Background(Protocol):
    """A source of noise."""

    def crop(self, samples: int, rng: np.random.Generator) -> Sound:
        """Return some noise of any level [sample]."""


class PinkNoise:
    """Noise with as much power in every octave."""

    def crop(self, samples: int, rng: np.random.Generator) -> Sound:
        """Gaussian noise of about unit power [sample]."""
        spectrum = np.fft.rfft(rng.standard_normal(samples))
        spectrum[0] = 0
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
        pink = np.fft.irfft(spectrum, samples)
        sound: Sound = (pink / max(_level(pink), _SILENCE)).astype(np.float32)
        return sound


class Augment:
    """A random gain, and the effects of the recipe, each on its share of the crops.

    Args:
        config: shares and ranges.
        gain_db: range of the gain; it goes for target and input alike.
        sample_rate: samples per second of what will come.
        background: where noise comes from; pink noise if None.
        samples: that every crop is to have at the end; as many as it had if None.

    Raises:
        ConfigError: `denoise` is asked for without any effect, or `lossy` at a sample rate that no lossy format has.
    """

    def __init__(
        self,
        config: AugmentConfig,
        gain_db: tuple[float, float],
        sample_rate: int,
        background: Background | None = None,
        samples: int | None = None,
    ) -> None:
        self.config, self.gain_db, self.sample_rate = config, gain_db, sample_rate
        self.background = background or PinkNoise()
        self.samples = samples
        self.lossy_formats = [name for name in LOSSY_FORMATS if sample_rate in audio.FORMATS[name].rates]
        effects: list[tuple[float, Callable[[Sound, np.random.Generator], Sound]]] = [
            (config.reverb, self._reverberate),
            (config.noise, self._add_noise),
            (config.band_limit, self._limit_band),
            (config.lossy, self._compress),
        ]
        self.effects = [(share, effect) for share, effect in effects if share > 0]
        if config.denoise and not self.effects:
            names = "augment.noise, reverb, band_limit and lossy"
            raise ConfigError(f"augment.denoise has nothing to take away: {names} are all 0")
        if config.lossy and not self.lossy_formats:
            raise ConfigError(f"augment.lossy: neither MP3 nor Opus has a sample rate of {sample_rate} Hz; set it to 0")

    def __call__(self, crop: Sound, rng: np.random.Generator) -> Pair:
        """Change speed, colour and level of a crop [sample] as `rng` has it, without clipping; then effects."""
        crop = self._equalise(self._change_speed(crop, rng), rng)
        peak, gain = float(np.abs(crop).max(initial=0.0)), 10 ** (rng.uniform(*self.gain_db) / 20)
        return self.degrade((crop * (gain / max(1.0, gain * peak))).astype(np.float32), rng)

    def degrade(self, clean: Sound, rng: np.random.Generator) -> Pair:
        """The effects alone; what they bring beyond [-1, 1] is scaled down together with the target."""
        heard = clean
        for share, effect in self.effects:
            if rng.random() < share:
                heard = effect(heard, rng)
        peak = np.float32(max(1.0, np.abs(heard).max(initial=0.0)))
        heard = heard / peak
        return Pair(heard, clean / peak if self.config.denoise else heard)

    def held_out(self, clean: Sound, index: int) -> Pair:
        """A whole recording for validation: as it is, or with effects drawn for its index where they are the task."""
        return self.degrade(clean, np.random.default_rng(index)) if self.config.denoise else Pair(clean, clean)

    def _change_speed(self, crop: Sound, rng: np.random.Generator) -> Sound:
        """Play some crops faster or slower; all come out as long as they should be."""
        if self.config.speed and rng.random() < self.config.speed:
            rate = round(rng.uniform(*SPEEDS) * self.sample_rate)
            crop = audio.resample(crop[None], rate, self.sample_rate)[0]
        return crop if self.samples is None else np.pad(crop, (0, max(0, self.samples - len(crop))))[: self.samples]

    def _equalise(self, crop: Sound, rng: np.random.Generator) -> Sound:
        if not self.config.equalise or rng.random() >= self.config.equalise:
            return crop
        response = equaliser(self.sample_rate, rng)
        return _filtered(crop, response, len(response) // 2)

    def _reverberate(self, sound: Sound, rng: np.random.Generator) -> Sound:
        response = room_response(
            self.sample_rate,
            decay_s=_log_uniform(REVERBERATION_S, rng),
            direct_to_reverberant_db=rng.uniform(*DIRECT_TO_REVERBERANT_DB),
            predelay_s=rng.uniform(*PREDELAY_S),
            rng=rng,
        )
        return _filtered(sound, response, 0)

    def _add_noise(self, sound: Sound, rng: np.random.Generator) -> Sound:
        noise, snr_db = self.background.crop(len(sound), rng), rng.uniform(*self.config.snr_db)
        if min(_level(sound), _level(noise)) < _SILENCE:
            return sound
        gain = np.float32(_level(sound) / _level(noise) * 10 ** (-snr_db / 20))
        noisy: Sound = sound + gain * noise
        return noisy

    def _limit_band(self, sound: Sound, rng: np.random.Generator) -> Sound:
        highest_hz = HIGHEST_CUTOFF * self.sample_rate / 2
        cutoff_hz = _log_uniform((min(LOWEST_CUTOFF_HZ, highest_hz), highest_hz), rng)
        response = low_pass(self.sample_rate, cutoff_hz)
        return _filtered(sound, response, len(response) // 2)

    def _compress(self, sound: Sound, rng: np.random.Generator) -> Sound:
        name = self.lossy_formats[rng.integers(len(self.lossy_formats))]
        compressed: Sound = audio.through_lossy(sound[None], self.sample_rate, name, _log_uniform(LOSSY_BPS, rng))[0]
        return compressed


def room_response(
    sample_rate: int,
    *,
    decay_s: float,
    direct_to_reverberant_db: float,
    predelay_s: float,
    rng: np.random.Generator,
) -> Sound:
    """A synthetic response of a room [sample]: the direct sound, 1 at time 0, and exponentially decaying noise.

    Source: Moorer, "About this reverberation business", Computer Music Journal 3(2), 1979.
    """
    time = np.arange(max(1, round(decay_s * sample_rate))) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay_s)
    tail *= 10 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.sum(tail**2))
    response: Sound = np.concatenate([[1.0], np.zeros(round(predelay_s * sample_rate)), tail]).astype(np.float32)
    return response


def equaliser(sample_rate: int, rng: np.random.Generator) -> Sound:
    """Design a random filter that colours speech as another microphone would: its response [sample], symmetric."""
    nyquist_hz = sample_rate / 2
    frequencies = np.geomspace(100.0, nyquist_hz, EQUALISER_BANDS)
    frequencies[-1] = nyquist_hz  # to the last digit, as the design wants it
    gains = 10 ** (rng.uniform(-EQUALISER_DB, EQUALISER_DB, EQUALISER_BANDS) / 20)
    taps = 2 * round(0.016 * sample_rate) + 1
    response = firwin2(taps, [0.0, *frequencies], [gains[0], *gains], fs=sample_rate)
    rounded: Sound = response.astype(np.float32)
    return rounded


def low_pass(sample_rate: int, cutoff_hz: float) -> Sound:
    """Design a low-pass filter: its response [sample], symmetric, a sinc under a Hann window of 20 ms."""
    taps = 2 * round(0.01 * sample_rate) + 1
    response = firwin(taps + 2, cutoff_hz, window="hann", fs=sample_rate)[1:-1]  # a Hann window begins and ends with 0
    rounded: Sound = response.astype(np.float32)
    return rounded


def _filtered(sound: Sound, response: Sound, delay: int) -> Sound:
    """Convolve a sound with a response, from sample `delay` on, as long as the sound."""
    filtered: Sound = fftconvolve(sound, response)[delay : delay + len(sound)].astype(np.float32)
    return filtered


def _level(sound: NDArray[np.floating]) -> float:
    """Root mean square."""
    return math.sqrt(float(np.mean(np.square(sound, dtype=np.float64))))


def _log_uniform(between: tuple[float, float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(between[0]), math.log(between[1])))
