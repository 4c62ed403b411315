"""The training loop.

Everything random is drawn from (seed, step), so that weights, optimizer, weight average and step number are a
run's whole state, and a resumed run continues bit for bit.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.models import checkpoint as weights
from vqcodec.models.autoencoder import Autoencoder, Reconstruction
from vqcodec.models.layers import Stream, compress

from .config import LossConfig, OptimizerConfig, Recipe, from_dict
from .data import Clip, Corpus, Crops, split
from .losses import signed_error, spectral_losses
from .validate import validate

KEPT_CHECKPOINTS = 2


class Display(Protocol):
    """Where a run shows how it goes."""

    def message(self, text: str) -> None:
        """One line of news."""

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Means since the last update: loss terms, "audio_s_per_s", "learning_rate", ..."""

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Scores on the held-out files."""


def train(
    recipe: Recipe,
    data: Sequence[Path],
    out: Path,
    *,
    display: Display,
    resume: bool = False,
    device: str = "auto",
    cache: Path | None = None,
    init: Path | None = None,
) -> Path | None:
    """Train a codec and export its weights.

    Args:
        recipe: what to train and how.
        data: folders of audio, searched recursively.
        out: the run's folder: checkpoints, metrics.jsonl, recipe.json and, at the end, weights.
        display: shows progress.
        resume: go on from the run's last checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        cache: where the decoded corpus lies, `out`/cache if None; runs on the same data may share it.
        init: weights (safetensors) to begin with in place of random ones.

    Returns:
        The exported weights, or None if the run was interrupted and can be resumed.

    Raises:
        ConfigError: the run exists and `resume` was not asked for, or the other way round.
        AudioError: a folder is missing or holds no readable audio.
    """
    _prepare_folder(out, recipe, resume)
    trainer = Trainer(recipe, _device(device), init)
    corpus = Corpus.build(data, recipe.model.sample_rate, cache or out / "cache", display.message)
    clips, held_out = split(corpus.clips, recipe.data.validation_s, recipe.model.sample_rate)
    if resume:
        display.message(f"resuming at step {trainer.restore(out)}")
    display.message(f"{trainer.parameters / 1e6:.2f} M parameters, {len(clips)} clips, {len(held_out)} held out")
    with _interrupts() as interrupted:
        finished = _loop(trainer, corpus, clips, held_out, out, display, interrupted)
    trainer.save(out)
    if not finished:
        display.message(f"stopped at step {trainer.step}; go on with --resume")
        return None
    return export(out, out / f"{recipe.model.name}.safetensors", force=True)


def export(run: Path, target: Path, force: bool = False) -> Path:
    """Write the averaged weights of a run's last checkpoint as an inference checkpoint.

    Raises:
        ConfigError: the run has no checkpoint, or the target exists and `force` is not set.
    """
    if target.exists() and not force:
        raise ConfigError(f"{target} exists already; add --force to overwrite it")
    state = _last_state(run)
    recipe = from_dict(state["recipe"])
    average = AveragedModel(Autoencoder(recipe.model), use_buffers=True)
    average.load_state_dict(state["average"])
    model = average.module
    assert isinstance(model, Autoencoder)
    weights.save(target, model, training={"steps": state["step"], "recipe": recipe.to_dict()})
    return target


class Trainer:
    """Model, optimizer and weight average, and one step of them."""

    def __init__(self, recipe: Recipe, device: torch.device, init: Path | None = None) -> None:
        torch.manual_seed(recipe.run.seed)
        self.recipe, self.device, self.step = recipe, device, 0
        self.model = Autoencoder(recipe.model).to(device)
        self.model.quantizer.decay = recipe.quantizer.ema_decay
        self.model.quantizer.dead_share = recipe.quantizer.dead_share
        if init is not None:
            self._begin_with(init)
        self.model.train()
        self.optimizers = build_optimizers(self.model, recipe.optimizer)
        moving = get_ema_multi_avg_fn(recipe.optimizer.weight_ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.model, multi_avg_fn=moving, use_buffers=True)

    @property
    def parameters(self) -> int:
        """Numbers in the exported weights: parameters and code vectors."""
        quantizer = self.recipe.model
        codes = quantizer.num_stages * quantizer.codebook_size * quantizer.latent_dim
        return sum(parameter.numel() for parameter in self.model.parameters()) + codes

    @property
    def quantizes(self) -> bool:
        """Whether the quantizer is in the path at this step."""
        return self.step >= self.recipe.quantizer.start_step

    def train_step(self, waveform: Tensor) -> dict[str, Tensor]:
        """One optimizer step on a batch [batch, 1, sample]; returns the loss terms and perplexities, detached."""
        rng = np.random.default_rng([self.recipe.run.seed, self.step])
        self.model.quantizer.generator.manual_seed(int(rng.integers(2**63)))
        self._set_learning_rate()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.run.precision == "bf16"):
            output = self.model(waveform, self._draw_stages(len(waveform), rng), self.quantizes)
        terms = self._loss_terms(output, waveform)
        loss = torch.stack([weight * terms[name] for name, weight in self._loss_weights().items()]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optimizer.gradient_clip)
        if norm.isfinite():
            for optimizer in self.optimizers:
                optimizer.step()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.average.update_parameters(self.model)
        self.step += 1
        metrics = {**terms, "loss": loss, "gradient_norm": norm}
        if output.quantized is not None:
            metrics["perplexity"] = output.quantized.perplexity
        return {name: value.detach() for name, value in metrics.items()}

    @torch.no_grad()
    def initialise_codebooks(self, batches: Iterator[Tensor]) -> None:
        """K-means, stage by stage, on the latents of a few batches."""
        self.model.quantizer.generator.manual_seed(self.recipe.run.seed)
        latents = [self.model.encoder(batch.to(self.device), Stream()).mT.flatten(0, 1) for batch in batches]
        self.model.quantizer.initialise(torch.cat(latents))
        averaged = self.average.module
        assert isinstance(averaged, Autoencoder)
        averaged.quantizer.load_state_dict(self.model.quantizer.state_dict())

    def _draw_stages(self, batch: int, rng: np.random.Generator) -> Tensor:
        """Quantizer dropout: stages in use for each item [batch]."""
        stages = rng.integers(1, self.recipe.model.num_stages + 1, batch)
        stages[: round(batch * self.recipe.quantizer.full_share)] = self.recipe.model.num_stages
        return torch.from_numpy(stages).to(self.device)

    def _loss_terms(self, output: Reconstruction, waveform: Tensor) -> dict[str, Tensor]:
        config = self.recipe.model
        ahead = config.lookahead * config.stride
        with torch.no_grad():
            target = compress(self.model.encoder.mdct(waveform, Stream()), config.power)
        coefficients, target = output.coefficients[..., ahead:].float(), target[..., : target.shape[-1] - ahead]
        terms = {"signed": signed_error(coefficients, target, self.recipe.loss.signed_focus)}
        if self._handover() > 0:
            reference = waveform[:, 0, : waveform.shape[-1] - config.delay]
            spectral = spectral_losses(output.waveform[:, 0, config.delay :], reference, config.sample_rate)
            terms.update(spectral._asdict())
        if output.quantized is not None:
            terms["commitment"] = output.quantized.commitment_loss
        return terms

    def _handover(self) -> float:
        """How far the hand-over to the spectral losses has come, 0 to 1."""
        loss = self.recipe.loss
        return min(1.0, max(0.0, (self.step - loss.handover_start) / max(1, loss.handover_steps)))

    def _loss_weights(self) -> dict[str, float]:
        return loss_weights(self.recipe.loss, self._handover(), self.quantizes)

    def _set_learning_rate(self) -> None:
        share = learning_rate_share(self.step, self.recipe)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.optimizer.learning_rate * share

    def _begin_with(self, init: Path) -> None:
        model = weights.load(init, self.device)
        if model.config != self.recipe.model:
            raise ConfigError(f"{init} is a model of other sizes than the recipe's")
        self.model.load_state_dict(model.state_dict())
        for codebook in self.model.quantizer.stages:
            codebook.counts.fill_(1.0)
            codebook.sums.copy_(codebook.vectors)

    def save(self, run: Path) -> None:
        """Write a checkpoint, whole or not at all, and drop all but the last few."""
        folder = run / "checkpoints"
        folder.mkdir(exist_ok=True)
        state = {
            "recipe": self.recipe.to_dict(),
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        temporary = folder / "saving.tmp"
        torch.save(state, temporary)
        os.replace(temporary, folder / f"step_{self.step:08d}.pt")
        for old in sorted(folder.glob("step_*.pt"))[:-KEPT_CHECKPOINTS]:
            old.unlink()

    def restore(self, run: Path) -> int:
        """Go back to the run's last checkpoint; returns its step."""
        state = _last_state(run)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return self.step


def build_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """AdamW for everything; or Muon for the pointwise layers' matrices and AdamW for the rest."""
    adamw = {"lr": config.learning_rate, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.kind == "adamw":
        return [torch.optim.AdamW(model.parameters(), **adamw, fused=True)]  # type: ignore[arg-type]
    pointwise = [p for name, p in model.named_parameters() if name.endswith(("expand.weight", "contract.weight"))]
    chosen = set(map(id, pointwise))
    rest = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(
        pointwise, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, torch.optim.AdamW(rest, **adamw, fused=True)]  # type: ignore[arg-type]


def learning_rate_share(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to `final_share` at the last step."""
    config = recipe.optimizer
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.run.steps)))
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return warmup * (config.final_share + (1 - config.final_share) * cosine)


def loss_weights(config: LossConfig, handover: float, quantizes: bool) -> dict[str, float]:
    """Weight of each loss term that is in use, by name, `handover` of the way from signs to spectra."""
    used = {"signed": config.signed + handover * (config.signed_final - config.signed)}
    if handover > 0:
        spectral = {"mel": config.mel, "magnitude": config.magnitude, "complex": config.complex}
        used |= {name: handover * weight for name, weight in spectral.items()}
    if quantizes:
        used["commitment"] = config.commitment
    return used


def _loop(
    trainer: Trainer,
    corpus: Corpus,
    clips: Sequence[Clip],
    held_out: Sequence[Clip],
    out: Path,
    display: Display,
    interrupted: list[int],
) -> bool:
    """Steps until the run's end or an interruption; returns whether the end was reached."""
    recipe = trainer.recipe
    batches = _batches(recipe, corpus, clips, trainer.step, trainer.device)
    meter = Meter(recipe)
    saved = time.monotonic()
    with open(out / "metrics.jsonl", "a", encoding="utf-8") as log:
        while trainer.step < recipe.run.steps:
            if trainer.step == recipe.quantizer.start_step:
                trainer.initialise_codebooks(_kmeans_batches(recipe, corpus, clips))
            meter.add(trainer.train_step(next(batches).to(trainer.device, non_blocking=True)))
            if trainer.step % recipe.run.log_every == 0:
                metrics, perplexities = meter.read(trainer)
                _log(log, step=trainer.step, **metrics, perplexity=perplexities)
                display.update(trainer.step, recipe.run.steps, metrics, perplexities)
            if held_out and (trainer.step % recipe.run.validate_every == 0 or trainer.step == recipe.run.steps):
                scores = validate(_averaged(trainer), corpus, held_out, trainer.quantizes)
                _log(log, step=trainer.step, validation=scores)
                display.validation(trainer.step, scores)
                meter.restart()
            if interrupted:
                return False
            if time.monotonic() - saved > 60 * recipe.run.checkpoint_minutes:
                trainer.save(out)
                saved = time.monotonic()
    return True


class Meter:
    """Means of the metrics between two lines of the log."""

    def __init__(self, recipe: Recipe) -> None:
        self.audio_s = recipe.data.batch_size * recipe.data.crop_s
        self.restart()

    def restart(self) -> None:
        """Forget everything, the time as well."""
        self._metrics: list[dict[str, Tensor]] = []
        self._start = time.monotonic()

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Note one step."""
        self._metrics.append(metrics)

    def read(self, trainer: Trainer) -> tuple[dict[str, float], list[float]]:
        """Mean of each metric, and of each stage's perplexity, since the last call."""
        names = self._metrics[-1].keys()
        recent = [metrics for metrics in self._metrics if metrics.keys() == names]
        means = {name: torch.stack([m[name] for m in recent]).float().mean(0) for name in names}
        perplexities: list[float] = means.pop("perplexity", torch.zeros(0)).tolist()
        metrics = {name: float(value) for name, value in means.items()}
        elapsed = time.monotonic() - self._start
        metrics["audio_s_per_s"] = len(self._metrics) * self.audio_s / elapsed
        metrics["learning_rate"] = trainer.optimizers[-1].param_groups[0]["lr"]
        self.restart()
        return metrics, perplexities


def _batches(
    recipe: Recipe, corpus: Corpus, clips: Sequence[Clip], step: int, device: torch.device
) -> Iterator[Tensor]:
    """The batches of step `step`, `step` + 1, ... [batch, 1, sample]."""
    size = recipe.data.batch_size
    crops = Crops(corpus, clips, crop_samples(recipe), recipe.data.gain_db, recipe.run.seed)
    loader = DataLoader(
        crops,
        batch_size=size,
        sampler=range(step * size, recipe.run.steps * size),
        num_workers=recipe.data.workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_signals_to_the_trainer,
    )
    return iter(loader)


def _leave_signals_to_the_trainer(_: int) -> None:
    """Ctrl-C goes to every process of a terminal: a worker that died of it would take the trainer along."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _kmeans_batches(recipe: Recipe, corpus: Corpus, clips: Sequence[Clip]) -> Iterator[Tensor]:
    """Batches for k-means, drawn with another seed than those of the steps."""
    size, count = recipe.data.batch_size, recipe.quantizer.kmeans_batches
    crops = Crops(corpus, clips, crop_samples(recipe), recipe.data.gain_db, recipe.run.seed + 1)
    for start in range(0, size * count, size):
        yield torch.stack([crops[index] for index in range(start, start + size)])


def crop_samples(recipe: Recipe) -> int:
    """Samples of a crop: whole frames, and the codec's delay on top."""
    config = recipe.model
    return config.hop_length * config.num_frames(round(recipe.data.crop_s * config.sample_rate))


def _averaged(trainer: Trainer) -> Autoencoder:
    model = trainer.average.module
    assert isinstance(model, Autoencoder)
    return model


def _log(file: Any, **values: Any) -> None:
    file.write(json.dumps(values) + "\n")
    file.flush()


def _prepare_folder(out: Path, recipe: Recipe, resume: bool) -> None:
    exists = any((out / "checkpoints").glob("step_*.pt"))
    if exists and not resume:
        raise ConfigError(f"{out} holds a run already; add --resume to go on with it, or choose another folder")
    if resume and not exists:
        raise ConfigError(f"{out} holds no checkpoint to resume from")
    if resume and from_dict(_last_state(out)["recipe"]).model != recipe.model:
        raise ConfigError(f"{out} trains a model of other sizes than this recipe's")
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(recipe.to_dict(), indent=2) + "\n", encoding="utf-8")


def _last_state(run: Path) -> dict[str, Any]:
    paths = sorted((run / "checkpoints").glob("step_*.pt"))
    if not paths:
        raise ConfigError(f"{run} holds no checkpoint")
    try:
        state: dict[str, Any] = torch.load(paths[-1], map_location="cpu", weights_only=True)
    except Exception as error:
        raise CorruptFile(f"{paths[-1]}: not a readable checkpoint ({error})") from None
    return state


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no such device: {name}; choose auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is available here; choose --device cpu")
    return device


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that fills when SIGINT or SIGTERM arrives, so that the loop can stop between two steps."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
