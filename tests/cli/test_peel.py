"""`vqcodec peel`: which files it shortens, and what it says of the others."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from synthetic import voice
from vqcodec import Codec, Encoded, Rate
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
        (lambda path: path.unlink(), "no such file"),
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


@pytest.fixture
def variable(tmp_path: Path) -> Path:
    """A file whose bitrate varies, about 0.9 kbit/s."""
    CODEC.encode(voice(4.0), rate=Rate(900, mode="variable")).save(tmp_path / "variable.vq")
    return tmp_path / "variable.vq"


def test_the_first_stages_of_a_variable_file(variable: Path) -> None:
    target = variable.with_name("out.vq")
    assert "2 of 4 stages, up to 0.6 kbit/s" in run(variable, target, "--stages", 2).stderr
    assert target.read_bytes() == Encoded.load(variable).with_stages(2).to_bytes()


def test_down_to_a_bitrate(variable: Path) -> None:
    target, sizes = variable.with_name("out.vq"), []
    before = counts_of(Encoded.load(variable))
    for kbps in (0.85, 0.6, 0.4):
        run(variable, target, "--bitrate", kbps, "--force")
        sizes.append(target.stat().st_size)
        assert sizes[-1] <= kbps * 1000 * 4 / 8
        counts = counts_of(Encoded.load(target))
        assert (counts <= before).all()
        assert (np.diff(counts[before.argsort(kind="stable")]) >= 0).all()  # what had more still has more
    assert sizes == sorted(sizes, reverse=True)


def test_a_plain_file_down_to_a_bitrate(source: Path) -> None:
    target = source.with_name("out.vq")
    run(source, target, "--bitrate", 1.1)
    assert target.read_bytes() == ENCODED.with_stages(2).to_bytes()  # 0.6 kbit/s and a header


def test_too_low_a_bitrate(source: Path, variable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (source, variable):
        assert "kbit/s at least" in error_of(capsys, path, path.with_name("out.vq"), "--bitrate", 0.01)
        assert not path.with_name("out.vq").exists()


def counts_of(encoded: Encoded) -> NDArray[np.int64]:
    """Stages of the frames of one channel [frame]."""
    return (np.asarray(encoded.codes) >= 0).sum(1)[0]
