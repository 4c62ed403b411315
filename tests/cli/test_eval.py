"""`vqcodec eval` as its users type it."""

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lives import model as small_model
from typer.testing import CliRunner, Result

from synthetic import voice
from vqcodec.cli.main import app
from vqcodec.cli.terminal.tables import show_narrow
from vqcodec.models import checkpoint

MODEL = Path(__file__).parents[1] / "golden" / "tiny.safetensors"
LISTENERS = {"ann": 0.0, "bob": 4.0}
"""How much higher each of them scores than the system's place in the alphabet would say."""


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)], prog_name="vqcodec")
    assert result.exit_code == code, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit | None)
    return result


def needs_reports() -> None:
    for package in ("jinja2", "matplotlib", "plotly"):
        pytest.importorskip(package, reason="the eval extra is not installed")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(2):
        soundfile.write(folder / f"{number}.wav", voice(1.5, 16000, seed=number), 16000)
    (folder / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    return folder


@pytest.fixture(scope="module")
def report(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_reports()
    out = tmp_path_factory.mktemp("eval") / "report"
    options = ("--model", MODEL, "--bitrates", "0.1,4", "--scores", "si_sdr,lsd", "--baseline", "band:3")
    result = run("--data", recordings, "--out", out, *options, "--listen", "--jobs", 1, "--wide")
    (out / "stdout.txt").write_text(result.stdout, encoding="utf-8")
    (out / "stderr.txt").write_text(result.stderr, encoding="utf-8")
    return out


def test_the_table_has_a_line_a_codec(report: Path) -> None:
    lines = (report / "stdout.txt").read_text(encoding="utf-8").splitlines()
    heading = next(line for line in lines if "kbit/s" in line)
    assert [word in heading for word in ("SI-SDR", "LSD", "encode", "decode")] == [True] * 4
    titles = [line.split("  ")[1] for line in lines[lines.index(heading) + 2 :] if line.strip()]
    summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    assert titles == [f"{one['system']['codec']} {one['system']['setting']}".strip() for one in summary["systems"]]
    assert "100 ±0" in lines[lines.index(heading) + 2]


def test_a_narrow_table_fits_every_terminal(recordings: Path, report: Path) -> None:
    options = ("--model", MODEL, "--bitrates", "0.1,4", "--scores", "si_sdr,lsd", "--baseline", "band:3")
    result = run("--data", recordings, "--out", report, *options, "--jobs", 1)
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "SI-SDR" in result.stdout and "100 " in result.stdout and "±" not in result.stdout


def test_what_does_not_fit_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [(f"score {number}", [f"{number}.25", "–"]) for number in range(12)]
    rows = [("a codec with quite a long name, 1.5 kbit/s", "1.48"), ("b", "1")]
    left_out = show_narrow(("codec", "kbit/s"), rows, columns)
    lines = capsys.readouterr().out.splitlines()
    assert 70 < max(map(len, lines)) <= 80
    assert "score 0" in lines[1] and left_out and left_out[-1] == "score 11"
    assert all(heading not in lines[1] for heading in left_out)
    assert len(left_out) + sum(f"score {number}" in lines[1] for number in range(2, 12)) == 12 - 2


def test_what_cannot_be_read_is_named(report: Path) -> None:
    assert "skipped broken.flac: " in (report / "stderr.txt").read_text(encoding="utf-8")


def test_everything_is_written(report: Path) -> None:
    for name in ("report.html", "listen.html", "listen_key.json", "results.csv", "results.jsonl", "summary.json"):
        assert (report / name).stat().st_size > 0


def test_only_the_sounds_in_the_report_are_kept(recordings: Path, report: Path) -> None:
    kept = {path.parent.name for path in report.glob("audio/**/*.flac") if path.is_file()}
    assert kept == {"0.wav", "1.wav"}  # there are fewer files than the report has room for


def test_a_listening_test_leaves_ceilings_out(report: Path) -> None:
    systems = json.loads((report / "listen_key.json").read_text(encoding="utf-8"))["systems"]
    assert len(systems) == 4
    assert systems.keys() >= {"reference", "anchor-3500"}
    assert "band-3" not in systems


def test_the_results_of_a_listening_test(report: Path, tmp_path: Path) -> None:
    key = json.loads((report / "listen_key.json").read_text(encoding="utf-8"))
    place = {name: number for number, name in enumerate(sorted(key["systems"]))}
    sheets = [sheet(tmp_path / f"{name}.csv", name, key, place, more) for name, more in LISTENERS.items()]
    result = run("--score", *sheets, "--out", report)
    scores = json.loads((report / "listen_scores.json").read_text(encoding="utf-8"))
    means = {one["name"]: one["mean"] for one in scores["systems"]}
    expected = {name: 92.0 if name == "reference" else 20.0 * number + 2.0 for name, number in place.items()}
    assert means == pytest.approx(expected)
    assert f"{expected['reference']:.1f}" in result.stdout
    assert "2 listeners, 2 files" in result.stderr


def sheet(path: Path, listener: str, key: dict[str, object], place: dict[str, int], more: float) -> Path:
    """What the page hands out, filled in."""
    from vqcodec.recipes.listening.scores import COLUMNS

    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number, trial in enumerate(key["trials"], start=1):  # type: ignore[var-annotated, arg-type]
            for order, (opaque, system) in enumerate(trial["conditions"].items(), start=1):
                score = (90.0 if system == "reference" else 20.0 * place[system]) + more
                row = [listener, number, trial["name"], opaque, score, 9.5, order, key["test"], key["page_version"]]
                table.writerow(row)
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "--data"),
        (("--data", "{data}"), 2, "--out"),
        (("--data", "{data}", "--out", "{out}", "--bitrates", "high"), 2, "--bitrates"),
        (("--data", "{data}", "--out", "{out}", "--bitrates", "-3"), 2, "--bitrates"),
        (("--data", "{data}/nowhere", "--out", "{out}"), 1, "not a folder"),
        (("--data", "{data}", "--out", "{out}", "--scores", "beauty"), 1, "unknown score 'beauty'"),
        (("--data", "{data}", "--out", "{out}", "--baseline", "opsu"), 1, "opus"),
        (("--data", "{data}", "--out", "{out}", "--model", "nobody"), 1, "unknown model 'nobody'"),
        (("--score", "{data}/0.wav", "--out", "{out}"), 1, "key of the listening test"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: tuple[str, ...], code: int, words: str, recordings: Path, tmp_path: Path
) -> None:
    given = [one.format(data=recordings, out=tmp_path / "out") for one in arguments]
    result = run(*given, code=code)
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_another_folder_is_left_alone(recordings: Path) -> None:
    needs_reports()
    before = sorted(recordings.iterdir())
    result = run("--data", recordings, "--out", recordings, "--scores", "si_sdr", code=1)
    assert "something other than an evaluation" in result.stderr
    assert sorted(recordings.iterdir()) == before


def test_what_the_report_lacks_is_said_before_the_work(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    result = run("--data", recordings, "--out", tmp_path / "out", "--model", MODEL, "--scores", "si_sdr", code=1)
    assert "matplotlib" in result.stderr or "jinja2" in result.stderr
    assert not (tmp_path / "out").exists()


def test_silence_has_scores_where_they_are_defined(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 16000)
    options = ("--model", MODEL, "--bitrates", "4", "--scores", "si_sdr,lsd", "--jobs", 1)
    needs_reports()
    run("--data", tmp_path, "--out", tmp_path / "out", *options)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert [sorted(one["scores"]) for one in summary["systems"]] == [["lsd"], ["lsd"]]
    assert any("si_sdr: undefined for 1 of 1" in note for note in summary["notes"])


def test_under_loss(recordings: Path, tmp_path: Path) -> None:
    needs_reports()
    model = tmp_path / "small.safetensors"
    checkpoint.save(model, small_model(), {"steps": 1}, ["00" * 32], ["pesq_wb"])
    trace = tmp_path / "trace.txt"
    trace.write_text("0001")
    options = ("--model", model, "--bitrates", "1.2", "--scores", "lsd", "--baseline", "speex", "--jobs", 1)
    losses = ("--loss", "10,5:60", "--loss-trace", trace, "--redundancy", "none,2x1")
    result = run("--data", recordings, "--out", tmp_path / "report", *options, *losses)
    summary = json.loads((tmp_path / "report" / "summary.json").read_text(encoding="utf-8"))
    names = [one["system"]["name"] for one in summary["systems"]]
    assert len(names) == 1 + 3 * 2 and names[1].startswith("live_small-1.2-loss10")
    assert "only opus" in result.stderr
    assert "lost after trace.txt" in result.stdout
    for wrong in (("--loss", "x"), ("--loss-trace", tmp_path / "missing"), ("--loss", "5", "--redundancy", "9x9")):
        run("--data", recordings, "--out", tmp_path / "other", *options, *wrong, code=1)
