"""Networks that learn to tell a codec's output from its input. Training only, and small enough for CPUs.

Two kinds look at a waveform: along its periods, and along its short-time spectra. In both all convolutions are
1-D: phases of a period share one network, frequency bins are channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ...config import DiscriminatorConfig
from ..losses.spectral import compress_complex, log_magnitude, stft

PERIOD_WIDTHS = (1, 2, 4, 8)
"""Widths of the layers of a multi-period discriminator, in multiples of the first one's."""
DILATIONS = (1, 2, 4)
"""Dilations of the layers of an STFT discriminator, behind the first."""
SLOPE = 0.1


class DiscriminatorOutput(NamedTuple):
    """Logits and features of a discriminator for a batch."""

    logits: Tensor
    """The higher, the more it sounds like an original [batch, position]."""
    features: list[Tensor]
    """The output of each layer but the last [batch, ...]."""


class Discriminators(nn.Module):
    """All of a recipe's discriminators; each judges a waveform for itself."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        periods = [PeriodDiscriminator(period, config.period_channels) for period in config.periods]
        spectra = [SpectrumDiscriminator(window, config.stft_channels) for window in config.windows]
        self.members = nn.ModuleList([*periods, *spectra])

    def forward(self, waveform: Tensor) -> list[DiscriminatorOutput]:
        """Waveform [batch, 1, sample], of any length -> the output of each discriminator."""
        return [member(waveform) for member in self.members]


class PeriodDiscriminator(nn.Module):
    """Sees every `period`-th sample, each phase of the period apart. After Kong et al. 2020, "HiFi-GAN"."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, *(channels * multiple for multiple in PERIOD_WIDTHS)]
        self.layers = nn.ModuleList(_normed(nn.Conv1d(a, b, 5, 3, padding=2)) for a, b in pairwise(widths))
        self.last = _normed(nn.Conv1d(widths[-1], 1, 3, padding=1))

    def forward(self, waveform: Tensor) -> DiscriminatorOutput:
        """[batch, 1, sample] -> logits [batch, phase * position], features [batch, phase, channel, position]."""
        x = nn.functional.pad(waveform, (0, -waveform.shape[-1] % self.period))
        phases = x.reshape(len(x), -1, self.period).mT.reshape(-1, 1, x.shape[-1] // self.period)
        logits, features = _run(self.layers, self.last, phases)  # [batch * phase, channel, position]
        logits, *features = (x.view(-1, self.period, *x.shape[1:]) for x in (logits, *features))
        return DiscriminatorOutput(logits.flatten(1), features)


class SpectrumDiscriminator(nn.Module):
    """Sees one short-time spectrum after the other, in power-compressed real and imaginary parts."""

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.window = window
        first = nn.Conv1d(2 * (window // 2 + 1), channels, 3, padding=1)
        rest = (nn.Conv1d(channels, channels, 3, padding=step, dilation=step) for step in DILATIONS)
        self.layers = nn.ModuleList(_normed(layer) for layer in (first, *rest))
        self.last = _normed(nn.Conv1d(channels, 1, 3, padding=1))

    def forward(self, waveform: Tensor) -> DiscriminatorOutput:
        """[batch, 1, sample] -> logits [batch, frame], features [batch, channel, frame]."""
        logits, features = _run(self.layers, self.last, compressed_spectrum(waveform[:, 0], self.window))
        return DiscriminatorOutput(logits.flatten(1), features)


def compressed_spectrum(waveform: Tensor, window: int) -> Tensor:
    """Power-compressed STFT, phase kept: [batch, sample] -> real parts, then imaginary ones [batch, 2 * bin, frame].

    At a hop of a quarter of the window, in float32 also under autocast. A waveform that does not end with a window
    is padded with zeros.
    """
    samples = waveform.shape[-1]
    missing = max(window - samples, (window - samples) % (window // 4))
    with torch.autocast(waveform.device.type, enabled=False):
        spectrum = stft(nn.functional.pad(waveform.float(), (0, missing)), window)
        return torch.cat(compress_complex(spectrum, log_magnitude(spectrum)), dim=1)


def _normed(layer: nn.Conv1d) -> nn.Module:
    """Adds weight normalisation, and initialises so that the level of the input is kept: quiet speech is not lost."""
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    normed: nn.Module = weight_norm(layer)
    return normed


def _run(layers: Iterable[nn.Module], last: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """[item, channel, position] -> logits [item, 1, position] and the features of the layers."""
    features = []
    for layer in layers:
        x = nn.functional.leaky_relu(layer(x), SLOPE)
        features.append(x)
    return last(x), features
