"""`vqcodec quantizers` as its users type it."""

import sys
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner, Result

from synthetic import voice
from vqcodec.cli.main import app

MODEL = Path(__file__).parents[1] / "golden" / "tiny.safetensors"


@pytest.fixture(autouse=True)
def report_packages() -> None:
    for package in ("jinja2", "matplotlib", "plotly"):
        pytest.importorskip(package, reason="the eval extra is not installed")


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["quantizers", *map(str, arguments)], prog_name="vqcodec")
    assert result.exit_code == code, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit | None)
    return result


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(4):
        soundfile.write(folder / f"{number}.wav", voice(1.5, 16000, seed=number), 16000)
    return folder


def test_a_table_and_a_report(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    options = ("--data", recordings, "--out", out, "--model", MODEL, "--kinds", "scalar,lattice,kmeans", "--no-scores")
    result = run(*options, "--bits", "4,16", "--jobs", 1)
    lines = [line.strip().partition("  ")[0] for line in result.stdout.splitlines() if line.strip()]
    assert lines[0] == "quantizer"
    titles = ["scalar, uniform", "scalar, Lloyd-Max", "k-means", "lattice Z", "lattice D4", "lattice E8"]
    assert list(dict.fromkeys(lines[2:])) == titles
    assert "k-means: left out at 16 bits" in result.stderr
    assert "Who speaks is not known" in result.stderr
    assert f"report: {out / 'report.html'}" in result.stderr
    for name in ("report.html", "results.csv", "results.json", "results.jsonl", "latents.safetensors"):
        assert (out / name).stat().st_size > 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--bits", "ten"), 2, "bits are whole numbers"),
        (("--bits", "0"), 1, "0 bits a vector are not between 1 and 4096"),
        (("--kinds", "none"), 1, "unknown quantizer 'none'"),
        (("--minutes", "-1"), 1, "minutes is -1.0, not a positive number"),
        (("--fit", "nowhere"), 1, "nowhere: no such folder"),
        (("--model", "nothing"), 1, "unknown model 'nothing'"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    recordings: Path, tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    given = ("--data", recordings, "--out", tmp_path / "report", "--model", MODEL, "--no-scores")
    assert words in " ".join(run(*given, *options, code=code).stderr.split())
    assert not (tmp_path / "report").exists()


def test_data_and_out_must_be_named(recordings: Path) -> None:
    assert "--out" in run("--data", recordings, code=2).stderr
    assert "--data" in run("--out", "x", code=2).stderr


def test_what_a_report_needs_is_asked_for_before_the_work(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    text = run("--data", recordings, "--out", tmp_path / "report", "--model", MODEL, code=1).stderr
    assert "a report needs the package plotly: pip install 'vqcodec[eval]'" in " ".join(text.split())
    assert not (tmp_path / "report").exists()
