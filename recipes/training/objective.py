"""The objective of a training step: forward pass, loss terms and their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vqcodec.models.autoencoder import Autoencoder, Reconstruction
from vqcodec.models.decoder import Coefficients, high_part
from vqcodec.models.layers import Stream

from ..config import LossConfig, Recipe
from .adversary.adaptive import adaptive_weight
from .adversary.adversary import Adversary
from .draws import Drawn
from .losses.perceptual import PERCEPTUAL
from .losses.regularisers import contraction, sparsity
from .losses.spectral import energy_score, relative_error, signed_error

_NOT_OF_THE_DECODED = {"commitment", "codebook", "divergence", "sparse", "contractive", "adversarial", "feature"}
"""Terms that are of the latents, or of the discriminators."""


class BatchPart(NamedTuple):
    """Input of one forward and backward pass: this process's share of a batch, or a part of that."""

    waveform: Tensor
    """[item, 1, sample]"""
    target: Tensor
    """[item, 1, sample]"""
    coefficients: Tensor
    """Compressed MDCT coefficients of the target [item, mdct_hop, mdct frame]"""
    drawn: Drawn
    """What is random about them."""


class BatchTotals(NamedTuple):
    """Normalisation of the terms of every part, over all parts of all processes."""

    energy: Tensor
    """Of the target's coefficients, mean over the parts []"""
    activations: Tensor | None
    """Of the latents, for the sparse loss [dim]; None if it is not in use."""


class Outcome(NamedTuple):
    """A part after the forward pass."""

    terms: dict[str, Tensor]
    """Loss terms by name, unweighted []; as "bits", which has no weight, the term "nll" once more"""
    loss: Tensor
    """The weighted sum of the terms []"""
    decoded: Tensor
    """As decoding draws it [item, 1, sample], in line with `reference`"""
    reference: Tensor
    """[item, 1, sample]"""
    output: Reconstruction


class Objective:
    """The loss of one part of a batch, as a function of the step.

    Args:
        recipe: sizes, losses and their weights.
        model: encoder, bottleneck and decoder; what the terms of the latents alone look at.
        adversary: the discriminators, if the recipe has any.
    """

    def __init__(self, recipe: Recipe, model: Autoencoder, adversary: Adversary | None) -> None:
        self.recipe, self.model, self.adversary = recipe, model, adversary

    def __call__(
        self, forward: Callable[..., Reconstruction], part: BatchPart, whole: BatchTotals, step: int, quantizes: bool
    ) -> Outcome:
        """Forward pass and loss.

        Args:
            forward: the model, or what wraps it for several processes or a compiler.
            part: of a batch.
            whole: what its terms are relative to.
            step: of the run.
            quantizes: whether the quantizer is in the path.
        """
        drawn = part.drawn
        with self.autocast():
            output = forward(
                part.waveform,
                drawn.stages,
                quantizes,
                drawn.noise,
                drawn.keys.T,
                drawn.varying,
                drawn.lost,
                part.target,
            )
        delay = self.recipe.model.delay
        draws, decoded = output.draws[..., delay:], output.waveform[..., delay:]
        reference = part.target[..., : part.target.shape[-1] - delay]
        if output.log_likelihood is not None:
            terms = {"nll": -output.log_likelihood[:, delay:].mean()}
        else:
            terms = self._waveform_terms(draws, decoded, reference, step)
            terms |= self._coefficient_terms(output.coefficients, part, whole)
        terms |= self._latent_terms(output, part, whole)
        weights: dict[str, float | Tensor] = {**self.weights(step)}
        if self.recipe.discriminator.adaptive and "adversarial" in terms:
            weights["adversarial"] = weights["adversarial"] * self._balance(terms, weights)
        loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        if (
            output.coefficients is not None and output.coefficients.spread is not None
        ):  # several processes want a gradient, if of 0, for every parameter
            loss = loss + 0.0 * output.coefficients.spread.sum()
        if "nll" in terms:
            terms["bits"] = terms["nll"] / math.log(2)
        return Outcome(terms, loss, decoded, reference, output)

    def _balance(self, terms: Mapping[str, Tensor], weights: Mapping[str, float | Tensor]) -> Tensor:
        """How much harder the losses of what is decoded pull at the last layer than the adversarial one does []."""
        decoded = [weights[name] * value for name, value in terms.items() if name not in _NOT_OF_THE_DECODED]
        last_layer = self.model.mdct_decoder.project_out.weight
        return adaptive_weight(torch.stack(decoded).sum(), terms["adversarial"], last_layer)

    def autocast(self) -> torch.autocast:
        """The precision that the networks compute in."""
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.recipe.run.precision == "bf16")

    def weights(self, step: int) -> dict[str, float]:
        """Weight of each loss term at a step, by name."""
        share, config = self.adversarial_share(step) or 0.0, self.recipe.discriminator
        adversarial = {"adversarial": share * config.adversarial, "feature": share * config.feature}
        return loss_weights(self.recipe.loss, self.schedule_progress(step)) | adversarial | {"nll": 1.0}

    def schedule_progress(self, step: int) -> float:
        """Progress of the loss schedule at a step: 0 for the signed error alone, 1 for the final weights."""
        loss = self.recipe.loss
        return min(1.0, max(0.0, (step - loss.schedule_start) / max(1, loss.schedule_steps)))

    def adversarial_share(self, step: int) -> float | None:
        """Share in use of the weights of the adversarial losses, at a step; None before their phase."""
        start = self.recipe.phases.adversarial_from
        if self.adversary is None or start is None or step < start:
            return None
        return self.adversary.weight(step - start)

    def heard(self, coefficients: Tensor) -> Tensor:
        """The target's coefficients that the decoder has answered by the end [item, mdct_hop, mdct frame]."""
        config = self.recipe.model
        return coefficients[..., : coefficients.shape[-1] - config.lookahead * config.stride]

    def _waveform_terms(self, draws: Tensor, decoded: Tensor, reference: Tensor, step: int) -> dict[str, Tensor]:
        """Terms of the waveforms: how the draws are distributed, and how what is decoded is heard.

        Args:
            draws: [draw, item, 1, sample]
            decoded: [item, 1, sample]
            reference: [item, 1, sample]
            step: of the run.
        """
        rate = self.recipe.model.sample_rate
        terms: dict[str, Tensor] = {}
        if self.schedule_progress(step) > 0:
            terms |= energy_score(draws[:, :, 0], reference[:, 0], rate)._asdict()
            for name in used_perceptual(self.recipe.loss):
                terms[name] = PERCEPTUAL[name](decoded[:, 0], reference[:, 0], rate)
        if self.adversary is not None and self.adversarial_share(step):
            terms |= self.adversary.terms(reference, decoded)
        return terms

    def _coefficient_terms(
        self, coefficients: Coefficients | None, part: BatchPart, whole: BatchTotals
    ) -> dict[str, Tensor]:
        assert coefficients is not None
        config = self.recipe.model
        late = config.lookahead * config.stride
        means, target = coefficients.mean[..., late:].float(), self.heard(part.coefficients)
        terms = {"signed": signed_error(means, target, self.recipe.loss.signed_focus, whole.energy)}
        spread = coefficients.spread
        if spread is not None and self.recipe.loss.mean:
            terms["mean"] = relative_error(high_part(means, spread), high_part(target, spread))
        return terms

    def _latent_terms(self, output: Reconstruction, part: BatchPart, whole: BatchTotals) -> dict[str, Tensor]:
        """The bottleneck's own losses, and terms of the latents alone, as far as they are in use."""
        terms: dict[str, Tensor] = {}
        if output.quantized is not None:
            terms |= {name: part.drawn.stages_share * value for name, value in output.quantized.losses.items()}
        if whole.activations is not None:
            terms["sparse"] = sparsity(output.latents, self.recipe.loss.sparse_rho, whole.activations)
        if part.drawn.probe is not None:
            beginning = part.waveform[..., : part.drawn.probe.shape[-1] * self.recipe.model.latent_hop]
            terms["contractive"] = contraction(lambda x: self.model.encoder(x, Stream()), beginning, part.drawn.probe)
        return terms


def loss_weights(config: LossConfig, progress: float) -> dict[str, float]:
    """Weight of each loss term by its name, at a `progress` of the loss schedule from 0 to 1."""
    spectral = {name: float(getattr(config, name)) for name in ("mean", "mel", "magnitude", "complex")}
    return {
        "signed": config.signed + progress * (config.signed_final - config.signed),
        **{name: progress * weight for name, weight in (spectral | used_perceptual(config)).items()},
        "commitment": config.commitment,
        "codebook": config.codebook,
        "divergence": config.divergence,
        "sparse": config.sparse,
        "contractive": config.contractive,
    }


def used_perceptual(config: LossConfig) -> dict[str, float]:
    """Weights of the perceptual losses that are in use, by name."""
    weights = {name: float(getattr(config, name)) for name in PERCEPTUAL}
    return {name: weight for name, weight in weights.items() if weight > 0}
