"""Many files: several inputs, folders, several processes, and what exists already."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner, Result

from synthetic import voice
from vqcodec.cli.conversion import crew
from vqcodec.cli.conversion.crew import Convert, Crew, attempt
from vqcodec.cli.conversion.outcomes import News, Outcome
from vqcodec.cli.conversion.places import Conversion
from vqcodec.cli.main import app
from vqcodec.errors import VqcodecError

MODEL = str(Path(__file__).parents[1] / "golden" / "tiny.safetensors")


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="vqcodec")
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    """Two short files of the same folder."""
    paths = [tmp_path / "in" / name for name in ("a.wav", "b.flac")]
    paths[0].parent.mkdir()
    for seed, path in enumerate(paths):
        soundfile.write(path, voice(0.3, seed=seed), 16000)
    return paths


@pytest.fixture
def coded(sounds: list[Path], tmp_path: Path) -> Path:
    """A folder of two .vq files."""
    run("encode", *sounds, "--out", tmp_path / "coded", "--model", MODEL)
    return tmp_path / "coded"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# Several inputs.


def test_several_inputs(sounds: list[Path], tmp_path: Path) -> None:
    (sounds[0].parent / "deep").mkdir()
    soundfile.write(sounds[0].parent / "deep/c.wav", voice(0.2), 16000)
    result = run("encode", *sounds, sounds[0].parent / "deep", "--out", tmp_path / "coded", "--model", MODEL)
    assert result.stderr.startswith("3 files: 0.8 s")
    assert names(tmp_path / "coded") == ["a.vq", "b.vq", "c.vq"]
    run("decode", *(tmp_path / "coded").iterdir(), "--out", tmp_path / "back", "--model", MODEL)
    assert names(tmp_path / "back") == ["a.wav", "b.wav", "c.wav"]


def test_one_input_into_a_folder(sounds: list[Path], tmp_path: Path) -> None:
    run("encode", sounds[0], "--out", tmp_path / "one", "--model", MODEL)
    run("encode", sounds[0], f"{tmp_path}/two/", "--model", MODEL)
    assert names(tmp_path / "one") == names(tmp_path / "two") == ["a.vq"]


def test_peel_takes_folders_and_several_inputs(coded: Path, tmp_path: Path) -> None:
    assert run("peel", coded, tmp_path / "peeled", "--stages", 2).stderr.startswith("2 files: 0.6 s")
    assert names(tmp_path / "peeled") == ["a.vq", "b.vq"]
    run("peel", coded / "a.vq", coded / "b.vq", "--out", tmp_path / "low", "--bitrate", 2)
    assert names(tmp_path / "low") == ["a.vq", "b.vq"]
    assert (tmp_path / "low/a.vq").stat().st_size < (coded / "a.vq").stat().st_size
    assert "name a file to write" in run("peel", coded / "a.vq", "--stages", 1, code=2).stderr


def test_several_inputs_need_a_folder(sounds: list[Path], tmp_path: Path) -> None:
    assert "--out" in run("encode", *sounds, sounds[0], "--model", MODEL, code=2).stderr
    assert "no name" in run("encode", "-", sounds[0], "--out", tmp_path / "x", "--model", MODEL, code=2).stderr
    assert "standard output" in run("encode", *sounds, "--out", "-", "--model", MODEL, code=2).stderr
    assert "is a file" in run("encode", *sounds, "--out", sounds[0], "--model", MODEL, code=1).stderr
    assert names(tmp_path) == ["in/a.wav", "in/b.flac"]


def test_inputs_that_would_overwrite_each_other(sounds: list[Path], coded: Path, tmp_path: Path) -> None:
    twin = tmp_path / "a.flac"
    soundfile.write(twin, voice(0.2), 16000)
    assert "would both become" in run("encode", *sounds, twin, "--out", tmp_path / "x", "--model", MODEL, code=1).stderr
    before = (coded / "a.vq").read_bytes()
    result = run("peel", coded, coded, "--stages", 1, "--force", code=1)
    assert "both an input and an output" in result.stderr
    assert (coded / "a.vq").read_bytes() == before


def test_a_missing_input_does_not_stop_the_others(sounds: list[Path], tmp_path: Path) -> None:
    result = run("encode", *sounds, tmp_path / "none.wav", "--out", tmp_path / "coded", "--model", MODEL, code=1)
    assert "none.wav" in result.stderr and "2 files (1 failed)" in result.stderr
    assert names(tmp_path / "coded") == ["a.vq", "b.vq"]


def test_a_vq_file_is_not_called_a_sound(sounds: list[Path], coded: Path, tmp_path: Path) -> None:
    for name in ("out.mp3", "out.WAV", "out.m4a"):
        error = run("encode", sounds[0], tmp_path / name, "--model", MODEL, code=1).stderr
        assert f"call it {tmp_path / 'out.vq'}" in error and "--out FOLDER" in error
    assert "name of a sound file" in run("encode", *sounds, "--model", MODEL, code=1).stderr  # not over the second
    assert "name of a sound file" in run("peel", coded / "a.vq", tmp_path / "b.wav", "--stages", 1, code=1).stderr
    run("encode", sounds[0], tmp_path / "out.bin", "--model", MODEL)
    assert names(tmp_path) == ["coded/a.vq", "coded/b.vq", "in/a.wav", "in/b.flac", "out.bin"]


def test_a_format_and_a_name_that_disagree(coded: Path, tmp_path: Path) -> None:
    result = run("decode", coded / "a.vq", tmp_path / "a.wav", "--format", "mp3", "--model", "none", code=1)
    assert f"call it {tmp_path / 'a.mp3'}" in result.stderr  # before a model is looked for


# What exists already.


def test_skip_existing_does_only_what_is_missing(coded: Path, sounds: list[Path], tmp_path: Path) -> None:
    (coded / "a.vq").unlink()
    (coded / "b.vq").write_text("precious")
    error = run("encode", sounds[0].parent, coded, "--model", MODEL, code=1).stderr
    assert "1 of 2" in error and "--skip-existing" in error
    result = run("encode", sounds[0].parent, coded, "--skip-existing", "--model", MODEL)
    assert result.stderr.startswith("1 file (1 skipped): 0.3 s")
    assert (coded / "b.vq").read_text() == "precious"
    assert run("encode", sounds[0].parent, coded, "--skip-existing", "--model", MODEL).stderr.startswith(
        "0 files (2 skipped)"
    )
    assert "1 skipped" in run("encode", sounds[0], coded / "b.vq", "--skip-existing", "--model", MODEL).stderr
    assert (coded / "b.vq").read_text() == "precious"
    run("encode", sounds[0].parent, coded, "--skip-existing", "--force", "--model", MODEL, code=2)


# Several processes.


@dataclass(frozen=True)
class Copying:
    """Copies files; a name with "kill" in it kills the process, one with "bad" cannot be copied."""

    def open(self) -> Convert:
        return copy


def copy(file: Conversion, progress: Callable[[float], None]) -> Outcome:
    if "bad" in file.source:
        raise VqcodecError(f"{file.source}: not to be copied")
    if "kill" in file.source:
        os.kill(os.getpid(), signal.SIGKILL)
    progress(0.5)
    Path(file.target).write_text(f"{Path(file.source).read_text()} by {os.getpid()}")
    return Outcome(1.0, 1)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers are called in at once."""
    monkeypatch.setattr(crew, "STARTUP_S", 0.0)


def files_of(folder: Path, *stems: str) -> list[Conversion]:
    (folder / "out").mkdir()
    for stem in stems:
        (folder / stem).write_text(stem)
    return [Conversion(str(folder / stem), str(folder / "out" / stem)) for stem in stems]


def by_helpers(files: list[Conversion], jobs: int = 2) -> list[News]:
    """What is reported where helpers do all the work."""
    found: list[News] = []
    with Crew(files, Copying(), jobs) as them:
        found += them.news()
        until = time.monotonic() + 120
        while sum(news.outcome is not None or news.failure is not None for news in found) < len(files):
            assert time.monotonic() < until
            found += them.news()
    return found


@pytest.mark.usefixtures("at_once")
def test_helpers_do_files_and_report(tmp_path: Path) -> None:
    files = files_of(tmp_path, "one", "two", "bad", "three")
    ended = {news.place: news for news in by_helpers(files, jobs=3) if news.outcome or news.failure}
    assert [ended[place].failure is None for place in range(4)] == [True, True, False, True]
    assert ended[2].failure is not None and "not to be copied" in ended[2].failure
    assert names(tmp_path / "out") == ["one", "three", "two"]
    assert str(os.getpid()) not in (tmp_path / "out/one").read_text()


@pytest.mark.usefixtures("at_once")
def test_a_helper_that_dies_fails_one_file(tmp_path: Path) -> None:
    files = files_of(tmp_path, "kill", "two", "three")
    with Crew(files, Copying(), 2) as them:
        found = list(them.news())
        until = time.monotonic() + 120
        while not any(news.failure for news in found) and time.monotonic() < until:
            found += them.news()
        assert ["died" in (news.failure or "") for news in found] == [True]
        while (place := them.take()) is not None:
            found.append(attempt(place, files[place], copy, lambda done_s: None))
        assert not them.waits()
    assert names(tmp_path / "out") == ["three", "two"]


def test_few_files_need_no_help(tmp_path: Path) -> None:
    files = files_of(tmp_path, "one", "two")
    with Crew(files, Copying(), 8) as them:
        while (place := them.take()) is not None:
            assert list(them.news()) == []
            attempt(place, files[place], copy, lambda done_s: None)
        assert them._helpers == []
    assert {Path(file.target).read_text().split()[-1] for file in files} == {str(os.getpid())}


@pytest.mark.usefixtures("at_once")
def test_many_processes_give_what_one_gives(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(6):
        soundfile.write(tmp_path / f"in/{number}.wav", voice(8.0, seed=number), 16000)
    (tmp_path / "in/broken.wav").write_text("no sound")
    run("encode", tmp_path / "in", tmp_path / "serial", "--jobs", 1, "--model", MODEL, code=1)
    result = run("encode", tmp_path / "in", tmp_path / "parallel", "--jobs", 3, "--model", MODEL, code=1)
    assert "broken.wav" in result.stderr and "6 files (1 failed): 48.0 s" in result.stderr
    for name in names(tmp_path / "serial"):
        assert (tmp_path / "serial" / name).read_bytes() == (tmp_path / "parallel" / name).read_bytes()
    assert len(names(tmp_path / "parallel")) == 6


PROGRAM = """
from vqcodec.cli.conversion import crew
crew.STARTUP_S = 0.0
if __name__ == "__main__":
    from vqcodec.cli.main import main
    main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_processes_leave_nothing_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    (tmp_path / "in").mkdir()
    ten_seconds = voice(10.0)
    for name in ("a", "b", "c"):
        with soundfile.SoundFile(tmp_path / f"in/{name}.wav", "w", 16000, 1, "PCM_16") as file:
            for _ in range(240):
                file.write(ten_seconds)
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), "encode", str(tmp_path / "in"), str(tmp_path / "out")]
    with subprocess.Popen([*command, "--jobs", "2", "--model", MODEL], stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 120
        while len(list(tmp_path.glob("out/.*.part"))) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(list(tmp_path.glob("out/.*.part"))) == 2  # both are at work
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors.decode()
    assert b"Traceback" not in errors
    assert list((tmp_path / "out").iterdir()) == []
