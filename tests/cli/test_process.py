"""The command line as a process of its own: pipes, signals and full disks."""

import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from synthetic import voice
from vqcodec import bitstream
from vqcodec.cli.main import app
from vqcodec.cli.terminal import messages

MODEL = str(Path(__file__).parents[1] / "golden" / "tiny.safetensors")
COMMAND = [sys.executable, "-m", "vqcodec"]


def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], **{**pipes, **options})  # type: ignore[call-overload]


def heeding(number: signal.Signals) -> Callable[[], object]:
    """What lets a new process heed a signal, which whoever runs the tests may ignore, as nohup does."""
    return lambda: signal.signal(number, signal.SIG_DFL)


def run(*arguments: object, input: bytes = b"", code: int = 0, **options: object) -> tuple[bytes, str]:
    """Standard output and standard error of one command line."""
    with start(*arguments, **options) as process:
        output, errors = process.communicate(input, timeout=300)
    assert process.returncode == code, errors.decode()
    assert b"Traceback" not in errors and b"Exception ignored" not in errors, errors.decode()
    return output, errors.decode()


def within(*arguments: object, code: int = 0) -> str:
    """Standard error of a command line that runs in this process, which is quicker."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stderr


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("process") / "speech.wav"
    soundfile.write(path, voice(3.0), 16000)
    return path


@pytest.fixture(scope="module")
def long_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Too long to come to an end: 30 hours of silence, which take no room on the disk."""
    path = tmp_path_factory.mktemp("process") / "long.wav"
    size = 2 * 16_000 * 3600 * 30
    with open(path, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt ")
        file.write(struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16) + b"data" + struct.pack("<I", size))
        file.truncate(44 + size)
    return path


@pytest.fixture
def vq(tmp_path: Path) -> Path:
    """A .vq file that needs no model to be described."""
    header = bitstream.Header(
        fingerprint=bytes(8),
        sample_rate=16000,
        source_sample_rate=16000,
        channels=1,
        num_samples=15000,
        hop_length=320,
        stages=3,
        bits_per_code=10,
    )
    with open(tmp_path / "a.vq", "wb") as file:
        writer = bitstream.Writer(file, header)
        writer.write(bitstream.Packet(50, bytes(header.payload_bytes(50))))
        writer.finish(15000)
    return tmp_path / "a.vq"


def test_pipes(speech: Path) -> None:
    encode = start("encode", "-", "-", "--model", MODEL, stderr=subprocess.DEVNULL)
    decode = start("decode", "-", "-", "--model", MODEL, stdin=encode.stdout, stderr=subprocess.DEVNULL)
    with encode, decode:
        assert encode.stdin is not None and encode.stdout is not None
        encode.stdout.close()
        encode.stdin.write(speech.read_bytes())
        encode.stdin.close()
        back, _ = decode.communicate(timeout=300)
    assert (encode.returncode, decode.returncode) == (0, 0)
    assert back.startswith(b"RIFF") and len(back) == 44 + 2 * 48000


def test_named_pipes(speech: Path, tmp_path: Path) -> None:
    """They can be read once only."""
    for command, source, target in (("encode", speech, "a.vq"), ("decode", tmp_path / "a.vq", "a.wav")):
        pipe = tmp_path / f"{command}.pipe"
        os.mkfifo(pipe)
        threading.Thread(target=pipe.write_bytes, args=[source.read_bytes()], daemon=True).start()
        within(command, pipe, tmp_path / target, "--model", MODEL)
    assert soundfile.info(tmp_path / "a.wav").frames == 48000


def test_usage_names_the_command(tmp_path: Path) -> None:
    output, errors = run("encode", code=2, cwd=tmp_path)
    assert output == b""
    assert errors.startswith("Usage: vqcodec encode")


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    output, errors = run("encode", "missing.wav", "a.vq", "--model", MODEL, code=1, cwd=tmp_path)
    assert output == b""
    assert errors == "vqcodec: error: missing.wav: no such file\n"
    assert list(tmp_path.iterdir()) == []


NO_SPACE, CLOSED = "No space left on device", "Bad file descriptor"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("--help > /dev/full", 1, NO_SPACE),
        ("--version > /dev/full", 1, NO_SPACE),
        ("encode --help > /dev/full", 1, NO_SPACE),
        ("--help >&-", 1, CLOSED),
        ("info a.vq >&-", 1, CLOSED),
        ("info - <&-", 1, f"cannot read standard input: {CLOSED}"),
        ("decode - out.wav --model $MODEL <&-", 1, f"cannot read standard input: {CLOSED}"),
        ("encode - out.vq --model $MODEL <&-", 1, f"cannot read standard input: {CLOSED}"),
        ("encode $SPEECH - --model $MODEL >&-", 1, f"cannot write standard output: {CLOSED}"),
        ("encode $SPEECH out.vq --model $MODEL >&- <&-", 0, "real time"),
        ("encode $SPEECH out.vq --model $MODEL 2> /dev/full", 0, None),
        ("encode $SPEECH out.vq --model $MODEL <&- >&- 2>&-", 0, None),
        ("encode none.wav out.vq 2> /dev/full", 1, None),
        ("encode none.wav out.vq 2>&-", 1, None),
    ],
)
def test_standard_streams_that_are_full_or_closed(
    line: str, code: int, said: str | None, speech: Path, vq: Path, tmp_path: Path
) -> None:
    """Exit codes as those of other programs: 1 where something that is needed cannot be written or read."""
    environment = {**os.environ, "MODEL": MODEL, "SPEECH": str(speech)}
    command = ["sh", "-c", f'"$0" -m vqcodec {line}', sys.executable]
    result = subprocess.run(command, cwd=vq.parent, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert (said in lines[0] and len(lines) == 1) if said else not lines, result.stderr
    assert (tmp_path / "out.vq").exists() == (code == 0)


def test_verbose_shows_where_an_error_came_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "verbose", False)
    arguments = ["encode", tmp_path / "missing\x1b[31m.wav", tmp_path / "a.vq"]
    plain, verbose = within(*arguments, code=1), within(*arguments, "--verbose", code=1)
    assert verbose.startswith("Traceback (most recent call last):\n") and verbose.endswith(plain)
    assert "places.py" in verbose and plain.count("\n") == 1 and "\x1b" not in verbose
    assert within(*arguments, code=1) == plain  # it does not last
    assert "--verbose" in CliRunner().invoke(app, ["train", "--help"]).stdout


@pytest.mark.parametrize("name", ["mps", "meta", "xpu:0"])
def test_devices_that_training_does_not_run_on(name: str, tmp_path: Path) -> None:
    for arguments in (["train", "tiny", "--dry-run"], ["train", "tiny", "--data", tmp_path, "--out", tmp_path / "run"]):
        errors = within(*arguments, "--device", name, code=1)
        assert errors == f"vqcodec: error: training does not run on {name}; choose auto, cpu or cuda\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_disk(speech: Path, vq: Path) -> None:
    for arguments in (["encode", speech, "-", "--model", MODEL], ["info", vq]):
        with open("/dev/full", "wb") as full:
            _, errors = run(*arguments, code=1, stdout=full)
        assert len(errors.splitlines()) == 1
        assert "No space left" in errors
    errors = within("encode", speech, "/dev/full", "--force", "--model", MODEL, code=1)
    assert "No space left" in errors and len(errors.splitlines()) == 1


def test_file_size_limit(speech: Path, tmp_path: Path) -> None:
    """What a full disk does to a file: the writing fails half-way, and nothing stays behind."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    arguments = ("encode", speech, tmp_path / "a.vq", "--model", MODEL)
    _, errors = run(*arguments, code=1, preexec_fn=limit, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert len(errors.splitlines()) == 1 and "a.vq" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_target(speech: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    _, errors = run("encode", speech, tmp_path / "a.vq", "--model", MODEL, code=1)
    assert len(errors.splitlines()) == 1 and "a.vq" in errors


def test_a_reader_that_has_enough(vq: Path) -> None:
    for arguments in (["info", *[vq] * 2000], ["decode", "--help"]):
        read_end, write_end = os.pipe()
        os.close(read_end)
        with os.fdopen(write_end, "wb") as closed:
            _, errors = run(*arguments, code=1, stdout=closed)
        assert errors == ""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
def test_signals_leave_nothing_behind(long_speech: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    with start("encode", long_speech, tmp_path / "a.vq", "--model", MODEL, preexec_fn=heeding(number)) as process:
        while not list(tmp_path.iterdir()):  # until it has begun to write
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == code, errors.decode()
    assert b"Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_an_ignored_signal_stays_ignored() -> None:
    """As nohup wants it."""
    program = (
        "import signal; from vqcodec.cli import main; main._heed_signals();"
        "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, signal.getsignal(signal.SIGQUIT) is main._terminate)"
    )
    command = ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=heeding(signal.SIGQUIT))
    assert result.stdout == "True True\n"


@pytest.mark.parametrize(("options", "variable", "threads"), [([], None, 1), (["--threads", "2"], "1", 2)])
def test_one_thread_unless_otherwise_said(
    speech: Path, tmp_path: Path, options: list[str], variable: str | None, threads: int
) -> None:
    arguments = ["encode", str(speech), str(tmp_path / "a.vq"), "--model", MODEL, "--quiet", *options]
    program = (
        "import os; from vqcodec.cli.main import app; "
        f"app({arguments!r}, standalone_mode=False); import torch; print(torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    if variable is not None:
        environment["OMP_NUM_THREADS"] = variable
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == [str(threads)]


@pytest.mark.parametrize(
    ("words", "place", "reply"),
    [("vqcodec enc", 1, ["encode"]), ("vqcodec encode --rate-m", 2, ["--rate-mode"])],
)
def test_the_shell_completes_commands_and_options(words: str, place: int, reply: list[str]) -> None:
    variables = {"_VQCODEC_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    output, _ = run(env={**os.environ, **variables})
    assert output.decode().split() == reply
