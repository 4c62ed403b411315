"""Exported models, kept from one time to the next."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from vqcodec.errors import VqcodecError

from ..terminal.messages import note


def cache_folder() -> Path:
    """Where exported models are kept: `vqcodec/onnx` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vqcodec" / "onnx"


def exported(path: Path) -> Path:
    """The folder of a model file as ONNX graphs, exported unless it is there already.

    Args:
        path: of the model file; a file of other bytes has another folder.

    Raises:
        VqcodecError: the packages that export are not installed, or the model cannot be exported.
    """
    with path.open("rb") as file:
        folder = cache_folder() / f"{path.stem}-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    try:
        from vqcodec.integrations import onnx as integration
    except ImportError as error:
        raise VqcodecError(f"{error}; or name an exported folder with --onnx") from error
    note("exporting the model, once, takes a minute or so")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        integration.write_folder(path, Path(scratch) / "model")
        if not folder.is_dir():  # nobody else was faster
            (Path(scratch) / "model").rename(folder)
    return folder
