"""Counting of multiply-accumulate operations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from vqcodec.codec import Codec
from vqcodec.models.config import DEFAULT_EFFORT
from vqcodec.models.layers import Stream
from vqcodec.models.wavenet.decoder import WaveNetDecoder

_COUNTED_FRAMES = 50


@torch.no_grad()
def macs_per_s(codec: Codec, stages: int) -> dict[str, float]:
    """Multiply-accumulate operations per second of audio of "encode" and "decode", counted while they run.

    Counted are the products of matrices and the convolutions, at the default effort. They grow with the frames strictly
    in proportion. What a bottleneck without codes takes belongs to "encode".
    """
    from torch.utils.flop_counter import FlopCounterMode

    packed = {torch.ops.mkldnn._linear_pointwise: _linear_flops}

    model, device = codec.model, next(codec.model.parameters()).device
    has_codes = model.config.has_codes
    waveform = torch.zeros(1, 1, _COUNTED_FRAMES * codec.hop_length, device=device)
    with FlopCounterMode(display=False, custom_mapping=packed) as encoding:
        latents = model.encoder(waveform, Stream())
        quantizer = model.quantizer
        passed = quantizer.encode(latents, stages, DEFAULT_EFFORT) if has_codes else quantizer(latents).latents
    with FlopCounterMode(display=False, custom_mapping=packed) as decoding:
        latents = model.quantizer.decode(passed) if has_codes else passed
        if isinstance(model.decoder, WaveNetDecoder):  # a sample takes the same products, whoever tells those before
            model.decoder.teacher_forced(latents, waveform, Stream())
        else:
            model.decoder(latents, Stream())
    flops = {"encode": encoding.get_total_flops(), "decode": decoding.get_total_flops()}
    duration_s = _COUNTED_FRAMES / codec.frame_rate
    return {direction: count / 2 / duration_s for direction, count in flops.items()}


def _linear_flops(inputs: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Floating-point operations of a linear layer [..., in] -> [..., out] whose weight [out, in] is packed."""
    return 2 * math.prod(inputs) * weight[0]
