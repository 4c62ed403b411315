"""Distances of waveforms and of their spectra, by closed formulas."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from .waveforms import RATE, Waveform, check, refuse_short, refuse_silence, resampled_pair

SI_SDR_LIMIT_DB = 100.0

MEL_BANDS = {32: 5, 64: 10, 128: 20, 256: 40, 512: 80, 1024: 160, 2048: 320}
"""Mel bands for each window in samples."""
MEL_FLOOR = 1e-5

FRAME = 512
"""Window in samples of the log-spectral and the cepstral distance: 32 ms, every 8 ms."""
POWER_FLOOR_DB = -100.0
"""Floor of the log-spectral distance, per bin, against a sine of full scale."""
CEPSTRAL_COEFFICIENTS = 24


def mel_distance(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Multi-scale log-mel distance, 0 and up, lower is better; as in DAC (Kumar et al. 2023), at 16 kHz.

    Mean absolute difference of log10(max(mel magnitude, 1e-5)), summed over seven Hann windows of 32, 64, ... 2048
    samples with a hop of a quarter and 5, 10, ... 320 Slaney mel bands from 0 to 8 kHz. A gain of g dB alone costs
    7 g / 20. Identical waveforms: 0.

    Raises:
        AudioError: under 128 ms.
    """
    x, y = resampled_pair(reference, decoded, sample_rate, RATE)
    refuse_short("the mel distance", x, max(MEL_BANDS))
    distances = [np.abs(np.log10(_mel(x, window)) - np.log10(_mel(y, window))).mean() for window in MEL_BANDS]
    return float(sum(distances))


def lsd(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Log-spectral distance in dB, 0 and up, lower is better; Gray & Markel 1976, at 16 kHz.

    Root mean square over the bins of the difference of power spectra in dB, mean over the frames: 32 ms Hann windows,
    8 ms apart, floored at 100 dB below a sine of full scale. A gain of g dB alone costs g. Identical waveforms: 0.

    Raises:
        AudioError: under 32 ms.
    """
    x, y = resampled_pair(reference, decoded, sample_rate, RATE)
    refuse_short("the log-spectral distance", x, FRAME)
    difference = _power_db(x) - _power_db(y)  # [bin, frame]
    return float(np.sqrt(np.square(difference).mean(axis=0)).mean())


def mcd(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Mel-cepstral distortion in dB, 0 and up, lower is better; Kubichek 1993, at 16 kHz.

    10 / ln 10 * sqrt(2 * sum of (c_m - c'_m)^2 over m = 1 to 24), mean over the frames, which are not realigned; c_0,
    the level, is left out. ln(mel magnitude) = c_0 + sum of c_m cos(pi m (band + 1/2) / 80), over 80 mel bands of
    32 ms Hann windows, 8 ms apart, floored like the mel distance. Identical waveforms: 0.

    Raises:
        AudioError: under 32 ms.
    """
    x, y = resampled_pair(reference, decoded, sample_rate, RATE)
    refuse_short("the mel-cepstral distortion", x, FRAME)
    difference = _cepstrum(x) - _cepstrum(y)  # [coefficient, frame]
    return float(10 / math.log(10) * np.sqrt(2 * np.square(difference).sum(axis=0)).mean())


def si_sdr(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, higher is better; -100 to 100, at the given rate.

    Le Roux et al. 2019, "SDR - half-baked or well done?". Identical waveforms: 100; a silent decoded one: -100.

    Raises:
        AudioError: the reference is silent.
    """
    check(reference, decoded, sample_rate)
    refuse_silence("SI-SDR", "reference", reference)
    x, y = (np.asarray(signal, np.float64) for signal in (reference, decoded))
    target = x * (x @ y) / (x @ x)
    error = y - target
    signal, distortion = float(target @ target), float(error @ error)
    least = 10 ** (-SI_SDR_LIMIT_DB / 10)
    if signal <= least * distortion:  # both are 0 for a silent decoded waveform
        return -SI_SDR_LIMIT_DB
    if distortion <= least * signal:
        return SI_SDR_LIMIT_DB
    return 10 * math.log10(signal / distortion)


# Spectra at `RATE`, all [band or bin, frame], with reflected ends and a hop of a quarter of the window.


def _magnitude(waveform: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Magnitudes of the unnormalised Hann STFT."""
    import librosa

    spectrum = librosa.stft(waveform, n_fft=window, hop_length=window // 4, window="hann", pad_mode="reflect")
    magnitude: NDArray[np.float32] = np.abs(spectrum)
    return magnitude


def _power_db(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power in dB against a sine of full scale, floored."""
    relative = _magnitude(waveform, FRAME) / (FRAME / 4)
    power_db: NDArray[np.float32] = 20 * np.log10(np.maximum(relative, 10 ** (POWER_FLOOR_DB / 20)))
    return power_db


def _mel(waveform: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Mel magnitudes, floored."""
    mel: NDArray[np.float32] = np.maximum(_mel_filters(window) @ _magnitude(waveform, window), MEL_FLOOR)
    return mel


@functools.cache
def _mel_filters(window: int) -> NDArray[np.float32]:
    """Slaney's triangles of equal area [band, bin]."""
    import librosa

    filters: NDArray[np.float32] = librosa.filters.mel(sr=RATE, n_fft=window, n_mels=MEL_BANDS[window])
    return filters


def _cepstrum(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mel cepstrum without c_0 [coefficient, frame]."""
    bands = MEL_BANDS[FRAME]
    order = np.arange(1, CEPSTRAL_COEFFICIENTS + 1)
    cosines = np.cos(np.pi / bands * np.outer(order, np.arange(bands) + 0.5))  # [coefficient, band]
    return 2 / bands * cosines @ np.log(_mel(waveform, FRAME))
