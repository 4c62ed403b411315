"""The Ray engine: the same bytes as the local one, also when a worker dies in the middle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf

from synthetic import voice

pytest.importorskip("ray", reason="Ray is not installed")

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"

KILLED_ONCE = """
import os, signal, sys
from pathlib import Path
from vqcodec.recipes.tokenization import local, on_ray, plan
from vqcodec.recipes.tokenization.job import Job

class Frail(on_ray._Maker):
    def __call__(self, rows):
        if 3 in rows["part"].tolist() and not DIED.exists():
            DIED.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(rows)

corpus, model, out = map(Path, sys.argv[1:])
DIED = out / "died"
out.mkdir()
settings = plan.Settings(FINGERPRINT, "float32", 2, 1, "wds", 3600.0, 1)
jobs = {name: Job(plan.make(out / name, [corpus], settings), str(model), "cpu") for name in ("local", "ray")}
for _ in local.run(jobs["local"], jobs["local"].missing(), 1, lambda done_s: None):
    pass
on_ray._Maker = Frail
outcomes = list(on_ray.run(jobs["ray"], jobs["ray"].missing(), 2, None))
assert DIED.exists()
assert sorted(outcome.part.number for outcome in outcomes) == list(range(8)), outcomes
"""


def test_a_worker_that_dies_costs_nothing(tmp_path: Path) -> None:
    from vqcodec import Codec

    corpus, out = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    for seed in range(8):
        sf.write(corpus / f"{seed}.wav", voice(0.5, seed=seed), 16_000)
    (corpus / "5.wav").write_bytes(b"nothing")
    script = KILLED_ONCE.replace("FINGERPRINT", repr(Codec.load(TINY, "cpu").fingerprint))
    done = subprocess.run([sys.executable, "-c", script, corpus, TINY, out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("data", "failed"):
        expected = {path.name: path.read_bytes() for path in (out / "local" / name).iterdir()}
        found = {path.name: path.read_bytes() for path in (out / "ray" / name).iterdir()}
        assert {path: found[path] for path in expected} == expected
        assert all(".vqcodec-" in path for path in found.keys() - expected.keys())
    assert len(list((out / "ray" / "data").glob("part-*"))) == 8


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", voice(0.5), 16_000)
    command = [sys.executable, "-m", "vqcodec", "tokenize", tmp_path / "a.wav", "--out", tmp_path / "out"]
    command += ["--model", TINY, "--format", "npy", "--engine", "ray", "--address", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("vqcodec: error: no Ray cluster at nonsense")
