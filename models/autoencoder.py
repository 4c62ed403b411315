"""Encoder, bottleneck and decoder in a single module."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .allotment import Audibility, allot_mean
from .bottlenecks import Quantized
from .config import ModelConfig
from .decoder import Coefficients, Decoder
from .encoder import Encoder
from .layers import Stream
from .wavenet.decoder import WaveNetDecoder

_SILENT_FRAMES = 64
"""Frames of silence after which an encoder has forgotten what was before."""


class Reconstruction(NamedTuple):
    """Result of `Autoencoder.forward`; all signals lag `ModelConfig.delay` samples behind the input."""

    draws: Tensor
    """Drawn with the whole of the spreads [draw, batch, 1, sample]; without spreads the waveform"""
    waveform: Tensor
    """As decoding draws it [batch, 1, sample]"""
    coefficients: Coefficients | None
    """Compressed MDCT coefficients before synthesis; None from a WaveNet decoder."""
    latents: Tensor
    """Before the bottleneck [batch, dim, latent frame]"""
    quantized: Quantized | None
    """Output of the bottleneck; None if noise was substituted for it."""
    log_likelihood: Tensor | None = None
    """Of every sample of the target, in nats [batch, sample], from a WaveNet decoder. Draws and waveform are then the
    mean of each sample's distribution, given those before."""


class Autoencoder(nn.Module):
    """The whole model. Encoding and decoding apart use `encoder`, `quantizer` and `decoder` directly."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantizer = config.kind.build(config)
        self.decoder = WaveNetDecoder(config) if config.decoder_kind == "wavenet" else Decoder(config)
        self.audibility = Audibility(config.latent_hop, config.encoder_lookahead)
        self.register_buffer("silence", torch.zeros(config.latent_dim), persistent=False)
        self.silence: Tensor
        """Latent that stands for a frame without codes [latent_dim]; part of a model file, but not of a state."""

    def forward(
        self,
        waveform: Tensor,
        stages: Tensor | None = None,
        quantize: bool = True,
        noise: Tensor | None = None,
        keys: Tensor | None = None,
        varying: Tensor | None = None,
        lost: Tensor | None = None,
        target: Tensor | None = None,
    ) -> Reconstruction:
        """Encode and decode a batch from silence, for training.

        Args:
            waveform: [batch, 1, sample], samples a multiple of the hop length.
            stages: stages to use for each item, int64 [batch]; all of them if None.
            quantize: whether to use the bottleneck; otherwise noise is substituted for what it does (warm-up).
            noise: for the bottleneck to add, of variance 1 and the latents' shape; drawn if None.
            keys: of the noise of a decoder that samples, int64 [draw + 1, batch], those of `waveform` last; one draw
                if None.
            varying: items of which `stages` is the mean only, allotted to their frames, bool [batch]; no item if None.
            lost: frames that do not reach a decoder that conceals, bool [batch, frame]; no frame if None.
            target: what a WaveNet decoder learns to draw, of the waveform's shape; the waveform if None.
        """
        stream = Stream()
        latents = self.encoder(waveform, stream).float()
        if stages is None:
            stages = torch.full((len(waveform),), self.config.num_stages, device=waveform.device)
        if varying is not None and quantize:
            self.learn_silence()
            stages = self._allot(waveform, latents, stages, varying)
        quantized = self.quantizer(latents, stages, noise) if quantize else None
        passed = self.quantizer.substitute_noise(latents, stages, noise) if quantized is None else quantized.latents
        if varying is not None and quantize:
            passed = passed + self.silence[:, None] * (stages == 0)[:, None]
        if lost is not None:
            passed = self.decoder.conceal(passed, lost)
        if isinstance(self.decoder, WaveNetDecoder):
            mixture, samples = self.decoder.teacher_forced(passed, waveform if target is None else target, stream)
            mean = mixture.mean[:, None]
            return Reconstruction(mean[None], mean, None, latents, quantized, mixture.log_likelihood(samples))
        coefficients = self.decoder.coefficients(passed, stream)
        if keys is None:
            keys = torch.arange(2 * len(waveform), device=waveform.device).view(2, -1)
        return Reconstruction(*self.decoder.draw(coefficients, keys, stream), coefficients, latents, quantized)

    @property
    def mdct_decoder(self) -> Decoder:
        """The decoder of a model that has an MDCT decoder."""
        assert isinstance(self.decoder, Decoder)
        return self.decoder

    @torch.no_grad()
    def learn_silence(self) -> None:
        """Let frames without codes stand for digital silence, as the encoder hears it by now."""
        nothing = torch.zeros(1, 1, _SILENT_FRAMES * self.config.latent_hop, device=self.silence.device)
        self.silence.copy_(self.encoder(nothing, Stream())[0, :, -1].float())

    @torch.no_grad()
    def _allot(self, waveform: Tensor, latents: Tensor, stages: Tensor, varying: Tensor) -> Tensor:
        """Allot the stages of `varying` items [batch] to their frames [batch, frame]; all frames alike elsewhere."""
        _, errors = self.quantizer.encode_endings(latents, self.silence)
        weights = self.audibility(waveform, Stream())
        return torch.where(varying[:, None], allot_mean(errors, weights, stages), stages[:, None])
