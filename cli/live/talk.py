"""`vqcodec talk`: calls somebody who listens."""

from __future__ import annotations

from typing import Annotated

import typer

from ..options import Bitrate, Device, Force, Model, Precision, Quiet, Threads, use_threads
from .options import Always, Frames, In, KeyFile, Out, Plain, Port, Redundancy, key_of


def talk(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Name or address of the side that listens.")],
    source: In = "device",
    sink: Out = "device",
    port: Port = 5004,
    key_file: KeyFile = None,
    plain: Plain = False,
    bitrate: Bitrate = 3.0,
    frames: Frames = 1,
    redundancy: Redundancy = "auto",
    always: Always = False,
    model: Model = None,
    device: Device = "cpu",
    precision: Precision = "auto",
    threads: Threads = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Call somebody who runs `vqcodec listen`, and talk until somebody hangs up.

    Speech goes over UDP in RTP packets, encrypted with a key that both sides share. Ctrl-C hangs up, and so does the
    end of a file in place of the microphone.
    """
    key = key_of(key_file, plain)
    use_threads(threads)
    from vqcodec import Codec
    from vqcodec.live.calls.network import dial, open_socket
    from vqcodec.models import registry

    from .calling import Manner, call_of, hold

    codec = Codec.load(model or registry.DEFAULT, device=device, precision=precision)
    manner = Manner(
        source=source,
        sink=sink,
        bitrate_kbps=bitrate or 3.0,
        frames=frames,
        redundancy=redundancy,
        always=always,
        force=force,
        quiet=quiet,
    )
    call = call_of(codec, manner)
    with open_socket(host, port, listens=False) as (sock, peer):
        hold(codec, call, manner, lambda: dial(sock, peer, key, codec.fingerprint))
