"""Continues recordings by a prior, prints their scores, and draws their spectrograms.

    python docs/make_generation.py PRIOR OUT.jpg FOLDER...

Of ten recordings of 8 s or more, at most two from a folder, 3 s are kept and 5 s are added. PESQ-WB compares the kept
3 s with the recording, once continued and once as they are in the coded recording; DNSMOS OVRL judges the 5 s behind
them: the continuation, and what the recording has there, coded at the same rate. The last line says up to where the
kept part and the coded recording are the same.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from make_spectrograms import picture
from numpy.typing import NDArray

from vqcodec import Codec, audio
from vqcodec.models.prior import store
from vqcodec.models.prior.sampling import Sampling
from vqcodec.recipes.metrics import dnsmos_ovrl, pesq_wb
from vqcodec.recipes.prior.corpus import EFFORT
from vqcodec.recipes.prior.generate import Generator

KEPT_S, ADDED_S = 3, 5
PROMPTS, SHOWN = 10, 4
SAMPLING = Sampling()

Sound = NDArray[np.float32]
"""[sample]"""


class Continued(NamedTuple):
    """A recording and what became of it."""

    name: str
    recording: Sound
    coded: Sound
    """The recording, coded and decoded."""
    continued: Sound


def main(prior: Path, out: Path, *folders: Path) -> None:
    """Print a table, and draw recordings beside their continuations."""
    codec = Codec.load(device="cpu", precision="float32")
    stored = store.load(prior)
    stored.check_model(codec.fingerprint, prior)
    generator = Generator(codec=codec, prior=stored.prior, sampling=SAMPLING)
    found = list(continuations(generator, folders))
    rate, kept = codec.sample_rate, KEPT_S * codec.sample_rate
    print("| prompt | PESQ-WB of 3 s, coded | continued | DNSMOS of the recording, coded | of the continuation |")
    print("|---|---|---|---|---|")
    rows = []
    for one in found:
        coded, joined = (pesq_wb(one.recording[:kept], sound[:kept], rate) for sound in (one.coded, one.continued))
        judged = [dnsmos_ovrl(sound[kept:], sound[kept:], rate) for sound in (one.coded, one.continued)]
        rows.append((coded, joined, *judged))
        print(f"| {one.name} | " + " | ".join(f"{value:.2f}" for value in rows[-1]) + " |")
    print("| mean | " + " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0)) + " |")
    same = [int(np.argmax(np.abs(one.coded[:kept] - one.continued[:kept]) > 1e-6)) or kept for one in found]
    print(f"the same up to {1000 * (kept - min(same)) / rate:.0f} ms before the end of the kept part, at the worst")
    draw_all(found[:SHOWN], out)


def continuations(generator: Generator, folders: Sequence[Path]) -> Iterator[Continued]:
    """Continue the first long enough recordings of the folders."""
    codec, length = generator.codec, KEPT_S + ADDED_S
    hop, rate, kept = codec.hop_length, codec.sample_rate, KEPT_S * codec.sample_rate
    taken = Counter[Path]()
    for path in (path for folder in folders for path in audio.find(folder)):
        waveform = audio.read(path, rate)[0].mean(axis=0)
        if taken[path.parent] == 2 or len(waveform) < length * rate or taken.total() == PROMPTS:
            continue
        taken[path.parent] += 1
        recording = waveform[: length * rate]
        coded = codec.decode(codec.encode(recording, stages=generator.prior.config.num_stages, effort=EFFORT))[0]
        codes = generator.codes_of(path)[..., : kept // hop]
        continued = codec.decode(generator.extend(codes, ADDED_S, [0]).numpy())[0]
        yield Continued(path.stem, recording, coded, continued)


def draw_all(found: list[Continued], out: Path) -> None:
    """A row for each recording: as it is, and continued after the line."""
    rows = [(one.recording, one.continued) for one in found]
    with picture(out, ("Recording", "The first 3 s, continued"), rows, (9, 1.4 * len(rows))) as cells:
        for axes in cells.flat:
            axes.axvline(KEPT_S, color="white", linewidth=0.8)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
