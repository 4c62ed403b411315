"""`vqcodec serve`: the page that codes speech in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Model
from ..terminal.messages import note


def serve(
    model: Model = None,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port to serve on; 0 takes any that is free.")
    ] = 8000,
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A model that export --onnx wrote, in place of --model."),
    ] = None,
) -> None:
    """Serve a page that encodes and decodes speech in the browser, to this machine alone.

    The model is exported to ONNX once, which takes the extra onnx, unless --onnx names a folder. Ctrl-C ends it.
    """
    if onnx is not None and model is not None:
        raise typer.BadParameter("choose either --model or --onnx")
    from vqcodec.models import registry

    from .exported import exported
    from .server import HOST, open_server
    from .site import addresses, check_runtime

    check_runtime()
    folder = onnx or exported(registry.find(model or registry.DEFAULT))
    with open_server(addresses(folder), port) as server:
        try:
            note(f"the page is at http://{HOST}:{server.server_address[1]}/ (Ctrl-C ends)")
            server.serve_forever()
        except KeyboardInterrupt:
            note("the page is no longer served")
