"""`vqcodec tokenize` and `vqcodec detokenize`, from a corpus to codes and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile as sf
from click.testing import Result
from typer.testing import CliRunner

from synthetic import voice
from vqcodec.cli.main import app
from vqcodec.recipes.tokenization import plan

TINY = Path(__file__).parents[1] / "golden" / "tiny.safetensors"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    for seed in range(4):
        sf.write(tmp_path / "corpus" / f"{seed}.wav", voice(1.0, seed=seed), 16_000)
    return tmp_path / "corpus"


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(app, [command, "--model", str(TINY), "--device", "cpu", *map(str, arguments)])


def tokenize(corpus: Path, out: Path, *more: object) -> Result:
    return run("tokenize", corpus, "--out", out, "--format", "wds", "--part-items", 1, "--jobs", 1, *more)


def test_there_and_back(corpus: Path, tmp_path: Path) -> None:
    (corpus / "broken.wav").write_bytes(b"nothing")
    out = tmp_path / "out"
    done = tokenize(corpus, out, "--stages", 2)
    assert done.exit_code == 0, done.output
    assert "items: 5, parts: 5" in done.stderr and "100 %  4 s done, 0 s left" in done.stderr
    assert "items without codes: 1" in done.stderr
    assert json.loads((out / "failed.jsonl").read_text())["id"] == "broken"
    back = run("detokenize", out, "--out", tmp_path / "back", "--format", "flac")
    assert back.exit_code == 0 and "4 files" in back.stderr, back.output
    sounds = sorted((tmp_path / "back").rglob("*.flac"))
    assert [path.name[10:] for path in sounds] == [f"{name}.flac" for name in range(4)]
    assert {sf.info(path).frames for path in sounds} == {16_000}


def test_goes_on_with_the_parts_that_are_missing(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "parts made: 2" in tokenize(corpus, out, "--shard", "0/2").stderr
    (tmp_path / "out" / "data" / "part-000002.tar").unlink()
    first = tmp_path / "out" / "data" / "part-000000.tar"
    written = first.stat().st_mtime_ns
    done = tokenize(corpus, out)
    assert "going on: 1 of 4 parts" in done.stderr and "parts made: 3" in done.stderr
    assert first.stat().st_mtime_ns == written
    assert "parts made: 0" in tokenize(corpus, out).stderr


def test_other_settings_are_refused_in_a_line(corpus: Path, tmp_path: Path) -> None:
    assert tokenize(corpus, tmp_path / "out", "--stages", 2, "--plan-only").exit_code == 0
    assert not (tmp_path / "out" / "data").exists()
    done = tokenize(corpus, tmp_path / "out", "--stages", 1)
    assert done.exit_code == 1
    assert "was planned with stages 2, not 1" in done.stderr and done.stderr.count("\n") == 1


def test_the_plan_says_what_it_is_made_of(corpus: Path, tmp_path: Path) -> None:
    tokenize(corpus, tmp_path / "out", "--plan-only", "--quiet")
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert content["inputs"] == [[str(corpus)]]
    assert content["settings"]["form"] == "wds" and len(content["settings"]["fingerprint"]) == 64
    assert plan.read(tmp_path / "out").items == 4


@pytest.mark.parametrize("shard", ["1", "2/2", "-1/2", "a/b", "0/0"])
def test_shards_that_are_none(corpus: Path, tmp_path: Path, shard: str) -> None:
    done = tokenize(corpus, tmp_path / "out", "--shard", shard)
    assert done.exit_code == 2 and not (tmp_path / "out").exists()


def test_wrong_arguments(corpus: Path, tmp_path: Path) -> None:
    assert tokenize(corpus, tmp_path / "out", "--stages", 1, "--bitrate", 1).exit_code == 2
    assert tokenize(corpus, tmp_path / "out", "--address", "auto").exit_code == 2
    assert run("detokenize", corpus, "--out", tmp_path / "back").exit_code == 1
    assert run("detokenize", tmp_path / "gone", "--out", tmp_path / "back").exit_code == 1
    assert run("detokenize", corpus, "--out", tmp_path / "back", "--format", "doc").exit_code == 2
