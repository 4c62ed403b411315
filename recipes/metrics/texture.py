"""Scores of what a decoder's regularity does to the texture of speech above 1.5 kHz: a lattice, and filled gaps.

Both compare a waveform with its reference from 1.5 to 7.5 kHz, where the ear hears envelopes rather than phases.
Neither depends on the level.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import AudioError

from .waveforms import RATE, Waveform, refuse_short, resampled_pair

Value = TypeVar("Value", np.bool_, np.float64)

FRAME_RATE_HZ = 50.0
"""Latents per second of the codec whose lattice is looked for, where nothing else is said."""
LATTICE_SHORTEST = 8000
"""Samples: one piece of an envelope."""

LOW_HZ, HIGH_HZ = 1500, 7500

ENVELOPE_BAND_HZ = 1000
"""Wide enough for envelopes of up to 500 Hz, and so for four lines of a codec of up to 125 frames per second."""
ENVELOPE_STEP = 16
"""Samples over which the power in a band is averaged: an envelope has 1000 values a second."""
ENVELOPE_EXPONENT = 0.3
"""Exponent of the power, for an approximate loudness."""
SLOW = 100
"""Values of an envelope over which its own slow course is averaged, which is divided out."""
PIECE = 500
"""Values of an envelope in a piece, of which a spectrum is taken: bins are 2 Hz apart."""
LINES = 4
ACTIVE = 1e-3
"""A band is active where its power is at most 30 dB below its loudest moment."""
LEAST_BAND = 1e-6
"""A band that stays 60 dB below the loudest one is left out."""

FLATNESS_WINDOW, FLATNESS_BINS = 512, 16
"""Samples of a window, a quarter of which is the hop, and bins of a band: 32 ms and 500 Hz, a few harmonics each."""
FLATNESS_FLOOR = 1e-10
"""Floor of the power of a bin, over the strongest."""
LEAST_CELL = 1e-7
"""A band of a frame that is 70 dB below the strongest, in either waveform, is left out."""


def lattice_db(
    reference: Waveform, decoded: Waveform, sample_rate: int = RATE, frame_rate_hz: float = FRAME_RATE_HZ
) -> float:
    """Lattice: how much a codec's frame rate is heard as a buzz, in dB over the reference; lower is better, at 16 kHz.

    A decoder that repeats a pattern in every frame puts lines at multiples of the frame rate into the envelopes of its
    bands. The score is the power of the first four of them over that of their surroundings, in the mean spectrum of the
    envelopes of six bands from 1.5 to 7.5 kHz (Hilbert envelopes, power 0.3, their slow course divided out, where the
    reference is active), in dB more than in the reference, whose voice may be at such a pitch. No published measure.
    Insensitive to level. Identical waveforms: 0; without a lattice within 1 dB or so of that.

    Args:
        frame_rate_hz: latents per second, 20 to 125; of another codec it finds what happens to be at this rate.

    Raises:
        AudioError: one waveform is silent, or the reference never active for long above 1.5 kHz; under 0.5 s.
    """
    x, y = resampled_pair(reference, decoded, sample_rate, RATE)
    refuse_short("the lattice", x, LATTICE_SHORTEST)
    return defined("the lattice", _lattice_over_reference(x, y, frame_rate_hz))


def flatness_db(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Spectral flatness in dB over the reference, lower is better; Gray & Markel 1974, at 16 kHz.

    How much the gaps between harmonics and other peaks are filled up: geometric over arithmetic mean of the power in
    bands of 500 Hz from 1.5 to 7.5 kHz, in dB, mean over bands and frames (32 ms Hann windows, 8 ms apart) that
    are not empty, less that of the reference. Below 0 there is more structure than there was. Insensitive to level.
    Identical waveforms: 0.

    Raises:
        AudioError: one waveform is silent; under 32 ms.
    """
    x, y = resampled_pair(reference, decoded, sample_rate, RATE)
    refuse_short("the spectral flatness", x, FLATNESS_WINDOW)
    return defined("the spectral flatness", _flatness_over_reference(x, y))


def defined(score: str, value: float | None) -> float:
    if value is None:
        raise AudioError(f"{score} is undefined: there is nothing to compare above 1.5 kHz")
    return value


def _lattice_over_reference(
    reference: NDArray[np.float32], decoded: NDArray[np.float32], frame_rate_hz: float
) -> float | None:
    """Excess in dB by which the lines at the frame rate stand out of the envelopes' spectra more than in the reference.

    Args:
        frame_rate_hz: of the codec's latents, 20 to 125.
    """
    powers = _band_powers(reference)
    active = _active_pieces(powers)
    if not active.any():
        return None
    lines = [_lines(_modulation(power, active), frame_rate_hz) for power in (powers, _band_powers(decoded))]
    if min(lines) <= 0:
        return None
    return float(10 * np.log10(lines[1] / lines[0]))


def _flatness_over_reference(reference: NDArray[np.float32], decoded: NDArray[np.float32]) -> float | None:
    """Difference in dB of the spectral flatness within bands of 500 Hz from that of the reference.

    Spectral flatness: the geometric over the arithmetic mean of the power; Gray & Markel 1974.
    """
    cells = [_cells(waveform) for waveform in (reference, decoded)]  # [band, bin, frame]
    means = [one.mean(axis=1) for one in cells]  # [band, frame]
    heard = np.logical_and.reduce([mean > LEAST_CELL * mean.max() for mean in means])
    if not heard.any():
        return None
    flatness = [
        10 * (np.log10(cell + FLATNESS_FLOOR * cell.max()).mean(axis=1) - np.log10(mean + FLATNESS_FLOOR * cell.max()))
        for cell, mean in zip(cells, means, strict=True)
    ]
    return float((flatness[1] - flatness[0])[heard].mean())


def _band_powers(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared Hilbert envelopes of the bands `[band, value]`, 1000 values a second."""
    size = len(waveform) // ENVELOPE_STEP * ENVELOPE_STEP
    spectrum = np.fft.rfft(waveform[:size].astype(np.float64))
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    powers = []
    for low in range(LOW_HZ, HIGH_HZ, ENVELOPE_BAND_HZ):
        band = np.where((frequencies >= low) & (frequencies < low + ENVELOPE_BAND_HZ), spectrum, 0)
        analytic = np.fft.ifft(band, size)  # without negative frequencies
        powers.append((np.abs(analytic) ** 2).reshape(-1, ENVELOPE_STEP).mean(axis=1))
    return np.stack(powers)


def _course(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slow course of a band's power `[value]`."""
    return np.convolve(power, np.full(SLOW, 1 / SLOW), "same")


def _active_pieces(powers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mask of the pieces that are mostly active `[band, piece]`."""
    courses = np.stack([_course(power) for power in powers])
    loudest = courses.max(axis=1, keepdims=True)
    active = (courses > ACTIVE * loudest) & (loudest > LEAST_BAND * loudest.max())
    mostly: NDArray[np.bool_] = _pieces(active).mean(axis=-1) > 0.7
    return mostly


def _modulation(powers: NDArray[np.float64], active: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean power spectrum of the envelopes, their slow course divided out, over the active pieces `[bin]`."""
    envelopes = []
    for power in powers:
        course = _course(power)
        envelopes.append((power / np.maximum(course, 0.1 * ACTIVE * course.max() or 1.0)) ** ENVELOPE_EXPONENT)
    pieces = _pieces(np.stack(envelopes))[active]  # [piece, value]
    centred = pieces - pieces.mean(axis=-1, keepdims=True)
    spectrum: NDArray[np.float64] = (np.abs(np.fft.rfft(centred * np.hanning(PIECE + 1)[:-1])) ** 2).mean(axis=0)
    return spectrum


def _lines(spectrum: NDArray[np.float64], frame_rate_hz: float) -> float:
    """Power at multiples of the frame rate over that around them, mean over the multiples; 1 where nothing stands out.

    Each line is three bins; its surroundings, of which the geometric mean is taken, begin at 0.16 and end at 0.4 of
    the way to the next.
    """
    resolution_hz = 1000 / PIECE
    frequencies = np.arange(len(spectrum)) * resolution_hz
    ratios = []
    for multiple in range(1, LINES + 1):
        distance = np.abs(frequencies - multiple * frame_rate_hz)
        line = spectrum[distance <= resolution_hz].mean()
        around = spectrum[(distance >= 0.16 * frame_rate_hz) & (distance <= 0.4 * frame_rate_hz)]
        ratios.append(line / np.exp(np.log(around).mean()) if around.all() else 0.0)
    return float(np.mean(ratios))


def _pieces(values: NDArray[Value]) -> NDArray[Value]:
    """`[band, value]` -> `[band, piece, value]`, half overlapping."""
    pieces: NDArray[Value] = np.lib.stride_tricks.sliding_window_view(values, PIECE, axis=-1)[:, :: PIECE // 2]
    return pieces


def _cells(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Power `[band, bin, frame]`."""
    import librosa

    spectrum = librosa.stft(waveform, n_fft=FLATNESS_WINDOW, hop_length=FLATNESS_WINDOW // 4, pad_mode="reflect")
    first, last = (hz * FLATNESS_WINDOW // RATE for hz in (LOW_HZ, HIGH_HZ))
    power: NDArray[np.float64] = np.abs(spectrum[first:last]).astype(np.float64) ** 2
    return power.reshape(-1, FLATNESS_BINS, power.shape[-1])
