"""The pages and packets of an Ogg stream, RFC 3533.

A page is "OggS", 22 bytes that do not matter here, the number of lacing values n, the n lacing values, and the
body. A packet is made of segments as long as the lacing values say; a value under 255 ends it.
"""

from __future__ import annotations

from collections.abc import Iterator

from vqcodec.errors import CorruptFile

_MAGIC = b"OggS"
_COUNT_AT = 26
_FULL = 255


def pages(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the lacing values and the body of each page.

    Raises:
        CorruptFile: a page does not begin where it should, or is cut short.
    """
    start = 0
    while start < len(stream):
        if not stream.startswith(_MAGIC, start) or start + _COUNT_AT >= len(stream):
            raise CorruptFile(f"no Ogg page begins at byte {start}")
        lacing_at = start + _COUNT_AT + 1
        body_at = lacing_at + stream[start + _COUNT_AT]
        lacing = stream[lacing_at:body_at]
        body = stream[body_at : body_at + sum(lacing)]
        if len(body) < sum(lacing) or body_at > len(stream):
            raise CorruptFile(f"the Ogg page at byte {start} is cut short")
        yield lacing, body
        start = body_at + len(body)


def packets(stream: bytes) -> list[bytes]:
    """All packets, those of the headers included; the stream must be the only one in its file.

    Raises:
        CorruptFile: as `pages` does, or the last packet does not end.
    """
    found, packet = [], b""
    open_ = False
    for lacing, body in pages(stream):
        start = 0
        for size in lacing:
            packet += body[start : start + size]
            start += size
            open_ = size == _FULL
            if not open_:
                found.append(packet)
                packet = b""
    if open_:
        raise CorruptFile("the last Ogg packet does not end")
    return found
