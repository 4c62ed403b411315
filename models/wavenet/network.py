"""The networks of a WaveNet decoder: from latents to conditions, and from conditions and past samples to mixtures."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from ..layers import Stream, conv_next_stack
from .mixture import LEAST_LOG_SCALE, Mixture

FEATURES = 3
"""Of the past, for each sample: the sample before, the prediction of this one, and the error of the one before."""
_START_LOG_SCALE = -5.0
"""Level of the prediction's error that the conditioner begins with."""


class Conditions(NamedTuple):
    """All that latents say about the samples of MDCT frames."""

    gates: Tensor
    """Biases of the gated activations of all layers, for whole frames [batch, frame, layer * 2 * channel]"""
    predictor: Tensor
    """Weights of the samples before in the linear prediction, the latest first [batch, frame or sample, order]"""
    log_scale: Tensor
    """Logarithm of the level of that prediction's error [batch, frame or sample, 1]"""


class Conditioner(nn.Module):
    """Latents -> `Conditions`: the trunk of the MDCT decoder, and a linear layer in place of the coefficients.

    The linear predictor of a frame is a lattice filter, whose coefficients lie between -1 and 1, so that it is stable.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, width = config, config.decoder_width
        self.sizes = (c.wavenet_layers * 2 * c.wavenet_channels, c.wavenet_order, 1)
        self.project_in = nn.Linear(c.latent_dim, width)
        self.norm_in = nn.LayerNorm(width)
        self.blocks = conv_next_stack(width, c.decoder_blocks, c.kernel_size, c.expansion, c.decoder_lookahead)
        self.up = nn.Linear(width, width * c.stride)
        self.fast_blocks = conv_next_stack(width, c.decoder_fast_blocks, c.kernel_size, c.expansion)
        self.norm_out = nn.LayerNorm(width)
        self.project_out = nn.Linear(width, sum(self.sizes))
        self.stride = c.stride

    def forward(self, latents: Tensor, stream: Stream) -> Conditions:
        """[batch, dim, frame] -> conditions of `stride` MDCT frames for each, [batch, mdct frame, ...]."""
        x = self.norm_in(self.project_in(latents.mT))
        for block in self.blocks:
            x = block(x, stream)
        x = self.up(x).unflatten(-1, (self.stride, -1)).flatten(1, 2)
        for block in self.fast_blocks:
            x = block(x, stream)
        gates, reflections, level = self.project_out(self.norm_out(x)).split(self.sizes, -1)
        with torch.autocast(x.device.type, enabled=False):
            wide = torch.promote_types(gates.dtype, torch.float32)
            predictor = direct_form(torch.tanh(reflections.to(wide)))
            return Conditions(gates, predictor, level.to(wide) + _START_LOG_SCALE)


class GatedLayer(nn.Module):
    """A causal convolution over two samples, so many samples apart, a gated activation, and a layer after it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.convolve = nn.Linear(2 * channels, 2 * channels, bias=False)
        self.project = nn.Linear(channels, 2 * channels)

    def forward(self, x: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, sample, channel] and biases [batch, frame, 2 * channel] -> the next layer's input and the skip."""
        before = nn.functional.pad(x, (0, 0, self.dilation, 0))[:, : x.shape[1]]
        convolved = self.convolve(torch.cat([before, x], -1)).unflatten(1, (gates.shape[1], -1))
        signal, gate = (convolved + gates[:, :, None]).flatten(1, 2).chunk(2, -1)
        onward, skip = self.project(torch.tanh(signal) * torch.sigmoid(gate)).chunk(2, -1)
        return x + onward, skip


class GatedStack(nn.Module):
    """Features of the past -> parameters of mixtures, through gated layers whose outputs add up to the result."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels, mixtures = config.wavenet_channels, config.wavenet_mixtures
        self.project_in = nn.Linear(FEATURES, channels)
        dilations = [2 ** (layer % config.wavenet_cycle) for layer in range(config.wavenet_layers)]
        self.layers = nn.ModuleList(GatedLayer(channels, dilation) for dilation in dilations)
        self.mix = nn.Linear(channels, channels)
        self.project_out = nn.Linear(channels, 3 * mixtures)
        nn.init.zeros_(self.project_out.weight)
        places = [(2 * index + 1 - mixtures) / max(1, mixtures - 1) for index in range(mixtures)]  # from -1 to 1
        with torch.no_grad():  # components that differ: means around the prediction, scales from narrow to wide
            bias = self.project_out.bias
            bias.copy_(bias.new_tensor([0.0] * mixtures + [0.1 * place for place in places] + places))

    @property
    def gated(self) -> list[GatedLayer]:
        """The gated layers, the first one first."""
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]

    def forward(self, features: Tensor, gates: Tensor) -> Tensor:
        """[batch, sample, FEATURES] and gates [batch, frame, layer * 2 * channel] -> [batch, sample, 3 * component].

        Both are those of the sample that is to be predicted, and know nothing of it.
        """
        x, skips = self.project_in(features), None
        for layer, bias in zip(self.layers, gates.chunk(len(self.layers), -1), strict=True):
            x, skip = layer(x, bias)
            skips = skip if skips is None else skips + skip
        assert skips is not None
        scaled = torch.relu(skips / math.sqrt(len(self.layers)))
        parameters: Tensor = self.project_out(torch.relu(self.mix(scaled)))
        return parameters


def direct_form(reflections: Tensor) -> Tensor:
    """Reflection coefficients of a lattice filter [..., order] -> weights of a linear predictor, the latest first.

    Levinson's recursion, one order after the other: Markel and Gray 1976, "Linear Prediction of Speech".
    """
    weights = reflections[..., :0]
    for order in range(reflections.shape[-1]):
        k = reflections[..., order : order + 1]
        weights = torch.cat([weights - k * weights.flip(-1), k], -1)
    return weights


def at_samples(conditions: Conditions, hop: int, stream: Stream, owner: nn.Module) -> Conditions:
    """Predictor and level of frames -> of all their `hop` samples, from frame to frame linearly; the gates stay.

    Those of a frame hold for its last sample, as the MDCT's windows have it. `stream` carries the frame before for
    `owner`.
    """
    order = conditions.predictor.shape[-1]
    both = stream.extend(owner, torch.cat(conditions[1:], -1), 1, dim=1)
    before, after = both[:, :-1, None], both[:, 1:, None]  # [batch, frame, 1, order + 1]
    share = (torch.arange(hop, device=both.device, dtype=both.dtype)[:, None] + 1) / hop
    samples = (before + share * (after - before)).flatten(1, 2)
    return Conditions(conditions.gates, samples[..., :order], samples[..., order:])


def features_of(before: Tensor, prediction: Tensor, error_before: Tensor, log_scale: Tensor) -> Tensor:
    """What the gated layers see of the past [...] -> [..., FEATURES], relative to the level and compressed.

    Args:
        before: the sample before.
        prediction: of this sample, by the linear predictor.
        error_before: the sample before, minus its own prediction.
        log_scale: of this sample.
    """
    relative = torch.stack([before, prediction, error_before], -1) * torch.exp(-log_scale)[..., None]
    return torch.asinh(relative)


def mixture_of(parameters: Tensor, prediction: Tensor, log_scale: Tensor) -> Mixture:
    """Output of the stack [..., 3 * component], relative to prediction and level [...] -> the sample's distribution."""
    logits, offsets, log_ratios = parameters.chunk(3, -1)
    means = prediction[..., None] + torch.exp(log_scale)[..., None] * offsets
    return Mixture(logits, means, (log_scale[..., None] + log_ratios).clamp_min(LEAST_LOG_SCALE))
