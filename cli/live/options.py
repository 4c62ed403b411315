"""The options that both commands have, and what they mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from vqcodec.errors import ConfigError

KEY_VARIABLE = "VQCODEC_KEY"

KeyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help=f"File with the key that both sides share; or the variable {KEY_VARIABLE} holds it."
    ),
]
Plain: TypeAlias = Annotated[bool, typer.Option("--plain", help="Plain RTP, without encryption: anybody may listen.")]
Port: TypeAlias = Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="UDP port of the listening side.")]
In: TypeAlias = Annotated[
    str,
    typer.Option(
        "--in",
        metavar="device|none|-|FILE",
        help="Where speech comes from: the microphone, silence, a pipe of bare 16-bit samples at the codec's rate, or"
        " a sound file.",
    ),
]
Out: TypeAlias = Annotated[
    str,
    typer.Option(
        "--out",
        metavar="device|none|-|FILE",
        help="Where speech goes to: the loudspeaker, nowhere, a pipe, or a sound file.",
    ),
]
Frames: TypeAlias = Annotated[
    int,
    typer.Option(
        "--frames", metavar="N", min=1, max=6, help="Frames of 20 ms in a packet: more are cheaper and later."
    ),
]
Redundancy: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="Codes that travel twice: auto follows the loss; none, or packets back x stages: 1x1, 2x1, 4x1, 1x3.",
    ),
]
Always: TypeAlias = Annotated[bool, typer.Option("--always", help="Send while nobody speaks as well.")]


def key_of(file: Path | None, plain: bool) -> bytes | None:
    """The key of a call; None for plain RTP.

    Raises:
        ConfigError: there is none, or it is no key.
    """
    from vqcodec.live.calls.handshake import parse_key

    if plain:
        return None
    if file is not None:
        return parse_key(file.read_text(encoding="utf-8", errors="replace"))
    if KEY_VARIABLE in os.environ:
        return parse_key(os.environ[KEY_VARIABLE])
    raise ConfigError(
        f"calls are encrypted: name a key with --key-file or {KEY_VARIABLE} (vqcodec listen --new-key makes one),"
        " or choose --plain"
    )
