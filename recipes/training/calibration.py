"""Calibration of a stochastic decoder: the share of its spreads in use, and the energy that this would lose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.decoder import DECODING_KEY, high_part
from vqcodec.models.layers import Stream, compress, expand

from ..config import TextureConfig
from ..data.batches import Example
from .validation import SHORTEST_S, decoder_inputs, padded

LISTENED_S = 120.0
"""Seconds of speech that the energies are measured on."""

SMOOTHED_BINS = 9
"""Neighbouring coefficients that a gain is the mean of, in dB."""

LARGEST_GAIN = 1e4
"""Largest gain in energy: beyond it a band of the recordings is silent, or the decoder is."""


@torch.no_grad()
def calibrate(model: Autoencoder, recordings: Sequence[Example], quantizes: bool, settings: TextureConfig) -> None:
    """Set `texture_mean` and `texture_scale` of a decoder that samples.

    Args:
        model: the one to decode with.
        recordings: whole ones, which training does not hear; without any, or if they are silent, the energy is taken to
            be right.
        quantizes: whether the bottleneck is in the path.
        settings: the share of the spreads, and how much of the lost energy is restored.
    """
    decoder, training = model.mdct_decoder, model.training
    model.eval()
    wanted = drawn = torch.zeros(model.config.spread_bins)
    for target, high, spread in _passes(model, recordings, quantizes):
        keys = torch.full((1,), DECODING_KEY, device=spread.device)
        sample = high + settings.scale * spread * decoder.noise(keys, 0, spread)
        wanted = wanted + _energy(expand(target, model.config.power))
        drawn = drawn + _energy(expand(sample, model.config.power))
    model.train(training)
    gain = torch.ones_like(wanted)
    if wanted.any():
        gain = _smoothed((wanted / drawn.clamp_min(1e-9)).clamp(1 / LARGEST_GAIN, LARGEST_GAIN))
    factor = gain ** (0.5 * model.config.power * settings.restored)  # energy -> magnitude -> compressed magnitude
    decoder.texture_mean.copy_(factor)
    decoder.texture_scale.copy_(settings.scale * factor)


def _passes(
    model: Autoencoder, recordings: Sequence[Example], quantizes: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Compressed high coefficients of recordings, their decoded means and spreads [1, spread_bins, frame], in line."""
    config, left_s = model.config, LISTENED_S
    for recording in recordings:
        waveform = recording.waveform[0].numpy()
        if left_s <= 0 or len(waveform) < SHORTEST_S * config.sample_rate:
            continue
        left_s -= len(waveform) / config.sample_rate
        target = _target(model, recording.target[0].numpy())
        late = config.lookahead * config.stride
        for latents in decoder_inputs(model, waveform, quantizes)[0].values():
            mean, spread = model.mdct_decoder.coefficients(latents, Stream())
            assert spread is not None
            frames = mean.shape[-1] - late
            yield high_part(target, spread)[..., :frames], high_part(mean, spread)[..., late:], spread[..., late:]


def _target(model: Autoencoder, waveform: NDArray[np.float32]) -> Tensor:
    """Compressed MDCT coefficients of [sample], of as many frames as the codec makes of it [1, mdct_hop, frame]."""
    whole = padded(model.config, waveform).to(next(model.parameters()).device)
    return compress(model.encoder.mdct(whole, Stream()), model.config.power)


def _energy(coefficients: Tensor) -> Tensor:
    """[1, bin, frame] -> [bin], on the CPU."""
    return coefficients.square().sum((0, 2)).cpu()


def _smoothed(gain: Tensor) -> Tensor:
    """Mean in dB over neighbouring coefficients [bin]."""
    side = SMOOTHED_BINS // 2
    padded = nn.functional.pad(gain.log()[None, None], (side, side), mode="replicate")
    return nn.functional.avg_pool1d(padded, SMOOTHED_BINS, 1)[0, 0].exp()
