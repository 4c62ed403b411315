"""Items -> codes: short sounds in batches, long ones block by block, so that memory is bounded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from vqcodec import Codec, audio, pipeline
from vqcodec.audio import Waveform
from vqcodec.errors import AudioError, ConfigError, ModelMismatch, VqcodecError
from vqcodec.stream import StreamEncoder

from .containers import Stretch, TableReader
from .items import Item
from .plan import Settings

LONG_S = 30.0
"""Sounds that are longer are encoded by themselves."""
POOL_S = 600.0
"""Seconds of audio of short sounds that are encoded together."""
TOLERANCE_S = 0.1
"""What may be missing at the end of a stretch: manifests round."""

_BLOCK_SAMPLES = 1 << 18
_MOST_CODES = 1 << 16


@dataclass(frozen=True)
class Tokens:
    """The codes of an item."""

    number: int
    """Of the item in the corpus."""
    item: Item
    codes: NDArray[np.uint16]
    """[channel, stage, frame]"""
    num_samples: int
    """Samples per channel at the codec's rate."""
    source_sample_rate: int
    """Of the sound that was read, in Hz."""


@dataclass(frozen=True)
class Failure:
    """An item that has no codes, and why."""

    number: int
    item: Item
    reason: str


@dataclass
class _Pool:
    """Short sounds that wait to be encoded together."""

    items: list[tuple[int, Item, int]] = field(default_factory=list)
    """Numbers, items and sample rates."""
    waveforms: list[Waveform] = field(default_factory=list)
    """Their sounds [channel, sample] at the codec's rate."""
    audio_s: float = 0.0


class TokenEncoder:
    """Encodes the items of a part.

    Args:
        codec: the model.
        settings: of the job.

    Raises:
        ConfigError: the model has more codes than 16 bits hold.
        ModelMismatch: the job was planned with another model, or another precision.
    """

    def __init__(self, codec: Codec, settings: Settings) -> None:
        if codec.codebook_size > _MOST_CODES:
            raise ConfigError(f"codes of {codec.name} do not fit into 16 bits")
        if (codec.fingerprint, codec.precision) != (settings.fingerprint, settings.precision):
            raise ModelMismatch(f"{codec.name} in {codec.precision} is not what the job was planned with")
        self.codec = codec
        self.settings = settings
        self._tables = TableReader()

    def encode(self, items: Iterable[tuple[int, Item]]) -> Iterator[Tokens | Failure]:
        """Encode items, given with their numbers; what comes out is not in their order."""
        pool = _Pool()
        for number, item in items:
            try:
                if item.fault is not None:
                    raise AudioError(item.fault)
                with self._opened(item) as sound:
                    if _length_s(sound, item) > LONG_S:
                        yield self._alone(number, item, sound)
                        continue
                    waveform = np.concatenate(list(_blocks(sound, item)), axis=1)
                    pool.waveforms.append(audio.resample(waveform, sound.sample_rate, self.codec.sample_rate))
                    pool.items.append((number, item, sound.sample_rate))
                    pool.audio_s += _length_s(sound, item)
            except (VqcodecError, OSError) as error:
                yield Failure(number, item, str(error))
            if pool.audio_s >= POOL_S:
                yield from self._together(pool)
                pool = _Pool()
        yield from self._together(pool)

    @contextlib.contextmanager
    def _opened(self, item: Item) -> Iterator[audio.Reader]:
        with contextlib.ExitStack() as stack:
            place = item.place or (0, 0)
            if item.kind == "tar":
                source: audio.Place = stack.enter_context(cast(BinaryIO, Stretch(item.source, *place)))
            elif item.kind == "parquet":
                source = self._tables.sound(item.source, *place)
            else:
                source = item.source
            yield stack.enter_context(pipeline.open_sound(source))

    def _alone(self, number: int, item: Item, sound: audio.Reader) -> Tokens:
        count = pipeline.Counter(sound.sample_rate)
        blocks = count.all_of(_blocks(sound, item))
        channels = 1 if item.channel is not None else sound.channels
        encoder = StreamEncoder(self.codec.model, channels, stages=self.settings.stages, effort=self.settings.effort)
        parts = [codes.astype(np.uint16) for codes in pipeline.encode(blocks, sound.sample_rate, encoder)]
        samples = audio.resampled_length(count.samples, sound.sample_rate, self.codec.sample_rate)
        return Tokens(number, item, np.concatenate(parts, axis=-1), samples, sound.sample_rate)

    def _together(self, pool: _Pool) -> Iterator[Tokens]:
        """Encode short sounds; each channel is an item of the batch."""
        rows = [channel for waveform in pool.waveforms for channel in waveform]
        if not rows:
            return
        batch = self.codec.encode_batch(rows, stages=self.settings.stages, effort=self.settings.effort)
        codes, frames = batch.codes.numpy().astype(np.uint16), batch.num_frames.tolist()
        row = 0
        for waveform, (number, item, source_rate) in zip(pool.waveforms, pool.items, strict=True):
            found = codes[row : row + len(waveform), 0, :, : frames[row]]
            yield Tokens(number, item, found, waveform.shape[1], source_rate)
            row += len(waveform)


def _length_s(sound: audio.Reader, item: Item) -> float:
    """Seconds of audio to be read of an item."""
    left_s = sound.duration_s - (item.start_s or 0.0)
    return left_s if item.start_s is None or item.duration_s is None else min(left_s, item.duration_s)


def _blocks(sound: audio.Reader, item: Item) -> Iterator[Waveform]:
    """Read an item [channel, sample] in parts.

    Raises:
        AudioError: the stretch or the channel is not in the sound, or the sound is damaged or cut short.
    """
    if item.channel is not None and item.channel >= sound.channels:
        raise AudioError(f"{sound.name} has {sound.channels} channels; there is no channel {item.channel}")
    chosen = slice(None) if item.channel is None else slice(item.channel, item.channel + 1)
    for block in _whole(sound) if item.start_s is None else _stretch(sound, item.start_s, item.duration_s):
        yield block[chosen]


def _whole(sound: audio.Reader) -> Iterator[Waveform]:
    yield from sound.blocks(_BLOCK_SAMPLES)
    pipeline.check_whole(sound, strict=True)


def _stretch(sound: audio.Reader, start_s: float, duration_s: float | None) -> Iterator[Waveform]:
    start, rate = round(start_s * sound.sample_rate), sound.sample_rate
    left = sound.num_samples - start if duration_s is None else round(duration_s * rate)
    if left <= 0 or start + left > sound.num_samples + TOLERANCE_S * rate:
        raise AudioError(f"{sound.name} lasts {sound.duration_s:.3f} s; {start_s} s and {duration_s} s on is not in it")
    while left > 0:
        block = sound.read(start, min(left, _BLOCK_SAMPLES))
        if not block.shape[1]:
            break
        yield block
        start, left = start + block.shape[1], left - block.shape[1]
    if left > TOLERANCE_S * rate:
        raise AudioError(f"{sound.name} is cut short: {left / rate:.3f} s are missing")
