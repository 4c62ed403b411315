"""The jitter buffer: frames that arrive as the network likes -> one frame whenever the loudspeaker asks for it.

How late a frame may come is decided by how late the last packets came. Playing goes on one frame a call; where it
should be later, a frame is put in, and where it could be earlier, one is left out, if possible where nobody speaks. A
difference between the clocks of both sides is followed in the same way. Needs no torch, and is told the time.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass, field

from .payload import MAX_FRAMES, Codes, FramePacket

MOST_DELAY_S = 0.5
"""The longest that a frame is kept for later ones."""
_WINDOW = 500
"""Packets that the delay is learnt from."""
_MAY_BE_LATE = 0.01
"""Share of them that may come too late."""
_SPARE_S = 0.002
_SHRINK_IN_SILENCE = 1.5
_SHRINK_IN_SPEECH = 4.0
"""Frames by which playing is later than it need be before one is left out."""
_REST_FRAMES = 12
"""Frames between two that are left out while somebody speaks."""
_STRAY_S = 0.5
"""If for so long all packets are from quite another time, the stream begins anew."""


class Kind(enum.Enum):
    """What there is to be played."""

    SPEECH = "speech"
    """A frame as it was sent."""
    REDUNDANT = "redundant"
    """A frame of which only what rode along with a later packet arrived."""
    NOISE = "noise"
    """A description of the background."""
    SILENCE = "silence"
    """Nobody speaks: the background goes on."""
    LOST = "lost"
    """A frame is missing."""


@dataclass(frozen=True, eq=False)
class Slot:
    """A frame's time in the loudspeaker."""

    kind: Kind
    codes: Codes | None = None
    """Of the frame [stage]; None if there is none."""
    following: Codes | None = None
    """Of the next frame [stage], if this one is lost and that one is there already."""


@dataclass
class JitterCounts:
    """What became of frames."""

    played: int = 0
    """Frames as they were sent."""
    recovered: int = 0
    """Frames of which redundant codes were played."""
    lost: int = 0
    """Frames that were missing."""
    late: int = 0
    """Frames that came after their time; they count as lost as well."""
    strayed: int = 0
    """Packets dropped since they came from quite another time."""
    put_in: int = 0
    """Times that a frame was put in, to play later."""
    left_out: int = 0
    """Times that frames were left out, to play earlier."""


@dataclass
class JitterBuffer:
    """Keeps frames, numbered from anywhere, until their time.

    Args:
        frame_s: seconds a frame.
        most_s: the longest that a frame is kept for later ones, in seconds.
        fixed_s: seconds that every frame is kept after the first packet's example, instead of a delay that adapts.
    """

    frame_s: float
    most_s: float = MOST_DELAY_S
    fixed_s: float | None = None
    counts: JitterCounts = field(default_factory=JitterCounts)

    def __post_init__(self) -> None:
        self._most_frames = math.ceil(self.most_s / self.frame_s) + MAX_FRAMES
        self._late_packets = deque[float](maxlen=_WINDOW)
        self._recent_losses = deque[bool](maxlen=_WINDOW)
        self.restart()

    def restart(self) -> None:
        """Forget the stream; the next packet begins another."""
        self._frames: dict[int, tuple[Kind, Codes]] = {}
        self._next: int | None = None
        self._silent = True
        self._wanted = 0.0
        self._strays_since: float | None = None
        self._rest = 0
        self._redundancy_s = 0.0
        self._late_packets.clear()
        self._recent_losses.clear()

    @property
    def frames(self) -> int:
        """Frames that wait."""
        return len(self._frames)

    @property
    def delay_s(self) -> float:
        """How long the frame that came fastest waits for its time, by the present plan."""
        return self._wanted - min(self._late_packets, default=self._wanted)

    def put(self, first: int, packet: FramePacket, now: float) -> None:
        """Take a packet.

        Args:
            first: number of its first frame.
            packet: what it holds.
            now: time in seconds.
        """
        if self._next is None:
            self._begin(first, now)
        assert self._next is not None
        if not self._next - self._most_frames <= first < self._next + 2 * self._most_frames:
            self._stray(first, packet, now)
            return
        self._strays_since = None
        late = now - first * self.frame_s
        if late <= min(self._late_packets, default=late) + self.most_s:  # what is later cannot be waited for
            self._late_packets.append(late)
        self._redundancy_s = packet.back * self.frame_s
        if self.fixed_s is None:
            self._plan()
        kind = Kind.NOISE if packet.noise else Kind.SPEECH
        for place in range(packet.frames):
            self._keep(first + place, kind, packet.codes[:, place])
        if packet.redundant is not None:
            for place in range(packet.frames):
                self._keep(first - packet.back + place, Kind.REDUNDANT, packet.redundant[:, place])

    def pull(self, now: float) -> Slot:
        """Return what is to be played in the next `frame_s` seconds."""
        if self._next is None:
            return Slot(Kind.SILENCE)
        behind = (now - self._next * self.frame_s - self._wanted) / self.frame_s
        if behind < 0 and not self._is_full():
            self.counts.put_in += 1
            return self._missing()
        if behind > self._most_frames:
            self._skip_to(self._next + int(behind))
        elif behind >= self._may_shrink_from():
            self._skip_to(self._next + 1)
            self._rest = _REST_FRAMES
        self._rest = max(0, self._rest - 1)
        return self._play()

    def _begin(self, first: int, now: float) -> None:
        self._next = first
        self._wanted = now - first * self.frame_s + (_SPARE_S if self.fixed_s is None else self.fixed_s)

    def _stray(self, first: int, packet: FramePacket, now: float) -> None:
        """Drop a packet from quite another time, or begin anew if that is the time by now."""
        self.counts.strayed += 1
        if self._strays_since is None:
            self._strays_since = now
        elif now - self._strays_since >= _STRAY_S:
            self.restart()
            self.put(first, packet, now)

    def _plan(self) -> None:
        """Decide how late to play: nearly all of the last packets are to be in time, and redundancy if it is of use."""
        late = sorted(self._late_packets)
        needed = late[-1 - int(_MAY_BE_LATE * len(late))] + _SPARE_S
        if sum(self._recent_losses) > _MAY_BE_LATE * len(self._recent_losses):
            needed += self._redundancy_s
        self._wanted = min(needed, late[0] + self.most_s)

    def _keep(self, number: int, kind: Kind, codes: Codes) -> None:
        assert self._next is not None
        if number < self._next:
            self.counts.late += kind is not Kind.REDUNDANT
        elif kind is not Kind.REDUNDANT or number not in self._frames:
            self._frames[number] = kind, codes

    def _is_full(self) -> bool:
        assert self._next is not None
        return max(self._frames, default=self._next) - self._next >= self._most_frames

    def _may_shrink_from(self) -> float:
        if self._silent:
            return _SHRINK_IN_SILENCE
        return math.inf if self._rest else _SHRINK_IN_SPEECH

    def _skip_to(self, number: int) -> None:
        for skipped in sorted(one for one in self._frames if one < number):
            kind, _ = self._frames.pop(skipped)
            self._silent = kind is Kind.NOISE
        self.counts.left_out += 1
        self._next = number

    def _play(self) -> Slot:
        assert self._next is not None
        found = self._frames.pop(self._next, None)
        self._next += 1
        if found is None:
            slot = self._missing()
            if slot.kind is Kind.LOST:
                self.counts.lost += 1
                self._recent_losses.append(True)
            return slot
        kind, codes = found
        self._silent = kind is Kind.NOISE
        if kind is Kind.REDUNDANT:
            self.counts.recovered += 1
        else:
            self.counts.played += 1
        self._recent_losses.append(kind is Kind.REDUNDANT)
        return Slot(kind, codes)

    def _missing(self) -> Slot:
        """What is played where there is no frame."""
        if self._silent:
            return Slot(Kind.SILENCE)
        assert self._next is not None
        following = self._frames.get(self._next)
        return Slot(Kind.LOST, following=None if following is None else following[1])
