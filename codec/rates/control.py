"""Bitrate that varies: which frame gets how many stages, so that the file comes out as large as it should be.

All frames of a window of `WINDOW_S` pay the same price for a bit. The price is sought with which the window takes the
bits that are left for it, everything counted that a file has: header, packets and all. What a window takes more or less
than that is made good in the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..bitstream import END_BYTES, HEADER_BYTES, PACKET_HEAD_BYTES, Packet
from ..header import Header
from ..packets import packet_frames, regrouped, spare_frames
from ..payloads.codings import Codes, Coding
from ..payloads.plain import ABSENT
from .candidates import Candidates
from .target import Target

WINDOW_S = 60.0
"""Seconds of one channel whose bits are shared out together, and that encoding therefore holds in memory."""

_TRIES = 6
"""Times that a window is coded at most, to meet its bits."""
_ALLOWANCE = 0.015
"""Share of its bits that a window may leave. The middle is aimed at, since what is too large has to be coded again."""
_ALLOWANCE_LONG = 0.03
"""Likewise where coding takes long. The next window makes it good."""
_PROBED = 6
"""One packet of so many tells what the others will take."""
_LONG = 4
"""Packets from which on that is worth while."""
_LEAST_SHARE = 0.5
"""Share of its own bits that a window gets at least, even if the header took them: no sound is lost for being short."""
_ENOUGH = 20
"""Codes of a stage from which on their mean is worth something."""
_PRICES = (1e-8, 1.0)
_SEARCH_STEPS = 40


_Coded: TypeAlias = list[tuple[Packet, Codes]]


class RateControl:
    """Candidates -> packets that meet a target.

    Args:
        header: of the file.
        coding: of its payloads.
        target: what to meet.
        delay: samples by which the decoder's output lags behind the encoder's input, which take frames but no time.
    """

    def __init__(self, header: Header, coding: Coding, target: Target, delay: int) -> None:
        self._header, self._coding, self._target = header, coding, target
        self._packet_frames = packet_frames(header)
        whole_packets = max(1, round(WINDOW_S / header.channels * header.frame_rate / self._packet_frames))
        self._window_frames = whole_packets * self._packet_frames
        self._bits = header.bits_per_code * np.arange(header.stages + 1.0)
        self._scale = 1.0  # bits that codes really take, for each that was expected
        self._knows_stages = False
        self._frames_before_sound = delay / header.hop_length
        self._frames = 0
        self._spent_bytes = HEADER_BYTES + END_BYTES

    def packets(self, parts: Iterable[Candidates], duration_s: Callable[[], float]) -> Iterator[tuple[Packet, Codes]]:
        """Choose and code; `duration_s` is asked for once all parts were taken.

        Args:
            parts: of the sound, in their order, of any length.
            duration_s: of the whole sound.

        Yields:
            Packets and the codes in them [channel, stage, frame], `ABSENT` where frames have fewer.
        """
        held: list[Candidates] = []
        for part in parts:
            held.append(part)
            while sum(candidates.frames for candidates in held) > self._window_frames + spare_frames(self._header):
                whole = Candidates.joined(held)
                yield from self._window(whole.part(slice(self._window_frames)), None)
                held = [whole.part(slice(self._window_frames, None))]
        if held and (rest := Candidates.joined(held)).frames:
            yield from self._window(rest, duration_s())

    def _window(self, window: Candidates, duration_s: float | None) -> _Coded:
        """Code a window; the duration of the whole sound is known with the last."""
        self._frames += window.frames
        is_last = duration_s is not None
        if duration_s is None:
            duration_s = (self._frames - self._frames_before_sound) / self._header.frame_rate
        price = self._target.price
        coded = self._fitted(window, duration_s, is_last) if price is None else self._coded(window, price)
        self._spent_bytes += _bytes_of(coded)
        return coded

    def _fitted(self, window: Candidates, duration_s: float, is_last: bool) -> _Coded:
        """Code a window so that the file has its bitrate at `duration_s`, as nearly as a few tries allow.

        The last window takes no more than its bits; what another takes too much, the next will lack.
        """
        assert self._target.bitrate_bps is not None
        bytes_per_s = self._target.bitrate_bps * self._header.channels / 8
        least = _LEAST_SHARE * bytes_per_s * window.frames / self._header.frame_rate + self._head_bytes(window)
        wanted = max(least, bytes_per_s * duration_s - self._spent_bytes)
        is_long = window.frames > _LONG * self._packet_frames
        if is_long and not self._knows_stages:
            self._probe(window, wanted)
        allowance = _ALLOWANCE_LONG if is_long else _ALLOWANCE
        most = wanted if is_last else wanted * (1 + allowance)
        best: _Coded = []
        too_low, too_high = _PRICES
        for _ in range(_TRIES):
            price = self._price_of(window, wanted * (1 - allowance / 2))
            if not too_low <= price <= too_high:  # what codes take depends on the others: half way is safe
                price = math.sqrt(too_low * too_high)
            coded = self._coded(window, price)
            size = _bytes_of(coded)
            too_low, too_high = (price, too_high) if size > wanted else (too_low, price)
            if not best or _is_nearer(size, _bytes_of(best), wanted):
                best = coded
            if wanted * (1 - allowance) <= size <= most or (size <= wanted and price == _PRICES[0]):
                break
        return best

    def _probe(self, window: Candidates, wanted: float) -> None:
        """Code every `_PROBED`th packet of a window, to learn what codes take before all of them are coded."""
        size = self._packet_frames
        starts = range(0, window.frames, _PROBED * size)
        some = Candidates.joined([window.part(slice(start, start + size)) for start in starts])
        for _ in range(2):
            self._coded(some, self._price_of(window, wanted))

    def _coded(self, window: Candidates, price: float) -> _Coded:
        """Code a window at a price, and learn what codes take."""
        counts = self._counts(window, price)
        codes = window.chosen(counts)
        parts = list(regrouped([codes], self._header))
        payloads = self._coding.encode(parts)
        if not self._knows_stages and parts:
            self._learn_stages(parts[0])
        if expected := float(self._bits[counts].sum()):
            self._scale = 8 * sum(map(len, payloads)) / expected
        return [(Packet(part.shape[-1], payload), part) for part, payload in zip(parts, payloads, strict=True)]

    def _learn_stages(self, codes: Codes) -> None:
        """Learn from the first packet what the code of each stage takes in the mean; rare ones take what others do."""
        costs, sent = self._coding.costs(codes)[:, 1:].sum((0, 2)), (codes != ABSENT).sum((0, 2))
        usual = float(self._header.bits_per_code)
        means = [cost / times if times >= _ENOUGH else usual for cost, times in zip(costs, sent, strict=True)]
        self._bits = np.concatenate([[0.0], np.cumsum(means)])
        self._knows_stages = True

    def _counts(self, window: Candidates, price: float) -> NDArray[np.int64]:
        counts = window.counts(price, self._bits)
        if self._target.max_bitrate_bps is not None:
            limit = self._target.max_bitrate_bps * self._header.channels
            second = max(1, round(self._header.frame_rate))
            for begin in range(0, window.frames, second):
                place = slice(begin, begin + second)
                counts[:, place] = self._limited(window.part(place), counts[:, place], price, limit)
        return counts

    def _limited(
        self, second: Candidates, counts: NDArray[np.int64], price: float, limit_bits: float
    ) -> NDArray[np.int64]:
        """Counts of a second that does not exceed its limit: at a higher price if need be."""
        allowed = limit_bits * second.frames / self._header.frame_rate / self._scale
        if self._bits[counts].sum() <= allowed:
            return counts
        return second.counts(self._lowest_price(second, allowed, price), self._bits)

    def _price_of(self, window: Candidates, wanted_bytes: float) -> float:
        """The price at which a window should take so many bytes, packet heads and all."""
        allowed = 8 * max(0.0, wanted_bytes - self._head_bytes(window)) / self._scale
        return self._lowest_price(window, allowed, _PRICES[0])

    def _head_bytes(self, window: Candidates) -> int:
        return -(-window.frames // self._packet_frames) * PACKET_HEAD_BYTES

    def _lowest_price(self, window: Candidates, allowed_bits: float, lowest: float) -> float:
        """The lowest price at which codes are expected to take no more than so many bits."""
        low, high = lowest, _PRICES[1]
        if self._bits[window.counts(low, self._bits)].sum() <= allowed_bits:
            return low
        for _ in range(_SEARCH_STEPS):
            price = math.sqrt(low * high)
            too_many = self._bits[window.counts(price, self._bits)].sum() > allowed_bits
            low, high = (price, high) if too_many else (low, price)
        return high


def _bytes_of(coded: _Coded) -> int:
    return sum(PACKET_HEAD_BYTES + len(packet.payload) for packet, _ in coded)


def _is_nearer(size: int, before: int, wanted: float) -> bool:
    """Tell whether a size is better than the best before: not too large, and else as near as can be."""
    return (size > wanted, abs(size - wanted)) < (before > wanted, abs(before - wanted))
