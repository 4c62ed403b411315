"""`vqcodec listen`: waits for a call."""

from __future__ import annotations

from typing import Annotated

import typer

from ..options import Bitrate, Device, Force, Model, Precision, Quiet, Threads, use_threads
from ..terminal.messages import note, show
from .options import Always, Frames, In, KeyFile, Out, Plain, Port, Redundancy, key_of


def listen(
    source: In = "device",
    sink: Out = "device",
    host: Annotated[str, typer.Option("--bind", metavar="ADDRESS", help="Address to listen on.")] = "0.0.0.0",
    port: Port = 5004,
    key_file: KeyFile = None,
    plain: Plain = False,
    new_key: Annotated[bool, typer.Option("--new-key", help="Print a new key, and do nothing else.")] = False,
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
    """Wait for a call from `vqcodec talk`, and talk until somebody hangs up.

    Speech goes over UDP in RTP packets, encrypted with a key that both sides share; whoever has not the key gets no
    answer. Ctrl-C hangs up.
    """
    if new_key:
        from vqcodec.live.calls.handshake import new_key as make

        show(make())
        return
    key = key_of(key_file, plain)
    use_threads(threads)
    from vqcodec import Codec
    from vqcodec.live.calls.network import answer, open_socket
    from vqcodec.live.sender import format_of
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
    with open_socket(host, port, listens=True) as (sock, _):
        if not quiet:
            note(f"listening on {host}, port {port}")
        hold(codec, call, manner, lambda: answer(sock, key, codec.fingerprint, format_of(codec)))
