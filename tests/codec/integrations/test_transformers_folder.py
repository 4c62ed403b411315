"""A folder for transformers loads where there is no vqcodec, and codes as vqcodec does."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import synthetic
from vqcodec import Codec
from vqcodec.cli.main import app

try:
    from vqcodec.integrations.transformers import folder as folders
except (ImportError, OSError) as error:  # OSError: a torchaudio of another build than torch, which transformers imports
    pytest.skip(f"transformers cannot be imported: {error}", allow_module_level=True)

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"

SCRIPT = """
import sys

sys.modules["vqcodec"] = None  # to import it is an error

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModel

folder, sounds, results = sys.argv[1:]
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
extract = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
with np.load(sounds) as file:
    inputs = extract([file[name] for name in file], sampling_rate=16_000, return_tensors="pt")
found = model(**inputs)
model.save_pretrained(folder + "-again")
again = AutoModel.from_pretrained(folder + "-again", trust_remote_code=True)(**inputs)
assert torch.equal(again.audio_codes, found.audio_codes)
assert not {name for name in sys.modules if name.startswith("vqcodec.")}
np.savez(results, codes=found.audio_codes, sound=found.audio_values)
"""


def test_it_codes_alike_without_vqcodec(tmp_path: Path) -> None:
    model, sounds, results = tmp_path / "model", tmp_path / "sounds.npz", tmp_path / "results.npz"
    done = CliRunner().invoke(app, ["export", "--transformers", str(model), "--model", str(TINY)])
    assert done.exit_code == 0, done.output
    items = [synthetic.voice(1.0, seed=seed)[:length] for seed, length in enumerate((16_000, 1, 5_000))]
    np.savez(sounds, *items)
    places = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", SCRIPT, model, sounds, results]
    ran = subprocess.run(command, cwd=tmp_path, env={**os.environ, **places}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr

    codec = Codec.load(TINY, "cpu", "float32")
    expected = codec.encode_batch([torch.from_numpy(item) for item in items], stages=codec.num_stages)
    with np.load(results) as file:
        assert np.array_equal(file["codes"], expected.codes[:, 0])
        assert np.array_equal(file["sound"], codec.decode_batch(expected).waveforms)


def test_the_code_of_the_folder() -> None:
    sources = folders.sources()
    assert {"configuration_vqcodec", "modeling_vqcodec", "feature_extraction_vqcodec"} < set(sources)
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source, name)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1
                wanted = {node.module} if node.module else {alias.name for alias in node.names}
                assert wanted <= set(sources)
            elif isinstance(node, ast.ImportFrom | ast.Import):
                modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                others = {str(module).partition(".")[0] for module in modules} - sys.stdlib_module_names
                assert others <= {"torch", "numpy", "transformers"}, (name, others)


def test_what_the_folder_says(tmp_path: Path) -> None:
    folders.write_folder(Codec.load(TINY, "cpu", "float32").model, tmp_path / "new")
    for name in ("config.json", "preprocessor_config.json"):
        facts = json.loads((tmp_path / "new" / name).read_text("utf-8"))
        for target in facts["auto_map"].values():
            file, _, of_class = target.partition(".")
            assert f"class {of_class}(" in (tmp_path / "new" / f"{file}.py").read_text("utf-8")


def test_wrong_commands(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for arguments, code, words in (
        (["--transformers", str(tmp_path / "full")], 1, "--force"),
        (["--transformers", str(tmp_path / "file")], 1, "is a file"),
        (["--transformers", str(tmp_path / "none" / "new")], 1, "not a folder"),
        (["--transformers", str(tmp_path / "new"), "--model", "nothing"], 1, "nothing"),
        (["--transformers", str(tmp_path / "new"), "--best"], 2, "not a run"),
        (["run", "--transformers", str(tmp_path / "new")], 2, "not a run"),
        (["run"], 2, "a file to write"),
        (["run", "out.safetensors", "--model", str(TINY)], 2, "--transformers"),
    ):
        done = CliRunner().invoke(app, ["export", *arguments])
        assert done.exit_code == code, (arguments, done.output)
        assert words in (str(done.exception) + done.output), (arguments, done.output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]
