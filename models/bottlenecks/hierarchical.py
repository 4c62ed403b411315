"""Two time scales: coarse codes for every pair of latent frames, then fine codes for the residual of either frame.

After Razavi, van den Oord and Vinyals 2019, "Generating Diverse High-Fidelity Images with VQ-VAE-2".
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .base import Quantized
from .codebook import to_frames, to_vectors
from .residual import ResidualVQ
from .with_codebooks import WithCodebooks


class HierarchicalQuantizer(WithCodebooks):
    """A linear layer from two frames to a coarse vector, a stack for it, a layer back, and a stack for the difference.

    A frame of codes is a pair of latent frames. Its stages are those of the coarse stack, then the first fine stage of
    the even and of the odd frame, the second of both, and so on; both frames share the fine codebooks.
    Every prefix is a codec of its own.
    """

    kind = "hierarchical"

    def __init__(self, num_stages: int, coarse_stages: int, codebook_size: int, dim: int) -> None:
        super().__init__(num_stages, codebook_size)
        self.coarse_stages = coarse_stages
        self.down = nn.Linear(2 * dim, dim)
        self.up = nn.Linear(dim, 2 * dim)
        self.coarse = ResidualVQ(coarse_stages, codebook_size, dim)
        self.fine = ResidualVQ((num_stages - coarse_stages) // 2, codebook_size, dim)

    def forward(self, latents: Tensor, stages: Tensor | None = None, noise: Tensor | None = None) -> Quantized:
        batch, dim, frames = latents.shape
        if stages is None:
            stages = torch.full((batch,), self.num_stages, device=latents.device)
        with torch.autocast(latents.device.type, enabled=False):
            pairs = _to_pairs(latents)
            uses = stages.repeat_interleave(frames // 2)[:, None]  # [pair, 1]
            x = self.down(pairs)
            coarse = self.coarse.quantize(x, uses)
            prediction = self.up(x + (coarse.whole - x).detach())
            left = (pairs - prediction).reshape(-1, dim)  # [frame, dim]
            fine_uses = self._fine_uses(uses)
            fine = self.fine.quantize(left, fine_uses)
            refined = prediction + (left + (fine.used - left).detach()).reshape(-1, 2 * dim)
            rough = self.up(x + (coarse.used - x).detach())
            output = torch.where(fine_uses.reshape(-1, 2).repeat_interleave(dim, 1) > 0, refined, rough)
        codes = self._join(coarse.codes, fine.codes.reshape(len(x), 2, -1))
        losses = {name: coarse.losses[name] + fine.losses[name] for name in coarse.losses}
        losses["commitment"] = losses["commitment"] + 0.5 * left.square().sum()
        used = stages.sum() * (frames // 2) * dim
        means = {name: loss / used for name, loss in losses.items()}
        return Quantized(_to_latents(output, batch), to_frames(codes, batch), means)

    def _assigned(self, latents: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        pairs, vectors = _to_pairs(latents), to_vectors(codes)
        coarse, fine = vectors[:, : self.coarse_stages], vectors[:, self.coarse_stages :]
        yield from self.coarse.assigned(self.down(pairs), coarse)
        left = (pairs - self._predict(coarse)).reshape(-1, latents.shape[1])  # [frame, dim]
        yield from self.fine.assigned(left, fine.reshape(len(pairs), -1, 2).mT.flatten(0, 1))

    @torch.no_grad()
    def initialise(self, latents: Tensor, iterations: int = 10) -> None:
        """Set the linear layers by the principal components of pairs of frames, and the codebooks by k-means.

        Args:
            latents: [batch, dim, latent frame], of an even number of frames.
            iterations: of k-means.
        """
        pairs = _to_pairs(latents)
        mean, components = _principal_components(pairs, latents.shape[1])
        self.down.weight.copy_(components)
        self.down.bias.copy_(-components @ mean)
        self.up.weight.copy_(components.T)
        self.up.bias.copy_(mean)
        x = self.down(pairs)
        coarse = x - self.coarse.fit(x, self.generator, iterations)
        self.fine.fit((pairs - self.up(coarse)).reshape(-1, latents.shape[1]), self.generator, iterations)

    @torch.no_grad()
    def encode(self, latents: Tensor, stages: int | None = None, effort: int = 1) -> Tensor:
        """Codes of the first `stages` stages: [batch, dim, latent frame] -> int64 [batch, stage, frame].

        Args:
            latents: float32 [batch, dim, latent frame], of an even number of frames.
            stages: 1..num_stages; all if None.
            effort: width of the beam in either stack, as in `ResidualVQ.encode`. At most `MAX_EFFORT`.
        """
        stages = stages or self.num_stages
        pairs = _to_pairs(latents)
        coarse = self.coarse.search(self.down(pairs), min(stages, self.coarse_stages), effort)
        columns = list(coarse.unbind(1))
        if stages > self.coarse_stages:
            left = (pairs - self._predict(coarse)).chunk(2, dim=1)  # of the even and of the odd frame [pair, dim]
            even, odd = self._fine_stages(stages)
            halves = [self.fine.search(left[0], even, effort).unbind(1)]
            halves.append(self.fine.search(left[1], odd, effort).unbind(1) if odd else ())
            columns += [halves[i % 2][i // 2] for i in range(even + odd)]
        return to_frames(torch.stack(columns, dim=-1), len(latents))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """int64 [batch, stage, frame] of any prefix of the stages -> [batch, dim, latent frame]."""
        vectors = to_vectors(codes)
        coarse, fine = vectors[:, : self.coarse_stages], codes[:, self.coarse_stages :]
        latents = _to_latents(self._predict(coarse), len(codes))
        for half in range(min(2, fine.shape[1])):
            latents[..., half::2] += self.fine.decode(fine[:, half::2])
        return latents

    def _predict(self, coarse: Tensor) -> Tensor:
        """Coarse codes [pair, stage] of any prefix -> both frames, concatenated [pair, 2 * dim]."""
        return self.up(self.coarse.decode(coarse.unsqueeze(-1))[..., 0])  # type: ignore[no-any-return]

    def _fine_stages(self, stages: int) -> tuple[int, int]:
        """Numbers of fine stages of the even and of the odd frame, from the number of all stages."""
        fine = max(0, stages - self.coarse_stages)
        return (fine + 1) // 2, fine // 2

    def _fine_uses(self, uses: Tensor) -> Tensor:
        """Fine stages in use of each frame: stages in use [pair, 1] -> [frame, 1]."""
        fine = (uses - self.coarse_stages).clamp_min(0)
        return torch.cat([(fine + 1) // 2, fine // 2], dim=1).reshape(-1, 1)

    def _join(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Coarse codes [pair, stage] and fine codes [pair, 2, stage] -> [pair, stage], in the order of the stages."""
        return torch.cat([coarse, fine.mT.flatten(1)], dim=1)


def _to_pairs(latents: Tensor) -> Tensor:
    """[batch, dim, latent frame] -> the even and the odd frame, concatenated [pair, 2 * dim]."""
    return latents.mT.reshape(-1, 2 * latents.shape[1])


def _to_latents(pairs: Tensor, batch: int) -> Tensor:
    """The inverse of `_to_pairs`."""
    return pairs.reshape(batch, -1, pairs.shape[1] // 2).mT


def _principal_components(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean [dim] and the directions of largest variance [count, dim] of x [vector, dim]."""
    exact = x.double()
    mean = exact.mean(0)
    covariance = (exact - mean).T @ (exact - mean) / len(x)
    directions = torch.linalg.eigh(covariance).eigenvectors  # in ascending order of variance [dim, direction]
    return mean.to(x.dtype), directions.flip(1)[:, :count].T.to(x.dtype)
