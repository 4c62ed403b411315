"""The shape of the project: what may import what, what stays light, and what the package carries."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Every import points left. `vqcodec.errors` imports nothing, and `vqcodec.files` nothing but it, so they may be
# imported from anywhere.
ORDER = ("models", "codec", "recipes", "cli")
FREE = ("vqcodec.errors", "vqcodec.files")
# The packages of `recipes`, and which of the others each may import; each names only what stands before it. All of
# them may import the modules of `recipes` itself (""), which import none of them. A package inside another is
# one of its own.
ROOMS: dict[str, set[str]] = {
    "": set(),
    "data": set(),
    "metrics": set(),
    "reporting": set(),
    "benchmark": set(),
    "training.losses": set(),
    "training.adversary": {"training.losses"},
    "training": {"training.losses", "training.adversary", "data", "metrics"},
    "context": {"data"},
    "tokenization": {"data"},
    "prior": {"tokenization"},
    "evaluation.systems": set(),
    "evaluation.systems.lossy": {"evaluation.systems"},
    "evaluation": {"evaluation.systems", "evaluation.systems.lossy", "metrics", "reporting"},
    "listening": {"evaluation", "reporting"},
    "laboratory": {"data", "metrics", "reporting"},
}
# `python -m vqcodec` has to start the command line from inside `codec/`.
ENTRY_POINT = "codec/__main__.py"

WITHOUT_TORCH = (
    "codec/__init__.py",
    "codec/__main__.py",
    "codec/bitstream.py",
    "codec/coding/__init__.py",
    "codec/coding/engine.py",
    "codec/encoding.py",
    "codec/facts.py",
    "codec/light/__init__.py",
    "codec/light/codec.py",
    "codec/light/layout.py",
    "codec/light/networks.py",
    "codec/light/search.py",
    "codec/light/streams.py",
    "codec/pipeline.py",
    "codec/payloads/__init__.py",
    "codec/payloads/codings.py",
    "codec/payloads/context.py",
    "codec/payloads/counts.py",
    "codec/payloads/plain.py",
    "codec/payloads/range_coder.py",
    "codec/errors.py",
    "codec/files.py",
    "codec/header.py",
    "codec/payloads/range_coder.py",
    "models/__init__.py",
    "models/config.py",
    "models/context/__init__.py",
    "models/context/config.py",
    "models/context/frequencies.py",
    "models/context/integer.py",
    "models/context/store.py",
    "models/kinds.py",
    "models/prior/__init__.py",
    "models/prior/config.py",
    "models/tensor_file.py",
    "recipes/__init__.py",
    "cli/__init__.py",
)
LONGEST_MODULE = 400  # lines
LARGEST_PACKAGE = 16  # modules beside `__init__.py`, those of inner packages not counted
HEAVY = {"torch", "torchaudio", "librosa"}
SOUND_FILES = {"soundfile", "soxr"}

SOURCES = sorted(path.relative_to(ROOT).as_posix() for folder in ORDER for path in (ROOT / folder).rglob("*.py"))


@dataclass(frozen=True)
class Import:
    """One imported name of one file."""

    target: str  # absolute and dotted: `vqcodec.models.config.ModelConfig`, `torch.nn`
    line: int
    relative: bool
    lazy: bool  # inside a function: runs when called, not when imported

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]

    @property
    def folder(self) -> str | None:
        """The folder of this project that the target lives in; None for other packages."""
        if self.top != "vqcodec":
            return None
        second = self.target.split(".")[1:2]
        return second[0] if second and second[0] in ORDER else "codec"

    @property
    def room(self) -> str | None:
        """The package of `recipes` that the target lives in; None outside `recipes`."""
        return room_of(self.target.split(".")[2:]) if self.folder == "recipes" else None

    @property
    def free(self) -> bool:
        return any(f"{self.target}.".startswith(f"{free}.") for free in FREE)


def room_of(parts: list[str]) -> str:
    """The innermost package of `recipes` on the way to something in it: `["training", "step"]` -> "training"."""
    return next((room for end in range(len(parts), 0, -1) if (room := ".".join(parts[:end])) in ROOMS), "")


def package_of(path: str) -> list[str]:
    """The package that `from . import x` means in this file."""
    folder, *inner = path.split("/")
    return ["vqcodec", *([] if folder == "codec" else [folder]), *inner[:-1]]


def imports_of(path: str, source: str) -> list[Import]:
    """Every import of a file, wherever it stands, `importlib.import_module("...")` included."""
    found: list[Import] = []

    def absolute(name: str, level: int) -> str:
        if level == 0:
            return name
        package = package_of(path)
        return ".".join([*package[: len(package) - level + 1], *([name] if name else [])])

    def visit(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, False, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node.module or "", node.level)
            found.extend(Import(f"{base}.{alias.name}", node.lineno, node.level > 0, lazy) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            function, first = node.func, node.args[0]
            called = getattr(function, "attr", getattr(function, "id", ""))
            if (
                called in ("import_module", "__import__")
                and isinstance(first, ast.Constant)
                and isinstance(first.value, str)
            ):
                name = first.value.lstrip(".")
                level = len(first.value) - len(name)
                found.append(Import(absolute(name, level), node.lineno, level > 0, lazy))
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source, path), False)
    return found


def faults_of(path: str, source: str) -> list[str]:
    """What is wrong with the imports of one file."""
    here = path.partition("/")[0]
    room = room_of(path.removesuffix(".py").split("/")[1:]) if here == "recipes" else None
    faults = []

    def fault(item: Import, reason: str) -> None:
        faults.append(f"{path}:{item.line}: {item.target}: {reason}")

    for item in imports_of(path, source):
        if item.folder is not None:
            if item.relative and item.folder != here:
                fault(item, "import absolutely across folders")
            if not item.relative and item.folder == here:
                fault(item, "import relatively inside a folder")
            starts_cli = path == ENTRY_POINT and item.folder == "cli"
            if not item.free and not starts_cli and ORDER.index(item.folder) > ORDER.index(here):
                fault(item, f"{here} may not import {item.folder}: {' <- '.join(ORDER)}")
        if room is not None and item.room not in (None, "", room, *ROOMS[room]):
            fault(item, f"recipes/{room.replace('.', '/')} may not import {item.room}")
        if path == "codec/files.py" and item.folder is not None and not item.target.startswith("vqcodec.errors."):
            fault(item, "files imports only errors")
        if path == "codec/errors.py":
            fault(item, "errors imports nothing")
        if item.top in SOUND_FILES and not path.startswith("codec/audio/"):
            fault(item, "only codec/audio touches sound files")
        if item.top in HEAVY and path in WITHOUT_TORCH:
            fault(item, "this file does without torch, even inside a function")
        if item.top in HEAVY and here == "cli" and not item.lazy:
            fault(item, "the command line imports it inside the command that needs it")
    return faults


@pytest.mark.parametrize("path", SOURCES)
def test_imports_follow_the_rules(path: str) -> None:
    assert faults_of(path, (ROOT / path).read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source", "reason"),
    [
        ("models/encoder.py", "from vqcodec.recipes.training.losses import spectral", "models may not import recipes"),
        ("models/encoder.py", "from vqcodec import Codec", "models may not import codec"),
        ("models/encoder.py", "from vqcodec import cli", "models may not import cli"),
        ("models/encoder.py", "def f():\n    import vqcodec.codec", "models may not import codec"),
        ("codec/codec.py", "from vqcodec.recipes.training import discriminators", "codec may not import recipes"),
        ("codec/codec.py", "import importlib\nimportlib.import_module('vqcodec.cli')", "may not import cli"),
        ("codec/codec.py", "from vqcodec.errors import AudioError", "relatively inside"),
        ("codec/codec.py", "from .models import autoencoder", "absolutely across"),
        ("models/layers.py", "from ..errors import ConfigError", "absolutely across"),
        ("models/quantizers/ema.py", "from ...errors import ConfigError", "absolutely across"),
        ("recipes/data/folders.py", "import soundfile as sf", "only codec/audio"),
        ("recipes/data/folders.py", "from ..training import step", "recipes/data may not import training"),
        ("recipes/data/folders.py", "def f():\n    from ..training.step import T", "data may not import training"),
        ("recipes/data/__init__.py", "from .. import training", "recipes/data may not import training"),
        ("recipes/config.py", "from .data import folders", "recipes/ may not import data"),
        ("recipes/config.py", "from . import data", "recipes/ may not import data"),
        ("recipes/reporting/charts.py", "from ..evaluation.store import EvaluationStore", "may not import evaluation"),
        ("recipes/training/step.py", "from ..evaluation.systems import parse", "may not import evaluation.systems"),
        ("recipes/training/losses/spectral.py", "from ..step import T", "training/losses may not import training"),
        ("recipes/training/losses/spectral.py", "from ...data import folders", "training/losses may not import data"),
        ("recipes/evaluation/systems/opus.py", "from .. import store", "evaluation/systems may not import evaluation"),
        ("recipes/evaluation/runner.py", "import importlib\nimportlib.import_module('..training')", "import training"),
        ("codec/payloads/plain.py", "def f():\n    from torch import nn", "does without torch"),
        ("codec/errors.py", "import os", "errors imports nothing"),
        ("codec/files.py", "from .audio import read", "files imports only errors"),
        ("cli/encode.py", "import torch.nn", "inside the command"),
        ("codec/codec.py", "from vqcodec.cli.main import main", "codec may not import cli"),
    ],
)
def test_the_rules_catch(path: str, source: str, reason: str) -> None:
    faults = faults_of(path, source)
    assert len(faults) == 1
    assert reason in faults[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "models/encoder.py",
            "import torch\nfrom vqcodec.errors import ConfigError\nfrom .layers import Block",
        ),
        ("models/quantizers/ema.py", "from ..config import ModelConfig\nfrom .base import Quantizer"),
        ("codec/codec.py", "from vqcodec.models import autoencoder\nfrom . import errors"),
        ("codec/audio/reader.py", "import soundfile\nimport soxr"),
        ("recipes/training/train.py", "import vqcodec.audio\nfrom vqcodec.models.config import ModelConfig"),
        ("recipes/training/step.py", "from ..data.folders import Example\nfrom .losses.spectral import stft"),
        ("recipes/training/step.py", "from .. import config\nfrom ..config import Recipe\nfrom . import losses"),
        ("recipes/listening/page.py", "from ..evaluation import store\nfrom ..reporting import html"),
        ("cli/eval.py", "def f():\n    from vqcodec.recipes.evaluation import runner"),
        ("cli/encode.py", "def f():\n    import torch\nfrom vqcodec import Codec\nfrom .progress import Bar"),
        (ENTRY_POINT, "from vqcodec.cli.main import main"),
    ],
)
def test_the_rules_allow(path: str, source: str) -> None:
    assert faults_of(path, source) == []


def test_the_packages_of_recipes_are_in_order() -> None:
    folders = {path.rpartition("/")[0] for path in SOURCES if path.startswith("recipes/")}
    assert {folder.replace("/", ".").removeprefix("recipes").removeprefix(".") for folder in folders} == set(ROOMS)
    rooms = list(ROOMS)
    for place, room in enumerate(rooms):
        assert ROOMS[room] <= set(rooms[:place]), f"{room} may import only what stands before it"


@pytest.mark.parametrize("path", WITHOUT_TORCH)
def test_files_without_torch_exist(path: str) -> None:
    assert path in SOURCES


def test_names_of_files() -> None:
    names = {path: Path(path).stem for path in SOURCES}
    assert [path for path, name in names.items() if name in ("util", "utils")] == []
    # `codec/cli.py` would be hidden by, or hide, the package `vqcodec.cli`.
    assert {path.stem for path in (ROOT / "codec").iterdir()} & {"cli", "models", "recipes"} == set()


def test_modules_and_packages_are_small() -> None:
    lengths = {path: len((ROOT / path).read_text("utf-8").splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}
    modules = Counter(path.rpartition("/")[0] for path in SOURCES if not path.endswith("/__init__.py"))
    assert {package: count for package, count in modules.items() if count > LARGEST_PACKAGE} == {}


def test_every_package_is_named_in_the_build() -> None:
    mapping = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folders = {path.rpartition("/")[0] for path in SOURCES} | {"web"}  # which has no Python
    assert {".".join(package_of(f"{folder}/__init__.py")) for folder in folders} == set(mapping["packages"])


# What is really loaded, in a fresh interpreter.


def modules_after(code: str, cwd: Path) -> set[str]:
    """The modules loaded once `code` has run in an interpreter of its own."""
    report = cwd / "modules.json"
    code += f"\nimport json, sys\nopen({str(report)!r}, 'w').write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(json.loads(report.read_text()))


def modules_after_command(arguments: list[str], cwd: Path) -> set[str]:
    """The same for one command line, run as `python -m vqcodec` does."""
    return modules_after(
        f"import runpy, sys\nsys.argv[1:] = {arguments!r}\n"
        "try:\n    runpy.run_module('vqcodec', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code",
        cwd,
    )


@pytest.mark.parametrize(
    "statement",
    [
        "import vqcodec",
        "import vqcodec; vqcodec.__version__; vqcodec.CorruptFile; dir(vqcodec)",
        "import vqcodec.errors",
        "import vqcodec.bitstream",
        "import vqcodec.payloads.codings",
        "import vqcodec.payloads.context",
        "import vqcodec.models",
        "import vqcodec.models.config",
        "import vqcodec.models.kinds",
        "import vqcodec.light",
        "import vqcodec.recipes",
        "import vqcodec.cli.main",
    ],
)
def test_import_without_torch(statement: str, tmp_path: Path) -> None:
    assert modules_after(statement, tmp_path) & HEAVY == set()


def test_import_vqcodec_loads_nothing_else(tmp_path: Path) -> None:
    loaded = modules_after("import vqcodec", tmp_path)
    assert {name for name in loaded if name.startswith("vqcodec")} == {"vqcodec"}
    assert "numpy" not in loaded


@pytest.mark.parametrize("arguments", [["--help"], ["encode", "--help"], ["train", "--help"]])
def test_help_without_torch(arguments: list[str], tmp_path: Path) -> None:
    assert modules_after_command(arguments, tmp_path) & HEAVY == set()


def test_codec_loads_nothing_of_training(tmp_path: Path) -> None:
    loaded = modules_after("from vqcodec import Codec, Encoded\nimport vqcodec.codec", tmp_path)
    assert loaded & {"torchaudio", "librosa", "vqcodec.recipes", "vqcodec.cli"} == set()


def test_commands_load_what_they_need(tmp_path: Path) -> None:
    encode = modules_after_command(["encode", str(ROOT / "examples/hello.wav"), "hello.vq"], tmp_path)
    assert encode & {"torchaudio", "librosa", "vqcodec.recipes.training.train"} == set()
    info = modules_after_command(["info", "hello.vq"], tmp_path)
    assert info & HEAVY == set()
    decode = modules_after_command(["decode", "hello.vq", "back.wav"], tmp_path)
    assert decode & {"torchaudio", "librosa", "vqcodec.recipes.training.train"} == set()


def test_public_names() -> None:
    import vqcodec

    assert set(vqcodec.__all__) <= set(dir(vqcodec))
    for name in vqcodec.__all__:
        assert getattr(vqcodec, name) is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", vqcodec.__version__)
    errors = [getattr(vqcodec, name) for name in vqcodec.__all__]
    errors = [item for item in errors if isinstance(item, type) and issubclass(item, Exception)]
    assert all(issubclass(item, vqcodec.VqcodecError) for item in errors)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vqcodec.nothing  # noqa: B018


def test_every_error_is_public() -> None:
    import vqcodec
    from vqcodec import errors

    defined = {name for name, item in vars(errors).items() if isinstance(item, type)}
    assert defined <= set(vqcodec.__all__)


# What the package carries.


def test_package_data() -> None:
    assert files("vqcodec").joinpath("py.typed").is_file()

    weights = list(files("vqcodec.models").joinpath("weights").iterdir())
    names = {item.name for item in weights}
    assert any(name.endswith(".safetensors") for name in names)
    assert any(name.endswith(".md") for name in names), "the weights need their model card"
    sizes = {item.name: len(item.read_bytes()) for item in weights if item.name.endswith(".safetensors")}
    assert {name: size for name, size in sizes.items() if size > 23_000_000} == {}

    templates = files("vqcodec.recipes.reporting").joinpath("templates").iterdir()
    assert {"page.html", "report.html", "listen.html", "quantizers.html", "charts.js"} <= {
        item.name for item in templates
    }

    configs = files("vqcodec.recipes").joinpath("configs").iterdir()
    recipes = [item for item in configs if item.name.endswith(".toml")]
    assert "speech_16k.toml" in {item.name for item in recipes}
    for recipe in recipes:
        tomllib.loads(recipe.read_text("utf-8"))


def tracked_files() -> list[Path]:
    """The files of the project as git lists them: tracked, or new and not ignored."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_path_of_one_machine() -> None:
    """A path that exists on its author's machine only has no place in the project."""
    private = re.compile(r"(?<![\w.$}~-])/(?:work|root|home|Users)/\w")
    found = []
    for path in tracked_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a sound, weights
        for number, line in enumerate(text.splitlines(), 1):
            if private.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []
