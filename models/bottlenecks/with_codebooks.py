"""The base of bottlenecks with codebooks: learning from a batch, and the noise that is substituted for quantization."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..kinds import KINDS
from .base import Bottleneck, Statistics
from .codebook import Codebook, draw, rows_of, usage


class WithCodebooks(Bottleneck):
    """A bottleneck whose codes stand for code vectors."""

    needs_codebooks = True

    def __init__(self, num_stages: int, codebook_size: int) -> None:
        super().__init__()
        self.num_stages = num_stages
        self.codebook_size = codebook_size

    @property
    def by_gradient(self) -> bool:
        """Whether code vectors learn by gradient."""
        return self.books[0].by_gradient

    @abc.abstractmethod
    def _assigned(self, latents: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield for each codebook the vectors that it coded [vector, dim] and their codes, as rows of it [vector]."""

    @torch.no_grad()
    def observe(self, latents: Tensor, codes: Tensor, part: int = 0, parts: int = 1) -> Statistics:
        counts, sums, live = [], [], []
        for book, (x, code) in zip(self.books, self._assigned(latents, codes), strict=True):
            count, total = book.assign(x, code)
            picks = draw(parts * len(x), len(book.vectors), self.generator).to(x.device)
            counts.append(count)
            sums.append(total)
            live.append(rows_of(x, picks - part * len(x)))
        return Statistics(usage(codes, self.codebook_size), torch.cat(counts), torch.cat(sums), torch.cat(live))

    def learn(self, statistics: Statistics) -> None:
        sizes = [len(book.vectors) for book in self.books]
        learnt = (torch.split(tensor, sizes) for tensor in (statistics.counts, statistics.sums, statistics.live))
        for book, counts, sums, live in zip(self.books, *learnt, strict=True):
            book.move(counts, sums, self.decay)
            self._replace_dead(book, live)

    def _replace_dead(self, book: Codebook, live: Tensor) -> None:
        """Make codes that are hardly used any more vectors out of the batch [vector, dim]."""
        book.replace(book.counts < self.usage_threshold * book.counts.mean(), live)

    def substitute_noise(self, latents: Tensor, stages: Tensor, noise: Tensor | None = None) -> Tensor:
        """Add the noise that an ideal quantizer of as many bits would leave, so that the encoder learns what matters.

        For white Gaussian latents of variance v the noise has the variance v / (2^(2 bits / dim) - 1), seen from the
        decoder. Without it latents come out nearly white, and a quantizer then wastes its bits on trifles.
        """
        kind = KINDS[self.kind]
        used = stages if kind.has_prefixes else torch.full_like(stages, self.num_stages)
        bits = used * math.log2(self.codebook_size) / (kind.frames_per_code * latents.shape[1])  # per value [batch]
        power = latents.square().mean() / (2 ** (2 * bits) - 1)
        if noise is None:
            noise = torch.randn(latents.shape, generator=self.generator)
        return latents + power.sqrt()[:, None, None] * noise.to(latents.device)
