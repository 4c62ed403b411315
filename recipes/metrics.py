"""Pure scores of a decoded waveform against its reference, both float [sample] of the same length.

PESQ and STOI need the `eval` extra (`pip install 'vqcodec[eval]'`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import AudioError

Waveform = NDArray[np.floating]

SILENCE = 1e-10


def si_sdr(reference: Waveform, decoded: Waveform) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, higher is better; -100 to 100.

    Le Roux et al. 2019, "SDR - half-baked or well done?".
    """
    x, y = (np.asarray(signal, np.float64) for signal in (reference, decoded))
    target = x * (x @ y) / (x @ x + SILENCE)
    error = y - target
    ratio = 10 * math.log10((target @ target + SILENCE) / (error @ error + SILENCE))
    return min(100.0, max(-100.0, ratio))


def pesq_wb(reference: Waveform, decoded: Waveform, sample_rate: int = 16_000) -> float:
    """Wideband PESQ, MOS-LQO from 1.04 to 4.64, higher is better; ITU-T P.862.2 as the `pesq` package has it.

    Raises:
        AudioError: no speech was found, or the sample rate is not 16 kHz.
    """
    import pesq

    if sample_rate != 16_000:
        raise AudioError(f"wideband PESQ needs 16000 Hz, not {sample_rate}")
    try:
        return float(pesq.pesq(sample_rate, reference, decoded, "wb"))
    except pesq.PesqError as error:
        raise AudioError(f"PESQ: {error}") from None


def stoi(reference: Waveform, decoded: Waveform, sample_rate: int = 16_000) -> float:
    """Short-time objective intelligibility, about 0 to 1, higher is better; Taal et al. 2011, package `pystoi`."""
    import pystoi

    return float(pystoi.stoi(reference, decoded, sample_rate))
