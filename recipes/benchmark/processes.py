"""Start-up time and peak memory of the command line, in fresh processes with one thread on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from vqcodec import audio
from vqcodec.errors import VqcodecError

from .measurement import Figure, figure
from .subject import Subject, voice
from .timing import Place, Skipped, Task, interleaved

COMMAND = (sys.executable, "-m", "vqcodec")
NOTHING = (sys.executable, "-c", "pass")
IMPORT_TORCH = (sys.executable, "-c", "import torch")

START_UP_S = 10.0
"""Length of the sound that is encoded."""

# In a small process of its own: what a process held before it became another program counts as that one's, too.
_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def start_up(subject: Subject, progress: Callable[[float], None]) -> list[Figure]:
    """Figures of the group "start": seconds of a command beyond those of an interpreter, or of importing torch."""
    with tempfile.TemporaryDirectory() as folder:
        sound, coded = Path(folder) / "sound.wav", Path(folder) / "sound.vq"
        audio.write(sound, voice(START_UP_S, subject.codec.sample_rate)[None], subject.codec.sample_rate)
        encode = (*COMMAND, "encode", str(sound), str(coded), *_model(subject), "--force", "--quiet")
        _run(encode)
        info = (*COMMAND, "info", str(coded))
        commands = {"python -c pass": NOTHING, "info": info, "import torch": IMPORT_TORCH, "encode": encode}
        tasks = {name: Task(Place("cpu"), partial(_seconds, command)) for name, command in commands.items()}
        samples = interleaved(list(tasks.values()), subject.settings.repeat, progress)
    spans = {name: figure("start", name, samples[task]["s"], "s", "lower") for name, task in tasks.items()}
    return [
        spans["python -c pass"],
        _beyond("vqcodec info", spans["info"], spans["python -c pass"]),
        spans["import torch"],
        _beyond(f"vqcodec encode, {START_UP_S:g} s of audio", spans["encode"], spans["import torch"]),
    ]


def memory(subject: Subject, progress: Callable[[float], None]) -> list[Figure]:
    """Figures of the group "memory": megabytes (2^20) of the largest resident set."""
    if sys.platform == "win32":
        raise Skipped("this system does not tell the peak memory of a process")
    found = [figure("memory", "import torch", [_peak_mb(IMPORT_TORCH)], "MB", "lower")]
    lengths = subject.settings.minutes
    for index, minutes in enumerate(lengths):
        progress(index / len(lengths))
        with tempfile.TemporaryDirectory() as folder:
            found += _memory(subject, minutes, Path(folder))
    return found


def _memory(subject: Subject, minutes: int, folder: Path) -> list[Figure]:
    sample_rate = subject.codec.sample_rate
    sound, coded, back = folder / "sound.wav", folder / "sound.vq", folder / "back.wav"
    minute = voice(60.0, sample_rate)[None]
    with audio.Writer(sound, sample_rate, 1) as writer:
        for _ in range(minutes):
            writer.write(minute)
    commands = {
        "encode": (*COMMAND, "encode", str(sound), str(coded), *_model(subject), "--quiet"),
        "decode": (*COMMAND, "decode", str(coded), str(back), *_model(subject), "--quiet"),
    }
    found = [
        figure("memory", name, [_peak_mb(command)], "MB", "lower", f"{minutes} min")
        for name, command in commands.items()
    ]
    with audio.Reader(back) as reader:
        if reader.num_samples != minutes * minute.shape[1]:
            raise VqcodecError(f"{minutes} min came back as {reader.num_samples} samples at {sample_rate} Hz")
    return found


def _beyond(name: str, whole: Figure, base: Figure) -> Figure:
    """The difference of two figures."""
    return Figure(
        group="start",
        name=name,
        setting=f"beyond {base.name}",
        unit="s",
        better="lower",
        best=whole.best - base.best,
        median=whole.median - base.median,
        count=whole.count,
    )


def _model(subject: Subject) -> tuple[str, ...]:
    return ("--model", os.fspath(subject.model), "--device", "cpu")


def _seconds(command: Sequence[str]) -> dict[str, float]:
    start = time.perf_counter()
    _run(command)
    return {"s": time.perf_counter() - start}


def _peak_mb(command: Sequence[str]) -> float:
    peak = int(_run((sys.executable, "-c", _PEAK, *command)))
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _run(command: Sequence[str]) -> str:
    """Standard output of a command.

    Raises:
        VqcodecError: it failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        raise VqcodecError(f"{' '.join(command[:4])} failed with exit code {done.returncode}: {last}")
    return done.stdout
