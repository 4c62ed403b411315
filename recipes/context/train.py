"""Training of a context model: crops of codes, numbers of stages as files have them, and the bits that they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.files import atomic_output
from vqcodec.models.context.config import ContextConfig
from vqcodec.models.context.integer import WIDE
from vqcodec.models.context.store import whole_vectors

from ..display import Display
from ..schedule import warmed_cosine
from .codes import Codes, allotted
from .network import SUM_STEPS, ContextTraining

_REPORTED_EVERY = 100
_SAVED_EVERY = 250
_MEASURED_FRAMES = 250
_MOST_MEASURED = 96
_UNSEEN = 8.0  # uses that every code is given beside its real ones


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a context model is trained."""

    steps: int = 4000
    items: int = 16
    frames: int = 150
    """Of each item."""
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    final_share: float = 0.02
    """Of the learning rate, in the last step."""
    whole_share: float = 0.05
    """Of the steps, the last ones, with weights and activations rounded as they will be."""
    weight_decay: float = 0.01
    gradient_norm: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"there must be at least 1 step, not {self.steps}")

    def is_whole(self, step: int) -> bool:
        """Whether that step rounds."""
        return step >= self.steps * (1 - self.whole_share)

    def rate(self, step: int) -> float:
        """The learning rate: linear warm-up, then a cosine."""
        return self.learning_rate * warmed_cosine(step, self.steps, self.warmup_steps, self.final_share)


@dataclass(frozen=True, kw_only=True)
class Bits:
    """Bits that held-out codes cost."""

    label: str
    count: float
    """Of the number of stages, a frame."""
    stages: tuple[float, ...]
    """Of a code of each stage; NaN where none was sent."""
    share: float
    """Of the bits of the codes alone, packed plainly."""


def start(codes: Codes, vectors: NDArray[np.float16], seed: int) -> ContextTraining:
    """A network that knows how often each code is used, and nothing else.

    Args:
        codes: to be trained on.
        vectors: those of the codebooks [stage, code, dim].
        seed: of the random weights.

    Raises:
        ConfigError: the codec's sizes are none that a context model can have.
    """
    stages, size, dim = vectors.shape
    shift = _vector_shift(codes, vectors)
    config = ContextConfig.fitting(num_stages=stages, codebook_size=size, latent_dim=dim, vector_shift=shift)
    torch.manual_seed(seed)
    network = ContextTraining(config, whole_vectors(vectors, shift))
    for layer, used in zip(network.logits, codes.codes, strict=True):
        counts = np.bincount(used, minlength=size) + _UNSEEN
        layer.bias.data = torch.from_numpy(np.log(counts / counts.mean())).float()
    return network


def fit(
    network: ContextTraining, codes: Codes, settings: Settings, checkpoint: Path, display: Display, resume: bool = False
) -> None:
    """Train a network, on the device that it is on.

    Ctrl-C leaves a checkpoint behind, from which `resume` goes on as if nothing had been.

    Args:
        network: as `start` returned it.
        codes: to be trained on.
        settings: steps, learning rate and the like.
        checkpoint: the file to keep the state in.
        display: is told how it goes.
        resume: go on from the checkpoint.

    Raises:
        ConfigError: there is no checkpoint to go on from, or it is of another training; or one is there already.
        CorruptFile: it cannot be read.
        VqcodecError: it cannot be written.
    """
    if codes.frames <= settings.frames:
        raise ConfigError(f"{codes.frames} frames of codes are too few to train on; add recordings")
    optimizers = _optimizers(network, settings)
    step = _resume(network, optimizers, settings, checkpoint) if resume else 0
    saved = step
    try:
        while step < settings.steps:
            network.whole = settings.is_whole(step)
            bits = _step(network, optimizers, codes, settings, step)
            step += 1
            text = f"step {step}/{settings.steps}, {bits:.2f} bits a code{', rounded' if network.whole else ''}"
            display.update(step / settings.steps, text)
            if step % _REPORTED_EVERY == 0:
                display.message(text)
            if step % _SAVED_EVERY == 0:
                _save(network, optimizers, settings, checkpoint, step)
                saved = step
    finally:
        if saved < step:
            _save(network, optimizers, settings, checkpoint, step)
    network.whole = True


@torch.no_grad()
def measure(network: ContextTraining, held: Codes) -> Iterator[Bits]:
    """Measure what codes of held-out speakers cost, in packets of 5 seconds: all stages, and means of 3, 6 and 9."""
    stages, frames = network.config.num_stages, min(_MEASURED_FRAMES, held.frames)
    items = min(held.frames // frames, _MOST_MEASURED)
    parts = [held.part(index * frames, frames) for index in range(items)]
    codes = torch.from_numpy(np.stack([part.codes.astype(np.int64) for part in parts]))
    whole = held.part(0, items * frames)
    for mean in (3, 6, 9, stages):
        if mean <= stages:
            plain = np.full((items, frames), mean)
            yield _bits(network, codes, plain, f"{mean} stages")
            if mean < stages:
                yield _bits(network, codes, allotted(whole, mean).reshape(items, frames), f"{mean} stages on average")


def _bits(network: ContextTraining, codes: Tensor, counts: NDArray[np.int64], label: str) -> Bits:
    device, plain = network.vectors.device, math.ceil(math.log2(network.config.codebook_size))
    stages = network.config.num_stages
    sums, numbers = np.zeros(1 + stages), np.zeros(1 + stages)
    for begin in range(0, len(codes), 16):
        some = torch.from_numpy(counts[begin : begin + 16]).to(device)
        losses = _losses(network, codes[begin : begin + 16].to(device), some)
        sums += [float(loss.sum()) / math.log(2) for loss in losses]
        numbers += [loss.numel() for loss in losses]
    means = sums / np.where(numbers > 0, numbers, np.nan)
    share = float(sums.sum() / (plain * numbers[1:].sum()))
    return Bits(label=label, count=float(means[0]), stages=tuple(map(float, means[1:])), share=share)


def _losses(network: ContextTraining, codes: Tensor, counts: Tensor) -> list[Tensor]:
    """Nats of all counts [frame], then those of the codes of each stage [frame with a code]."""
    count_logits, stages = network(codes, counts)
    losses = [F.cross_entropy(count_logits.float(), counts.flatten(), reduction="none")]
    for stage, (chosen, logits) in enumerate(stages):
        targets = codes[:, stage].flatten()[chosen]
        losses.append(F.cross_entropy(logits.float(), targets, reduction="none"))
    return losses


def _step(
    network: ContextTraining, optimizers: list[torch.optim.Optimizer], codes: Codes, settings: Settings, step: int
) -> float:
    """Take a step; returns the bits of a code, counts included."""
    items, counts = _batch(codes, settings, network.config.num_stages, step)
    device = network.vectors.device
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step)
        optimizer.zero_grad()
    with torch.autocast(device.type, torch.bfloat16, enabled=not network.whole):
        losses = _losses(network, items.to(device), counts.to(device))
    total = torch.stack([loss.sum() for loss in losses]).sum()
    (total / counts.numel()).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
    for optimizer in optimizers:
        optimizer.step()
    return float(total.detach()) / math.log(2) / max(1, int(counts.sum()))


def _batch(codes: Codes, settings: Settings, stages: int, step: int) -> tuple[Tensor, Tensor]:
    """Crops [item, stage, frame] and the numbers of stages of their frames [item, frame]."""
    random = np.random.default_rng((settings.seed, step))
    items, counts = [], []
    for index in range(settings.items):
        part = codes.part(int(random.integers(codes.frames - settings.frames)), settings.frames)
        items.append(part.codes.astype(np.int64))
        if index % 4 == 0:  # as many of each frame
            count = np.full(part.frames, random.integers(1, stages + 1))
        else:
            count = allotted(part, random.uniform(1, stages))
            if index % 4 == 1:  # peeled
                count = count.clip(max=random.integers(1, stages + 1))
        counts.append(count.astype(np.int64))
    return torch.from_numpy(np.stack(items)), torch.from_numpy(np.stack(counts))


def _optimizers(network: ContextTraining, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices before the logits, AdamW for the rest."""
    named = list(network.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and not name.startswith("logits") and "table" not in name]
    matrices = [p for p in matrices if len(p) > network.config.kernel_size]
    chosen = set(map(id, matrices))
    rest = [p for _, p in named if id(p) not in chosen]
    decay = settings.weight_decay
    return [
        torch.optim.Muon(matrices, settings.learning_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, settings.learning_rate, betas=(0.9, 0.98), weight_decay=decay),
    ]


def _save(
    network: nn.Module, optimizers: list[torch.optim.Optimizer], settings: Settings, path: Path, step: int
) -> None:
    state = {
        "step": step,
        "settings": repr(settings),
        "network": network.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    with atomic_output(path, force=True) as file:
        torch.save(state, file)


def _resume(network: nn.Module, optimizers: list[torch.optim.Optimizer], settings: Settings, path: Path) -> int:
    if not path.exists():
        raise ConfigError(f"{path}: there is no checkpoint to resume from")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CorruptFile(f"{path} is not a readable checkpoint ({str(error).partition('. ')[0]})") from None
    if state["settings"] != repr(settings):
        raise ConfigError(f"{path} is of a training with other settings: {state['settings']}")
    network.load_state_dict(state["network"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def _vector_shift(codes: Codes, vectors: NDArray[np.float16]) -> int:
    """The power of two that takes sums of code vectors to about half of the largest that the network sees."""
    some = codes.codes[:, :: max(1, codes.frames // 10_000)]
    sums = sum(book.astype(np.float32)[stage] for book, stage in zip(vectors, some, strict=True))
    return math.floor(math.log2(WIDE / max(float(np.abs(sums).max()), 1.0 / SUM_STEPS)))
