"""Speed, start-up time and memory of the installed command line: `python tests/benchmark.py`. No test.

All on one thread of the CPU, the best of a few tries on the clock; start-up is a difference against something run
beside it. The machine should be idle.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile
import torch

from synthetic import voice
from vqcodec import Codec

COMMAND = [sys.executable, "-m", "vqcodec"]
RATE = 16_000


def best_s(command: list[str], times: int) -> float:
    """Least time on the clock that a command took."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        spans.append(time.perf_counter() - start)
    return min(spans)


def peak_mb(command: list[str]) -> float:
    """Largest resident set of a command."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def speed(codec: Codec, duration_s: float = 60.0, times: int = 5) -> None:
    """Times real time, in one process, for a waveform in memory."""
    waveform = voice(duration_s, RATE)
    for stages in (3, 6, 12):
        encoding, decoding = [], []
        for _ in range(times):
            start = time.perf_counter()
            encoded = codec.encode(waveform, stages=stages)
            middle = time.perf_counter()
            codec.decode(encoded)
            encoding.append(middle - start)
            decoding.append(time.perf_counter() - middle)
        rate = codec.bitrates[stages - 1] / 1000
        encode_x, decode_x = duration_s / min(encoding), duration_s / min(decoding)
        print(f"{rate:g} kbit/s, {duration_s:g} s of audio: encode {encode_x:.0f} x, decode {decode_x:.0f} x real time")


def start_up(folder: Path) -> None:
    """What a command takes beyond an interpreter, or beyond importing torch."""
    soundfile.write(folder / "ten.wav", voice(10.0, RATE), RATE)
    encode = [*COMMAND, "encode", str(folder / "ten.wav"), str(folder / "ten.vq"), "--force", "--device", "cpu"]
    loaded = best_s([sys.executable, "-c", "import torch"], 3)
    print(f"encode 10 s of audio: {best_s(encode, 3) - loaded:.2f} s more than import torch ({loaded:.2f} s)")
    nothing = best_s([sys.executable, "-c", "pass"], 10)
    info = best_s([*COMMAND, "info", str(folder / "ten.vq")], 10)
    print(f"info: {info - nothing:.2f} s more than python -c pass ({nothing:.2f} s)")


def memory(folder: Path) -> None:
    """Peak memory for ten minutes and for an hour."""
    for minutes in (10, 60):
        sound, coded, back = (str(folder / name) for name in ("long.wav", "long.vq", "back.wav"))
        with soundfile.SoundFile(sound, "w", RATE, 1) as file:
            for _ in range(minutes):
                file.write(voice(60.0, RATE))
        encoding = peak_mb([*COMMAND, "encode", sound, coded, "--force", "--device", "cpu"])
        decoding = peak_mb([*COMMAND, "decode", coded, back, "--force", "--device", "cpu"])
        exact = soundfile.info(back).frames == soundfile.info(sound).frames
        print(f"{minutes} min: encode {encoding:.0f} MB, decode {decoding:.0f} MB, length exact: {exact}")


def main() -> None:
    """Print everything."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    speed(Codec.load(device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        start_up(Path(folder))
        memory(Path(folder))


if __name__ == "__main__":
    main()
