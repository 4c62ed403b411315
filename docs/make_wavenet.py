"""Decodes recordings by a model with a WaveNet decoder, prints what is measured, and draws their spectrograms.

    python docs/make_wavenet.py MODEL OUT.jpg RECORDING...

Of every recording the first 3 s are coded with all stages and decoded, once drawing as was learnt and once with less
spread.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from make_spectrograms import RATE, picture
from numpy.typing import NDArray

from vqcodec import Codec, audio
from vqcodec.recipes.metrics import stoi
from vqcodec.recipes.training.validation import decoder_inputs, likelihoods

LENGTH_S = 3
TEXTURES = (1.0, 0.7)
SHOWN = 2

Sound = NDArray[np.float32]
"""[sample]"""


class Decoded(NamedTuple):
    """A recording and what became of it."""

    recording: Sound
    sounds: tuple[Sound, ...]
    """Decoded with each of `TEXTURES`."""


def main(model: Path, out: Path, *recordings: Path) -> None:
    """Print a table, and draw recordings beside what is decoded."""
    codec = Codec.load(model, device="cpu", precision="float32")
    rate, every = codec.sample_rate, []
    columns = ["nats", "Gaussian", "local Gaussian"]
    columns += [f"{what}, texture {texture:g}" for texture in TEXTURES for what in ("STOI", "level in dB")]
    print(f"| recording | {' | '.join(columns)} | real-time factor |")
    print("|---" * (len(columns) + 2) + "|")
    for path in recordings:
        recording = audio.read(path, rate)[0].mean(axis=0)[: LENGTH_S * rate]
        began = time.process_time()
        sounds = tuple(codec.decode(codec.encode(recording, stages=codec.num_stages), texture=t)[0] for t in TEXTURES)
        factor = (time.process_time() - began) / len(TEXTURES) / LENGTH_S
        with torch.inference_mode():
            passed, _ = decoder_inputs(codec.model, recording, quantizes=True)
            nats = likelihoods(codec.model, passed[codec.num_stages], recording)
        values = [*nats.values()]
        for sound in sounds:
            values += [stoi(recording, sound, rate), 20 * float(np.log10(sound.std() / recording.std()))]
        print(f"| {path.stem} | {' | '.join(f'{value:.3f}' for value in values)} | {factor:.2f} |", flush=True)
        every.append((Decoded(recording, sounds), values))
    print(f"| mean | {' | '.join(f'{value:.3f}' for value in np.mean([values for _, values in every], axis=0))} | |")
    draw_all([one for one, _ in every[:SHOWN]], rate, out)


def draw_all(found: list[Decoded], rate: int, out: Path) -> None:
    """A row for each recording: as it is, and decoded."""
    titles = ["Recording", *(f"Decoded, texture {texture:g}" for texture in TEXTURES)]
    rows = [[audio.resample(sound[None], rate, RATE)[0] for sound in (one.recording, *one.sounds)] for one in found]
    with picture(out, titles, rows, (9, 1.6 * len(rows))) as cells:
        cells[0, 0].set_ylim(0, rate / 2000)  # which all share


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
