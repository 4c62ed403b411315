"""The interface of bottlenecks: the layer between encoder and decoder, which limits the information that passes.

Bottlenecks with codes turn latents into codes and back. Those with codebooks learn their code vectors from latents, by
exponential moving averages (`observe`, `learn`) or by gradient (`learn_by_gradient`).
"""

from __future__ import annotations

import abc
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vqcodec.errors import ConfigError

from .codebook import Codebook, perplexity_of


class Quantized(NamedTuple):
    """Result of `Bottleneck.forward`."""

    latents: Tensor
    """Input of the decoder, gradients passed straight through [batch, dim, latent frame]"""
    codes: Tensor | None
    """int64 [batch, stage, frame], all stages, also those an item did not use; None without codes"""
    losses: dict[str, Tensor]
    """Losses by name and without weights [], each a mean over the values in question:

    - "commitment" (with codebooks): squared distance of each stage's input to its code, mean over the stages in use;
      gradients reach what was quantized.
    - "codebook" (with codebooks that learn by gradient): the same number; gradients reach the code vectors.
    - "divergence" (vae): of each latent's distribution from the standard normal one, in nats per dimension.

    The textbook sums the squares of a vector where these are means: `dim` times as much.
    """


class Statistics(NamedTuple):
    """Statistics to learn from a batch. Those of its parts, wherever they were taken, add up to those of the whole.

    Code vectors of all codebooks stand in a single row, codebook by codebook: `vector` counts through them all.
    """

    used: Tensor
    """Number of uses of each code at each stage [stage, codebook_size]"""
    counts: Tensor
    """Latents given to each code vector [vector]"""
    sums: Tensor
    """Sum of those latents, or of what was left of them [vector, dim]"""
    live: Tensor
    """Random vectors out of the batch, which dead codes may become [vector, dim]"""

    @property
    def perplexity(self) -> Tensor:
        """exp(entropy) of each stage's codes in the batch [stage]."""
        return perplexity_of(self.used)


class Bottleneck(nn.Module, abc.ABC):
    """The layer between encoder and decoder; this class does what those without codes and codebooks do."""

    kind: ClassVar[str]
    """Name of the kind, a key of `KINDS`."""
    needs_codebooks: ClassVar[bool] = False
    """Whether `initialise` has to set something before anything but `substitute_noise` is of use."""
    samples: ClassVar[bool] = False
    """Whether `forward` adds noise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = 0.99
        """Decay of the running counts and sums that code vectors are learnt from."""
        self.usage_threshold = 0.1
        """A code is dead whose running count is under this fraction of the mean count."""
        self.generator = torch.Generator()
        """Source of all that is random; on the CPU, so that every device and process draws alike."""

    @property
    def books(self) -> list[Codebook]:
        """The codebooks in their order; none for some kinds."""
        return [module for module in self.modules() if isinstance(module, Codebook)]

    @property
    def code_vectors(self) -> int:
        """Numbers in all code vectors, whether these learn by gradient or not."""
        return sum(book.vectors.numel() for book in self.books)

    @abc.abstractmethod
    def forward(self, latents: Tensor, stages: Tensor | None = None, noise: Tensor | None = None) -> Quantized:
        """Pass latents on, as far as the bottleneck allows. Codebooks stay as they are.

        Args:
            latents: float32 [batch, dim, latent frame].
            stages: how many stages each item uses, int64 [batch] in 1..num_stages; all if None. Of use only where a
                prefix of the stages will do. A kind that can vary takes them frame by frame as well, [batch, frame] in
                0..num_stages.
            noise: white, of variance 1 and the latents' shape, for bottlenecks that add it (`samples`); drawn from
                `generator` if None.
        """

    def substitute_noise(self, latents: Tensor, stages: Tensor, noise: Tensor | None = None) -> Tensor:
        """Substitute noise for quantization while the codebooks wait for latents worth learning from.

        The noise stands for the error that codebooks would leave, and needs none of the bottleneck's parameters. A
        bottleneck without codebooks has nothing to wait for, and does what `forward` does.

        Args:
            latents: [batch, dim, latent frame].
            stages: how many stages each item would use, int64 [batch].
            noise: white, of variance 1 and the latents' shape; drawn from `generator` if None.
        """
        return self(latents, stages, noise).latents  # type: ignore[no-any-return]

    @torch.no_grad()
    def initialise(self, latents: Tensor, iterations: int = 10) -> None:
        """Set what `needs_codebooks` asks for from latents [batch, dim, latent frame]; `iterations` of k-means."""

    def observe(self, latents: Tensor, codes: Tensor, part: int = 0, parts: int = 1) -> Statistics:
        """Collect statistics of latents and their codes to learn from.

        Args:
            latents: [batch, dim, latent frame], as given to `forward`.
            codes: [batch, stage, frame] as it returned them.
            part: index of this part of the batch, of `parts` alike in size. `generator` must be in the same state
                for all of them: live vectors are drawn from the whole batch, and the part that has them supplies them.
            parts: the number of parts.
        """
        raise self._without_codes()

    def learn(self, statistics: Statistics) -> None:
        """Learn from the statistics of a whole batch, and replace dead codes; only the latter where gradients learn."""

    def learn_by_gradient(self) -> None:
        """Make parameters of the code vectors, under the same names, which `forward`'s "codebook" loss moves."""
        for book in self.books:
            book.learn_by_gradient()

    def encode(self, latents: Tensor, stages: int | None = None, effort: int = 1) -> Tensor:
        """Latents -> codes, float32 [batch, dim, latent frame] -> int64 [batch, stage, frame].

        Args:
            latents: a whole number of frames of codes.
            stages: how many of the first stages to use; all if None. Of use only where a prefix of the stages will do.
            effort: width of the search, 1 to `MAX_EFFORT`, where a wider one finds better codes.
        """
        raise self._without_codes()

    def decode(self, codes: Tensor) -> Tensor:
        """Codes -> latents, int64 [batch, stage, frame] -> float32 [batch, dim, latent frame]."""
        raise self._without_codes()

    def decode_varying(self, codes: Tensor, counts: Tensor, silence: Tensor) -> Tensor:
        """Decode frames that each have their own number of codes; only with kinds that can vary.

        Args:
            codes: int64 [batch, stage, frame]; those beyond a frame's count make no difference.
            counts: int64 [batch, frame], from 0 on.
            silence: latent of a frame without codes [dim].

        Returns:
            float32 [batch, dim, frame].
        """
        raise ConfigError(f"the frames of a {self.kind!r} bottleneck all have the same number of stages")

    def encode_endings(
        self, latents: Tensor, silence: Tensor, stages: int | None = None, effort: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Encode every frame for each number of stages that it might get; only with kinds that can vary.

        Args:
            latents: float32 [batch, dim, frame].
            silence: latent of a frame without codes [dim].
            stages: only endings up to this many stages; all if None.
            effort: width of the search, as in `encode`.

        Returns:
            Codes int64 [batch, frame, ending, stage], the first `ending` stages of use and the others 0, and the mean
            squared errors of the latents with each, float32 [batch, frame, ending]; endings are 0 to `stages`.
        """
        raise ConfigError(f"the frames of a {self.kind!r} bottleneck all have the same number of stages")

    def _without_codes(self) -> ConfigError:
        return ConfigError(f"a {self.kind!r} bottleneck has no codes")
