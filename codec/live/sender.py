"""Waveform -> RTP packets: encoder, silence, and a bitrate that may change at any packet."""

from __future__ import annotations

import numpy as np

from ..audio.waveform import Waveform, checked
from ..codec import Codec
from ..errors import ConfigError
from ..rates.plan import DEFAULT_BITRATE_BPS
from .activity import ActivityDetector
from .packets import NOISE_STAGES, Packetizer
from .payload import MAX_FRAMES, NO_REDUNDANCY, REDUNDANCIES, PayloadFormat, Redundancy


class Sender:
    """Sends one channel of speech.

    Args:
        codec: with a model whose codes have at least 8 bits.
        target_bps: bits a second of the frames' codes, without redundancy and headers; may be set at any time.
        frames: in a packet, 1 to 6.
        redundancy: one of `payload.REDUNDANCIES`; may be set at any time through `packetizer`, as may `frames`.
        silence: whether to stop sending while nobody speaks.
        effort: of the search for codes.
        ssrc: the stream's number; a random one if None.

    Raises:
        ConfigError: a setting is out of range, or the model cannot be used.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        target_bps: float = DEFAULT_BITRATE_BPS,
        frames: int = 1,
        redundancy: Redundancy = NO_REDUNDANCY,
        silence: bool = True,
        effort: int = 1,
        ssrc: int | None = None,
    ) -> None:
        config = codec.config
        config.check_bitrate(target_bps)
        check_packing(frames, redundancy)
        self.target_bps = target_bps
        self.packetizer = Packetizer(
            format_of(codec), config.hop_length, config.frame_rate, frames=frames, redundancy=redundancy, ssrc=ssrc
        )
        self._stage_bps = config.bitrate_of(1)
        self._encoder = codec.encoder(stages=1, effort=effort, block_frames=1)
        self._activity = ActivityDetector(config.hop_length / config.sample_rate) if silence else None
        self._hop = config.hop_length
        self._most_stages = config.num_stages
        self._stages = 1
        self._owed = 0.0
        self._waiting: Waveform = np.zeros((1, 0), np.float32)

    def push(self, waveform: Waveform) -> list[bytes]:
        """Take any number of samples [1, sample] at the codec's rate, and return the packets that they complete.

        Raises:
            AudioError: the waveform has another shape or type, or a sample is NaN or infinite.
        """
        waiting = np.concatenate([self._waiting, checked(waveform, 1)], axis=1)
        whole = waiting.shape[1] // self._hop * self._hop
        self._waiting = waiting[:, whole:]
        datagrams = []
        for start in range(0, whole, self._hop):
            datagrams += self._push_frame(waiting[:, start : start + self._hop])
        return datagrams

    def flush(self) -> list[bytes]:
        """Return the frames that wait for their packet to fill."""
        return self.packetizer.flush()

    def _push_frame(self, block: Waveform) -> list[bytes]:
        speech = self._activity is None or self._activity.push(block)
        if not speech:
            stages = min(NOISE_STAGES, self._most_stages)
        elif self.packetizer.begins_packet:
            stages = self._next_stages()
        else:
            stages = self._stages
        self._stages = self._encoder.stages = stages
        return self.packetizer.push(self._encoder.push(block)[0, :, 0], speech)

    def _next_stages(self) -> int:
        """Stages of the next packet, such that in the mean there are as many as the bitrate allows."""
        wanted = self.target_bps / self._stage_bps + self._owed
        stages = min(max(1, round(wanted)), self._most_stages)
        self._owed = min(max(wanted - stages, -1.0), 1.0)
        return stages


def format_of(codec: Codec) -> PayloadFormat:
    """The payload format that a model speaks.

    Raises:
        ConfigError: the model has no codes, codes of too few bits, or stages that do not decode one by one.
    """
    config = codec.config
    config.require_codes()
    if config.stage_choices[0] != 1 or len(config.stage_choices) != config.num_stages:
        raise ConfigError(f"{config.name} ({config.bottleneck}) does not decode from its first stages alone")
    return PayloadFormat(config.num_stages, config.codebook_size)


def check_packing(frames: int, redundancy: Redundancy) -> None:
    """Refuse a number of frames, or a redundancy, that the format does not have."""
    if not 1 <= frames <= MAX_FRAMES:
        raise ConfigError(f"a packet has 1 to {MAX_FRAMES} frames, not {frames}")
    if redundancy not in REDUNDANCIES:
        raise ConfigError(f"redundancy is one of {', '.join(map(str, REDUNDANCIES))}, not {redundancy}")
