"""Draws spectrograms of recordings and of what codecs make of them, side by side, as one picture.

    python docs/make_spectrograms.py OUT.jpg "Reference=folder" "Before=folder" "After=folder" -- talk:0.5 noise:1.0

Every folder has a sound file of each name (whatever its suffix); `talk:0.5` shows a stretch of talk from 0.5 s on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.signal import stft

from vqcodec import audio

SHOWN_S = 1.2
RATE = 16_000
WINDOW = 512
FLOOR_DB, TOP_DB = -95, -25


def main(out: Path, folders: Sequence[tuple[str, Path]], excerpts: Sequence[tuple[str, float]]) -> None:
    """A row for each excerpt, a column for each folder."""
    rows = [[read(folder, name, start_s) for _, folder in folders] for name, start_s in excerpts]
    size = (2.6 * len(folders), 1.5 * len(excerpts))
    with picture(out, [title for title, _ in folders], rows, size, dpi=110) as cells:
        for axes, (name, _) in zip(cells[:, 0], excerpts, strict=True):
            axes.set_ylabel(f"{name[:18]}\nkHz", fontsize=6)


@contextmanager
def picture(
    out: Path, titles: Sequence[str], rows: Sequence[Sequence[Any]], size: tuple[float, float], dpi: int = 100
) -> Iterator[Any]:
    """Draw a table of sounds [sample] with titled columns; yields its axes [row, column] for what is to be added."""
    with rc_context({"font.size": 8}):
        figure = Figure(figsize=size, layout="constrained", dpi=dpi)
        cells = figure.subplots(len(rows), len(titles), sharex=True, sharey=True, squeeze=False)
        for axes, title in zip(cells[0], titles, strict=True):
            axes.set_title(title)
        for row, sounds in zip(cells, rows, strict=True):
            for axes, sound in zip(row, sounds, strict=True):
                draw(axes, sound)
            row[0].set_ylabel("kHz")
        for axes in cells[-1]:
            axes.set_xlabel("s")
        yield cells
        figure.savefig(out)


def read(folder: Path, name: str, start_s: float) -> np.ndarray:  # type: ignore[type-arg]
    """The excerpt [sample] of the file of that name."""
    [path] = folder.rglob(f"{name}.*")
    waveform, _ = audio.read(path, RATE)
    return waveform[0, round(start_s * RATE) :][: round(SHOWN_S * RATE)]


def draw(axes: Axes, waveform: np.ndarray) -> None:  # type: ignore[type-arg]
    """Levels in dB, over a fixed range so that columns compare."""
    frequencies, times, spectrum = stft(waveform, RATE, "hann", WINDOW, WINDOW - 32)
    level = 20 * np.log10(np.abs(spectrum) + 1e-9)
    axes.pcolormesh(
        times, frequencies / 1000, level, vmin=FLOOR_DB - 20, vmax=TOP_DB - 20, cmap="magma", rasterized=True
    )


if __name__ == "__main__":
    split = sys.argv.index("--")
    pairs = [text.partition("=") for text in sys.argv[2:split]]
    places = [text.rpartition(":") for text in sys.argv[split + 1 :]]
    main(
        Path(sys.argv[1]),
        [(title, Path(folder)) for title, _, folder in pairs],
        [(name, float(start)) for name, _, start in places],
    )
