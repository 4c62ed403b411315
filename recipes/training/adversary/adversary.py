"""The adversarial phase: discriminators that learn, and what they teach the codec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vqcodec.errors import ConfigError

from ...config import Recipe
from ...distributed import World
from ...optimizer_state import load_state
from .discriminators import DiscriminatorOutput, Discriminators

FEATURE_FLOOR = 0.01
"""Added to the mean magnitude of a layer's features before it divides."""

METRICS = ("discriminator", "discriminator_accuracy", "discriminator_norm")
"""Names of what `Adversary.learn` returns."""

FORMER_METRICS = {"told_apart": "discriminator_accuracy"}
"""Names of metrics in checkpoints of earlier versions, and those that they have now."""


class Adversary:
    """The discriminators of a run, their optimizer, and the losses on either side."""

    def __init__(self, recipe: Recipe, device: torch.device, world: World) -> None:
        """New discriminators, the same for the same seed, whatever was drawn before.

        Raises:
            ConfigError: the recipe has no discriminators.
        """
        self.config, self.device, self.world = recipe.discriminator, device, world
        self.precision = recipe.run.precision
        if not (self.config.periods or self.config.windows):
            raise ConfigError("discriminator.periods and discriminator.windows are both empty; name at least one")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(recipe.run.seed)
            self.discriminators = Discriminators(self.config).to(device)
        self.optimizer = torch.optim.AdamW(
            self.discriminators.parameters(), self.config.learning_rate, self.config.betas, fused=True
        )
        self.calls = 0
        """Calls of `learn`; every `config.every`-th one, beginning with the first, is a step."""
        self.metrics: dict[str, Tensor] = {}
        """Metrics of the last step."""

    def learn(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Make a step of the discriminators, if it is time for one.

        Args:
            real: what the codec was to give back [batch, 1, sample].
            fake: what it gave back, sample by sample in line with it; no gradient flows into it.

        Returns:
            Metrics of this step or, between two steps, of the last one: "discriminator", the loss;
            "discriminator_accuracy", the share of logits that are right, 0.5 for guessing; "discriminator_norm", that
            of the gradients.
        """
        self.calls += 1
        if (self.calls - 1) % self.config.every == 0:
            self.metrics = self._step(real, fake.detach())
        return self.metrics

    def terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Loss terms for the codec, all [], shapes as for `learn`; gradients flow into `fake` and nothing else.

        Returns:
            "adversarial": how far `fake` is from being taken for real; "feature": how far it differs from `real`
            inside the discriminators. Unweighted.
        """
        with self._fixed(), self._autocast():
            with torch.no_grad():
                wanted = self.discriminators(real)
            judged = self.discriminators(fake)
        return {
            "adversarial": codec_loss(judged, self.config.loss),
            "feature": feature_loss(judged, wanted),
        }

    def weight(self, steps_into_phase: int) -> float:
        """Share of the weights of `terms` in use: 0 while the discriminators learn alone, then rising to 1."""
        risen = (steps_into_phase - self.config.alone_steps) / max(1, self.config.ramp_steps)
        return min(1.0, max(0.0, risen))

    def state(self) -> dict[str, Any]:
        """State of discriminators and optimizer, to resume from."""
        return {
            "discriminators": self.discriminators.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "calls": self.calls,
            "metrics": self.metrics,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned, also in earlier versions, which had another name for the accuracy.

        Raises:
            ValueError: it is not the state of such discriminators; or another error of a wrong type or key.
        """
        self.discriminators.load_state_dict(state["discriminators"])
        load_state(self.optimizer, state["optimizer"])
        metrics = {FORMER_METRICS.get(name, name): value for name, value in state["metrics"].items()}
        calls = state["calls"]
        if type(calls) is not int or calls < 0 or set(metrics) != set(METRICS if calls else ()):
            raise ValueError("the discriminators had other metrics")
        self.calls = calls
        self.metrics = {name: value.reshape(()).to(self.device, torch.float32) for name, value in metrics.items()}

    def _step(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        with self._autocast():
            of_real, of_fake = self.discriminators(real), self.discriminators(fake)
        loss = discriminator_loss(of_real, of_fake, self.config.loss)
        loss.backward()  # type: ignore[no-untyped-call]
        self.world.average_gradients(self.discriminators.parameters())
        norm = nn.utils.clip_grad_norm_(self.discriminators.parameters(), self.config.gradient_clip)
        if norm.isfinite():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        right = discriminator_accuracy(of_real, of_fake, self.config.loss)
        return dict(zip(METRICS, (loss.detach(), right, norm.detach()), strict=True))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @contextmanager
    def _fixed(self) -> Iterator[None]:
        """The discriminators as constants: what is computed here leaves no gradients in them."""
        self.discriminators.requires_grad_(False)
        try:
            yield
        finally:
            self.discriminators.requires_grad_(True)


def discriminator_loss(real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput], kind: str) -> Tensor:
    """Loss of the discriminators [], mean over them; 2 for hinge and 1 for least squares where all logits are 0.

    "least_squares" wants logits of 1 for real and 0 for fake (Mao et al. 2017, "Least Squares GAN"). "hinge" wants
    them over 1 and under -1 (Lim and Ye 2017, "Geometric GAN"), however far: they may grow, and with them the
    gradients that the codec gets.
    """
    losses = []
    for a, b in zip(_logits(real), _logits(fake), strict=True):
        if kind == "hinge":
            losses.append((1 - a).relu().mean() + (1 + b).relu().mean())
        else:
            losses.append((a - 1).square().mean() + b.square().mean())
    return torch.stack(losses).mean()


def codec_loss(fake: Sequence[DiscriminatorOutput], kind: str) -> Tensor:
    """Loss of the codec, minimal when it is taken for real [], mean over the discriminators; never below 0.

    For "hinge" nothing is to be gained beyond the margin, as in Zeghidour et al. 2021, "SoundStream".
    """
    losses = [(1 - b).relu().mean() if kind == "hinge" else (1 - b).square().mean() for b in _logits(fake)]
    return torch.stack(losses).mean()


def feature_loss(fake: Sequence[DiscriminatorOutput], real: Sequence[DiscriminatorOutput]) -> Tensor:
    """L1 distance of features over their mean magnitude, item by item [], mean over items, layers and discriminators.

    In [0, 2]. After Kumar et al. 2019, "MelGAN"; relative as in Défossez et al. 2022, "High Fidelity Neural Audio
    Compression", but to both sides together: a layer may be all but silent for what is real.
    """
    pairs = [pair for a, b in zip(fake, real, strict=True) for pair in zip(a.features, b.features, strict=True)]
    return torch.stack([_relative_distance(a, b) for a, b in pairs]).mean()


def discriminator_accuracy(
    real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput], kind: str
) -> Tensor:
    """Share of the logits on the right side of the boundary [], mean over the discriminators."""
    boundary = 0.0 if kind == "hinge" else 0.5
    right = [(a > boundary).float().mean() for a in _logits(real)] + [
        (b < boundary).float().mean() for b in _logits(fake)
    ]
    return torch.stack(right).mean()


def _logits(outputs: Sequence[DiscriminatorOutput]) -> list[Tensor]:
    return [output.logits.float() for output in outputs]


def _relative_distance(a: Tensor, b: Tensor) -> Tensor:
    size = (_item_means(a.detach().abs()) + _item_means(b.abs())) / 2 + FEATURE_FLOOR  # [batch]
    return (_item_means((a - b).abs()) / size).mean()


def _item_means(x: Tensor) -> Tensor:
    """[batch, ...] -> [batch], in float32."""
    return x.flatten(1).mean(1, dtype=torch.float32)
