"""Pure scores of a decoded waveform against its reference, and the table of them.

Each takes (reference, decoded, sample_rate): two float waveforms [sample] of one length, aligned in time, nominally in
[-1, 1], at any rate from 8 kHz up, and resamples them to the rate that its definition wants. Its docstring says what
identical waveforms get. Where a score is undefined it raises AudioError; none is ever NaN. All of them raise it for
waveforms that are empty, differ in length or hold NaN.

PESQ, STOI, ViSQOL, Distill-MOS, DNSMOS and PLCMOS need the `eval` extra (`pip install 'vqcodec[eval]'`). Models are
loaded once per process and keep to one thread; ViSQOL may be called from one thread at a time only.
"""

from .distances import lsd, mcd, mel_distance, si_sdr
from .opinion import distill_mos, dnsmos_ovrl, p808, plcmos
from .perceptual import estoi, pesq_nb, pesq_wb, stoi, visqol
from .table import METRICS, Metric, missing
from .texture import FRAME_RATE_HZ, flatness_db, lattice_db
from .whistle import whistle_db

__all__ = [
    "FRAME_RATE_HZ",
    "METRICS",
    "Metric",
    "distill_mos",
    "dnsmos_ovrl",
    "estoi",
    "flatness_db",
    "lattice_db",
    "lsd",
    "mcd",
    "mel_distance",
    "missing",
    "p808",
    "pesq_nb",
    "pesq_wb",
    "plcmos",
    "si_sdr",
    "stoi",
    "visqol",
    "whistle_db",
]
