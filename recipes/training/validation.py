"""Quick scores of a model in training, on whole held-out files. The full set of scores lives elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vqcodec.errors import AudioError
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.bottlenecks.codebook import perplexity
from vqcodec.models.config import ModelConfig
from vqcodec.models.layers import Stream
from vqcodec.models.wavenet.decoder import WaveNetDecoder
from vqcodec.models.wavenet.mixture import Mixture

from ..data.batches import Example
from ..metrics import si_sdr
from .losses.likelihood import binned_gaussian, gaussian
from .losses.spectral import spectral_losses

SHORTEST_S = 1.0
"""Files shorter than this are left out: they are mostly silence."""

SCORES = {
    "mel": False,
    "magnitude": False,
    "complex": False,
    "si_sdr": True,
    "nll": False,
    "gaussian": False,
    "local_gaussian": False,
    "perplexity_min": True,
}
"""Scores of `validate`, by the name before "@", and whether higher is better."""

OF_CODES = ("perplexity_min",)
"""The scores among these that need codes."""

OF_DISTRIBUTIONS = ("nll", "gaussian", "local_gaussian")
"""The scores of models with a WaveNet decoder, which have none of the sound: that takes too long to draw."""


def scores_of(config: ModelConfig) -> list[str]:
    """The names of the scores that a model of these sizes gets."""
    if config.decoder_kind == "wavenet":
        return [*OF_DISTRIBUTIONS, *(OF_CODES if config.has_codes else ())]
    return [name for name in SCORES if name not in OF_DISTRIBUTIONS and (config.has_codes or name not in OF_CODES)]


@torch.no_grad()
def validate(model: Autoencoder, recordings: Sequence[Example], quantizes: bool) -> dict[str, float]:
    """Mean scores over whole recordings, at a quarter, half and all of the stages; or without codes.

    Args:
        model: what is scored.
        recordings: whole ones; short ones are left out.
        quantizes: whether its bottleneck is in the path.

    Returns:
        "mel@S", "magnitude@S", "complex@S" (lower is better) and "si_sdr@S" in dB (higher is better) for S stages,
        S = 0 without codes; or those of `likelihoods`, if the decoder is a WaveNet; with codes "perplexity_min", the
        lowest perplexity of any stage over all of them together.
    """
    training = model.training
    model.eval()
    scores: dict[str, list[float]] = {}
    codes = []
    for recording in recordings:
        waveform, target = recording.waveform[0].numpy(), recording.target[0].numpy()
        if len(waveform) < SHORTEST_S * model.config.sample_rate:
            continue
        passed, of_recording = decoder_inputs(model, waveform, quantizes)
        if of_recording is not None:
            codes.append(of_recording)
        for used, decoder_input in passed.items():
            score = likelihoods if isinstance(model.decoder, WaveNetDecoder) else _score
            for name, value in score(model, decoder_input, target).items():
                scores.setdefault(f"{name}@{used}", []).append(value)
    model.train(training)
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    if codes:
        together = torch.cat(codes, dim=-1)[0]  # [stage, frame]
        means["perplexity_min"] = min(float(perplexity(row, model.config.codebook_size)) for row in together)
    return means


def decoder_inputs(
    model: Autoencoder, waveform: NDArray[np.float32], quantizes: bool
) -> tuple[dict[int, torch.Tensor], torch.Tensor | None]:
    """Decoder inputs for a recording [sample] with each of the `listened_to` stages, and the codes, if there are any.

    Returns:
        Latents [1, dim, frame] by the number of stages, 0 without codes; codes of all stages [1, stage, frame].
    """
    latents = _encode(model, waveform, next(model.parameters()).device)
    if not (quantizes and model.config.has_codes):
        return {0: model.quantizer(latents).latents if quantizes else latents}, None
    codes = model.quantizer.encode(latents)
    return {used: model.quantizer.decode(codes[:, :used]) for used in listened_to(model.config)}, codes


def listened_to(config: ModelConfig) -> list[int]:
    """The numbers of stages that are listened to: a quarter, half and all, where these will do; [0] without codes."""
    most = config.num_stages
    wanted = sorted({max(1, most // 4), max(1, most // 2), most})
    return [stages for stages in wanted if stages in config.stage_choices] or [0]


@torch.no_grad()
def without_codes(model: Autoencoder, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Encode and decode [sample] with a model whose bottleneck has no codes [sample]."""
    latents = _encode(model, waveform, next(model.parameters()).device)
    decoded: NDArray[np.float32] = _decode(model, model.quantizer(latents).latents, len(waveform))[0].cpu().numpy()
    return decoded


def _encode(model: Autoencoder, waveform: NDArray[np.float32], device: torch.device) -> torch.Tensor:
    latents: torch.Tensor = model.encoder(padded(model.config, waveform).to(device), Stream())
    return latents


def padded(config: ModelConfig, waveform: NDArray[np.float32]) -> torch.Tensor:
    """A recording [sample], with zeros up to the frames that hold it whole [1, 1, sample]."""
    samples = config.num_frames(len(waveform)) * config.hop_length
    return torch.from_numpy(np.pad(waveform, (0, samples - len(waveform))))[None, None]


def _decode(model: Autoencoder, latents: torch.Tensor, samples: int) -> torch.Tensor:
    """[1, dim, frame] -> [1, sample], without the codec's delay."""
    delay = model.config.delay
    waveform: torch.Tensor = model.decoder(latents, Stream())[:, 0, delay : delay + samples]
    return waveform


def _score(model: Autoencoder, latents: torch.Tensor, waveform: NDArray[np.float32]) -> dict[str, float]:
    output = _decode(model, latents, len(waveform))
    reference = torch.from_numpy(waveform).to(output.device)[None]
    spectral = spectral_losses(output, reference, model.config.sample_rate)
    scores = {name: float(value) for name, value in spectral._asdict().items()}
    with contextlib.suppress(AudioError):  # undefined for a silent clip, or for what a diverged model returns
        scores["si_sdr"] = si_sdr(waveform, output[0].cpu().numpy())
    return scores


def likelihoods(model: Autoencoder, latents: torch.Tensor, waveform: NDArray[np.float32]) -> dict[str, float]:
    """Negative log-likelihoods of a recording [sample] in nats per sample, given each time the samples before.

    Returns:
        "nll", of the decoder's distributions; and of two Gaussians round the means of these distributions, "gaussian"
        with one variance for the recording, that of the residual, and "local_gaussian" with the variance of each
        sample's own distribution.
    """
    decoder, delay, samples = model.decoder, model.config.delay, len(waveform)
    assert isinstance(decoder, WaveNetDecoder)
    target = padded(model.config, waveform).to(latents.device)
    mixture, values = decoder.teacher_forced(latents, target, Stream())
    heard = slice(delay, delay + samples)
    mixture, values = Mixture(*(parameter[0, heard] for parameter in mixture)), values[0, heard]
    return {
        "nll": -float(mixture.log_likelihood(values).mean()),
        "gaussian": float(gaussian((values - mixture.mean).square().mean())),
        "local_gaussian": -float(binned_gaussian(mixture.mean, mixture.variance, values).mean()),
    }
