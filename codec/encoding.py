"""Waveforms -> packets, at a constant bitrate or at one that varies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import pipeline
from .bitstream import Header, Packet
from .coding.engine import Engine
from .packets import regrouped
from .payloads import codings
from .payloads.codings import Codes, Coding
from .payloads.context import ContextCoder
from .pipeline import Counter
from .rates.control import RateControl
from .rates.plan import Plan


def packets(
    count: Counter,
    waveforms: Iterable[NDArray[Any]],
    engine: Engine,
    header: Header,
    context: ContextCoder | None,
    plan: Plan,
    effort: int,
) -> Iterator[tuple[Packet, Codes]]:
    """Encode a sound.

    Args:
        count: counts the samples of the waveforms as they pass.
        waveforms: parts of the sound [channel, sample], in their order, at the source rate of the header.
        engine: of the model that the header names.
        header: of the file.
        context: the model's context model, if it has any.
        plan: for the bitrate.
        effort: width of the search for codes.

    Yields:
        Packets and the codes in them [channel, stage, frame], `ABSENT` where a frame has fewer stages than others.
    """
    coding, sound = codings.of_header(header, context), count.all_of(waveforms)
    if plan.target is None:
        yield from _constant(sound, engine, header, coding, effort)
    else:
        encoder = engine.candidates(header.channels, header.stages, effort)
        control = RateControl(header, coding, plan.target, engine.config.delay)
        parts = pipeline.encode(sound, header.source_sample_rate, encoder)
        yield from control.packets(parts, lambda: count.seconds)


def _constant(
    sound: Iterable[NDArray[Any]], engine: Engine, header: Header, coding: Coding, effort: int
) -> Iterator[tuple[Packet, Codes]]:
    encoder = engine.encoder(header.channels, header.stages, effort)
    parts = pipeline.encode(sound, header.source_sample_rate, encoder)
    for codes in regrouped(parts, header):
        [payload] = coding.encode([codes])
        yield Packet(codes.shape[-1], payload), codes


def joined(coded: Iterable[tuple[Packet, Codes]], header: Header) -> NDArray[np.int64]:
    """Join the codes of packets [channel, stage, frame]."""
    nothing = np.zeros((header.channels, header.stages, 0), np.int64)
    return np.concatenate([nothing, *(codes for _, codes in coded)], axis=-1)
