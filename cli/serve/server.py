"""An HTTP server for this machine alone, with the policy that keeps the page to itself."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from vqcodec.errors import VqcodecError

from .site import TYPES

HOST = "127.0.0.1"

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self'; media-src blob:; img-src 'self'; base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy of the page, which states it as well."""

_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Handler(BaseHTTPRequestHandler):
    """Answers requests for the files of a site, and for nothing else."""

    def __init__(self, site: Mapping[str, Path], *arguments: object) -> None:
        self._site = site
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if (path := self._begin()) is not None:
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    def do_HEAD(self) -> None:
        self._begin()

    def _begin(self) -> Path | None:
        """Send the head of an answer; returns the file that is to follow."""
        if self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)  # another site's name that leads here
            return None
        path = self._site.get(self.path.partition("?")[0])
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[path.suffix])
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        return path

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing of requests."""


class Server(ThreadingHTTPServer):
    """Serves a site."""

    daemon_threads = True

    def __init__(self, site: Mapping[str, Path], port: int) -> None:
        super().__init__((HOST, port), partial(Handler, site))

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over connections that browsers drop."""


def open_server(site: Mapping[str, Path], port: int) -> Server:
    """Listen on a port of this machine, any that is free for 0.

    Args:
        site: files by their addresses.
        port: 0 to 65535.

    Raises:
        VqcodecError: the port cannot be had.
    """
    try:
        return Server(site, port)
    except OSError as error:
        raise VqcodecError(f"port {port} of {HOST} cannot be used: {error.strerror}; choose another one") from error
