"""The files of the page: addresses -> files."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from vqcodec.errors import VqcodecError
from vqcodec.light.layout import CODES, DECODER, ENCODER

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".safetensors": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
"""What is served, by the ends of names."""

RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
"""The files of onnxruntime-web, in `vendor/` of the page."""

INDEX = "index.html"


def page_folder() -> Path:
    """The folder of the page."""
    return Path(str(files("vqcodec.web")))


def check_runtime() -> None:
    """Refuse to go on without onnxruntime-web.

    Raises:
        VqcodecError: it is not there.
    """
    folder = page_folder()
    if not all((folder / "vendor" / name).is_file() for name in RUNTIME):
        raise VqcodecError(f"the page needs onnxruntime-web, which npm fetches: run  sh {folder / 'vendor.sh'}")


def addresses(model: Path) -> Mapping[str, Path]:
    """All that is served, and nothing else is: the page, onnxruntime-web, and a folder that `export --onnx` wrote.

    Raises:
        VqcodecError: a file of the model is not there.
    """
    folder = page_folder()
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.suffix in TYPES]
    found = {f"/{name}": folder / name for name in names}
    found["/"] = folder / INDEX
    for name in (ENCODER, DECODER, CODES):
        if not (model / name).is_file():
            raise VqcodecError(f"{model} is not a folder that `vqcodec export --onnx` wrote: {name} is missing")
        found[f"/model/{name}"] = model / name
    return found
