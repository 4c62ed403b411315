"""Scores that predict listeners' opinion of the decoded waveform alone, by networks of other packages."""

from __future__ import annotations

from . import mos_models
from .waveforms import RATE, Waveform, finite, resampled_pair


def distill_mos(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Distill-MOS, MOS from 1 to 5, higher is better; Stahl and Gamper 2025, at 16 kHz.

    A small network that a large self-supervised one (wav2vec 2.0 XLS-R) taught, on listeners' opinions of noisy,
    enhanced, transmitted and coded speech. Judges the decoded waveform alone, so compare with what the reference itself
    gets. The model is that of the package `distillmos`.
    """
    _, waveform = resampled_pair(reference, decoded, sample_rate, RATE)
    return finite("Distill-MOS", mos_models.distill_mos(waveform))


def p808(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """DNSMOS P.808 quality, MOS from about 1 to 5, higher is better; Reddy et al. 2021, at 16 kHz.

    What listeners would say on the scale of ITU-T P.808. Judges the decoded waveform alone, so compare with what the
    reference itself gets. The model is that of the package `speechmos`, another network than that of `dnsmos_ovrl`;
    mean over the same windows.
    """
    _, waveform = resampled_pair(reference, decoded, sample_rate, RATE)
    return finite("P.808", mos_models.dnsmos_p808(waveform))


def plcmos(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """PLCMOS version 2, MOS from about 1 to 5, higher is better; Diener et al. 2023, at 16 kHz.

    Trained on listeners' opinions of speech with gaps that were filled in, it is sensitive to what sounds synthetic.
    Judges the decoded waveform alone, so compare with what the reference itself gets; level matters. The model is that
    of the package `speechmos`; mean over 15 random listeners, who are the same every time.
    """
    _, waveform = resampled_pair(reference, decoded, sample_rate, RATE)
    return finite("PLCMOS", mos_models.plcmos(waveform))


def dnsmos_ovrl(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """DNSMOS P.835 overall quality, MOS from about 1 to 5, higher is better; Reddy et al. 2022, at 16 kHz.

    Judges the decoded waveform alone, so compare with what the reference itself gets; level matters. The model is that
    of the package `speechmos`, and the windows are those of its authors' script: 9.01 s each, one a second, mean over
    them; a shorter recording is repeated.
    """
    _, waveform = resampled_pair(reference, decoded, sample_rate, RATE)
    return finite("DNSMOS", mos_models.dnsmos_overall(waveform))
