"""Losses that weigh an error as the ear does, after standard measures: STOI, PESQ and ViSQOL. Lower is better.

They are close to those measures, not equal to them: all is differentiable, nothing is aligned in time, and any sample
rate will do. A measure that was trained on is no longer an independent judge: look at others too (DNSMOS, word
errors, listening).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

from .spectral import stft

AUDIBLE_RMS = 1e-3
"""A crop under this is as good as silent: there is nothing to understand, and its level cannot be normalised."""

SEGMENT_S = 0.384
"""Length of the envelopes that are correlated."""
CLIP_DB = 15.0
"""Signal-to-distortion ratio beyond which an envelope is clipped, so that one burst does not spoil a segment."""
DYNAMIC_RANGE_DB = 40.0
"""A segment this much weaker than the loudest one does not count."""

SIMILARITY_RANGE_DB = 45.0
"""Range below the loudest moment that counts."""

SPEECH_LEVEL_DB = 65.0
"""Level that the speech band is brought to, over the hearing threshold at 1 kHz or so."""
LOUDNESS_SCALE = 8.25
"""Brings the two disturbances to P.862's scale."""
DEAD_ZONE = 0.25
"""Share of the weaker loudness that masks a difference."""
MASKED_FRAMES = 20
"""Frames of 32 ms, half overlapping, over which the worst moments dominate."""


def intelligibility_loss(output: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """1 - mean correlation of short-time third-octave envelopes [], 0 for perfect ones; [batch, sample] both.

    After Taal et al. 2011, "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech"; but
    weak segments are left out where STOI cuts silent frames away. Silent items count as perfect.
    """
    window = _power_of_two(0.0256 * sample_rate)
    filters = _third_octaves(window, sample_rate, target.device)
    x, y = (_envelopes(waveform, window, filters) for waveform in (target, output))
    length = min(x.shape[-1], max(2, round(SEGMENT_S * sample_rate / (window // 2))))
    x, y = x.unfold(-1, length, 1), y.unfold(-1, length, 1)  # [batch, band, segment, frame]
    level = x.square().sum((1, 3))  # [batch, segment]
    y = y * (_norm(x) / _norm(y))
    y = torch.minimum(y, x * (1 + 10 ** (CLIP_DB / 20)))
    correlation = (_standardised(x) * _standardised(y)).sum(-1).mean(1)  # [batch, segment]
    counts = (level > level.amax(1, keepdim=True) * 10 ** (-DYNAMIC_RANGE_DB / 10)) & _audible(target)[:, None]
    lost = ((1 - correlation) * counts).sum(1) / counts.sum(1).clamp_min(1)
    return lost.mean()


def loudness_loss(output: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """Disturbance of the loudness in Bark bands, in points of raw PESQ lost [], 0 for none; [batch, sample] both.

    After ITU-T P.862 (Rix et al. 2001): levels aligned, linear filtering and slow changes of gain forgiven in part,
    Zwicker loudness, masking by a dead zone, what was added counted beyond what was lost, the worst moments above all.
    """
    window = _power_of_two(0.032 * sample_rate)
    filters, thresholds, exponents = _bark(window, sample_rate, target.device)
    x, y = (
        _bark_power(waveform, window, filters, sample_rate) for waveform in (target, output)
    )  # [batch, band, frame]
    x, y = _forgive_filtering(x, y, thresholds)
    y = _forgive_gain(x, y, thresholds)
    loud_x, loud_y = (_loudness(power, thresholds, exponents) for power in (x, y))
    difference = loud_y - loud_x
    masked = difference.abs() - DEAD_ZONE * torch.minimum(loud_x, loud_y)
    disturbance = masked.clamp_min(0)
    added = ((y + 50) / (x + 50)).pow(1.2)
    added = added.clamp_max(12) * (added >= 3)
    weight = ((_audible_power(x, thresholds) + 1e5) / 1e7).pow(-0.04)  # [batch, frame]
    symmetric = weight * (disturbance.square().mean(1) + 1e-12).sqrt()
    asymmetric = weight * (disturbance * added).mean(1)
    points = 0.1 * _worst(symmetric.clamp_max(45)) + 0.0309 * _worst(asymmetric.clamp_max(45))
    return (points * _audible(target)).mean()


def similarity_loss(output: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """1 - neurogram similarity (NSIM) of auditory spectrograms in dB [], 0 for none lost; [batch, sample] both.

    After Hines et al. 2015, "ViSQOL: an objective speech quality model": levels and local structure of 3 bands
    by 3 frames each are compared, as structural similarity compares pictures. Silent items count as perfect.
    """
    window = _power_of_two(0.064 * sample_rate)
    filters = _erb_bands(window, sample_rate, target.device)
    x, y = (_decibels(filters @ stft(waveform, window).magnitude.square()) for waveform in (target, output))
    floor = x.amax((1, 2), keepdim=True) - SIMILARITY_RANGE_DB
    x, y = ((db - floor).clamp_min(0).unsqueeze(1) for db in (x, y))  # [batch, 1, band, frame]
    mean_x, mean_y = _smoothed(x), _smoothed(y)
    var_x, var_y = ((_smoothed(z * z) - mean * mean).clamp_min(0) for z, mean in ((x, mean_x), (y, mean_y)))
    covariance = _smoothed(x * y) - mean_x * mean_y
    intensity = (2 * mean_x * mean_y + 1) / (mean_x.square() + mean_y.square() + 1)
    deviations = ((var_x + 0.01) * (var_y + 0.01)).sqrt() - 0.01
    structure = (covariance + 1) / (deviations + 1)
    lost = (1 - intensity * structure).mean((1, 2, 3))
    return (lost * _audible(target)).mean()


def _decibels(power: Tensor) -> Tensor:
    return 10 * (power + 1e-8).log10()


def _smoothed(x: Tensor) -> Tensor:
    """Weighted mean over 3 bands by 3 frames [batch, 1, band, frame], without the rim."""
    line = torch.tensor([0.107, 0.786, 0.107], device=x.device)
    return nn.functional.conv2d(x, (line[:, None] * line)[None, None])


PERCEPTUAL = {"intelligibility": intelligibility_loss, "loudness": loudness_loss, "similarity": similarity_loss}
"""Perceptual losses by the names of their weights in a recipe."""


def _envelopes(waveform: Tensor, window: int, filters: Tensor) -> Tensor:
    """[batch, sample] -> [batch, band, frame]."""
    power = stft(waveform, window, window // 2).magnitude.square()
    return (filters @ power + 1e-8).sqrt()


def _standardised(envelope: Tensor) -> Tensor:
    """Mean 0 and length 1 along the last axis."""
    centred = envelope - envelope.mean(-1, keepdim=True)
    return centred / _norm(centred)


def _norm(x: Tensor) -> Tensor:
    return (x.square().sum(-1, keepdim=True) + 1e-8).sqrt()


def _audible(target: Tensor) -> Tensor:
    """Mask of the items that are not silent [batch]."""
    return target.square().mean(1).sqrt() > AUDIBLE_RMS


def _bark_power(waveform: Tensor, window: int, filters: Tensor, sample_rate: int) -> Tensor:
    """[batch, sample] -> power in Bark bands [batch, band, frame], the speech band at `SPEECH_LEVEL_DB`."""
    power = stft(waveform, window, window // 2).magnitude.square()
    first, last = (round(hz * window / sample_rate) for hz in (350, 3250))
    mean = power[:, first:last].sum(1).mean(-1)[:, None, None]
    return filters @ power * (10 ** (SPEECH_LEVEL_DB / 10) / mean.clamp_min(1e-6))


def _forgive_filtering(x: Tensor, y: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """The target x, filtered as the output y seems to have been."""
    heard = x.sum(1, keepdim=True) > 10 ** (SPEECH_LEVEL_DB / 10 - 2)
    mean_x, mean_y = ((power * (power > 100 * thresholds) * heard).mean(-1, keepdim=True) for power in (x, y))
    return x * ((mean_y + 1000) / (mean_x + 1000)).clamp(0.01, 100), y


def _forgive_gain(x: Tensor, y: Tensor, thresholds: Tensor) -> Tensor:
    """The output y with the slow changes of its gain undone."""
    ratio = (_audible_power(x, thresholds) + 5e3) / (_audible_power(y, thresholds) + 5e3)  # [batch, frame]
    before = torch.cat([ratio[:, :1], ratio[:, :-1]], dim=1)
    return y * (0.8 * ratio + 0.2 * before).clamp(3e-4, 5).unsqueeze(1)


def _audible_power(power: Tensor, thresholds: Tensor) -> Tensor:
    """[batch, band, frame] -> [batch, frame]."""
    return (power * (power > thresholds)).sum(1)


def _loudness(power: Tensor, thresholds: Tensor, exponents: Tensor) -> Tensor:
    """Zwicker's law: power in a band -> loudness, 0 under the hearing threshold; shape as given."""
    over = (0.5 + 0.5 * power.clamp_min(0) / thresholds).pow(exponents) - 1
    return LOUDNESS_SCALE * (2 * thresholds).pow(exponents) * over * (power > thresholds)


def _worst(disturbance: Tensor) -> Tensor:
    """[batch, frame] -> [batch]: a mean of power 6 over short stretches, of power 2 over these."""
    length = min(MASKED_FRAMES, disturbance.shape[1])
    stretches = disturbance.unfold(1, length, max(1, length // 2))  # [batch, stretch, frame]
    worst = ((stretches / 10).pow(6).mean(-1) + 1e-24).pow(1 / 6) * 10
    return (worst.square().mean(1) + 1e-8).sqrt()


def _power_of_two(samples: float) -> int:
    return 1 << round(math.log2(samples))


@functools.cache
def _third_octaves(window: int, sample_rate: int, device: torch.device) -> Tensor:
    """15 bands from 150 Hz on, as far as the sample rate goes [band, bin]."""
    frequencies = torch.arange(window // 2 + 1) * sample_rate / window
    centres = 150 * 2 ** (torch.arange(15) / 3)
    centres = centres[centres * 2 ** (1 / 6) <= sample_rate / 2]
    low, high = centres[:, None] * 2 ** (-1 / 6), centres[:, None] * 2 ** (1 / 6)
    filters = ((frequencies >= low) & (frequencies < high)).float()
    return filters[filters.any(1)].to(device)  # at high sample rates the lowest may lie between two bins


@functools.cache
def _bark(window: int, sample_rate: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Bands of 0.43 Bark up to 8 kHz: filters [band, bin], hearing thresholds and exponents of loudness [band, 1].

    Barks after Zwicker and Terhardt 1980, thresholds after Terhardt 1979.
    """
    frequencies = torch.arange(window // 2 + 1) * sample_rate / window
    edges = torch.arange(0.5, 21.3, 0.43)
    edges = edges[edges <= _to_bark(torch.tensor(min(8000.0, sample_rate / 2)))]
    barks = _to_bark(frequencies)
    filters = ((barks >= edges[:-1, None]) & (barks < edges[1:, None])).float()
    filters = filters[filters.sum(1) > 0]
    khz = (filters @ frequencies) / filters.sum(1) / 1000  # [band]
    threshold_db = 3.64 * khz**-0.8 - 6.5 * (-0.6 * (khz - 3.3) ** 2).exp() + 1e-3 * khz**4
    exponents = 0.23 * (6 / (_to_bark(1000 * khz) + 2)).clamp(1, 2) ** 0.15
    thresholds = 10 ** (threshold_db / 10)
    return filters.to(device), thresholds[:, None].to(device), exponents[:, None].to(device)


@functools.cache
def _erb_bands(window: int, sample_rate: int, device: torch.device) -> Tensor:
    """24 overlapping bands from 50 Hz to 8 kHz, evenly spaced in equivalent rectangular bandwidths [band, bin]."""
    frequencies = torch.arange(window // 2 + 1) * sample_rate / window
    limits = _to_erb(torch.tensor([50.0, min(8000.0, sample_rate / 2)]))
    centres = torch.linspace(float(limits[0]), float(limits[1]), 26)
    width = centres[1] - centres[0]
    filters = (1 - (_to_erb(frequencies) - centres[1:-1, None]).abs() / width).clamp_min(0)
    return (filters / filters.sum(1, keepdim=True)).to(device)


def _to_erb(hz: Tensor) -> Tensor:
    """ERB-rate scale, Glasberg and Moore 1990."""
    return 21.4 * (1 + 0.00437 * hz).log10()


def _to_bark(hz: Tensor) -> Tensor:
    return 13 * torch.atan(7.6e-4 * hz) + 3.5 * torch.atan((hz / 7500) ** 2)
