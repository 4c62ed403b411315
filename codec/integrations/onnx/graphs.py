"""The two networks as modules whose states are inputs and outputs, ready to be traced."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqcodec.models.autoencoder import Autoencoder

from ...stream import soft_limit
from .states import ExplicitStream


class EncoderGraph(nn.Module):
    """Waveform and states -> latents, and the states after them. The search for codes is left to the caller."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Encode the next frames.

        Args:
            waveform: float32 in [-1, 1] [1, 1, sample], a whole number of frames.
            states: after the frames before.

        Returns:
            Latents [1, dim, frame]; weights of their errors by how well they are heard [1, frame]; the states.
        """
        stream = ExplicitStream(states)
        latents = self.model.encoder(waveform, stream)
        weights = self.model.audibility(waveform, stream)
        return latents, weights, *stream.next_states


class DecoderGraph(nn.Module):
    """Codes and states -> waveform, and the states after it."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor, texture: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Decode the next frames.

        Args:
            codes: int64 [1, stage, frame], -1 in the last stages of frames that have fewer.
            texture: share of the noise that a model which samples draws with [], 0 to 1.
            states: after the frames before.

        Returns:
            float32 [1, 1, sample], `ModelConfig.delay` samples late, and the states.
        """
        stream = ExplicitStream(states)
        counts = (codes >= 0).sum(1)
        latents = self.model.quantizer.decode_varying(codes.clamp_min(0), counts, self.model.silence)
        waveform = self.model.decoder(latents, stream, texture)
        return soft_limit(waveform), *stream.next_states


def first_inputs(graph: EncoderGraph | DecoderGraph, frames: int = 1) -> tuple[Tensor, ...]:
    """The inputs of a graph besides its states, for some frames of silence."""
    config = graph.model.config
    if isinstance(graph, EncoderGraph):
        return (torch.zeros(1, 1, frames * config.hop_length),)
    return torch.full((1, config.num_stages, frames), -1), torch.ones(())


@torch.no_grad()
def first_states(graph: EncoderGraph | DecoderGraph) -> dict[str, Tensor]:
    """The states at the beginning of a signal, each under the name of its layer, in the order of the graph."""
    stream = ExplicitStream()
    model = graph.model
    if isinstance(graph, EncoderGraph):
        [waveform] = first_inputs(graph)
        model.encoder(waveform, stream)
        model.audibility(waveform, stream)
    else:
        model.decoder(torch.zeros(1, model.config.latent_dim, 1), stream)
    names = {module: name for name, module in model.named_modules()}
    return {
        names[layer]: torch.zeros_like(state) for layer, state in zip(stream.layers, stream.next_states, strict=True)
    }
