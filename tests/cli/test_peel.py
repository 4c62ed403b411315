"""`vqcodec peel`: which files it shortens, and what it says of the others."""

import dataclasses
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from synthetic import voice
from vqcodec import Codec, Encoded
from vqcodec.bitstream import KINDS, PEELABLE
from vqcodec.cli.peel import peel
from vqcodec.cli.terminal.messages import reported

CODEC = Codec.load(Path(__file__).parents[1] / "golden" / "tiny.safetensors", "cpu")
ENCODED = CODEC.encode(voice(1.0), stages=4)


def run(*arguments: object, input: bytes | None = None) -> Result:
    """Run the command alone, its errors reported."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    app.command()(peel)
    with reported():
        return CliRunner().invoke(app, ["peel", *map(str, arguments)], input=input, catch_exceptions=False)


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a run which fails says."""
    with pytest.raises(typer.Exit) as ended:
        run(*arguments)
    assert ended.value.exit_code == 1
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def source(tmp_path: Path) -> Path:
    ENCODED.save(tmp_path / "in.vq")
    return tmp_path / "in.vq"


@pytest.mark.parametrize("stages", [1, 3, 4])
def test_the_first_stages_are_kept(source: Path, stages: int) -> None:
    target = source.with_name("out.vq")
    result = run(source, target, "--stages", stages)
    assert target.read_bytes() == ENCODED.with_stages(stages).to_bytes()
    assert f"{stages} of 4 stages, {0.3 * stages:g} kbit/s" in result.stderr
    assert run(source, target, "--stages", stages, "--force", "--quiet").output == ""


def test_from_pipe_to_pipe() -> None:
    result = run("-", "-", "--stages", 2, "--quiet", input=ENCODED.to_bytes())
    assert result.stdout_bytes == ENCODED.with_stages(2).to_bytes()


@pytest.mark.parametrize("kind", KINDS.values())
def test_by_kind(kind: str, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataclasses.replace(ENCODED, header=dataclasses.replace(ENCODED.header, kind=kind)).save(source, force=True)
    target = source.with_name("out.vq")
    if kind in PEELABLE:
        run(source, target, "--stages", 2)
        assert Encoded.load(target).kind == kind
        return
    line = error_of(capsys, source, target, "--stages", 2)
    assert f"2 of 4 stages cannot be kept: {kind} codes stand side by side" in line
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "cannot read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "cut short"),
        (lambda path: path.write_bytes(b"RIFF"), "not a .vq file"),
        (lambda path: path.with_name("out.vq").touch(), "exists already"),
        (lambda path: ENCODED.with_stages(1).save(path, force=True), "can keep 1 to 1 stages, not 2"),
    ],
)
def test_what_cannot_be_peeled(change, message: str, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(source)
    before = {path: path.read_bytes() for path in source.parent.iterdir()}
    assert message in error_of(capsys, source, source.with_name("out.vq"), "--stages", 2)
    assert {path: path.read_bytes() for path in source.parent.iterdir()} == before
