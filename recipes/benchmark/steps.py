"""The data path step by step: the same blocks through the same networks as `Codec`, with a stopwatch between."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from vqcodec.codec import Codec, Encoded
from vqcodec.coding.engine import BLOCK_FRAMES
from vqcodec.models.config import DEFAULT_EFFORT
from vqcodec.models.layers import Stream

from .measurement import Figure, figure
from .subject import Bitrate
from .timing import Place, Samples, Stopwatch

FRONT_END, ENCODER, QUANTIZER, PACKING = (
    "encode, front end",
    "encode, encoder network",
    "encode, quantizer search",
    "encode, packing",
)
UNPACKING, LOOKUP, DECODER, SYNTHESIS = (
    "decode, unpacking",
    "decode, codebook lookup",
    "decode, decoder network",
    "decode, inverse MDCT",
)
"""The names of the steps, in the order of the data path. The power law belongs to front end and inverse MDCT."""

STEPS: Mapping[str, tuple[str, ...]] = {
    "encode": (FRONT_END, ENCODER, QUANTIZER, PACKING),
    "decode": (UNPACKING, LOOKUP, DECODER, SYNTHESIS),
}


def measure(codec: Codec, waveform: NDArray[np.float32], stages: int, place: Place) -> dict[str, float]:
    """Seconds of each step, there and back."""
    data, encoding = encode(codec, waveform, stages, place)
    _, decoding = decode(codec, data, place)
    return encoding | decoding


@torch.inference_mode()
def encode(codec: Codec, waveform: NDArray[np.float32], stages: int, place: Place) -> tuple[bytes, dict[str, float]]:
    """Waveform [sample] -> `.vq` file, and the seconds of each step."""
    model, samples = codec.model, len(waveform)
    padding = codec.config.num_frames(samples) * codec.hop_length - samples
    x = torch.nn.functional.pad(torch.from_numpy(waveform), (0, padding))[None, None].to(place.device)
    stream, codes = Stream(), []
    watch = Stopwatch(place)
    with model.encoder.project_in.register_forward_pre_hook(lambda module, inputs: watch.lap(FRONT_END)):
        for block in torch.split(x, BLOCK_FRAMES * codec.hop_length, dim=-1):  # [1, 1, sample]
            latents = model.encoder(block, stream)
            watch.lap(ENCODER)
            codes.append(model.quantizer.encode(latents, stages, DEFAULT_EFFORT))
            watch.lap(QUANTIZER)
    header = codec.header(samples, codec.sample_rate, 1, stages)
    encoded = Encoded(codes=torch.cat(codes, dim=-1).cpu().numpy(), header=header)
    watch.skip()
    data = encoded.to_bytes()
    watch.lap(PACKING)
    return data, watch.seconds


@torch.inference_mode()
def decode(codec: Codec, data: bytes, place: Place) -> tuple[NDArray[np.float32], dict[str, float]]:
    """`.vq` file -> waveform [sample], and the seconds of each step."""
    model = codec.model
    stream, parts = Stream(), []
    watch = Stopwatch(place)
    encoded = Encoded.from_bytes(data)
    watch.lap(UNPACKING)
    codes = torch.as_tensor(encoded.codes).to(place.device)  # [1, stage, frame]
    watch.skip()
    with model.mdct_decoder.project_out.register_forward_hook(lambda module, inputs, output: watch.lap(DECODER)):
        for block in torch.split(codes, BLOCK_FRAMES, dim=-1):
            latents = model.quantizer.decode(block)
            watch.lap(LOOKUP)
            parts.append(model.decoder(latents, stream))  # [1, 1, sample]
            watch.lap(SYNTHESIS)
    delay = codec.config.delay
    waveform = torch.cat(parts, dim=-1)[0, 0, delay : delay + encoded.num_samples].clamp(-1, 1)
    return waveform.cpu().numpy(), watch.seconds


def figures(stepped: Samples, whole: Samples, duration_s: float, bitrate: Bitrate, place: Place) -> list[Figure]:
    """Milliseconds per second of audio of each step, and of what the whole takes beyond them: "rest".

    On a GPU the rest may be negative, as the steps wait for the device where the whole does not.
    """
    found = []
    for direction, names in STEPS.items():
        spans = {name: [1000 * s / duration_s for s in stepped[name]] for name in names}
        parts = [figure("steps", name, span, "ms/s", "lower", bitrate, place) for name, span in spans.items()]
        rest = 1000 * min(whole[direction]) / duration_s - sum(part.best for part in parts)
        found += [*parts, figure("steps", f"{direction}, rest", [rest], "ms/s", "neither", bitrate, place)]
    return found
