"""Learning vector quantization: codes that belong to classes, and are moved so that vectors are told apart by them.

The codes of a class start as the k-means of its vectors. Then labelled vectors attract codes of their own class and
repel those of others: LVQ1 (Kohonen 1990, "The self-organizing map") moves the nearest code; generalised LVQ (Sato and
Yamada 1995, "Generalized learning vector quantization") lowers the mean of sigmoid((d+ - d-) / (d+ + d-)), where d+ and
d- are a vector's squared distances to the nearest code of its own class and of any other. What is won in accuracy is
paid for in distortion: `score` measures both.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from vqcodec.errors import ConfigError, VqcodecError

from .base import check_integer, check_vectors, distortion, generator_of, nearest
from .kmeans import VECTORS_PER_CODE, SingleBook, kmeans

RULES = ("glvq", "lvq1")

_MIN_SAMPLE = 1 << 16  # sets up to this size are never sampled
_BATCH = 256  # vectors that a training step takes, at least
_MAX_SCORES = 1 << 20  # vectors times codes that a training step holds


class CodeQuality(NamedTuple):
    """Quality of the codes of labelled vectors, and of the classes that these tell."""

    distortion: float
    """Mean squared error per dimension"""
    accuracy: float
    """Share of the vectors whose code is of their own class, 0..1"""


class LearningVectorQuantizer(SingleBook):
    """One codebook, learnt with labels. Encodes and decodes as vector quantization does, and classifies."""

    kind: ClassVar[str] = "lvq"

    def __init__(
        self,
        *,
        num_codes: int,
        rule: str = "glvq",
        epochs: int = 10,
        learning_rate: float = 0.05,
        iterations: int = 20,
        vectors_per_code: int = VECTORS_PER_CODE,
        seed: int = 0,
    ) -> None:
        """
        Args:
            num_codes: of all classes together; each gets its share by the number of its vectors, at least 1.
            rule: "glvq" or "lvq1".
            epochs: passes over the vectors.
            learning_rate: at the start, falling to 0 linearly; above 0, below 1. With "lvq1" the share of the way to
                the vector that a code is moved, with "glvq" the step of Adam in units of the root mean squared error.
            iterations: of k-means before, at most.
            vectors_per_code: larger sets than this many for each code are sampled (sets up to 65536 never are).
            seed: of the random numbers.

        Raises:
            ConfigError: a setting is unknown or out of range.
        """
        super().__init__(num_codes=num_codes, iterations=iterations, vectors_per_code=vectors_per_code, seed=seed)
        if rule not in RULES:
            raise ConfigError(f"rule is {rule!r}, not one of {', '.join(RULES)}")
        if isinstance(learning_rate, bool) or not isinstance(learning_rate, int | float) or not 0 < learning_rate < 1:
            raise ConfigError(f"learning_rate is {learning_rate!r}, not a number between 0 and 1")
        self.rule = rule
        self.epochs = check_integer("epochs", epochs, 0)
        self.learning_rate = float(learning_rate)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"rule": self.rule, "epochs": self.epochs, "learning_rate": self.learning_rate}
        return super().settings() | own

    def fit(self, vectors: Tensor, labels: Tensor | None = None) -> Self:
        """Learn the codes from float32 vectors [vector, dim] and their classes.

        Args:
            vectors: at least as many as codes.
            labels: int64 [vector], any numbers: ids of speakers, for instance.

        Raises:
            VqcodecError: there are no labels; or vectors or labels are too few, not finite, or of the wrong shape or
                type; or there are more classes than codes.
        """
        if labels is None:
            raise VqcodecError("lvq learns from labelled vectors: fit it with vectors and labels")
        vectors = check_vectors(vectors, at_least=self.num_codes)
        labels = _check_labels(labels, vectors)
        generator = generator_of(self.seed)
        wanted = max(self.vectors_per_code * self.num_codes, _MIN_SAMPLE)
        if len(vectors) > wanted:
            picks = torch.randperm(len(vectors), generator=generator)[:wanted].to(vectors.device)
            vectors, labels = vectors[picks], labels[picks]
        book, classes = self._start(vectors, labels, generator)
        learn = _glvq if self.rule == "glvq" else _lvq1
        book = learn(vectors, labels, book, classes, self._schedule(len(vectors), generator))
        self._learnt = {"codes": book, "labels": classes}
        return self

    def classify(self, vectors: Tensor) -> Tensor:
        """The class of each vector's code: float32 [vector, dim] -> int64 [vector].

        Raises:
            VqcodecError: as `encode`.
        """
        return self._table("labels")[self.encode(vectors)[:, 0]]

    def score(self, vectors: Tensor, labels: Tensor) -> CodeQuality:
        """Distortion and accuracy on float32 vectors [vector, dim] with int64 labels [vector].

        Raises:
            VqcodecError: as `encode`; or there are no vectors, or not as many labels.
        """
        vectors = check_vectors(vectors, self.codes.shape[1])
        labels = _check_labels(labels, vectors)
        codes = self.encode(vectors)
        right = self._table("labels")[codes[:, 0]] == labels
        return CodeQuality(distortion(vectors, self.decode(codes)), float(right.double().mean()))

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return super()._shapes() | {"labels": (self.num_codes,)}

    def _start(self, vectors: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Codes [code, dim] by k-means of each class on its own, and their classes [code]."""
        classes, counts = torch.unique(labels, return_counts=True)
        if len(classes) > self.num_codes:
            raise VqcodecError(f"{len(classes)} classes need a code each, and there are {self.num_codes} codes")
        shares = _shares(counts.tolist(), self.num_codes)
        books = [
            kmeans(vectors[labels == label], share, generator, self.iterations)
            for label, share in zip(classes, shares, strict=True)
        ]
        return torch.cat(books), classes.repeat_interleave(torch.tensor(shares, device=classes.device))

    def _schedule(self, count: int, generator: torch.Generator) -> Iterator[tuple[Tensor, float]]:
        """The steps of training: indices of a batch of the `count` vectors, in a new order every epoch, and the rate.

        A batch has 256 vectors, or as many as there are codes, so that a code meets few at a time.
        """
        size = max(1, min(max(_BATCH, self.num_codes), _MAX_SCORES // self.num_codes))
        steps = self.epochs * -(-count // size)
        step = 0
        for _ in range(self.epochs):
            for batch in torch.split(torch.randperm(count, generator=generator), size):
                yield batch, self.learning_rate * (1 - step / steps)
                step += 1


def _lvq1(
    vectors: Tensor, labels: Tensor, book: Tensor, classes: Tensor, schedule: Iterator[tuple[Tensor, float]]
) -> Tensor:
    """Move the nearest code towards vectors of its class and away from others: book [code, dim] -> [code, dim].

    A code that is nearest to n vectors of a batch goes as far as n steps would take it, along their mean pull.
    """
    book = book.clone()
    for batch, rate in schedule:
        x, y = vectors[batch], labels[batch]
        winner = nearest(x, book)
        sign = torch.where(classes[winner] == y, 1.0, -1.0)
        pull = torch.zeros_like(book).index_add_(0, winner, sign[:, None] * (x - book[winner]))
        wins = torch.bincount(winner, minlength=len(book))
        share = (1 - (1 - rate) ** wins) / wins.clamp_min(1)
        book += share[:, None] * pull
    return book


def _glvq(
    vectors: Tensor, labels: Tensor, book: Tensor, classes: Tensor, schedule: Iterator[tuple[Tensor, float]]
) -> Tensor:
    """Lower the cost of generalised LVQ by Adam: book [code, dim] -> [code, dim]."""
    if bool((classes == classes[0]).all()):
        raise VqcodecError("glvq tells classes apart, but all vectors are of a single class: give two or more")
    origin = vectors.mean(0)
    scale = float((vectors - book[nearest(vectors, book)]).square().mean().sqrt()) or 1.0
    codes = ((book - origin) / scale).requires_grad_()
    optimizer = torch.optim.Adam([codes])
    for batch, rate in schedule:
        x, y = (vectors[batch] - origin) / scale, labels[batch]
        with torch.enable_grad():
            own = _distance(x, codes, classes == y[:, None])
            other = _distance(x, codes, classes != y[:, None])
            cost = torch.sigmoid((own - other) / (own + other).clamp_min(1e-12)).mean()
            optimizer.zero_grad()
            cost.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    return codes.detach() * scale + origin


def _distance(x: Tensor, codes: Tensor, eligible: Tensor) -> Tensor:
    """Squared distance of x [vector, dim] to the nearest of the eligible [vector, code] of the codes [code, dim]."""
    with torch.no_grad():
        scores = torch.addmm(-0.5 * codes.square().sum(1), x, codes.T)
        best = scores.masked_fill(~eligible, -torch.inf).argmax(1)
    return (x - codes[best]).square().sum(1)


def _shares(counts: list[int], num_codes: int) -> list[int]:
    """Share codes out among classes of so many vectors: 1 each, and the next always to the class with the most
    vectors for a code (d'Hondt). With as many vectors as codes in all, no class gets more codes than it has vectors."""
    shares = [1] * len(counts)
    queue = [(-count / 2, index) for index, count in enumerate(counts)]
    heapq.heapify(queue)
    for _ in range(num_codes - len(counts)):
        index = queue[0][1]
        shares[index] += 1
        heapq.heapreplace(queue, (-counts[index] / (shares[index] + 1), index))
    return shares


def _check_labels(labels: Tensor, vectors: Tensor) -> Tensor:
    if labels.dtype != torch.int64 or labels.shape != vectors.shape[:1]:
        raise VqcodecError(f"labels are {labels.dtype} {list(labels.shape)}, not torch.int64 [{len(vectors)}]")
    return labels
