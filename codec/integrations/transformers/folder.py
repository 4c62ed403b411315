"""A folder that `from_pretrained` loads where there is transformers, but no vqcodec: weights, and code that goes along.

The code is that of this package: the modules of the model and all that they import of vqcodec, as files side by side,
which is how transformers wants them. Nothing but their imports is changed.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from vqcodec.models.autoencoder import Autoencoder

from ...files import atomic_output
from .feature_extraction import VqCodecFeatureExtractor
from .modeling import VqCodecModel

_HERE = __package__
_AUTO_MAP = {
    "AutoConfig": "configuration_vqcodec.VqCodecConfig",
    "AutoModel": "modeling_vqcodec.VqCodecModel",
    "AutoFeatureExtractor": "feature_extraction_vqcodec.VqCodecFeatureExtractor",
}
_ROOTS = ("configuration", "modeling", "feature_extraction")


def write_folder(autoencoder: Autoencoder, folder: str | os.PathLike[str]) -> None:
    """Write a model with its configuration, its feature extractor and the code of all three.

    Args:
        autoencoder: in float32, of a codec that has codes.
        folder: is made if it is not there; files of the same names are replaced.

    Raises:
        ConfigError: the codec has no codes.
        VqcodecError, OSError: a file cannot be written.
    """
    folder = Path(folder)
    model = VqCodecModel.from_autoencoder(autoencoder)
    extractor = VqCodecFeatureExtractor(sampling_rate=model.config.sampling_rate)
    model.config.auto_map = extractor.auto_map = _AUTO_MAP
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    for name, source in sources().items():
        with atomic_output(folder / f"{name}.py", force=True) as file:
            file.write(source.encode())


def sources() -> dict[str, str]:
    """The modules of the model and all that they import of vqcodec: names of files without suffix -> their text."""
    found: dict[str, str] = {}
    waiting = [f"{_HERE}.{root}" for root in _ROOTS]
    while waiting:
        module = waiting.pop()
        if _flat(module) not in found:
            found[_flat(module)], needed = _rewritten(module)
            waiting += needed
    return found


def _rewritten(module: str) -> tuple[str, list[str]]:
    """The text of a module, its imports from vqcodec turned to files beside it, and the modules that it imports."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None and spec.parent is not None
    text = Path(spec.origin).read_text("utf-8")
    lines = text.splitlines()
    needed = []
    for node, base in reversed(list(_imports(ast.parse(text), spec.parent))):
        changed = []
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            is_module = _is_module(inner)
            needed.append(inner if is_module else base)
            source, name = (".", _flat(inner)) if is_module else (f".{_flat(base)}", alias.name)
            renamed = alias.asname or alias.name
            changed.append(f"from {source} import {name}" + (f" as {renamed}" if renamed != name else ""))
        indent = " " * node.col_offset
        lines[node.lineno - 1 : node.end_lineno] = [indent + statement for statement in changed]
    origin = f"# {module} of vqcodec {version('vqcodec')} (MIT licence), as `vqcodec export --transformers` writes it."
    return "\n".join([origin, *lines, ""]), needed


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[ast.ImportFrom, str]]:
    """The imports from vqcodec in the order of their lines, each with the module that it names."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in sorted(nodes, key=lambda node: node.lineno):
        base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        if base.split(".")[0] == "vqcodec":
            yield node, base


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # what is asked for lies in a module, not in a package
        return False


def _flat(module: str) -> str:
    """The file of a module: `modeling_vqcodec`, as transformers has it, or `vqcodec_models_layers`."""
    package, _, name = module.rpartition(".")
    return f"{name}_vqcodec" if package == _HERE else module.replace(".", "_")
