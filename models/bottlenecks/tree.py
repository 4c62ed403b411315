"""Tree-structured vector quantization: every code picks a child of the node that the codes before led to.

Each node's vector is the mean of all that pass through it, so every prefix of the codes is a codec of its own: the
search takes stages * codebook_size comparisons where an equally fine single codebook takes codebook_size ** stages.
Buzo et al. 1980; Gersho and Gray 1992, chapter 12.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..search import argmax, scores
from .base import Quantized
from .codebook import Codebook, to_frames, to_latents, to_vectors
from .with_codebooks import WithCodebooks

SPLIT = 0.02
"""Distance of a new node from its sibling: a share of the way to a vector out of the batch."""

_MAX_NUMBERS = 1 << 24
"""Numbers of gathered code vectors that the search holds at a time."""


class TreeVQ(WithCodebooks):
    """A tree of `num_stages` levels below its root, whose inner nodes have `codebook_size` children each.

    Level i has a codebook of codebook_size ** (i + 1) nodes; child c of its node n is row n * codebook_size + c of the
    next level's.
    """

    kind = "tree"

    def __init__(self, num_stages: int, codebook_size: int, dim: int) -> None:
        super().__init__(num_stages, codebook_size)
        self.codebooks = nn.ModuleList(Codebook(codebook_size ** (i + 1), dim) for i in range(num_stages))

    def forward(self, latents: Tensor, stages: Tensor | None = None, noise: Tensor | None = None) -> Quantized:
        batch, dim, frames = latents.shape
        if stages is None:
            stages = torch.full((batch,), self.num_stages, device=latents.device)
        x = to_vectors(latents)
        uses = stages.repeat_interleave(frames)[:, None]  # [vector, 1]
        nodes = self._search(x.detach(), None, 1)  # [vector, stage]
        chosen, commitment, codebook = torch.zeros_like(x), [], []
        for index, book in enumerate(self.books):
            vectors = book.vectors[nodes[:, index]]
            active = uses > index
            if book.by_gradient:
                codebook.append((active * (x.detach() - vectors).square()).sum())
                vectors = vectors.detach()
            commitment.append((active * (x - vectors).square()).sum())
            chosen = torch.where(active, vectors, chosen)
        used = stages.sum() * frames * dim
        losses = {"commitment": torch.stack(commitment).sum() / used}
        if codebook:
            losses["codebook"] = torch.stack(codebook).sum() / used
        through = x + (chosen - x).detach()
        return Quantized(to_latents(through, batch), to_frames(nodes % self.codebook_size, batch), losses)

    def _assigned(self, latents: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        x = to_vectors(latents)
        return ((x, nodes) for nodes in self._nodes(to_vectors(codes)).unbind(1))

    @torch.no_grad()
    def _replace_dead(self, book: Codebook, live: Tensor) -> None:
        """Split the most used of its siblings in place of a dead node: no other vector would ever lead to it."""
        size = self.codebook_size
        counts = book.counts.reshape(-1, size)  # [family, child]
        dead = counts < self.usage_threshold * counts.mean(1, keepdim=True)
        largest = counts.argmax(1, keepdim=True)  # [family, 1]
        share = counts.gather(1, largest) / (1 + dead.sum(1, keepdim=True))  # what every part of the largest gets
        changed = dead.clone().scatter_(1, largest, dead.any(1, keepdim=True)).flatten()
        parents = (torch.arange(len(counts), device=counts.device)[:, None] * size + largest).expand(-1, size).flatten()
        begun = book.vectors[parents].lerp(live, SPLIT)
        book.vectors.copy_(torch.where(dead.flatten()[:, None], begun, book.vectors))
        book.counts.copy_(torch.where(changed, share.expand(-1, size).flatten(), book.counts))
        book.sums.copy_(torch.where(changed[:, None], book.vectors * book.counts[:, None], book.sums))

    @torch.no_grad()
    def initialise(self, latents: Tensor, iterations: int = 10) -> None:
        """Set every node's children by k-means on the vectors that reach it, from latents [batch, dim, frame]."""
        x, size = to_vectors(latents), self.codebook_size
        nodes = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        above = x.mean(0, keepdim=True)  # the level above [node, dim]
        for book in self.books:
            reached, nodes = nodes, nodes * size
            for parent, vector in enumerate(above):
                here = reached == parent
                members = x[here] if here.any() else vector[None]
                family = Codebook(size, x.shape[1]).to(x.device)
                family.initialise(members, self.generator, iterations)
                rows = slice(parent * size, (parent + 1) * size)
                for name, tensor in family.named_buffers():
                    getattr(book, name)[rows] = tensor
                nodes[here] += family.nearest(x[here])
            above = book.vectors

    @torch.no_grad()
    def encode(self, latents: Tensor, stages: int | None = None, effort: int = 1) -> Tensor:
        """Codes of the first `stages` levels: [batch, dim, frame] -> int64 [batch, stage, frame].

        Args:
            latents: float32 [batch, dim, frame].
            stages: 1..num_stages; all if None.
            effort: width of the beam. 1 goes down to the nearest child; more keep that many nodes from level to level.
                As many as a level has nodes search it all. At most `MAX_EFFORT`.
        """
        nodes = self._search(to_vectors(latents), stages, effort)
        return to_frames(nodes % self.codebook_size, len(latents))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """The vector of the node that the codes lead to: int64 [batch, stage, frame] of any prefix -> latents."""
        nodes = self._nodes(to_vectors(codes))[:, -1]
        return to_latents(self.books[codes.shape[1] - 1].vectors[nodes], len(codes))

    def _nodes(self, codes: Tensor) -> Tensor:
        """Codes [vector, stage] -> the node at each level, as a row of its codebook [vector, stage]."""
        nodes = [codes[:, 0]]
        for code in codes.unbind(1)[1:]:
            nodes.append(nodes[-1] * self.codebook_size + code)
        return torch.stack(nodes, dim=-1)

    @torch.no_grad()
    def _search(self, x: Tensor, stages: int | None, width: int) -> Tensor:
        """Search the nearest node with a beam, for the nodes on the way to it: [vector, dim] -> [vector, stage]."""
        numbers = self.codebook_size * (1 if self.num_stages == 1 else width * x.shape[1])  # for each vector
        parts = torch.split(x, max(1, _MAX_NUMBERS // numbers))
        return torch.cat([self._beam(part, self.books[:stages], width) for part in parts])

    def _beam(self, x: Tensor, books: list[Codebook], width: int) -> Tensor:
        size = self.codebook_size
        paths = torch.zeros(len(x), 1, 0, dtype=torch.int64, device=x.device)  # [vector, beam, stage]
        for level, book in enumerate(books):
            gains = scores(x, book.vectors)[:, None] if level == 0 else self._child_scores(book, x, paths[..., -1])
            flat = gains.flatten(1)  # [vector, beam * size]
            best = argmax(flat)[:, None] if width == 1 else flat.topk(min(width, flat.shape[1])).indices
            paths = paths.take_along_dim((best // size).unsqueeze(-1), 1)
            nodes = best % size if level == 0 else paths[..., -1] * size + best % size
            paths = torch.cat([paths, nodes.unsqueeze(-1)], dim=-1)
        return paths[:, 0]  # the beam is sorted

    def _child_scores(self, book: Codebook, x: Tensor, parents: Tensor) -> Tensor:
        """Scores, as `search.scores`, of the children of parents [vector, beam] only: [vector, beam, size]."""
        families = book.vectors.reshape(-1, self.codebook_size, x.shape[1])  # [parent, size, dim]
        children = families[parents]  # [vector, beam, size, dim]
        with torch.autocast(x.device.type, enabled=False):
            products: Tensor = torch.einsum("vbsd,vd->vbs", children, x)
        return products - 0.5 * children.square().sum(-1)
