"""The measurements of docs/LIVE.md: `python docs/measure_live.py delay`, or `hour`, `hostile`, `forged`, `gaps DIR`."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

RATE, HOP = 16_000, 320
PORT = 5997
CLICK = 80  # samples


def memory_mb() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def hour(seconds: float = 3600.0) -> None:
    """A call in simulated time."""
    from vqcodec.live.channel import LossModel, Network
    from vqcodec.live.jitter import Slot
    from vqcodec.live.payload import PayloadFormat
    from vqcodec.live.simulation import side, simulate

    format = PayloadFormat(12, 1024)
    sides = side(format, HOP, 50.0, clock_ppm=100.0), side(format, HOP, 50.0)
    sins = {"delay_s": 0.04, "jitter_s": 0.008, "reordered": 0.02, "duplicated": 0.02}
    network = Network(loss=LossModel(0.05, 2.0), outages=[(100.0, 101.0), (1800.0, 1801.0)], **sins)
    codes = np.random.default_rng(0).integers(0, 1024, (6, 997))
    kinds: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    most, delays = [0, 0], ([], [])  # type: ignore[var-annotated]

    def heard(who: int, now: float, slot: Slot) -> None:
        jitter = sides[who].receiver.jitter
        kinds[who][slot.kind.value] += 1
        most[who] = max(most[who], jitter.frames)
        if kinds[who].total() % 5000 == 0:
            delays[who].append(round(1000 * jitter.delay_s))

    start = time.process_time()
    frames = lambda who, number: (codes[:, number % 997], who == 0 or number // 150 % 3 != 2)  # noqa: E731
    simulate(sides, (network, network), seconds, frames, heard)
    print(f"{seconds:g} s in {time.process_time() - start:.1f} s, {memory_mb()} MB")
    for who, one in enumerate(sides):
        print(f"side {who}: {dict(kinds[who])}, at most {most[who]} frames, delay in ms {delays[who]}")
        print(f"  {one.receiver.counts}\n  {one.receiver.jitter.counts}")


def hostile(packets: int = 1_000_000) -> None:
    """Packets of which 24 in 25 are random, damaged or repeated."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from lives import damaged, datagram, receiver, redundant

    from vqcodec.live.payload import Redundancy

    random, one, known, sent, number, most = Random(1), receiver(), [], 0, 0, 0
    start = time.process_time()
    while sent < packets:
        known = [*known, datagram(number, redundant(number % 500, Redundancy(1, 1)))][-200:]
        some = [known[-1]]
        if number:
            some += [damaged(random.choice(known), random) for _ in range(19)] + random.choices(known, k=5)
        for data in some:
            one.put(data, number * 0.02)
        one.pull(number * 0.02 + 0.005)
        sent, number, most = sent + len(some), number + 1, max(most, one.jitter.frames)
        if sent // 250_000 > (sent - len(some)) // 250_000:
            print(f"{sent} packets, {number} of them good, {time.process_time() - start:.1f} s, {memory_mb()} MB")
    print(f"at most {most} frames\n{one.counts}\n{one.jitter.counts}")


def forged(packets: int = 1_000_000) -> None:
    """The same to a call that is encrypted: what gets through must be the good packets, each once."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from lives import damaged, datagram

    from vqcodec.errors import CorruptFile
    from vqcodec.live.calls.secure import Opener, Sealer

    sealer, opener, random, known, opened, number = Sealer(bytes(32)), Opener(bytes(32)), Random(1), [], 0, 0
    start = time.process_time()
    for count in range(int(packets)):
        if count % 25 == 0:
            plain = datagram(number)
            data = sealer.seal(plain)
            known, number = [*known, data][-200:], number + 1
        else:
            data, plain = random.choice(known), b""
            data = damaged(data, random) if count % 5 else data
        try:
            assert opener.open(data) == plain
            opened += 1
        except CorruptFile:
            assert not plain
    print(f"{opened} of {number} good packets opened, {time.process_time() - start:.1f} s, {memory_mb()} MB")
    print(opener.counts)


class Clicks:
    """A source of clicks every half second and a little, and the time when each frame was spoken."""

    def __init__(self, seconds: float) -> None:
        click = np.hanning(CLICK) * np.random.default_rng(0).uniform(-1, 1, CLICK)
        self.places = [8000 + 8053 * n for n in range(int(2 * seconds) - 2)]
        sound = np.zeros((1, round(seconds * RATE)), np.float32)
        for place in self.places:
            sound[0, place : place + CLICK] = click
        self.blocks = [sound[:, start : start + HOP] for start in range(0, sound.shape[1] - HOP + 1, HOP)]
        self.times: list[float] = []

    def read(self) -> Any:
        """As in `sounds.Source`."""
        if len(self.times) == len(self.blocks):
            return None
        self.times.append(time.monotonic())
        return self.blocks[len(self.times) - 1]


class Ear:
    """A sink that keeps what it hears, and when."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.blocks: list[Any] = []

    def write(self, block: Any) -> None:
        """As in `sounds.Sink`."""
        self.times.append(time.monotonic())
        self.blocks.append(block[0])


def one_side() -> Any:
    """A call, its model warm."""
    import torch

    from vqcodec import Codec
    from vqcodec.cli.live.calling import warm_up
    from vqcodec.live.calls.call import Call
    from vqcodec.live.sender import Sender

    torch.set_num_threads(1)
    codec = Codec.load(device="cpu")
    warm_up(codec)
    return Call(codec, Sender(codec, silence=False))


def listener(told: Any) -> None:
    """The other process."""
    from vqcodec.live.calls.network import answer, converse, open_socket
    from vqcodec.live.calls.sounds import Silence
    from vqcodec.live.sender import format_of

    call, ear = one_side(), Ear()
    with open_socket("127.0.0.1", PORT, listens=True) as (sock, _):
        told.put("ready")
        line = answer(sock, bytes(32), call.codec.fingerprint, format_of(call.codec))
        converse(call, line, Silence(HOP), ear, lambda *_: None)
    told.put((np.array(ear.times), np.array(ear.blocks)))


def delay(seconds: float = 10.0) -> None:
    """From mouth to ear: clicks through two processes over the loopback."""
    from vqcodec.live.calls.network import converse, dial, open_socket

    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=listener, args=(told,))
    process.start()
    told.get()
    call, mouth = one_side(), Clicks(seconds)
    with open_socket("127.0.0.1", PORT, listens=False) as (sock, peer):
        line = dial(sock, peer, bytes(32), call.codec.fingerprint)
        converse(call, line, mouth, Ear(), lambda *_: None)
    times, blocks = told.get()
    process.join()
    when = (times[:, None] + np.arange(HOP) / RATE).reshape(-1)
    loudness = np.convolve(np.abs(blocks).reshape(-1), np.ones(CLICK // 2), "same")
    found = []
    for place in mouth.places:
        frame, sample = divmod(place + CLICK // 2, HOP)
        spoken = mouth.times[frame] + (sample - HOP) / RATE  # a frame is there when its last sample is
        near = np.flatnonzero((when > spoken) & (when < spoken + 0.4))
        if len(near):
            found.append(1000 * (when[near[loudness[near].argmax()]] - spoken))
    print(f"{len(found)} clicks: {np.mean(found):.0f} ms in the mean, {min(found):.0f} to {max(found):.0f} ms")


def gaps(folder: str) -> None:
    """Frames of 10 ms and steps between samples that are louder with gaps than anything near them without."""
    from vqcodec import audio
    from vqcodec.recipes.evaluation.systems.lossy.live import LiveVqcodec
    from vqcodec.recipes.evaluation.systems.lossy.losses import parse_losses

    intact, broken = (LiveVqcodec(kbps=3.0, loss=loss) for loss in parse_losses("0,5:60"))
    levels, steps = [], []
    for path in sorted(path for path in Path(folder).rglob("*") if path.suffix in (".flac", ".opus", ".wav")):
        waveform = audio.read(path, RATE)[0].mean(0)
        whole, gappy = (system.run(waveform, RATE, Path()).waveform for system in (intact, broken))
        levels.append(excess_db(whole, gappy, lambda x: np.sqrt(np.mean(x**2, axis=1)) + 1e-3))
        steps.append(excess_db(whole, gappy, lambda x: np.abs(np.diff(x, axis=1)).max(1) + 1e-3))
    for name, found in (("level", np.concatenate(levels)), ("step", np.concatenate(steps))):
        share = 100 * np.mean(found > 6)
        print(f"{name}: at most {found.max():.1f} dB more, above 6 dB in {share:.3f} % of {len(found)} frames")


def excess_db(whole: Any, gappy: Any, loudness: Any) -> Any:
    """How much louder each frame is with gaps than the loudest within 100 ms of it without [frame]."""
    frames = len(whole) // 160
    usual, now = (loudness(signal[: frames * 160].reshape(frames, 160).astype(float)) for signal in (whole, gappy))
    near = np.lib.stride_tricks.sliding_window_view(np.pad(usual, 10, mode="edge"), 21).max(1)
    return 20 * np.log10(now / near)


if __name__ == "__main__":
    if sys.argv[1] == "gaps":
        gaps(sys.argv[2])
    else:
        {"delay": delay, "hour": hour, "hostile": hostile, "forged": forged}[sys.argv[1]](*map(float, sys.argv[2:]))
