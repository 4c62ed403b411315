"""`vqcodec play` and `decode --play`, with a stand-in for sounddevice."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from synthetic import voice
from vqcodec import Codec
from vqcodec.cli.main import app

MODEL = str(Path(__file__).parents[1] / "golden" / "tiny.safetensors")
CODEC = Codec.load(MODEL, "cpu")


class PortAudioError(Exception):
    """As that of sounddevice."""


class OutputStream:
    """A loudspeaker that keeps what it is given."""

    heard: list[dict[str, Any]]
    missing = False

    def __init__(self, samplerate: int, channels: int, dtype: str) -> None:
        if self.missing:
            raise PortAudioError("Error querying device -1")
        self.facts: dict[str, Any] = {"rate": samplerate, "channels": channels, "dtype": dtype, "blocks": []}
        self.heard.append(self.facts)

    def __enter__(self) -> "OutputStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.facts["closed"] = True

    def write(self, block: Any) -> None:
        assert block.flags.c_contiguous and block.dtype == np.float32
        self.facts["blocks"].append(block)

    def stop(self) -> None:
        self.facts["whole"] = True


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was played, one entry a sound."""
    module: Any = ModuleType("sounddevice")
    module.OutputStream, module.PortAudioError = OutputStream, PortAudioError
    monkeypatch.setattr(OutputStream, "heard", [], raising=False)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return OutputStream.heard


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    CODEC.encode(np.stack([voice(6.0), voice(6.0, seed=1)])).save(tmp_path / "talk.vq")
    return tmp_path / "talk.vq"


def run(*arguments: object, code: int = 0, input: bytes | None = None) -> Result:
    result = CliRunner().invoke(app, [*map(str, arguments), "--model", MODEL], input=input, prog_name="vqcodec")
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.mark.parametrize("command", [["play"], ["decode", "--play"]])
def test_what_is_heard(command: list[str], talk: Path, heard: list[dict[str, Any]]) -> None:
    assert run(*command, talk, talk).output == ""
    assert len(heard) == 2
    for sound in heard:
        assert (sound["rate"], sound["channels"]) == (16000, 2)
        assert sound["whole"] and sound["closed"]
        np.testing.assert_array_equal(np.concatenate(sound["blocks"]).T, CODEC.decode(talk))
    assert list(talk.parent.iterdir()) == [talk]


def test_options_and_standard_input(talk: Path, heard: list[dict[str, Any]]) -> None:
    run("play", "-", "--rate", 8000, "--stages", 2, input=talk.read_bytes())
    expected = CODEC.decode(talk, sample_rate=8000, stages=2)
    np.testing.assert_array_equal(np.concatenate(heard[0]["blocks"]).T, expected)
    assert heard[0]["rate"] == 8000


def test_a_damaged_file_is_played_up_to_there(talk: Path, heard: list[dict[str, Any]]) -> None:
    talk.write_bytes(talk.read_bytes()[:-30])
    assert "cut short" in run("play", talk, code=1).stderr
    assert "is damaged" in run("play", talk, "--salvage").stderr
    assert heard[-1]["whole"]


def test_nothing_is_written_while_playing(talk: Path, heard: list[dict[str, Any]]) -> None:
    result = run("decode", "--play", talk, "--out", talk.parent, "--format", "wav", code=2)
    assert "leave out --out, --format" in " ".join(result.stderr.split())
    assert "is empty" in run("play", "", code=2).stderr
    assert heard == []


def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)


def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OutputStream, "missing", True)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(
    ("lack", "words"),
    [
        (no_package, "pip install 'vqcodec[play]'"),
        (no_library, "apt install libportaudio2"),
        (no_device, "is there a sound device?"),
    ],
)
def test_what_is_missing_is_one_line(
    lack: Callable[[pytest.MonkeyPatch], None], words: str, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lack(monkeypatch)
    result = run("play", talk, code=1)
    [line] = result.stderr.splitlines()
    assert line.startswith("vqcodec: error: ") and words in line
