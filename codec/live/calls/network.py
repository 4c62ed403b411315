"""Calls over UDP: who is at the other end, and the clock that everything follows. The only module with a socket."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ...errors import CorruptFile, VqcodecError
from ..payload import PayloadFormat
from ..rtp import parse
from .call import Call
from .handshake import Answerer, Caller, Keys, is_answer, is_hello
from .sounds import Sink, Source

DEFAULT_PORT = 5004
"""The port that RFC 3551 gives to RTP."""
ANSWER_S = 10.0
"""How long a caller waits for an answer."""
GONE_S = 10.0
"""After so long without a packet the other side is gone: even in silence there are some."""
_RETRY_S = 0.5
_LINGER_S = 0.3
"""Time in which the last words are heard after the other side has hung up."""
_MOST_BYTES = 2048
_MOST_PENDING = 4
_MOST_LATE = 64
"""Datagrams that are still taken after their time, so that a flood of them stops nothing."""

Address = Any


class Line:
    """The way to the other side.

    Args:
        sock: that packets come from and go to.
        peer: the other side's address.
        keys: of an encrypted call; None for plain RTP.
    """

    def __init__(self, sock: socket.socket, peer: Address, keys: Keys | None) -> None:
        self._socket, self._peer, self.keys = sock, peer, keys
        self.strangers = 0
        """Datagrams dropped since they were not from the other side."""

    def send(self, datagram: bytes) -> None:
        """Send a packet; what the network refuses is lost, as if on the way."""
        with suppress(OSError):
            self._socket.sendto(datagram if self.keys is None else self.keys.sealer.seal(datagram), self._peer)

    def receive(self, until: float) -> Iterator[tuple[bytes, float]]:
        """Yield packets of the other side and when they came, until a time of `time.monotonic`."""
        for datagram, address, now in _datagrams(self._socket, until):
            try:
                yield self._opened(datagram, address), now
            except CorruptFile:
                self.strangers += 1

    def _opened(self, datagram: bytes, address: Address) -> bytes:
        if self.keys is None:
            if address != self._peer:
                raise CorruptFile("a packet from somebody else")
            return datagram
        opened = self.keys.opener.open(datagram)
        self._peer = address  # whoever has the keys may move
        return opened


def dial(sock: socket.socket, peer: Address, key: bytes | None, fingerprint: str) -> Line:
    """Call somebody.

    Args:
        sock: not bound.
        peer: address of the other side.
        key: that both sides share; None for plain RTP, which needs no answer.
        fingerprint: of the model.

    Raises:
        VqcodecError: nobody answers.
    """
    if key is None:
        return Line(sock, peer, None)
    caller, end = Caller(key, fingerprint), time.monotonic() + ANSWER_S
    while (now := time.monotonic()) < end:
        try:
            sock.sendto(caller.hello(time.time()), peer)
        except OSError as error:
            raise VqcodecError(f"cannot reach {peer[0]}: {error.strerror or error}") from error
        for datagram, address, _ in _datagrams(sock, now + _RETRY_S):
            if is_answer(datagram):
                try:
                    return Line(sock, address, caller.answered(datagram))
                except CorruptFile:
                    continue
    raise VqcodecError(f"no answer from {peer[0]}: does it listen on port {peer[1]}, with the same key and model?")


def answer(sock: socket.socket, key: bytes | None, fingerprint: str, format: PayloadFormat) -> Line:
    """Wait until somebody calls; whoever has not the key gets no answer.

    Args:
        sock: bound.
        key: that both sides share; None for plain RTP, where the first good packet makes a call.
        fingerprint: of the model.
        format: of the payloads.
    """
    answerer = None if key is None else Answerer(key, fingerprint)
    pending: deque[Keys] = deque(maxlen=_MOST_PENDING)
    for datagram, address, _ in _datagrams(sock, None):
        try:
            if answerer is None:
                header, payload = parse(datagram)
                format.unpack(header.payload_type, payload)
                return Line(sock, address, None)
            if is_hello(datagram):
                reply, keys = answerer.answer(datagram, time.time())
                sock.sendto(reply, address)
                if keys not in pending:
                    pending.append(keys)
            elif (found := _key_of(datagram, pending)) is not None:
                return Line(sock, address, found)
        except (CorruptFile, OSError):
            continue
    raise AssertionError("datagrams without an end")


def converse(call: Call, line: Line, source: Source, sink: Sink, shown: Callable[[Call, Line], None]) -> str:
    """Talk until somebody hangs up, the source ends, or Ctrl-C; returns why, in words.

    Args:
        call: this side.
        line: to the other one.
        source: asked for a frame in every frame's time.
        sink: given one.
        shown: called after each frame.
    """
    start = time.monotonic()
    heard = None if line.keys is None else start  # plain RTP may well go one way only
    ticks, end = 0, float("inf")
    try:
        while True:
            ticks += 1
            for datagram, now in line.receive(start + ticks * call.frame_s):
                if call.put(datagram, now):
                    heard = now
            block, now = source.read(), time.monotonic()
            if block is None:
                return "the sound has ended"
            if now > end:
                return "the other side has hung up"
            if heard is not None and now - heard > GONE_S:
                return "the other side is gone"
            for datagram in call.push(block, now):
                line.send(datagram)
            sink.write(call.pull(now))
            if call.ended:
                end = min(end, now + _LINGER_S)
            shown(call, line)
    except KeyboardInterrupt:
        return "hung up"
    finally:
        for datagram in call.hang_up():
            line.send(datagram)


@contextmanager
def open_socket(host: str, port: int, listens: bool) -> Iterator[tuple[socket.socket, Address]]:
    """Open a UDP socket, and find the address of a host.

    Raises:
        VqcodecError: there is no such host, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise VqcodecError(f"cannot find {host}: {error.strerror or error}") from error
    with sock:
        if listens:
            try:
                sock.bind(address)
            except OSError as error:
                raise VqcodecError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
        yield sock, address


def _datagrams(sock: socket.socket, until: float | None) -> Iterator[tuple[bytes, Address, float]]:
    """Yield datagrams, where they are from and when they came, until a time; without an end if it is None."""
    late = 0
    while late < _MOST_LATE:
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([sock], [], [], left)[0]:
            return
        late += left == 0
        try:
            datagram, address = sock.recvfrom(_MOST_BYTES)
        except OSError:  # the other side refused what was sent: not this packet's fault
            continue
        yield datagram, address, time.monotonic()


def _key_of(datagram: bytes, pending: deque[Keys]) -> Keys | None:
    """Those of the keys that open a packet."""
    for keys in pending:
        try:
            keys.opener.open(datagram)
        except CorruptFile:
            continue
        return keys
    return None
