"""Training of a prior: crops of codes, gaps in some of them, and the bits that they cost."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.files import atomic_output
from vqcodec.models.prior.base import Prior, bits_of
from vqcodec.models.prior.slots import arrange

from ..display import Display
from ..optimizer_state import load_state
from ..schedule import warmed_cosine
from .batches import Batches
from .corpus import Corpus

_REPORTED_EVERY = 50


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a prior is trained."""

    steps: int = 600
    items: int = 4
    """Crops of a step, each as long as the context."""
    learning_rate: float = 3e-3
    warmup_steps: int = 50
    final_share: float = 0.02
    """Of the learning rate, in the last step."""
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    gap_share: float = 0.25
    """Of the steps, in which a gap is predicted after what surrounds it."""
    checkpoint_minutes: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.items < 1:
            raise ConfigError("there must be at least 1 step, and 1 item in it")

    def rate(self, step: int) -> float:
        """The learning rate: linear warm-up, then a cosine."""
        return self.learning_rate * warmed_cosine(step, self.steps, self.warmup_steps, self.final_share)


def fit(
    network: Prior, corpus: Corpus, settings: Settings, checkpoint: Path, display: Display, resume: bool = False
) -> None:
    """Train a prior, on the device that it is on.

    Ctrl-C leaves a checkpoint behind, from which `resume` goes on as if nothing had been.

    Args:
        network: untrained, or anything if `resume` is true.
        corpus: to be trained on.
        settings: steps, learning rate and the like.
        checkpoint: the file to keep the state in.
        display: is told how it goes.
        resume: go on from the checkpoint.

    Raises:
        ConfigError: there is no checkpoint to go on from, or it is of another training; or the corpus is too small.
        CorruptFile: it cannot be read.
        VqcodecError: it cannot be written.
    """
    if corpus.frames <= network.config.context_frames:
        raise ConfigError(f"{corpus.frames} frames of codes are too few to train on; add recordings")
    run = _Run(network, corpus, settings, checkpoint)
    step = run.resumed() if resume else 0
    saved, saved_at = step, time.monotonic()
    recent: list[float] = []
    network.train()
    try:
        while step < settings.steps:
            recent.append(run.step(step))
            step += 1
            bits = sum(recent[-_REPORTED_EVERY:]) / len(recent[-_REPORTED_EVERY:])
            text = f"step {step}/{settings.steps}, {bits:.3f} bits a code"
            display.update(step / settings.steps, text)
            if step % _REPORTED_EVERY == 0:
                display.message(text)
            if time.monotonic() - saved_at >= 60 * settings.checkpoint_minutes:
                run.save(step)
                saved, saved_at = step, time.monotonic()
    finally:
        if saved < step:
            run.save(step)
    network.eval()


class _Run:
    """A training, and the state that it goes on from."""

    def __init__(self, network: Prior, corpus: Corpus, settings: Settings, checkpoint: Path) -> None:
        self.network, self.settings, self.checkpoint = network, settings, checkpoint
        self.batches = Batches(network.config, corpus, settings.items, settings.seed)
        self.optimizers = _optimizers(network, settings)
        self.identity = repr((settings, network.config, corpus.frames))

    def step(self, step: int) -> float:
        """Take a step; returns the bits of a code."""
        network, settings = self.network, self.settings
        batch = self.batches.at(step).to(network.device)
        gap = self.batches.gap(step, settings.gap_share) if network.can_infill else None
        slots = arrange(batch.codes, gap if batch.codes.shape[-1] == network.config.context_frames else None)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(step)
            optimizer.zero_grad()
        with torch.autocast(network.device.type, torch.bfloat16):
            logits = network(slots, batch.condition)
        bits = bits_of(logits, slots).sum() / (batch.codes >= 0).sum()
        (bits * math.log(2)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        return float(bits.detach())

    def save(self, step: int) -> None:
        """Write a checkpoint."""
        state = {
            "step": step,
            "identity": self.identity,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        with atomic_output(self.checkpoint, force=True) as file:
            torch.save(state, file)

    def resumed(self) -> int:
        """Take over a checkpoint; returns the steps that it has made."""
        path = self.checkpoint
        if not path.exists():
            raise ConfigError(f"{path}: there is no checkpoint to resume from")
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            if state["identity"] != self.identity:
                raise ConfigError(f"{path} is of another training, with other settings, sizes or recordings")
            self.network.load_state_dict(state["network"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                load_state(optimizer, saved)
            return int(state["step"])
        except ConfigError:
            raise
        except Exception as error:
            reason = str(error).partition("\n")[0].partition(". ")[0]
            raise CorruptFile(f"{path} is not a readable checkpoint ({reason})") from None


def _optimizers(network: Prior, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between codes and logits, AdamW for the rest."""
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    layers = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    matrices: list[Tensor] = [weight for weight in layers if id(weight) not in tables]
    chosen = {id(weight) for weight in matrices}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
    rate, decay = settings.learning_rate, settings.weight_decay
    adam = torch.optim.AdamW(rest, rate, betas=(0.9, 0.98), weight_decay=decay)
    if not matrices:
        return [adam]
    return [torch.optim.Muon(matrices, rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"), adam]
