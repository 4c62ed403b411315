"""Latents -> waveform, sample by sample: a WaveNet with a linear predictor.

van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio"; distributions of 16-bit samples after van den
Oord et al. 2017, "Parallel WaveNet"; means relative to a linear prediction after Hwang et al. 2018, "LP-WaveNet".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqcodec.errors import ConfigError

from ..config import ModelConfig
from ..layers import Stream
from .mixture import Mixture, quantized
from .network import Conditioner, GatedStack, at_samples, features_of, mixture_of
from .sampler import Sampler


class WaveNetDecoder(nn.Module):
    """Draws every sample from a mixture of logistics whose parameters depend on the latents and on the samples before.

    It is trained by teacher forcing: the samples before are those of the target, so that all samples of a crop are
    computed at once.
    """

    lost: None = None
    """No latent stands in for a frame that was lost: the decoder does not conceal."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.hop, self.delay = config.mdct_hop, config.delay
        self.conditioner = Conditioner(config)
        self.stack = GatedStack(config)

    def forward(self, latents: Tensor, stream: Stream, texture: float = 1.0) -> Tensor:
        """Latents -> waveform, the same whenever they are decoded: computed in float64, on the CPU.

        Args:
            latents: [batch, dim, frame]. All items draw with the same numbers, so that channels alike stay alike.
            stream: the state of the running signals. The weights are those that it began with.
            texture: factor of the scales that samples are drawn with; with 1 they are distributed as was learnt.

        Returns:
            [batch, 1, sample], `ModelConfig.delay` samples late, the first of which are zeros.
        """
        sampler = stream.state(self, lambda: Sampler(self.conditioner, self.stack, self.hop, self.delay))
        waveform = sampler.push(latents.detach(), texture)
        return waveform.to(latents.device, torch.float32).unsqueeze(1)

    def conceal(self, latents: Tensor, lost: Tensor) -> Tensor:
        """Refuse, as the decoder does not conceal.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("a WaveNet decoder cannot go on without a frame")

    def teacher_forced(self, latents: Tensor, target: Tensor, stream: Stream) -> tuple[Mixture, Tensor]:
        """Distribution of every sample of a target, given the samples of it that come before.

        Args:
            latents: [batch, dim, frame]
            target: [batch, 1, sample], as many samples as there are in the frames.
            stream: a new one.

        Returns:
            The distributions [batch, sample, component] and the samples that they are of [batch, sample]: the target in
            16 bits, `ModelConfig.delay` samples late.
        """
        conditions = at_samples(self.conditioner(latents, stream), self.hop, stream, self)
        with torch.autocast(latents.device.type, enabled=False):
            samples = quantized(target[:, 0].to(conditions.predictor.dtype))
            samples = nn.functional.pad(samples, (self.delay, 0))[:, : samples.shape[1]]
            order, log_scale = conditions.predictor.shape[-1], conditions.log_scale[..., 0]
            past = nn.functional.pad(samples, (order, -1)).unfold(1, order, 1).flip(-1)  # [batch, sample, order]
            prediction = (past * conditions.predictor).sum(-1)
            before, error_before = (nn.functional.pad(x, (1, -1)) for x in (samples, samples - prediction))
            features = features_of(before, prediction, error_before, log_scale)
        parameters = self.stack(features, conditions.gates)
        with torch.autocast(latents.device.type, enabled=False):
            return mixture_of(parameters.to(prediction.dtype), prediction, log_scale), samples
