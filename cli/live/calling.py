"""A call from its settings to its end, for both commands."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .display import display, summarise

if TYPE_CHECKING:
    from collections.abc import Callable

    from vqcodec import Codec
    from vqcodec.live.calls.call import Call
    from vqcodec.live.calls.network import Line

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a side speaks and listens."""

    source: str
    sink: str
    bitrate_kbps: float
    frames: int
    redundancy: str
    always: bool
    force: bool
    quiet: bool


def call_of(codec: Codec, manner: Manner) -> Call:
    """Set up one side of a call.

    Raises:
        ConfigError: a setting is out of range.
    """
    from vqcodec.live.calls.call import Call
    from vqcodec.live.payload import NO_REDUNDANCY, parse_redundancy
    from vqcodec.live.sender import Sender

    adapts = manner.redundancy == AUTO
    redundancy = NO_REDUNDANCY if adapts else parse_redundancy(manner.redundancy)
    sender = Sender(
        codec,
        target_bps=1000 * manner.bitrate_kbps,
        frames=manner.frames,
        redundancy=redundancy,
        silence=not manner.always,
    )
    return Call(codec, sender, adapts)


def hold(codec: Codec, call: Call, manner: Manner, connect: Callable[[], Line]) -> None:
    """Open the sounds, connect, talk, and say how it was."""
    from vqcodec.live.calls.network import converse
    from vqcodec.live.calls.sounds import open_sink, open_source

    with ExitStack() as stack:
        source = stack.enter_context(open_source(manner.source, codec.sample_rate, codec.hop_length))
        sink = stack.enter_context(open_sink(manner.sink, codec.sample_rate, codec.hop_length, manner.force))
        warm_up(codec)
        line = connect()
        start = time.monotonic()
        with display(manner.quiet) as shown:
            why = converse(call, line, source, sink, shown)
    if not manner.quiet:
        summarise(call, line, time.monotonic() - start, why)


def warm_up(codec: Codec) -> None:
    """Let the networks run once: their first frames are slow."""
    import numpy as np

    from vqcodec.live.concealment import FrameDecoder
    from vqcodec.live.jitter import Kind, Slot

    codec.encoder(stages=1, block_frames=1).push(np.zeros((1, 10 * codec.hop_length), np.float32))
    decoder = FrameDecoder(codec)
    for _ in range(10):
        decoder.push(Slot(Kind.SILENCE))
