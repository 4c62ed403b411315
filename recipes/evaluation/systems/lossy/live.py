"""vqcodec over a network that loses packets: RTP packets, redundancy, concealment, as in a call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcodec.live.jitter import JitterBuffer, Slot
from vqcodec.live.payload import NO_REDUNDANCY, Redundancy
from vqcodec.live.receiver import Receiver
from vqcodec.live.rtp import HEADER_BYTES
from vqcodec.models import registry

from .. import rates
from ..base import Coded, System
from ..signals import Signal, checked, fitted
from ..vqcodec import codec_of, info_of, label_of
from .losses import Loss

_SOON_S = 0.001
"""Between a packet's coming and the frame that is played then."""


@dataclass(frozen=True, kw_only=True)
class LiveVqcodec(System):
    """One model of vqcodec at a constant bitrate in packets of a frame, some of which are lost.

    Counts the payloads of all packets sent, redundancy included, without headers. The receiver waits as long as the
    redundancy takes, one packet's time without any, and not longer.

    Args:
        kbps: of the frames' codes, the nearest possible.
        loss: of packets.
        redundancy: codes that travel a second time.
        model: a name in `vqcodec.models.registry.names()`, or the path of a `.safetensors` file.
    """

    kbps: float
    loss: Loss
    redundancy: Redundancy = NO_REDUNDANCY
    model: str = registry.DEFAULT

    @property
    def name(self) -> str:
        redundant = f"-red{self.redundancy}" if self.redundancy.distance else ""
        return f"live{label_of(self.model)}-{self.kbps:g}-{self.loss.slug}{redundant}"

    @property
    def codec(self) -> str:
        manner = f"redundancy {self.redundancy}" if self.redundancy.distance else "no redundancy"
        return f"vqcodec {info_of(self.model).name} live, {manner}, {self.loss}"

    @property
    def setting(self) -> str:
        return rates.text(self.kbps)

    @property
    def version(self) -> str:
        info = info_of(self.model)
        return f"{info.name} {info.fingerprint[:12]}"

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        from vqcodec.live.concealment import FrameDecoder
        from vqcodec.live.sender import Sender, format_of

        codec, config = codec_of(self.model), codec_of(self.model).config
        start = time.process_time()
        sender = Sender(codec, target_bps=1000 * self.kbps, redundancy=self.redundancy, silence=False)
        frames = config.num_frames(len(checked(waveform)))
        padded = np.pad(waveform, (0, frames * config.hop_length - len(waveform)))
        datagrams = sender.push(padded[None])
        middle = time.process_time()
        wait = max(1, self.redundancy.distance)
        jitter = JitterBuffer(1 / config.frame_rate, fixed_s=wait / config.frame_rate)
        receiver = Receiver(format_of(codec), config.hop_length, config.frame_rate, jitter)
        decoder = FrameDecoder(codec)
        played = [decoder.push(slot) for slot in _slots(receiver, datagrams, self.loss.trace(waveform, frames), wait)]
        decoded = np.concatenate(played[wait:], axis=1)[0]
        return Coded(
            waveform=fitted(decoded, config.delay, sample_rate, sample_rate, len(waveform)),
            bytes=sum(map(len, datagrams)) - HEADER_BYTES * len(datagrams),
            encode_s=middle - start,
            decode_s=time.process_time() - middle,
        )


def _slots(receiver: Receiver, datagrams: Sequence[bytes], lost: NDArray[np.bool_], wait: int) -> Iterator[Slot]:
    """What is played in every frame's time, until the last frame has been: packet by packet, each in time or lost."""
    for number in range(len(datagrams) + wait):
        now = number / receiver.frame_rate
        if number < len(datagrams) and not lost[number]:
            receiver.put(datagrams[number], now)
        yield receiver.pull(now + _SOON_S)
