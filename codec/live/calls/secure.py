"""Packets that only whoever holds the same keys can make or read: ChaCha20-Poly1305 (RFC 8439) round RTP and RTCP.

As in SRTP (RFC 3711), headers stay readable, the rest is encrypted, and a tag of 16 bytes vouches for all of it. Each
direction of each call has a key of its own. A nonce is a packet's long number: that of speech is its sequence number
with its wraps, that of reports a counter, whose 4 bytes end them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, CorruptFile
from ..reports import is_goodbye, is_report
from ..rtp import HEADER_BYTES, SEQUENCE_BITS, unwrapped
from ..window import ReplayWindow

TAG_BYTES = 16
REPORT_HEADER_BYTES = 8
COUNTER_BYTES = 4
_SPEECH, _REPORT = 0, 1


@dataclass
class SecureCounts:
    """What became of sealed packets."""

    forged: int = 0
    """Packets that were not sealed with the key, or changed on the way."""
    repeated: int = 0
    """Packets that came before."""


class Sealer:
    """Seals what one side sends, in the order in which it does.

    Args:
        key: 32 bytes, of this direction of this call.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = cipher(key)
        self._sequence: int | None = None
        self._reports = 0

    def seal(self, datagram: bytes) -> bytes:
        """Encrypt all but the header of a packet, and append the tag."""
        if _is_control(datagram):
            counter = self._reports.to_bytes(COUNTER_BYTES, "big")
            self._reports += 1
            clear = datagram[:REPORT_HEADER_BYTES]
            nonce = _nonce(_REPORT, self._reports - 1)
            rest: bytes = self._cipher.encrypt(nonce, datagram[REPORT_HEADER_BYTES:], clear + counter)
            return clear + rest + counter
        short = _sequence_of(datagram)
        self._sequence = short if self._sequence is None else unwrapped(short, self._sequence, SEQUENCE_BITS)
        clear = datagram[:HEADER_BYTES]
        rest = self._cipher.encrypt(_nonce(_SPEECH, self._sequence), datagram[HEADER_BYTES:], clear)
        return clear + rest


class Opener:
    """Opens what the other side sealed; a packet that comes twice is refused.

    Args:
        key: of this direction of this call.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = cipher(key)
        self._windows = {_SPEECH: ReplayWindow(), _REPORT: ReplayWindow()}
        self.counts = SecureCounts()

    def open(self, sealed: bytes) -> bytes:
        """Mirror of `Sealer.seal`.

        Raises:
            CorruptFile: the packet was not sealed with this key, or came before.
        """
        control = _is_control(sealed)
        header, end = (REPORT_HEADER_BYTES, len(sealed) - COUNTER_BYTES) if control else (HEADER_BYTES, len(sealed))
        if end < header + TAG_BYTES:
            self._forged()
        kind = _REPORT if control else _SPEECH
        window, clear, counter = self._windows[kind], sealed[:header], sealed[end:]
        short = int.from_bytes(counter, "big") if control else _sequence_of(sealed)
        near = short if window.highest is None else window.highest
        number = short if control else unwrapped(short, near, SEQUENCE_BITS)
        if number < 0 or not window.is_new(number):
            self.counts.repeated += 1
            raise CorruptFile("a packet came twice")
        try:
            rest: bytes = self._cipher.decrypt(_nonce(kind, number), sealed[header:end], clear + counter)
        except Exception as error:
            if type(error).__name__ != "InvalidTag":
                raise
            self._forged()
        window.see(number)
        return clear + rest

    def _forged(self) -> None:
        self.counts.forged += 1
        raise CorruptFile("a packet was not sealed with the key of this call")


def cipher(key: bytes) -> Any:
    """The cipher of a key of 32 bytes.

    Raises:
        ConfigError: the package `cryptography` is missing.
    """
    try:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    except ImportError as error:
        raise ConfigError("encrypted calls need the package cryptography: pip install 'vqcodec[live]'") from error
    return ChaCha20Poly1305(key)


def _is_control(datagram: bytes) -> bool:
    return is_report(datagram) or is_goodbye(datagram)


def _sequence_of(datagram: bytes) -> int:
    return int.from_bytes(datagram[2:4], "big")


def _nonce(kind: int, number: int) -> bytes:
    return kind.to_bytes(4, "big") + number.to_bytes(8, "big")
