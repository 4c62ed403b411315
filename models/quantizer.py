"""Residual vector quantization: EMA codebooks in a stack, each coding what the ones before left over.

Codebooks learn by exponential moving averages (van den Oord et al. 2017, "Neural Discrete Representation
Learning", appendix A.1), the stack and its dropout follow Zeghidour et al. 2021, "SoundStream".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

MAX_EFFORT = 16
"""Widest beam that `ResidualVQ.encode` searches with."""

SMOOTHING = 1e-5
"""Laplace smoothing of the running counts, as a share of their sum."""


class Quantized(NamedTuple):
    """What `ResidualVQ.forward` returns."""

    latents: Tensor
    """Quantized, gradients passed straight through [batch, dim, frame]"""
    codes: Tensor
    """[batch, stage, frame], all stages, also those an item did not use"""
    commitment_loss: Tensor
    """Mean squared distance of each stage's input to its code, mean over the stages in use []"""


class Statistics(NamedTuple):
    """What the codebooks learn from a batch. Those of its parts, wherever they were taken, add up to those of all."""

    counts: Tensor
    """Vectors given to each code [stage, size]"""
    sums: Tensor
    """Sum of those vectors [stage, size, dim]"""
    live: Tensor
    """Vectors out of the batch, at random, that dead codes may become [stage, size, dim]"""

    @property
    def perplexity(self) -> Tensor:
        """exp(entropy) of each stage's codes in the batch [stage]."""
        return _perplexity(self.counts)


class Codebook(nn.Module):
    """The code vectors of one stage and the running sums that they are learnt from."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, dim))
        self.register_buffer("counts", torch.zeros(size))
        """Vectors assigned to each code, a running sum [size]"""
        self.register_buffer("sums", torch.zeros(size, dim))
        """Sum of those vectors, running likewise [size, dim]"""
        self.vectors: Tensor
        self.counts: Tensor
        self.sums: Tensor

    def scores(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., size]: |x - code|^2 = |x|^2 - 2 score, so the nearest code scores highest."""
        offset = -0.5 * self.vectors.square().sum(1)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would mistake codes that lie close together
            flat = torch.addmm(offset, x.reshape(-1, self.vectors.shape[1]), self.vectors.T)
        return flat.reshape(*x.shape[:-1], len(self.vectors))

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the nearest code, the lowest on a tie: [vector, dim] -> int64 [vector]."""
        return self.scores(x).argmax(-1)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator, iterations: int = 10) -> None:
        """Lloyd's k-means on x [vector, dim], from random distinct vectors; empty clusters are drawn anew."""
        self.vectors.copy_(x[_draw(len(x), len(self.vectors), generator).to(x.device)])
        for _ in range(iterations):
            counts, sums = self.assign(x, self.nearest(x))
            self._set(counts, sums)
            self.replace(counts < 1, x[_draw(len(x), len(self.vectors), generator).to(x.device)])

    def assign(self, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors per code [size] and their sums [size, dim]."""
        counts = torch.bincount(codes, minlength=len(self.vectors)).to(x.dtype)
        return counts, torch.zeros_like(self.sums).index_add_(0, codes, x)

    @torch.no_grad()
    def update(self, counts: Tensor, sums: Tensor, live: Tensor, decay: float, dead_share: float) -> None:
        """Move the running sums towards those of a batch, and replace codes that are hardly used any more.

        Args:
            counts: of the batch, as from `assign` [size].
            sums: of the batch likewise [size, dim].
            live: vectors that dead codes become, in turn [size, dim].
            decay: of the running count and sum.
            dead_share: a code is dead whose running count is under this fraction of the mean one.
        """
        self._set(self.counts.lerp(counts, 1 - decay), self.sums.lerp(sums, 1 - decay))
        self.replace(self.counts < dead_share * self.counts.mean(), live)

    def replace(self, dead: Tensor, live: Tensor) -> None:
        """Make dead codes [size, bool] live vectors [size, dim], one after the other: vector, sum and count."""
        live = live[(dead.cumsum(0) - 1).clamp_min(0)]
        count = self.counts.mean()
        self.vectors.copy_(torch.where(dead[:, None], live, self.vectors))
        self.sums.copy_(torch.where(dead[:, None], live * count, self.sums))
        self.counts.copy_(torch.where(dead, count, self.counts))

    def _set(self, counts: Tensor, sums: Tensor) -> None:
        self.counts.copy_(counts)
        self.sums.copy_(sums)
        total, epsilon = counts.sum(), SMOOTHING * counts.mean()
        smoothed = (counts + epsilon) / (total + len(counts) * epsilon) * total
        self.vectors.copy_(torch.where(counts[:, None] > 0, sums / smoothed[:, None], self.vectors))


class ResidualVQ(nn.Module):
    """A stack of codebooks; every prefix of it is a codec of its own."""

    def __init__(self, num_stages: int, codebook_size: int, dim: int) -> None:
        super().__init__()
        self.decay = 0.99
        self.dead_share = 0.1
        self.generator = torch.Generator()
        """Draws the replacements of dead codes; on the CPU, so that every device and process draws alike."""
        self.codebooks = nn.ModuleList(Codebook(codebook_size, dim) for _ in range(num_stages))

    @property
    def stages(self) -> list[Codebook]:
        """The codebooks in their order."""
        return [codebook for codebook in self.codebooks if isinstance(codebook, Codebook)]

    def forward(self, latents: Tensor, stages: Tensor | None = None) -> Quantized:
        """Quantize [batch, dim, frame]. Codebooks stay as they are: they learn by `observe` and `learn`.

        Args:
            latents: float32 [batch, dim, frame].
            stages: how many stages each item uses, int64 [batch] in 1..num_stages; all if None.
        """
        batch, _, frames = latents.shape
        if stages is None:
            stages = torch.full((batch,), len(self.stages), device=latents.device)
        x = latents.mT.flatten(0, 1)  # [vector, dim]
        uses = stages.repeat_interleave(frames)[:, None]  # [vector, 1]
        total, residual = torch.zeros_like(x), x.detach()
        codes, losses = [], []
        for index, codebook in enumerate(self.stages):
            code = codebook.nearest(residual)
            step = codebook.vectors[code]
            active = (uses > index).to(x.dtype)
            losses.append((active * (x - total - step).square()).sum())
            total = total + active * step
            residual = residual - step
            codes.append(code.reshape(batch, frames))
        used = stages.sum() * frames * x.shape[1]
        through = x + (total - x).detach()
        return Quantized(
            through.reshape(batch, frames, x.shape[1]).mT,
            torch.stack(codes, 1),
            torch.stack(losses).sum() / used,
        )

    @torch.no_grad()
    def observe(self, latents: Tensor, codes: Tensor, part: int = 0, parts: int = 1) -> Statistics:
        """Note what codebooks learn from latents and their codes.

        Args:
            latents: [batch, dim, frame], as given to `forward`.
            codes: [batch, stage, frame] as it returned them.
            part: which part of the batch this is, of `parts` alike in size. `generator` must be in the same state
                for all of them: live vectors are drawn from the whole batch, and the part that has them supplies them.
            parts: the number of parts.
        """
        residual = latents.mT.flatten(0, 1)  # [vector, dim]
        counts, sums, live = [], [], []
        for codebook, code in zip(self.stages, codes.transpose(0, 1).flatten(1), strict=True):
            count, total = codebook.assign(residual, code)
            picks = _draw(parts * len(residual), len(codebook.vectors), self.generator).to(residual.device)
            counts.append(count)
            sums.append(total)
            live.append(_rows(residual, picks - part * len(residual)))
            residual = residual - codebook.vectors[code]
        return Statistics(torch.stack(counts), torch.stack(sums), torch.stack(live))

    def learn(self, statistics: Statistics) -> None:
        """Move the codebooks towards what was observed in a whole batch, and replace dead codes."""
        for codebook, counts, sums, live in zip(self.stages, *statistics, strict=True):
            codebook.update(counts, sums, live, self.decay, self.dead_share)

    def imitate(self, latents: Tensor, stages: Tensor, noise: Tensor | None = None) -> Tensor:
        """Add the noise that an ideal quantizer of as many bits would leave, so that the encoder learns what matters.

        Of white Gaussian latents of variance v that is a variance of v / (2^(2 bits / dim) - 1), seen from the
        decoder. Without it latents come out nearly white, and a quantizer then wastes its bits on trifles.

        Args:
            latents: [batch, dim, frame].
            stages: how many stages to imitate for each item, int64 [batch].
            noise: white, of variance 1 and the latents' shape; drawn from `generator` if None.
        """
        bits = stages * math.log2(len(self.stages[0].vectors)) / latents.shape[1]  # per dimension [batch]
        power = latents.square().mean() / (2 ** (2 * bits) - 1)
        if noise is None:
            noise = torch.randn(latents.shape, generator=self.generator)
        return latents + power.sqrt()[:, None, None] * noise.to(latents.device)

    @torch.no_grad()
    def initialise(self, latents: Tensor, iterations: int = 10) -> None:
        """Set every codebook by k-means on its true residuals, stage by stage, from latents [vector, dim]."""
        for codebook in self.stages:
            codebook.initialise(latents, self.generator, iterations)
            latents = latents - codebook.vectors[codebook.nearest(latents)]

    @torch.no_grad()
    def encode(self, latents: Tensor, stages: int | None = None, effort: int = 1) -> Tensor:
        """Codes of the first `stages` stages: [batch, dim, frame] -> int64 [batch, stage, frame].

        Args:
            latents: float32 [batch, dim, frame].
            stages: 1..num_stages; all if None.
            effort: width of the beam. 1 takes the nearest code at every stage; more keep that many candidate
                sums from stage to stage, for a smaller error of the whole. At most `MAX_EFFORT`.
        """
        batch, _, frames = latents.shape
        x = latents.mT.flatten(0, 1)  # [vector, dim]
        search = _greedy if effort == 1 else _beam
        codes = search(x, self.stages[:stages], effort)  # [vector, stage]
        return codes.reshape(batch, frames, codes.shape[1]).mT.contiguous()

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the codes' vectors: int64 [batch, stage, frame] of any prefix -> [batch, dim, frame]."""
        total = torch.stack(
            [codebook.vectors[codes[:, i]] for i, codebook in enumerate(self.stages[: codes.shape[1]])]
        ).sum(0)
        return total.mT


def _greedy(residual: Tensor, stages: list[Codebook], _: int) -> Tensor:
    """The nearest code of every stage in turn: [vector, dim] -> [vector, stage]."""
    codes = []
    for codebook in stages:
        codes.append(codebook.nearest(residual))
        residual = residual - codebook.vectors[codes[-1]]
    return torch.stack(codes, dim=-1)


def _beam(x: Tensor, stages: list[Codebook], width: int) -> Tensor:
    """The best path that a beam of that width finds: [vector, dim] -> [vector, stage]."""
    residuals = x.unsqueeze(1)  # [vector, beam, dim]
    paths = torch.zeros(len(x), 1, 0, dtype=torch.int64, device=x.device)  # [vector, beam, stage]
    for codebook in stages:
        residuals, paths = _extend_beam(codebook, residuals, paths, width)
    return paths[:, 0]  # the beam is sorted


def _extend_beam(codebook: Codebook, residuals: Tensor, paths: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """One stage of the beam search: the `width` best continuations of all candidates, best first.

    residuals [vector, beam, dim] and paths [vector, beam, stage], as they are returned.
    """
    size = len(codebook.vectors)
    errors = residuals.square().sum(-1, keepdim=True) - 2 * codebook.scores(residuals)  # [vector, beam, size]
    errors = errors.flatten(1)
    best = errors.topk(min(width, errors.shape[1]), largest=False).indices
    parent, code = (best // size).unsqueeze(-1), best % size  # [vector, new beam, 1], [vector, new beam]
    residuals = residuals.take_along_dim(parent, 1) - codebook.vectors[code]
    return residuals, torch.cat([paths.take_along_dim(parent, 1), code.unsqueeze(-1)], dim=-1)


def _draw(population: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` random indices below `population`, no one twice as long as they last [count]."""
    rounds = -(-count // population)
    return torch.cat([torch.randperm(population, generator=generator) for _ in range(rounds)])[:count]


def _rows(x: Tensor, indices: Tensor) -> Tensor:
    """Rows of x [vector, dim] by index [count], and zeros for an index that x does not have [count, dim]."""
    known = (indices >= 0) & (indices < len(x))
    return torch.where(known[:, None], x[indices.clamp(0, len(x) - 1)], 0.0)


def perplexity(codes: Tensor, size: int) -> Tensor:
    """exp(entropy) of the codes [any shape] among `size`, from 1 (one code) to `size` (all alike) []."""
    return _perplexity(torch.bincount(codes.flatten(), minlength=size))


def _perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of what was counted [..., size] -> [...]."""
    share = counts / counts.sum(-1, keepdim=True)
    entropy: Tensor = torch.special.entr(share).sum(-1)
    return entropy.exp()
