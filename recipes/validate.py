"""Quick scores of a model in training, on whole held-out files. The full set of scores lives elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vqcodec.errors import AudioError
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig
from vqcodec.models.layers import Stream
from vqcodec.models.quantizer import perplexity

from .data import Example
from .losses import spectral_losses
from .metrics import si_sdr

SHORTEST_S = 1.0
"""Files shorter than this are left out: they are mostly silence."""

SCORES = {"mel": False, "magnitude": False, "complex": False, "si_sdr": True, "perplexity_min": True}
"""What `validate` scores, by the name before "@", and whether higher is better."""


@torch.no_grad()
def validate(model: Autoencoder, recordings: Sequence[Example], quantizes: bool) -> dict[str, float]:
    """Mean scores over whole recordings, at a quarter, half and all of the stages (or without quantizer).

    Returns:
        "mel@S", "magnitude@S", "complex@S" (lower is better) and "si_sdr@S" in dB (higher is better) for S stages,
        S = 0 without quantizer; and "perplexity_min", the lowest of any stage's perplexities over all of them together.
    """
    training, device = model.training, next(model.parameters()).device
    model.eval()
    scores: dict[str, list[float]] = {}
    codes = []
    choices = stage_choices(model.config) if quantizes else [0]
    for recording in recordings:
        waveform, target = recording.waveform[0].numpy(), recording.target[0].numpy()
        if len(waveform) < SHORTEST_S * model.config.sample_rate:
            continue
        latents = _encode(model, waveform, device)
        if quantizes:
            codes.append(model.quantizer.encode(latents))
        for used in choices:
            decoder_input = model.quantizer.decode(codes[-1][:, :used]) if used else latents
            for name, value in _score(model, decoder_input, target).items():
                scores.setdefault(f"{name}@{used}", []).append(value)
    model.train(training)
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    if codes:
        together = torch.cat(codes, dim=-1)[0]  # [stage, frame]
        means["perplexity_min"] = min(float(perplexity(row, model.config.codebook_size)) for row in together)
    return means


def stage_choices(config: ModelConfig) -> list[int]:
    """The numbers of stages that are listened to: a quarter, half and all."""
    stages = config.num_stages
    return sorted({max(1, stages // 4), max(1, stages // 2), stages})


def _encode(model: Autoencoder, waveform: NDArray[np.float32], device: torch.device) -> torch.Tensor:
    samples = model.config.num_frames(len(waveform)) * model.config.hop_length
    padded = np.pad(waveform, (0, samples - len(waveform)))
    latents: torch.Tensor = model.encoder(torch.from_numpy(padded).to(device)[None, None], Stream())
    return latents


def _score(model: Autoencoder, latents: torch.Tensor, waveform: NDArray[np.float32]) -> dict[str, float]:
    delay = model.config.delay
    output = model.decoder(latents, Stream())[:, 0, delay : delay + len(waveform)]
    reference = torch.from_numpy(waveform).to(output.device)[None]
    spectral = spectral_losses(output, reference, model.config.sample_rate)
    scores = {name: float(value) for name, value in spectral._asdict().items()}
    with contextlib.suppress(AudioError):  # undefined for a silent clip, or for what a diverged model returns
        scores["si_sdr"] = si_sdr(waveform, output[0].cpu().numpy())
    return scores
