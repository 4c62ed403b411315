"""A network with all its sins, in simulated time: loss, delay, jitter, wrong order, duplicates, outages. No torch."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError


@dataclass(frozen=True)
class LossModel:
    """Loss after Gilbert (1960): a good state that loses nothing, and a bad one that loses everything.

    Args:
        share: of packets that are lost in the mean, 0 to less than 1.
        burst: mean number of packets lost in a row; None for losses that do not depend on each other, which come in
            bursts of 1 / (1 - share).

    Raises:
        ConfigError: the share is out of range, or bursts of that length cannot make it.
    """

    share: float
    burst: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(f"a share of lost packets is from 0 to less than 1, not {self.share}")
        if self.burst is not None and (self.burst < 1 or not 0 <= self._into_bad <= 1):
            raise ConfigError(f"{100 * self.share:g} % cannot be lost in bursts of {self.burst:g} packets")

    @property
    def _out_of_bad(self) -> float:
        return 1 - self.share if self.burst is None else 1 / self.burst

    @property
    def _into_bad(self) -> float:
        return self._out_of_bad * self.share / (1 - self.share)

    def fates(self, random: np.random.Generator) -> Iterator[bool]:
        """Tell of one packet after another whether it is lost."""
        lost = random.random() < self.share
        while True:
            yield bool(lost)
            lost = random.random() >= self._out_of_bad if lost else random.random() < self._into_bad

    def trace(self, packets: int, random: np.random.Generator) -> NDArray[np.bool_]:
        """Whether each of some packets is lost [packet]."""
        return np.fromiter(itertools.islice(self.fates(random), packets), bool, packets)


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a simulated network does to packets.

    Args:
        loss: which are lost.
        delay_s: that all of them take.
        jitter_s: mean of what they take on top, each for itself (exponential): this also changes their order.
        reordered: share of packets that take `reordered_s` longer than others.
        duplicated: share of packets that arrive twice.
        outages: times from and to which nothing gets through, in seconds.
    """

    loss: LossModel = LossModel(0.0)
    delay_s: float = 0.0
    jitter_s: float = 0.0
    reordered: float = 0.0
    reordered_s: float = 0.04
    duplicated: float = 0.0
    outages: Sequence[tuple[float, float]] = ()


class Channel:
    """One direction of a simulated network.

    Args:
        network: what it does.
        seed: of all that is random.
    """

    def __init__(self, network: Network, seed: int = 0) -> None:
        self.network = network
        self._random = np.random.default_rng(seed)
        self._fates = network.loss.fates(self._random)
        self._under_way: list[tuple[float, int, bytes]] = []
        self._sent = 0

    def send(self, datagram: bytes, now: float) -> None:
        """Take a packet at a time in seconds."""
        if next(self._fates) or any(start <= now < end for start, end in self.network.outages):
            return
        for _ in range(2 if self._random.random() < self.network.duplicated else 1):
            self._sent += 1
            heapq.heappush(self._under_way, (now + self._travelling_s(), self._sent, datagram))

    def receive(self, now: float) -> Iterator[tuple[float, bytes]]:
        """Yield what has arrived by now, with the time when it did so."""
        while self._under_way and self._under_way[0][0] <= now:
            arrived, _, datagram = heapq.heappop(self._under_way)
            yield arrived, datagram

    def _travelling_s(self) -> float:
        network = self.network
        late = network.reordered_s if self._random.random() < network.reordered else 0.0
        return network.delay_s + late + (self._random.exponential(network.jitter_s) if network.jitter_s else 0.0)
