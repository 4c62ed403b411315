"""Latents -> waveform: the encoder's mirror."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vqcodec.errors import ConfigError

from .config import ModelConfig
from .layers import InverseMDCT, Stream, conv_next_stack, expand
from .texture import draws, partial_table

DECODING_KEY = 0
"""The key of the noise that files are decoded with; training draws with others."""

_SPREAD_START = -1.5
"""Bias of the spreads before their softplus: they begin at 0.2, where compressed coefficients of speech are about 1."""


class Coefficients(NamedTuple):
    """MDCT coefficients, compressed by the power law: how they are distributed."""

    mean: Tensor
    """[batch, mdct_hop, mdct frame]"""
    spread: Tensor | None
    """Scale of the noise in the highest coefficients [batch, spread_bins, mdct frame]; None if there is none."""


class Decoder(nn.Module):
    """Projection from the latent, ConvNeXt blocks, compressed MDCT coefficients, inverse power law and MDCT.

    A stochastic decoder gives means and spreads of the coefficients and draws from them: a few bits cannot say
    the signs of high coefficients, and whoever answers with the same ones in every frame makes a metallic buzz.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, width = config, config.decoder_width
        self.power = c.power
        self.stride = c.stride
        self.project_in = nn.Linear(c.latent_dim, width)
        self.norm_in = nn.LayerNorm(width)
        self.blocks = conv_next_stack(width, c.decoder_blocks, c.kernel_size, c.expansion, c.decoder_lookahead)
        self.up = nn.Linear(width, width * c.stride) if c.stride > 1 else None
        self.fast_blocks = conv_next_stack(width, c.decoder_fast_blocks, c.kernel_size, c.expansion)
        self.norm_out = nn.LayerNorm(width)
        self.project_out = nn.Linear(width, c.mdct_hop)
        self.project_spread: nn.Linear | None = None
        self.inverse_mdct = InverseMDCT(c.mdct_hop)
        self.lost = nn.Parameter(torch.zeros(c.latent_dim)) if c.decoder_conceals else None
        """Stands in for the latent of a frame that was lost [latent_dim]; None in a decoder that does not conceal."""
        if c.decoder_stochastic:
            self.project_spread = nn.Linear(width, c.spread_bins)
            nn.init.zeros_(self.project_spread.weight)
            nn.init.constant_(self.project_spread.bias, _SPREAD_START)
            self.register_buffer("noise_table", partial_table(), persistent=False)
            self.register_buffer("texture_mean", torch.ones(c.spread_bins))
            self.register_buffer("texture_scale", torch.ones(c.spread_bins))
        self.noise_table: Tensor
        self.texture_mean: Tensor
        """Factors of the means in decoding, calibrated after training [spread_bins]."""
        self.texture_scale: Tensor
        """Factors of the spreads likewise [spread_bins]."""

    def forward(self, latents: Tensor, stream: Stream, texture: float = 1.0) -> Tensor:
        """Latents -> waveform, the same whenever they are decoded.

        Args:
            latents: [batch, dim, frame]. All items hear the same noise, so that channels alike stay alike.
            stream: the state of the running signals.
            texture: 1 draws as the model was calibrated, 0 takes the means; without meaning if there are no spreads.

        Returns:
            [batch, 1, sample], `ModelConfig.delay` samples late.
        """
        coefficients = self.coefficients(latents, stream)
        if coefficients.spread is None:
            return self.synthesise(coefficients.mean, stream)
        first = stream.count(self, coefficients.mean.shape[-1])
        noise = self.noise(torch.full((1,), DECODING_KEY, device=latents.device), first, coefficients.spread)
        return self.synthesise(self.textured(coefficients, noise, texture), stream)

    def conceal(self, latents: Tensor, lost: Tensor) -> Tensor:
        """Replace the latents [batch, dim, frame] of frames that were lost, bool [batch, frame].

        Raises:
            ConfigError: the decoder does not conceal.
        """
        if self.lost is None:
            raise ConfigError("the decoder was not trained to go on without a frame (model.decoder_conceals)")
        return torch.where(lost[:, None], self.lost[:, None].to(latents.dtype), latents)

    def noise(self, keys: Tensor, first_frame: int, spread: Tensor) -> Tensor:
        """Noise for the frames and coefficients of `spread` [..., bin, frame], for each key: [key, bin, frame]."""
        return draws(self.noise_table, keys, first_frame, spread.shape[-1], spread.shape[-2])

    def textured(self, coefficients: Coefficients, noise: Tensor, texture: float = 1.0) -> Tensor:
        """Coefficients as decoding draws them, with noise [..., spread_bins, mdct frame]; the shape of the means."""
        mean, spread = coefficients
        assert spread is not None
        gain = (1 + texture * (self.texture_mean - 1))[:, None]
        scale = (texture * self.texture_scale)[:, None]
        return with_high(mean, gain * high_part(mean, spread) + scale * spread * noise)

    def draw(self, coefficients: Coefficients, keys: Tensor, stream: Stream) -> tuple[Tensor, Tensor]:
        """Waveforms drawn at random, for training.

        Args:
            coefficients: of a batch.
            keys: of the noise, int64 [draw + 1, batch]; all different for independent draws.
            stream: the state of the running signals, of as many items as there are keys.

        Returns:
            Drawn with the whole of the spreads [draw, batch, 1, sample]; with the last keys, drawn as in decoding
            [batch, 1, sample]. Without spreads all are alike.
        """
        mean = coefficients.mean.float()
        if coefficients.spread is None:
            waveform = self.synthesise(mean, stream)
            return waveform[None], waveform
        spread = coefficients.spread.float()
        noise = self.noise(keys.flatten(), 0, spread).view(*keys.shape, *spread.shape[1:])
        whole = with_high(mean, high_part(mean, spread) + spread * noise[:-1])
        decoded = self.textured(Coefficients(mean, spread), noise[-1])
        drawn = torch.cat([whole, decoded[None]])  # [draw + 1, batch, coefficient, mdct frame]
        waveforms = self.synthesise(drawn.flatten(0, 1), stream).view(*keys.shape, 1, -1)
        return waveforms[:-1], waveforms[-1]

    def coefficients(self, latents: Tensor, stream: Stream) -> Coefficients:
        """[batch, dim, frame] -> the distribution of the compressed MDCT coefficients, `stride` frames for each."""
        x = self.norm_in(self.project_in(latents.mT))  # [batch, frame, width]
        for block in self.blocks:
            x = block(x, stream)
        if self.up is not None:
            x = self.up(x).unflatten(-1, (self.stride, -1)).flatten(1, 2)  # [batch, mdct frame, width]
        for block in self.fast_blocks:
            x = block(x, stream)
        x = self.norm_out(x)
        spread = None
        if self.project_spread is not None:
            spread = nn.functional.softplus(self.project_spread(x)).mT
        return Coefficients(self.project_out(x).mT, spread)

    def synthesise(self, coefficients: Tensor, stream: Stream) -> Tensor:
        """Compressed coefficients [batch, mdct_hop, mdct frame] -> waveform [batch, 1, sample], in float32."""
        with torch.autocast(coefficients.device.type, enabled=False):
            waveform: Tensor = self.inverse_mdct(expand(coefficients.float(), self.power), stream)
        return waveform


def high_part(mean: Tensor, spread: Tensor) -> Tensor:
    """The coefficients that have a spread [..., spread_bins, frame]."""
    return mean[..., mean.shape[-2] - spread.shape[-2] :, :]


def with_high(mean: Tensor, high: Tensor) -> Tensor:
    """Coefficients [batch, mdct_hop, frame] with others for the highest ones [..., batch, spread_bins, frame]."""
    low = mean[..., : mean.shape[-2] - high.shape[-2], :]
    return torch.cat([low.expand(*high.shape[:-2], *low.shape[-2:]), high], dim=-2)
