"""A live stream: one frame at a time, encoded and at once decoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.codec import Codec

from .measurement import Figure, figure
from .subject import Subject
from .timing import Place, Task, interleaved

LONGEST_S = 10.0
"""Seconds of the signal that are streamed."""

PERCENTILES = (50, 99)


class Call(NamedTuple):
    """One stream, there and back."""

    encode_s: list[float]
    """Seconds for each block."""
    decode_s: list[float]
    codes: NDArray[np.int64]
    """[1, stage, frame]"""
    waveform: NDArray[np.float32]
    """[1, sample], later than the input by the delay, which is dropped at the start."""


def measure(subject: Subject, progress: Callable[[float], None]) -> list[Figure]:
    """Figures of the group "streaming": milliseconds for a block, in most cases (p50) and in bad ones (p99)."""
    codec, bitrate = subject.codec, subject.bitrate
    waveform = subject.waveform[: round(LONGEST_S * codec.sample_rate)]
    tasks = {
        place: Task(place, partial(_percentiles, subject.codecs[place.device], waveform, bitrate.stages, place))
        for place in subject.places
    }
    samples = interleaved(list(tasks.values()), subject.settings.repeat, progress)
    block_ms = 1000 / codec.frame_rate
    found = [
        figure("streaming", "block", [block_ms], "ms", "neither"),
        figure("streaming", "algorithmic latency", [1000 * codec.latency], "ms", "lower"),
    ]
    for place, task in tasks.items():
        for name, seconds in samples[task].items():
            found.append(figure("streaming", name, [1000 * s for s in seconds], "ms", "lower", bitrate, place))
    return found


def call(codec: Codec, waveform: NDArray[np.float32], stages: int, place: Place) -> Call:
    """Push the whole blocks of a waveform [sample] through an encoder and a decoder, one by one."""
    encoder, decoder = codec.encoder(stages=stages, block_frames=1), codec.decoder(block_frames=1)
    encode_s, decode_s, codes, parts = [], [], [], []
    hop = codec.hop_length
    for start in range(0, len(waveform) - hop + 1, hop):
        begin = place.now()
        code = encoder.push(waveform[None, start : start + hop])
        middle = place.now()
        part = decoder.push(code)
        decode_s.append(place.now() - middle)
        encode_s.append(middle - begin)
        codes.append(code)
        parts.append(part)
    return Call(encode_s, decode_s, np.concatenate(codes, axis=-1), np.concatenate(parts, axis=-1))


def _percentiles(codec: Codec, waveform: NDArray[np.float32], stages: int, place: Place) -> dict[str, float]:
    done = call(codec, waveform, stages, place)
    spans = {"encode": done.encode_s, "decode": done.decode_s}
    return {
        f"{direction}, p{percentile}": float(np.percentile(seconds, percentile))
        for direction, seconds in spans.items()
        for percentile in PERCENTILES
    }
