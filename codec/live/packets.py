"""Codes of frames, one after another -> RTP packets, with redundancy and silence. Needs no torch."""

from __future__ import annotations

import secrets
from collections import deque

import numpy as np

from .payload import MAX_FRAMES, NO_REDUNDANCY, REDUNDANCIES, Codes, FramePacket, PayloadFormat, Redundancy
from .rtp import SEQUENCE_BITS, TIMESTAMP_BITS, RtpHeader

NOISE_INTERVAL_S = 0.4
"""How often the background is described while nobody speaks."""
NOISE_STAGES = 3
"""Codes of a frame that describes it."""
_FIRST_NOISE_PACKETS = 2
"""Silence begins with so many descriptions in a row: it must be known even if one of them is lost."""

_LONGEST = max(one.distance for one in REDUNDANCIES)


class Packetizer:
    """Puts frames into packets.

    Args:
        format: of the payloads.
        hop_length: samples of a frame at the clock rate.
        frame_rate: frames a second.
        frames: in a packet, 1 to 6; may be set at any time.
        redundancy: one of `REDUNDANCIES`; may be set at any time.
        ssrc: the stream's number; a random one if None. Sequence and timestamp begin at random as well (RFC 3550).
    """

    def __init__(
        self,
        format: PayloadFormat,
        hop_length: int,
        frame_rate: float,
        *,
        frames: int = 1,
        redundancy: Redundancy = NO_REDUNDANCY,
        ssrc: int | None = None,
    ) -> None:
        self.format, self.hop_length = format, hop_length
        self.frames, self.redundancy = frames, redundancy
        self.ssrc = secrets.randbits(32) if ssrc is None else ssrc
        self._noise_frames = max(1, round(NOISE_INTERVAL_S * frame_rate))
        self._sequence = secrets.randbits(SEQUENCE_BITS - 1)  # RFC 3711: the first wrap is far away
        self._timestamp = secrets.randbits(TIMESTAMP_BITS)
        self._pending: list[Codes] = []
        self._sent: deque[Codes | None] = deque(maxlen=(_LONGEST + 1) * MAX_FRAMES)
        self._silent_frames: int | None = None
        self._after_silence = True

    @property
    def sends_next(self) -> bool:
        """Whether the next frame is sent even if nobody speaks; if not, its codes do not matter."""
        silent = 0 if self._silent_frames is None else self._silent_frames
        return silent < _FIRST_NOISE_PACKETS or silent % self._noise_frames == 0

    @property
    def begins_packet(self) -> bool:
        """Whether the next frame is the first of a packet, so that its number of stages is free."""
        return not self._pending

    def push(self, codes: Codes, speech: bool = True) -> list[bytes]:
        """Take the codes of a frame [stage], and return the packets that it completes.

        Args:
            codes: of as many stages as the other frames of its packet.
            speech: whether somebody speaks in it.
        """
        if speech:
            return self._push_speech(codes)
        datagrams = self.flush()
        if self.sends_next:
            datagrams.append(self._datagram(FramePacket(codes[:, None], noise=True), marker=False))
        self._silent_frames = 1 if self._silent_frames is None else self._silent_frames + 1
        self._advance(None)
        return datagrams

    def flush(self) -> list[bytes]:
        """Return what waits for its packet to fill, as a packet of fewer frames."""
        if not self._pending:
            return []
        codes = np.stack(self._pending, axis=1)
        self._pending = []
        frames = codes.shape[1]
        redundant = self._redundant(frames)
        packet = FramePacket(codes, redundant, NO_REDUNDANCY if redundant is None else self.redundancy)
        marker, self._after_silence = self._after_silence, False
        return [self._datagram(packet, marker, frames_back=frames)]

    def _push_speech(self, codes: Codes) -> list[bytes]:
        if self._silent_frames is not None:
            self._silent_frames, self._after_silence = None, True
        self._pending.append(codes)
        self._advance(codes)
        return self.flush() if len(self._pending) >= self.frames else []

    def _advance(self, codes: Codes | None) -> None:
        self._timestamp += self.hop_length
        self._sent.append(codes)

    def _redundant(self, frames: int) -> Codes | None:
        """First codes of the frames `distance` packets of this size back; None if one of them was not sent."""
        distance, stages = self.redundancy
        end = len(self._sent) - distance * frames
        some = [codes for codes in list(self._sent)[max(0, end - frames) : max(0, end)] if codes is not None]
        if not distance or len(some) < frames or any(len(codes) < stages for codes in some):
            return None
        return np.stack([codes[:stages] for codes in some], axis=1)

    def _datagram(self, packet: FramePacket, marker: bool, frames_back: int = 0) -> bytes:
        payload_type, payload = self.format.pack(packet)
        timestamp = (self._timestamp - frames_back * self.hop_length) % (1 << TIMESTAMP_BITS)
        header = RtpHeader(payload_type, marker, self._sequence, timestamp, self.ssrc)
        self._sequence = (self._sequence + 1) % (1 << SEQUENCE_BITS)
        return header.to_bytes() + payload
