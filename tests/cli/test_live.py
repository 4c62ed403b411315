"""`vqcodec listen` and `vqcodec talk` as their users type them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lives import model
from typer.testing import CliRunner

from synthetic import voice
from vqcodec import audio
from vqcodec.cli.main import app
from vqcodec.live.calls.handshake import parse_key
from vqcodec.live.calls.network import open_socket
from vqcodec.models import checkpoint

pytest.importorskip("cryptography", reason="the live extra is not installed")


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="vqcodec")
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, a key and a sound."""
    folder = tmp_path_factory.mktemp("live")
    checkpoint.save(folder / "small.safetensors", model(), {"steps": 1}, ["00" * 32], ["pesq_wb"])
    (folder / "key").write_text(run("listen", "--new-key"))
    soundfile.write(folder / "speech.wav", voice(1.0), 16_000)
    return folder


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vqcodec", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whoever runs the tests may ignore it
    )


def free_port() -> int:
    with open_socket("127.0.0.1", 0, listens=True) as (sock, _):
        return int(sock.getsockname()[1])


def test_a_new_key_is_one(folder: Path) -> None:
    assert len(parse_key((folder / "key").read_text())) == 32


@pytest.mark.parametrize("manner", ["--key-file", "--plain"])
def test_a_call_from_file_to_file(folder: Path, tmp_path: Path, manner: str) -> None:
    port = free_port()
    common = ["--port", port, "--model", folder / "small.safetensors", "--bitrate", 1.2, "--always"]
    common += [manner, folder / "key"] if manner == "--key-file" else [manner]
    heard = tmp_path / "heard.wav"
    with start("listen", "--bind", "127.0.0.1", "--in", "none", "--out", heard, *common) as listener:
        assert listener.stderr is not None
        assert "listening" in listener.stderr.readline()
        with start("talk", "127.0.0.1", "--in", folder / "speech.wav", "--out", "none", *common) as talker:
            said = talker.communicate(timeout=300)[1]
        told = listener.communicate(timeout=300)[1]
    assert (talker.returncode, listener.returncode) == (0, 0), (said, told)
    assert "the sound has ended" in said and "the other side has hung up" in told
    assert "Traceback" not in said + told
    sound, rate = audio.read(heard)
    assert rate == 16_000 and sound.shape[1] > 3200  # as long as the call was, which takes its time
    assert np.abs(sound).max() > 0


def test_ctrl_c_hangs_up(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    common = ["--port", port, "--model", folder / "small.safetensors", "--plain", "--bitrate", 1.2, "--in", "none"]
    with (
        open_socket("127.0.0.1", port, listens=True) as (sock, _),
        start("talk", "127.0.0.1", "--out", tmp_path / "heard.wav", "--always", *common) as talker,
    ):
        sock.settimeout(120)
        sock.recv(2048)
        talker.send_signal(signal.SIGINT)
        said = talker.communicate(timeout=300)[1]
    assert talker.returncode == 0, said
    assert "hung up after" in said and "Traceback" not in said
    assert (tmp_path / "heard.wav").exists()


def test_errors_are_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VQCODEC_KEY", raising=False)
    small = folder / "small.safetensors"
    (tmp_path / "bad").write_text("no key")
    for arguments, problem in (
        (("talk", "127.0.0.1"), "calls are encrypted"),
        (("talk", "127.0.0.1", "--key-file", tmp_path / "bad"), "44 characters"),
        (("talk", "127.0.0.1", "--key-file", tmp_path / "missing"), "No such file"),
        (("talk", "no.such.host.invalid", "--plain", "--model", small, "--in", "none", "--out", "none"), "cannot find"),
        (("talk", "127.0.0.1", "--plain", "--model", small, "--redundancy", "3x3"), "redundancy is one of"),
        (("talk", "127.0.0.1", "--plain", "--model", small, "--in", tmp_path / "none.wav"), "none.wav"),
    ):
        output = run(*arguments, "--bitrate", 1.2, code=1)
        assert problem in output and len(output.strip().splitlines()) == 1, output


def test_the_key_may_be_in_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "VQCODEC_KEY", "nonsense")
    assert "44 characters" in run("listen", code=1)


def test_the_figures_of_a_call(folder: Path) -> None:
    import socket

    from lives import codec
    from rich.console import Console

    from vqcodec.cli.live.display import table
    from vqcodec.live.calls.call import Call
    from vqcodec.live.calls.network import Line
    from vqcodec.live.sender import Sender

    call = Call(codec(), Sender(codec(), silence=False))
    for block in np.split(voice(1.0)[None], 50, axis=1):
        for datagram in call.push(block, 0.0):
            call.put(datagram, 0.0)
        call.pull(0.01)
    console = Console(width=100)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, console.capture() as shown:
        console.print(table(call, Line(sock, ("127.0.0.1", 1), None), 2345.0))
    text = shown.get()
    assert [word in text for word in ("2.3 kbit/s", "50 packets", "0 lost", "delay", "█")] == [True] * 5
