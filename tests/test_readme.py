"""The README's commands and code are real: they are what CI runs, and they do what they say."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vqcodec.models import registry

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the README is not beside the tests")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_ci_runs_the_commands_of_the_set_up() -> None:
    script = ROOT / ".ci" / "run"
    if not script.is_file():
        pytest.skip("no CI script beside the tests")
    text = script.read_text(encoding="utf-8")
    for command in ("pip install .\n", "vqcodec encode examples/hello.wav", "pip install '.[dev]'", "python -m pytest"):
        assert command in text
        assert command.strip() in README.read_text(encoding="utf-8")


def test_python_example(monkeypatch: pytest.MonkeyPatch) -> None:
    if registry.DEFAULT not in registry.names():
        pytest.skip("no trained weights in this build")
    (example,) = blocks("python")
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    exec(example, names)
    waveform = names["waveform"]
    assert waveform.shape == (1, names["encoded"].num_samples)  # type: ignore[attr-defined]


def test_every_command_shown_exists() -> None:
    from vqcodec.cli.main import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    shown = set(re.findall(r"^(?:.*&& )?vqcodec (\w+)", "\n".join(blocks("sh")), flags=re.MULTILINE))
    assert shown
    assert shown <= known


def test_commands_can_be_pasted_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the set-up to the last command, in a fresh copy; `pip` and `python` aside, and pipes as files."""
    from vqcodec.cli.main import app

    if registry.DEFAULT not in registry.names():
        pytest.skip("no trained weights in this build")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    lines = "\n".join(blocks("sh")).replace(" && ", "\n").splitlines()
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("vqcodec ")]
    assert len(commands) >= 10
    for command in commands:
        arguments, pipes = command, {}
        while len(arguments) > 2 and arguments[-2] in "<>":
            *arguments, sign, name = arguments
            pipes[sign] = Path(name)
        given = pipes["<"].read_bytes() if "<" in pipes else None
        done = CliRunner().invoke(app, arguments, input=given, prog_name="vqcodec")
        assert done.exit_code == 0, (command, done.output)
        if ">" in pipes:
            pipes[">"].write_bytes(done.stdout_bytes)
    for name in (
        "hello_back.wav",
        "small.flac",
        "coded/hello.vq",
        "several/small.vq",
        "piped.wav",
        "peeled.vq",
        "saved.wav",
    ):
        assert (tmp_path / name).stat().st_size > 500
