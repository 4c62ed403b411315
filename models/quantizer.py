"""Residual vector quantization: EMA codebooks in a stack, each coding what the ones before left over.

Codebooks learn by exponential moving averages (van den Oord et al. 2017, "Neural Discrete Representation
Learning", appendix A.1), the stack and its dropout follow Zeghidour et al. 2021, "SoundStream".
"""

from __future__ import annotations

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
    perplexity: Tensor
    """exp(entropy) of each stage's codes in this batch [stage]"""


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
        return torch.addmm(
            -0.5 * self.vectors.square().sum(1), x.reshape(-1, x.shape[-1]), self.vectors.T
        ).unflatten(0, x.shape[:-1])

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the nearest code, the lowest on a tie: [vector, dim] -> int64 [vector]."""
        return self.scores(x).argmax(-1)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator, iterations: int = 10) -> None:
        """Lloyd's k-means on x [vector, dim], from random distinct vectors; empty clusters are drawn anew."""
        size = len(self.vectors)
        picks = torch.randperm(len(x), generator=generator)[:size].to(x.device)
        if len(picks) < size:
            more = torch.randint(len(x), (size - len(picks),), generator=generator).to(x.device)
            picks = torch.cat([picks, more])
        self.vectors.copy_(x[picks])
        for _ in range(iterations):
            counts, sums = self.assign(x, self.nearest(x))
            self._set(counts, sums)
            self.replace(counts < 1, x, generator)

    def assign(self, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors per code [size] and their sums [size, dim]."""
        counts = torch.bincount(codes, minlength=len(self.vectors)).to(x.dtype)
        return counts, torch.zeros_like(self.sums).index_add_(0, codes, x)

    @torch.no_grad()
    def update(self, x: Tensor, codes: Tensor, decay: float, dead_share: float, generator: torch.Generator) -> None:
        """Move the running sums towards this batch, and replace codes that are hardly used any more.

        Args:
            x: [vector, dim], the stage's input.
            codes: int64 [vector], the code that each was given.
            decay: of the running count and sum.
            dead_share: a code is dead whose running count is under this fraction of the mean one.
            generator: draws the live vectors that dead codes become.
        """
        counts, sums = self.assign(x, codes)
        self._set(self.counts.lerp(counts, 1 - decay), self.sums.lerp(sums, 1 - decay))
        self.replace(self.counts < dead_share * self.counts.mean(), x, generator)

    def replace(self, dead: Tensor, x: Tensor, generator: torch.Generator) -> None:
        """Make dead codes [size, bool] live vectors out of x [vector, dim]: vector, sum and count together."""
        picks = torch.randint(len(x), (len(dead),), generator=generator).to(x.device)
        live = x[picks]
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
        """Draws the replacements of dead codes; on the CPU, so that every device draws alike."""
        self.codebooks = nn.ModuleList(Codebook(codebook_size, dim) for _ in range(num_stages))

    def forward(self, latents: Tensor, stages: Tensor | None = None) -> Quantized:
        """Quantize [batch, dim, frame]; in training mode the codebooks learn from the batch on the way.

        Args:
            latents: float32 [batch, dim, frame].
            stages: how many stages each item uses, int64 [batch] in 1..num_stages; all if None.
        """
        batch, _, frames = latents.shape
        if stages is None:
            stages = torch.full((batch,), len(self.codebooks), device=latents.device)
        x = latents.mT.flatten(0, 1)  # [vector, dim]
        uses = stages.repeat_interleave(frames)[:, None]  # [vector, 1]
        total, residual = torch.zeros_like(x), x.detach()
        codes, losses, perplexities = [], [], []
        for index, codebook in enumerate(self.codebooks):
            assert isinstance(codebook, Codebook)
            code = codebook.nearest(residual)
            step = codebook.vectors[code]
            active = (uses > index).to(x.dtype)
            losses.append((active * (x - total - step).square()).sum())
            perplexities.append(perplexity(code, len(codebook.vectors)))
            if self.training:
                codebook.update(residual, code, self.decay, self.dead_share, self.generator)
            total = total + active * step
            residual = residual - step
            codes.append(code.unflatten(0, (batch, frames)))
        used = stages.sum() * frames * x.shape[1]
        through = x + (total - x).detach()
        return Quantized(
            through.unflatten(0, (batch, frames)).mT,
            torch.stack(codes, 1),
            torch.stack(losses).sum() / used,
            torch.stack(perplexities),
        )

    @torch.no_grad()
    def initialise(self, latents: Tensor, iterations: int = 10) -> None:
        """Set every codebook by k-means on its true residuals, stage by stage, from latents [vector, dim]."""
        for codebook in self.codebooks:
            assert isinstance(codebook, Codebook)
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
        residuals = latents.mT.reshape(batch * frames, 1, -1)  # [vector, beam, dim]
        errors = residuals.new_zeros(batch * frames, 1)
        paths = torch.zeros(batch * frames, 1, 0, dtype=torch.int64, device=latents.device)
        for codebook in self.codebooks[:stages]:
            assert isinstance(codebook, Codebook)
            residuals, errors, paths = _extend_beam(codebook, residuals, errors, paths, effort)
        best = paths[:, 0]  # [vector, stage]; the beam is sorted
        return best.unflatten(0, (batch, frames)).mT.contiguous()

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the codes' vectors: int64 [batch, stage, frame] of any prefix -> [batch, dim, frame]."""
        total = torch.stack(
            [codebook.vectors[codes[:, i]] for i, codebook in enumerate(self.codebooks[: codes.shape[1]])]
        ).sum(0)
        return total.mT


def _extend_beam(
    codebook: Codebook, residuals: Tensor, errors: Tensor, paths: Tensor, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One stage of the beam search: the `width` best continuations of all candidates, best first.

    residuals [vector, beam, dim], errors [vector, beam] (up to a constant a vector), paths [vector, beam, stage].
    """
    size = len(codebook.vectors)
    candidates = (errors.unsqueeze(-1) - 2 * codebook.scores(residuals)).flatten(1)  # [vector, beam * size]
    if width == 1:
        errors, best = candidates.min(1, keepdim=True)
    else:
        errors, best = candidates.topk(min(width, candidates.shape[1]), largest=False)
    parent, code = best // size, best % size  # [vector, new beam]
    residuals = residuals.take_along_dim(parent.unsqueeze(-1), 1) - codebook.vectors[code]
    paths = torch.cat([paths.take_along_dim(parent.unsqueeze(-1), 1), code.unsqueeze(-1)], dim=-1)
    return residuals, errors, paths


def perplexity(codes: Tensor, size: int) -> Tensor:
    """exp(entropy) of the codes [any shape] among `size`, from 1 (one code) to `size` (all alike) []."""
    share = torch.bincount(codes.flatten(), minlength=size) / codes.numel()
    return torch.special.entr(share).sum().exp()
