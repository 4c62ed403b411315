"""Codes <-> payload bytes by a context model: what came before in the packet makes some codes likelier than others.

A payload begins with the first 2 bytes of the context model's fingerprint. Behind them are symbols, as
`range_coder` writes them, frame by frame: the count of each channel, which is the number of stages that are sent of the
frame, then the codes of stage 0 of the channels that have one, then those of stage 1, and so on. Every packet begins
without a past. docs/CONTEXT.md describes the whole, down to the numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vqcodec.models.context import frequencies
from vqcodec.models.context.integer import WIDE, Multiplier, Whole
from vqcodec.models.context.store import ContextModel
from vqcodec.models.context.store import load as load_model

from ..errors import ConfigError, CorruptFile, ModelMismatch
from .range_coder import Decoder, encode

FINGERPRINT_BYTES = 2
"""The share of the context model's fingerprint that every payload begins with."""

_ROWS_AT_ONCE = 512
"""Distributions that the encoder computes at a time: few enough for the processor's cache."""

_PACKETS_AT_ONCE = 64
_CHANNELS_AT_ONCE = 256
"""Packets, and channels of all of them, that are decoded side by side."""

Integers: TypeAlias = NDArray[np.int64]


class ContextCoder:
    """Codes of packets -> payloads, and back, bit for bit on any machine.

    Args:
        model: the context model; `load` is the usual way to get a coder.
        multiplier: makes the model's products, exactly as those in float32, which are the default; see
            `vqcodec.models.context.int8`.
    """

    def __init__(self, model: ContextModel, multiplier: Multiplier | None = None) -> None:
        self.fingerprint = model.fingerprint
        """SHA-256 of all that the payloads depend on, as 64 hexadecimal digits; a payload begins with the first 4."""
        self.num_stages = model.config.num_stages
        """The most codes that a frame can have."""
        self.codebook_size = model.config.codebook_size
        """Number of values that a code can take."""
        self._first_frame = model.config.first_frame
        self._dim = model.config.latent_dim
        self._network = model.network(multiplier)
        self._vectors = self._network.vectors
        self._table = model.tensors["exponentials"].astype(np.int32)
        self._mark = bytes.fromhex(self.fingerprint)[:FINGERPRINT_BYTES]

    @classmethod
    def load(cls, path: str | os.PathLike[str], multiplier: Multiplier | None = None) -> ContextCoder | None:
        """Read the context model of a model file, and nothing else of it; None if it has none.

        Args:
            path: of the model file.
            multiplier: as in the class.

        Raises:
            CorruptFile: the file is damaged, or its context model would not compute exactly.
            ConfigError: its settings are unknown to this version.
        """
        model = load_model(path)
        return None if model is None else cls(model, multiplier)

    def costs(self, codes: NDArray[np.integer], counts: NDArray[np.integer]) -> NDArray[np.float32]:
        """Bits of each symbol of one packet: those of the count, then those of the code of each stage.

        Args:
            codes, counts: as in `encode`.

        Returns:
            [channel, 1 + stage, frame], 0 where no code is sent; close to what the payload has, but for its ends.
        """
        _, shares = self._shares(*self._checked(codes, counts))
        bits = frequencies.SHARE_BITS - np.log2(shares, where=shares > 0, out=np.full(shares.shape, 16.0))
        return bits.astype(np.float32)

    def encode(self, packets: Sequence[tuple[NDArray[np.integer], NDArray[np.integer]]]) -> list[bytes]:
        """Encode packets, each by itself.

        Args:
            packets: codes [channel, stage, frame], of the stages that `decode` is told, and counts [channel, frame],
                the number of codes that are sent of each frame, from 0 to all. What codes there are beyond the
                counts makes no difference.

        Raises:
            ValueError: codes or counts are out of range, or of the wrong shape or type.
        """
        return [self._encode(*self._checked(codes, counts)) for codes, counts in packets]

    def decode(
        self, payloads: Sequence[bytes], frames: Sequence[int], channels: int, stages: int
    ) -> list[tuple[Integers, Integers]]:
        """Decode payloads side by side, which is much faster than one by one.

        Args:
            payloads: what `encode` returned.
            frames: the number of frames of each.
            channels: of all of them.
            stages: the codes' second axis, which no count exceeds.

        Returns:
            codes int64 [channel, stage, frame], 0 beyond the frame's count, and counts int64 [channel, frame].

        Raises:
            CorruptFile: a payload is damaged.
            ModelMismatch: a payload was written with another context model.
            ConfigError: the model has fewer stages.
        """
        self._check_stages(stages)
        results: list[tuple[Integers, Integers]] = [_nothing()] * len(payloads)
        order = sorted(range(len(payloads)), key=lambda index: -frames[index])
        at_once = min(_PACKETS_AT_ONCE, max(1, _CHANNELS_AT_ONCE // channels))
        for begin in range(0, len(order), at_once):
            group = order[begin : begin + at_once]
            sizes = [frames[index] for index in group]
            for index, size in zip(group, sizes, strict=True):
                results[index] = np.zeros((channels, stages, size), np.int64), np.zeros((channels, size), np.int64)
            decoder = Decoder([self._body(payloads[index]) for index in group])
            for frame, step in enumerate(self._steps(decoder, sizes, channels, stages)):
                for index, codes, counts in zip(group, *step, strict=False):  # of those packets that are so long
                    results[index][0][..., frame], results[index][1][:, frame] = codes, counts
            decoder.finish()
        return results

    def frames(self, payload: bytes, frames: int, channels: int, stages: int) -> Iterator[tuple[Integers, Integers]]:
        """Decode one payload frame by frame: codes [channel, stage] and counts [channel] of each, as soon as asked for.

        Raises what `decode` does; damage may be found at the end only.
        """
        self._check_stages(stages)
        decoder = Decoder([self._body(payload)])
        for codes, counts in self._steps(decoder, [frames], channels, stages):
            yield codes[0], counts[0]
        decoder.finish()

    def begun(self, payload: bytes, length: int, frames: int, channels: int, stages: int) -> tuple[Integers, Integers]:
        """Decode the frames that are whole in the beginning of a payload of this length; otherwise as `decode`."""
        self._check_stages(stages)
        words = b"\0" * (length % 2) + self._body(payload)  # the last of them may lack its second half
        decoder = Decoder([words[: len(words) // 2 * 2]])
        codes, counts = [np.zeros((channels, stages, 0), np.int64)], [np.zeros((channels, 0), np.int64)]
        for step in self._steps(decoder, [frames], channels, stages):
            if decoder.starved:
                break
            codes.append(step[0][0][..., None])
            counts.append(step[1][0][..., None])
        return np.concatenate(codes, axis=-1), np.concatenate(counts, axis=-1)

    # Encoding

    def _encode(self, codes: Integers, counts: Integers) -> bytes:
        first, shares = self._shares(codes, counts)
        present = shares.transpose(2, 1, 0) > 0  # [frame, count or stage, channel]: the order of the symbols
        pairs = first.transpose(2, 1, 0)[present], shares.transpose(2, 1, 0)[present]
        return self._mark + encode(zip(*(part[::-1].tolist() for part in pairs), strict=True))

    def _shares(self, codes: Integers, counts: Integers) -> tuple[Integers, Integers]:
        """First share and number of shares of each symbol [channel, 1 + stage, frame]; none where there is none."""
        channels, stages, frames = codes.shape
        first = np.zeros((channels, stages + 1, frames), np.int64)
        shares = np.zeros_like(first)
        if not frames:
            return first, shares
        partial = self._partial_sums(codes, counts)
        x = self._network.trunk(*self._before(partial, counts)).reshape(channels * frames, -1)
        own, row_codes = counts.reshape(-1), codes.transpose(0, 2, 1).reshape(-1, stages)
        for begin in range(0, len(x), _ROWS_AT_ONCE):
            rows = np.arange(begin, min(begin + _ROWS_AT_ONCE, len(x)))
            channel, frame = np.divmod(rows, frames)
            sums = self._cumulate(self._network.count_logits(x[rows])[:, : stages + 1])
            first[channel, 0, frame], shares[channel, 0, frame] = frequencies.shares_of(sums, own[rows])
            for stage in range(stages):
                rows = rows[own[rows] > stage]
                if not len(rows):
                    break
                channel, frame = np.divmod(rows, frames)
                before = partial[channel, stage, frame]
                sums = self._cumulate(self._network.stage_logits(stage, x[rows], own[rows], before))
                place = channel, stage + 1, frame
                first[place], shares[place] = frequencies.shares_of(sums, row_codes[rows, stage])
        return first, shares

    def _partial_sums(self, codes: Integers, counts: Integers) -> Whole:
        """Sums of the first 0, 1, ... code vectors of those that are sent [channel, 1 + stage, frame, dim]."""
        channels, stages, frames = codes.shape
        sums = np.zeros((channels, stages + 1, frames, self._dim), np.float32)
        for stage in range(stages):
            sent = (counts > stage)[..., None]
            sums[:, stage + 1] = sums[:, stage] + self._vectors[stage][codes[:, stage]] * sent
        return sums.clip(-WIDE, WIDE)

    def _before(self, partial: Whole, counts: Integers) -> tuple[Whole, Integers]:
        """What the network is told of the frame before each: inputs of `ContextNetwork.trunk`."""
        ends = np.concatenate([partial[:, -1], partial[:, : 1 + _HEAD_STAGES][:, -1]], axis=-1)
        sums = np.zeros_like(ends)
        sums[:, 1:] = ends[:, :-1]
        shifted = np.full_like(counts, self._first_frame)
        shifted[:, 1:] = counts[:, :-1]
        return sums, shifted

    def _cumulate(self, logits: frequencies.Small) -> frequencies.Small:
        return frequencies.cumulate(logits, self._table)

    # Decoding

    def _steps(
        self, decoder: Decoder, frames: Sequence[int], channels: int, stages: int
    ) -> Iterator[tuple[Integers, Integers]]:
        """Codes [packet, channel, stage] and counts [packet, channel] of frame after frame, of packets that have it.

        The packets come with descending numbers of frames.
        """
        rows = len(frames) * channels
        stream = self._network.stream(rows)
        sums = np.zeros((rows, 2 * self._dim), np.float32)
        counts = np.full(rows, self._first_frame)
        lengths = np.array(frames)
        for frame in range(max(frames, default=0)):
            rows = int((lengths > frame).sum()) * channels
            x = stream.step(sums[:rows], counts[:rows])
            everything = np.arange(rows)
            counts = self._take(decoder, everything, channels, self._network.count_logits(x)[:, : stages + 1])
            codes = np.zeros((rows, stages), np.int64)
            partial = np.zeros((rows, self._dim), np.float32)
            for stage in range(min(stages, int(counts.max()))):
                if stage == _HEAD_STAGES:
                    head = partial.copy()
                active = np.flatnonzero(counts > stage)
                own, before = counts[active], partial[active].clip(-WIDE, WIDE)
                logits = self._network.stage_logits(stage, x[active], own, before)
                codes[active, stage] = found = self._take(decoder, active, channels, logits)
                partial[active] += self._vectors[stage][found]
            if counts.max() <= _HEAD_STAGES:
                head = partial
            sums = np.concatenate([partial, head], axis=1).clip(-WIDE, WIDE)
            yield codes.reshape(-1, channels, stages), counts.reshape(-1, channels)

    def _take(self, decoder: Decoder, rows: Integers, channels: int, logits: frequencies.Small) -> Integers:
        """Decode a symbol of each of these rows, the packets side by side, the channels of each in turn."""
        sums = self._cumulate(logits)
        symbols = np.zeros(len(rows), np.int64)
        for channel in range(channels):
            chosen = np.flatnonzero(rows % channels == channel) if channels > 1 else np.arange(len(rows))
            packets = rows[chosen] // channels
            symbols[chosen], first, shares = frequencies.find(sums[chosen], decoder.shares(packets))
            decoder.advance(packets, first, shares)
        return symbols

    def _body(self, payload: bytes) -> bytes:
        mark = payload[:FINGERPRINT_BYTES]
        if len(mark) < FINGERPRINT_BYTES:
            raise CorruptFile(f"a payload of {len(payload)} bytes is too short to name its context model")
        if mark != self._mark:
            raise ModelMismatch(
                f"a payload was written with the context model {mark.hex()}, and this is {self._mark.hex()};"
                " use the model file that it was encoded with"
            )
        return payload[FINGERPRINT_BYTES:]

    # Checks

    def _check_stages(self, stages: int) -> None:
        if not 1 <= stages <= self.num_stages:
            raise ConfigError(f"the context model has 1 to {self.num_stages} stages, not {stages}")

    def _checked(self, codes: NDArray[np.integer], counts: NDArray[np.integer]) -> tuple[Integers, Integers]:
        codes, counts = np.asarray(codes), np.asarray(counts)
        if codes.ndim != 3 or counts.shape != (codes.shape[0], codes.shape[2]) or not codes.shape[0]:
            raise ValueError(f"codes {list(codes.shape)} and counts {list(counts.shape)} do not fit together")
        if codes.dtype.kind not in "iu" or counts.dtype.kind not in "iu":
            raise ValueError(f"codes and counts are whole numbers, not {codes.dtype} and {counts.dtype}")
        stages = codes.shape[1]
        if not 1 <= stages <= self.num_stages:
            raise ValueError(f"codes of {stages} stages, but the context model has {self.num_stages}")
        if counts.size and (counts.min() < 0 or counts.max() > stages):
            raise ValueError(f"counts from {counts.min()} to {counts.max()}, of {stages} stages")
        sent = np.arange(stages)[:, None] < counts[:, None]
        known = np.where(sent, codes, 0).astype(np.int64)
        if known.size and (known.min() < 0 or known.max() >= self.codebook_size):
            raise ValueError(f"codes from {known.min()} to {known.max()} of {self.codebook_size} values")
        return known, counts.astype(np.int64)


_HEAD_STAGES = 2
"""Stages whose code vectors are also summed up by themselves for the network."""


def _nothing() -> tuple[Integers, Integers]:
    return np.zeros((0, 0, 0), np.int64), np.zeros((0, 0), np.int64)
