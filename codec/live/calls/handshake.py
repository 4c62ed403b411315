"""How two sides that share a key begin a call: a hello, an answer, and keys for both directions that nobody had before.

    caller -> listener   hello:  nonce, sealed(salt of the caller, time)
    listener -> caller   answer: nonce, sealed(salt of the listener, salt of the caller)

Both are sealed with a key derived from the shared one, and vouch for the model's fingerprint: whoever lacks either gets
no answer. A hello that is minutes old, or came before, gets none either. The keys of the call are derived with HKDF
(RFC 5869) from the shared key and both salts, so that recorded packets are of no use in another call.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, CorruptFile
from .secure import TAG_BYTES, Opener, Sealer, cipher

KEY_BYTES = 32
SALT_BYTES = 16
HELLO_AGE_S = 120.0
"""How far the clocks of both sides may be apart."""
_NONCE_BYTES, _TIME_BYTES = 12, 8
_MAGIC_HELLO, _MAGIC_ANSWER = b"vqh1", b"vqa1"  # no RTP: its first byte has other bits
_HELLO_BYTES = len(_MAGIC_HELLO) + _NONCE_BYTES + SALT_BYTES + _TIME_BYTES + TAG_BYTES
_ANSWER_BYTES = len(_MAGIC_ANSWER) + _NONCE_BYTES + 2 * SALT_BYTES + TAG_BYTES
_MOST_SALTS = 4096


def new_key() -> str:
    """Make a key to share, as text."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def parse_key(text: str) -> bytes:
    """Read what `new_key` wrote.

    Raises:
        ConfigError: it is no such text.
    """
    try:
        key = base64.b64decode(text.strip().encode(), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError("a key is 44 characters of base64; vqcodec listen --new-key makes one")
    return key


@dataclass(frozen=True, eq=False)
class Keys:
    """What a side of a call seals and opens with."""

    sealer: Sealer
    opener: Opener


class Caller:
    """The side that begins.

    Args:
        key: that both sides share, 32 bytes.
        fingerprint: of the model.
    """

    def __init__(self, key: bytes, fingerprint: str) -> None:
        self._key, self._about = key, fingerprint.encode()
        self._cipher = cipher(_derived(key, b"handshake"))
        self._salt = secrets.token_bytes(SALT_BYTES)

    def hello(self, time_s: float) -> bytes:
        """The first packet, which may be sent again until there is an answer, at a time in seconds since 1970."""
        stamp = int(time_s).to_bytes(_TIME_BYTES, "big")
        return _MAGIC_HELLO + _sealed(self._cipher, self._salt + stamp, _MAGIC_HELLO + self._about)

    def answered(self, datagram: bytes) -> Keys:
        """Derive the keys from the answer.

        Raises:
            CorruptFile: it is no answer to this hello.
        """
        plain = _opened(self._cipher, datagram, _MAGIC_ANSWER, _ANSWER_BYTES, self._about)
        theirs, ours = plain[:SALT_BYTES], plain[SALT_BYTES:]
        if ours != self._salt:
            raise CorruptFile("an answer to another hello")
        there, back = _directions(self._key, ours, theirs, self._about)
        return Keys(Sealer(there), Opener(back))


class Answerer:
    """The side that waits.

    Args:
        key: that both sides share, 32 bytes.
        fingerprint: of the model.
    """

    def __init__(self, key: bytes, fingerprint: str) -> None:
        self._key, self._about = key, fingerprint.encode()
        self._cipher = cipher(_derived(key, b"handshake"))
        self._answers: OrderedDict[bytes, tuple[bytes, Keys]] = OrderedDict()
        self._nonces: OrderedDict[bytes, None] = OrderedDict()

    def answer(self, datagram: bytes, time_s: float) -> tuple[bytes, Keys]:
        """Return the answer to a hello, and the keys that it leads to; a hello sent again gets the same keys.

        Raises:
            CorruptFile: it is no hello of somebody with the same key and model, too old, or one that came before.
        """
        plain = _opened(self._cipher, datagram, _MAGIC_HELLO, _HELLO_BYTES, self._about)
        theirs, stamp = plain[:SALT_BYTES], int.from_bytes(plain[SALT_BYTES:], "big")
        if abs(stamp - time_s) > HELLO_AGE_S:
            raise CorruptFile("a hello from another time: is one of the clocks wrong?")
        nonce = datagram[len(_MAGIC_HELLO) :][:_NONCE_BYTES]
        if nonce in self._nonces:
            raise CorruptFile("a hello that came before")
        _remember(self._nonces, nonce, None)
        if theirs not in self._answers:
            ours = secrets.token_bytes(SALT_BYTES)
            there, back = _directions(self._key, theirs, ours, self._about)
            _remember(self._answers, theirs, (ours, Keys(Sealer(back), Opener(there))))
        ours, keys = self._answers[theirs]
        return _MAGIC_ANSWER + _sealed(self._cipher, ours + theirs, _MAGIC_ANSWER + self._about), keys


def is_hello(datagram: bytes) -> bool:
    """Whether a datagram begins like a hello."""
    return datagram.startswith(_MAGIC_HELLO)


def is_answer(datagram: bytes) -> bool:
    """Whether a datagram begins like an answer to one."""
    return datagram.startswith(_MAGIC_ANSWER)


def _remember(known: OrderedDict[bytes, Any], name: bytes, value: object) -> None:
    known[name] = value
    if len(known) > _MOST_SALTS:
        known.popitem(last=False)


def _sealed(box: Any, plain: bytes, about: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + box.encrypt(nonce, plain, about)  # type: ignore[no-any-return]


def _opened(box: Any, datagram: bytes, magic: bytes, length: int, about: bytes) -> bytes:
    if len(datagram) != length or not datagram.startswith(magic):
        raise CorruptFile("this is not how a call begins")
    nonce, sealed = datagram[len(magic) :][:_NONCE_BYTES], datagram[len(magic) + _NONCE_BYTES :]
    try:
        return box.decrypt(nonce, sealed, magic + about)  # type: ignore[no-any-return]
    except Exception as error:
        if type(error).__name__ != "InvalidTag":
            raise
        raise CorruptFile("somebody with another key or another model") from None


def _directions(key: bytes, caller_salt: bytes, listener_salt: bytes, about: bytes) -> tuple[bytes, bytes]:
    """Keys from the caller to the listener, and back."""
    salts = caller_salt + listener_salt
    return _derived(key, b"there" + about, salts), _derived(key, b"back" + about, salts)


def _derived(key: bytes, purpose: bytes, salt: bytes = b"") -> bytes:
    """HKDF with SHA-256, a single block."""
    inner = hmac.digest(salt or bytes(hashlib.sha256().digest_size), key, "sha256")
    return hmac.digest(inner, b"vqcodec live " + purpose + b"\x01", "sha256")
