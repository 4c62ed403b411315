"""How training looks, on a terminal and in a log."""

import io
import sys

import pytest

from vqcodec.cli.terminal import messages, metric_names, progress, tables, training
from vqcodec.cli.terminal.metric_names import in_words
from vqcodec.cli.terminal.training import Clock, LiveDisplay, PlainDisplay, clock_time, training_display
from vqcodec.recipes.config import LossConfig
from vqcodec.recipes.training.adversary.adversary import METRICS as METRICS_OF_ADVERSARY
from vqcodec.recipes.training.validation import SCORES

METRICS = {"signed": 0.123, "mel": 1.25, "loss": 4.5, "audio_s_per_s": 25.3, "data_share": 0.02}


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Not a fixture: pytest puts its own standard error in place between the fixtures and the test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return stream


def test_clock_time() -> None:
    assert [clock_time(s) for s in (0, 59.6, 3723, 360000)] == ["0:00:00", "0:01:00", "1:02:03", "100:00:00"]


def test_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([1000.0, 1010.0, 1030.0])
    monkeypatch.setattr(training.time, "monotonic", lambda: next(now))
    clock = Clock()
    assert clock.remaining(100, 200) == "?"  # a resumed run: the first 100 steps took no time here
    assert clock.remaining(110, 200) == "0:01:30"
    assert clock.remaining(130, 200) == "0:01:10"


def test_a_line_an_update(capsys: pytest.CaptureFixture[str]) -> None:
    with training_display() as shown:
        assert isinstance(shown, PlainDisplay)
        shown.message("8 M parameters")
        shown.update(20, 1000, METRICS, [])
        shown.update(40, 1000, METRICS, [500.4, 600.0])
        shown.validation(40, {"si_sdr": 3.25})
    output = capsys.readouterr()
    assert output.out == ""
    message, first, second, scores = output.err.splitlines()
    assert message == "8 M parameters"
    assert first.startswith(
        "step 20/1000, signed error 0.123, mel distance 1.25, total loss 4.5, speed 25.3 s of audio per s"
    )
    assert "perplexity" not in first
    assert "perplexity 500 600" in second and "remaining 0:" in second
    assert scores == "step 40, held-out files: SI-SDR 3.25 dB"


def test_a_panel_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with training_display() as shown:
        assert isinstance(shown, LiveDisplay)
        shown.message("[8 M] parameters")
        shown.update(20, 1000, METRICS, [500.4, 600.0])
        shown.validation(20, {"si_sdr": 3.25})
    text = terminal.getvalue()
    for words in (
        "[8 M] parameters",
        "step 20/1000",
        "25 s of audio per s",
        "2% waiting",
        "signed",
        "4.5",
        "perplexity",
        "SI-SDR 3.25 dB",
    ):
        assert words in text


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with progress.bar(10.0, quiet=False) as update:
        update(5.0, "half [way]")
    assert "50 %" in terminal.getvalue() and "half [way]" in terminal.getvalue()


def test_no_bar_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar(10.0, quiet=False) as update:
        update(5.0, "half way")
    assert capsys.readouterr() == ("", "")


def test_no_bar_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with progress.bar(10.0, quiet=True) as update:
        update(5.0, "half way")
    assert terminal.getvalue() == ""


HOSTILE = "a\x1b[31m\x1b]0;owned\x07\u202e\x9b2Jb\nvqcodec: all is well\udcff"


def test_names_cannot_command_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert messages.printable("Zoë – 日本 'x'") == "Zoë – 日本 'x'"
    for tell in (messages.say, messages.note, messages.error, PlainDisplay().message):
        tell(HOSTILE)
        told = capsys.readouterr().err
        assert r"\x1b[31m\x1b]0;owned\x07\u202e\x9b2Jb" in told
        assert told.count("\n") == 1 and told[:-1].isprintable()
    messages.show(f"{HOSTILE}\n  second line")
    assert "\x1b" not in capsys.readouterr().out
    tables.show_results(("file", "x"), [(HOSTILE, "1")], [("score", ["2"])], 10)
    assert r"a\x1b[31m" in (shown := capsys.readouterr().out) and "\x1b" not in shown
    terminal = on_terminal(monkeypatch)
    with training_display() as display:
        display.message(HOSTILE)
    with progress.bar(10.0, quiet=False) as update:
        update(5.0, HOSTILE)
    assert r"a\x1b[31m" in terminal.getvalue() and "\x1b[31m" not in terminal.getvalue()
    assert "\x1b]0;" not in terminal.getvalue()


def test_every_metric_has_a_name_and_a_unit() -> None:
    assert in_words("mel@2", 1.25) == ("mel distance with 2 stages", "1.25")
    assert in_words("mel@1", 1.25) == ("mel distance with 1 stage", "1.25")
    assert in_words("si_sdr@0", -3.0) == ("SI-SDR without codes", "-3 dB")
    assert in_words("data_share", 0.25) == ("waiting for data", "25%")
    logged = {*LossConfig.model_fields, *SCORES, *METRICS, *METRICS_OF_ADVERSARY, "gradient_norm", "skipped"}
    settings = {"signed_final", "signed_focus", "draws", "sparse_rho", "schedule_start", "schedule_steps"}
    assert logged - settings <= set(metric_names._WORDS)
    assert all("_" not in words for words, _ in metric_names._WORDS.values())


def test_lines_instead_of_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar(2.0, quiet=False, lines=True) as update:
        for done, text in [(0.0, "first"), (0.1, "first"), (0.2, "first"), (0.21, "second"), (2.0, "second")]:
            update(done, text)
    assert capsys.readouterr().err.splitlines() == ["  0 %  first", " 10 %  first", " 10 %  second", "100 %  second"]
    with progress.bar(2.0, quiet=True, lines=True) as update:
        update(1.0, "first")
    assert capsys.readouterr().err == ""
