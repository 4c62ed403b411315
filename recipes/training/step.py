"""One step of training: batch -> loss -> gradients -> weights, codebooks and weight average.

Everything random is drawn from (seed, step), so that what `state` holds is a run's whole state, and a resumed run
continues bit for bit. It is drawn for the whole batch, of which every process takes its share, and what a loss is
relative to is summed over all of it: several processes, or parts one after the other, make the same step as one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vqcodec.errors import ConfigError
from vqcodec.models import registry
from vqcodec.models.autoencoder import Autoencoder, Reconstruction
from vqcodec.models.bottlenecks.base import Bottleneck, Statistics
from vqcodec.models.layers import Stream, compress

from ..config import Recipe
from ..data.batches import Example
from ..distributed import World
from ..optimizer_state import load_state
from .adversary.adversary import Adversary
from .calibration import calibrate
from .draws import Drawn
from .gradient_guard import GradientSpikeGuard
from .losses.regularisers import activations
from .losses.spectral import signed_energy
from .objective import BatchPart, BatchTotals, Objective
from .optimizers import build_optimizers, learning_rate_share
from .warm_start import begin_with


class Passed(NamedTuple):
    """Output of a part after its backward pass, detached."""

    terms: dict[str, Tensor]
    """The loss terms and "loss", their weighted sum []"""
    decoded: Tensor
    """[item, 1, sample], in line with `reference`"""
    reference: Tensor
    latents: Tensor
    """[item, dim, frame]"""
    codes: Tensor | None
    """[item, stage, frame]; None if the quantizer was left out, or has none."""


class Trainer:
    """Model, optimizers and weight average, and one step of them."""

    def __init__(self, recipe: Recipe, device: torch.device, world: World, init: Path | None = None) -> None:
        """Build everything, alike in all processes.

        Raises:
            ConfigError: the batch cannot be shared out evenly, or `init` is not a model of the recipe's sizes.
        """
        _check_shares(recipe, world)
        torch.manual_seed(recipe.run.seed)
        self.recipe, self.device, self.world, self.step = recipe, device, world, 0
        self.model = Autoencoder(recipe.model).to(device)
        self.model.quantizer.decay = recipe.quantizer.ema_decay
        self.model.quantizer.usage_threshold = recipe.quantizer.usage_threshold
        if recipe.quantizer.learning == "gradient":
            self.model.quantizer.learn_by_gradient()
        self.decodes: tuple[str, ...] = ()
        """Fingerprints of earlier models whose files the exported model decodes as well."""
        self.trained_on_scores: tuple[str, ...] = ()
        """Scores that losses of the model before imitated."""
        if init is not None:
            self._begin_with(init)
        self.has_codebooks = _are_set(self.model.quantizer)
        """Whether the codebooks have been set, if there are any."""
        self.frozen = False
        """Whether encoder and codebooks stay as they are from now on."""
        self.model.train()
        self.optimizers = build_optimizers(self.model, recipe.optimizer)
        self.guard = GradientSpikeGuard(recipe.optimizer.outlier_factor, recipe.optimizer.outlier_patience)
        moving = get_ema_multi_avg_fn(recipe.optimizer.weight_ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.model, multi_avg_fn=moving, use_buffers=True)
        self.adversary = None if recipe.phases.adversarial_from is None else Adversary(recipe, device, world)
        self.objective = Objective(recipe, self.model, self.adversary)
        self._connect()

    @property
    def parameters(self) -> dict[str, int]:
        """Numbers in each part of the exported weights: parameters and code vectors."""
        model, by_gradient = self.model, self.recipe.quantizer.learning == "gradient"
        codes = 0 if by_gradient else model.quantizer.code_vectors  # else they are parameters
        return {
            "encoder": count(model.encoder),
            "bottleneck": count(model.quantizer) + codes,
            "decoder": count(model.decoder),
        }

    @property
    def averaged(self) -> Autoencoder:
        """The model that is validated and exported."""
        model = self.average.module
        assert isinstance(model, Autoencoder)
        return model

    @property
    def quantizes(self) -> bool:
        """Whether the quantizer is in the path at this step: from its start on, or wherever there are codebooks."""
        return self.has_codebooks or self.step >= self.recipe.quantizer.start_step

    @property
    def needs_codebooks(self) -> bool:
        """Whether the quantizer comes in at this step, with codebooks that `initialise_codebooks` has yet to set."""
        return self.quantizes and not self.has_codebooks

    @property
    def freezes(self) -> bool:
        """Whether encoder and codebooks stay as they are at this step."""
        start = self.recipe.phases.decoder_only_from
        return start is not None and self.step >= start

    @property
    def learning_rate(self) -> float:
        """Learning rate at this step."""
        return self.recipe.optimizer.learning_rate * learning_rate_share(self.step, self.recipe)

    def train_step(self, batch: Example) -> dict[str, Tensor]:
        """One optimizer step on this process's share of a batch [item, 1, sample].

        Returns:
            Detached and over the whole batch: the loss terms, "loss", "gradient_norm", "skipped" (steps so far with
            a gradient spike), "perplexity" [stage], and what the discriminators tell of themselves.

        Raises:
            ConfigError: codebooks are to stay that were never set.
            TrainingDiverged: too many steps in a row were refused.
        """
        if self.freezes:
            self._freeze()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
        parts = self._parts(batch)
        whole = BatchTotals(self._mean_energy(parts), self._mean_activations(parts))
        passed = [self._pass(part, whole, last=part is parts[-1]) for part in parts]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optimizer.gradient_clip)
        accepted = self.guard.accepts(float(norm))
        metrics, statistics = self._over_all(passed)
        if accepted:
            self._learn(statistics)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        if self.adversary is not None and self.objective.adversarial_share(self.step) is not None:
            metrics |= self._teach(self.adversary, passed) if accepted else self.adversary.metrics
        if statistics is not None:
            metrics["perplexity"] = statistics.perplexity
        self.step += 1
        return metrics | {"gradient_norm": norm, "skipped": torch.tensor(float(self.guard.skipped))}

    def calibrate(self, recordings: Sequence[Example]) -> None:
        """Set how the averaged model decodes, on whole recordings; in all processes alike.

        At regular steps training hears what is decoded so, too. Nothing happens if the decoder does not sample.
        """
        if not self.recipe.model.decoder_stochastic:
            return
        averaged, ours = self.averaged.mdct_decoder, self.model.mdct_decoder
        if self.world.leads:
            calibrate(self.averaged, recordings, self.has_codebooks, self.recipe.texture)
        self.world.copy_from_lead([averaged.texture_mean, averaged.texture_scale])
        if self.step % self.recipe.run.validate_every == 0:  # and not wherever a run happens to end
            ours.texture_mean.copy_(averaged.texture_mean)
            ours.texture_scale.copy_(averaged.texture_scale)

    @torch.no_grad()
    def initialise_codebooks(self, batches: Iterable[Example]) -> None:
        """K-means, stage by stage, on the latents of a few batches; of each this process's share."""
        quantizer = self.model.quantizer
        quantizer.generator.manual_seed(self.recipe.run.seed)
        latents = [self.world.gather(self.model.encoder(batch.waveform, Stream())) for batch in batches]
        if self.world.leads:
            quantizer.initialise(torch.cat(latents))
        self.world.copy_from_lead(quantizer.state_dict().values())
        self.averaged.quantizer.load_state_dict(quantizer.state_dict())
        self.has_codebooks = True
        self._connect()

    def _connect(self) -> None:
        """Make the forward pass: several processes average the gradients of all that learns in its backward pass."""
        self.model.encoder.requires_grad_(not self.frozen)
        self.model.quantizer.requires_grad_(self.has_codebooks and not self.frozen)
        module: nn.Module = self.model
        self._parallel: DistributedDataParallel | None = None
        if self.world.size > 1:
            module = self._parallel = _parallel(self.model, self.device)
        self._forward: Callable[..., Reconstruction] = torch.compile(module) if self.recipe.run.compile else module

    def _freeze(self) -> None:
        """Give the model the averaged encoder and codebooks, from now on: they are what is exported."""
        if self.frozen:
            return
        if not self.has_codebooks:
            raise ConfigError("phases.decoder_only_from comes before quantizer.start_step: there are no codebooks yet")
        self.model.encoder.load_state_dict(self.averaged.encoder.state_dict())
        self.model.quantizer.load_state_dict(self.averaged.quantizer.state_dict())
        self.frozen = True
        self._connect()

    def _parts(self, batch: Example) -> list[BatchPart]:
        """Cut this process's share of a batch into parts, and draw what is random about them."""
        drawn = Drawn.of(self.recipe, self.model.quantizer, self.step, batch.waveform.shape[-1], self.quantizes)
        mine, parts = self.world.share(self.recipe.data.batch_size), []
        each = len(mine) // self.recipe.optimizer.accumulate
        for first in range(0, len(mine), each):
            waveform, target = (whole[first : first + each] for whole in batch)
            with torch.no_grad():
                coefficients = compress(self.model.encoder.mdct(target, Stream()), self.recipe.model.power)
            here = slice(mine.start + first, mine.start + first + each)
            parts.append(BatchPart(waveform, target, coefficients, drawn.of_items(here, self.device)))
        return parts

    def _mean_energy(self, parts: Sequence[BatchPart]) -> Tensor:
        """Energy that the signed error is relative to [], mean over all parts of all processes."""
        focus = self.recipe.loss.signed_focus
        return self._mean([signed_energy(self.objective.heard(part.coefficients), focus) for part in parts])

    @torch.no_grad()
    def _mean_activations(self, parts: Sequence[BatchPart]) -> Tensor | None:
        """Activations for the sparse loss [dim], mean over all parts of all processes; None if it is not in use."""
        if self.freezes or not self.recipe.loss.sparse:
            return None
        with self.objective.autocast():
            latents = [self.model.encoder(part.waveform, Stream()) for part in parts]
        return self._mean([activations(values.float()) for values in latents])

    def _mean(self, of_parts: Sequence[Tensor]) -> Tensor:
        """Mean over all parts of all processes."""
        [total] = self.world.sum(torch.stack([*of_parts]).sum(0))
        return total / (len(of_parts) * self.world.size)

    def _pass(self, part: BatchPart, whole: BatchTotals, last: bool) -> Passed:
        """Forward and backward: adds this part's gradients; the last one averages them over the processes."""
        local = nullcontext() if last or self._parallel is None else self._parallel.no_sync()
        with local:
            outcome = self.objective(self._forward, part, whole, self.step, self.quantizes)
            (outcome.loss / self.recipe.optimizer.accumulate).backward()  # type: ignore[no-untyped-call]
        terms = {name: value.detach() for name, value in outcome.terms.items()} | {"loss": outcome.loss.detach()}
        output = outcome.output
        codes = None if output.quantized is None else output.quantized.codes
        return Passed(terms, outcome.decoded.detach(), outcome.reference, output.latents.detach(), codes)

    def _over_all(self, passed: Sequence[Passed]) -> tuple[dict[str, Tensor], Statistics | None]:
        """Mean terms over all parts of all processes, and what codebooks learn from the latents of all of them."""
        world, terms = self.world, [part.terms for part in passed]
        means = torch.stack([torch.stack([values[name] for values in terms]).mean() for name in terms[0]]) / world.size
        statistics = None
        if passed[0].codes is None:
            [means] = world.sum(means)
        else:
            latents = torch.cat([part.latents for part in passed])
            codes = torch.cat([part.codes for part in passed if part.codes is not None])
            mine = self.model.quantizer.observe(latents, codes, world.rank, world.size)
            means, *sums = world.sum(means, *mine)
            statistics = Statistics(*sums)
        return dict(zip(terms[0], means, strict=True)), statistics

    def _learn(self, statistics: Statistics | None) -> None:
        """Move weights, codebooks and their average."""
        for optimizer in self.optimizers:
            optimizer.step()
        if statistics is not None and not self.freezes:
            self.model.quantizer.learn(statistics)
        self.average.update_parameters(self.model)

    def _teach(self, adversary: Adversary, passed: Sequence[Passed]) -> dict[str, Tensor]:
        """Let the discriminators learn from this step's output; returns their metrics over all processes."""
        reference = torch.cat([part.reference for part in passed])
        metrics = adversary.learn(reference, torch.cat([part.decoded for part in passed]))
        [sums] = self.world.sum(torch.stack([*metrics.values()]))
        return dict(zip(metrics, sums / self.world.size, strict=True))

    def _begin_with(self, init: Path) -> None:
        begin_with(self.model, init)
        info = registry.describe(init)
        self.trained_on_scores = info.trained_on_scores or ()
        if self.recipe.phases.decoder_only_from == 0:
            self.decodes = (info.fingerprint, *info.decodes)

    def state(self) -> dict[str, Any]:
        """State of the run, to resume from."""
        return {
            "recipe": self.recipe.to_dict(),
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "decodes": list(self.decodes),
            "trained_on_scores": list(self.trained_on_scores),
            "guard": self.guard.state(),
            "adversary": None if self.adversary is None else self.adversary.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned, also before there were a guard and discriminators.

        Raises:
            RuntimeError: it is the state of another model; or another error of a wrong type or key.
        """
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            load_state(optimizer, saved)
        self.decodes = tuple(state.get("decodes", ()))
        self.trained_on_scores = tuple(state.get("trained_on_scores", ()))
        if "guard" in state:
            self.guard.load_state(state["guard"])
        if self.adversary is not None and state.get("adversary") is not None:
            self.adversary.load_state(state["adversary"])
        self.has_codebooks = _are_set(self.model.quantizer)
        self._connect()


def _are_set(quantizer: Bottleneck) -> bool:
    """Whether all codebooks, if there are any, have been set: the vectors given to their codes were counted."""
    return all(book.is_set for book in quantizer.books)


def count(module: nn.Module) -> int:
    """Numbers in its parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def _parallel(model: nn.Module, device: torch.device) -> DistributedDataParallel:
    """The model as one of several alike, whose gradients are averaged; buffers change alike by themselves."""
    gpu = [device] if device.type == "cuda" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.14 has a new name for `broadcast_buffers`
        return DistributedDataParallel(model, gpu, broadcast_buffers=False, gradient_as_bucket_view=True)


def _check_shares(recipe: Recipe, world: World) -> None:
    batch, accumulate = recipe.data.batch_size, recipe.optimizer.accumulate
    if batch % (world.size * accumulate):
        raise ConfigError(
            f"data.batch_size = {batch} cannot be shared out evenly among {world.size} processes "
            f"times {accumulate} parts (optimizer.accumulate); choose a multiple of {world.size * accumulate}"
        )
