"""Draws the pictures of `docs/QUANTIZERS.md` and fills in its tables: `python docs/make_quantizers.py`.

The pictures are drawn by the quantizers themselves, on small seeded sets of vectors. The tables and the curves of the
laboratory come from the measurements in `docs/results/`: `results.json` of `vqcodec quantizers`, copied there as
`quantizers.json`, and `bottlenecks.json`. Nothing is measured here.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from vqcodec.models.quantizers.additive import AdditiveQuantizer
from vqcodec.models.quantizers.base import Quantizer, distortion
from vqcodec.models.quantizers.bounds import gaussian_distortion, reverse_water_filling
from vqcodec.models.quantizers.kmeans import KMeansQuantizer
from vqcodec.models.quantizers.lattice import LatticeQuantizer
from vqcodec.models.quantizers.lbg import LBGQuantizer
from vqcodec.models.quantizers.opq import OptimizedProductQuantizer
from vqcodec.models.quantizers.product import ProductQuantizer
from vqcodec.models.quantizers.residual import ResidualQuantizer
from vqcodec.models.quantizers.scalar import ScalarQuantizer
from vqcodec.models.quantizers.tree import TreeQuantizer
from vqcodec.recipes.laboratory.results import bound_db

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS / "results"
STYLE = {"font.size": 9, "svg.hashsalt": "vqcodec", "axes.spines.top": False, "axes.spines.right": False}
COLOURS = ("#1f5aa8", "#c4500c", "#0a8060", "#a8418f", "#7a6a00", "#4f4f4f", "#00808f", "#b02030")
MARKERS = "os^Dvp*X"
SCORES = {"pesq_wb": 2, "stoi": 3}
"""Scores that the tables show, and with how many digits."""
CURVES = (
    "trained, beam 8",
    "scalar, Lloyd-Max",
    "product",
    "optimized product",
    "residual, greedy",
    "residual, beam 8",
    "additive",
    "lattice E8",
)
NUMBERS = torch.tensor([[float(n)] for n in (2, 3, 3, 4, 5, 6, 8, 9, 12, 13, 14)])


def main(folder: Path = DOCS) -> None:
    """Write the pictures and the page into the folder; text and measurements are read from where this file lies."""
    pictures = folder / "quantizers"
    pictures.mkdir(exist_ok=True)
    with rc_context(STYLE):
        for draw in (cells, splitting, water, lattices, curves):
            save(draw(), pictures / f"{draw.__name__}.svg")
    page = (DOCS / "QUANTIZERS.md").read_text(encoding="utf-8")
    (folder / "QUANTIZERS.md").write_text(filled(page), encoding="utf-8")


def save(figure: Figure, path: Path) -> None:
    """Writes an SVG file, the same bytes every time."""
    figure.savefig(path, metadata={"Date": None})


def cloud(count: int = 3000) -> Tensor:
    """Vectors of three correlated clusters in the plane [vector, 2]."""
    rng = np.random.default_rng(0)
    centres, shear = np.array([[-1.6, -0.9], [0.4, 1.1], [1.7, 0.2]]), np.array([[0.75, 0.0], [0.42, 0.3]])
    which = rng.choice(3, count, p=[0.4, 0.35, 0.25])
    return torch.from_numpy(centres[which] + rng.normal(size=(count, 2)) @ shear.T).float()


def cells() -> Figure:
    """Draws what 4 bits buy in the plane: the cells of eight quantizers, and where each of them decodes to."""
    two_books = {"num_books": 2, "codes_per_book": 4}
    shown: list[tuple[str, Quantizer]] = [
        ("scalar", ScalarQuantizer(bits=4)),
        ("k-means", KMeansQuantizer(num_codes=16)),
        ("tree", TreeQuantizer(depth=4)),
        ("lattice Z²", LatticeQuantizer(lattice="Z", bits=4.0)),
        ("product", ProductQuantizer(**two_books)),
        ("optimized product", OptimizedProductQuantizer(**two_books)),
        ("residual", ResidualQuantizer(**two_books)),
        ("additive", AdditiveQuantizer(**two_books)),
    ]
    vectors = cloud()
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axes, (name, quantizer) in zip(figure.subplots(2, 4).flat, shown, strict=True):
        quantizer.fit(vectors)
        error = distortion(vectors, quantizer.decode(quantizer.encode(vectors)))
        draw_cells(axes, quantizer, vectors)
        axes.set_title(f"{name}: error {error:.3f}")
    return figure


def draw_cells(axes: Axes, quantizer: Quantizer, vectors: Tensor, points: int = 200) -> None:
    """Colour the plane by code, with the vectors and what the codes in use decode to on top."""
    across, up = np.linspace(-4.2, 4.2, points), np.linspace(-3.2, 3.2, points)
    grid = torch.from_numpy(np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)).float()
    decoded, codes = quantizer.decode(quantizer.encode(grid)).unique(dim=0, return_inverse=True)
    hues = np.random.default_rng(1).permutation(len(decoded)) / len(decoded)
    colours = hsv_to_rgb(np.stack([hues, np.full_like(hues, 0.22), np.full_like(hues, 0.97)], -1))
    axes.imshow(
        colours[codes.reshape(points, points).numpy()],
        extent=(across[0], across[-1], up[0], up[-1]),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    axes.plot(*vectors[::15].T.numpy(), ".", markersize=1, color="#00000055")
    used = quantizer.decode(quantizer.encode(vectors)).unique(dim=0)
    axes.plot(*used.T.numpy(), "o", markersize=4, color="#b02030")
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    axes.set_xticks([])
    axes.set_yticks([])


def splitting() -> Figure:
    """LBG on eleven numbers: one code, two, four."""
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    axes = figure.subplots()
    for row, count in enumerate((1, 2, 4)):
        quantizer = LBGQuantizer(num_codes=count, epsilon=0.01).fit(NUMBERS)
        decoded = quantizer.decode(quantizer.encode(NUMBERS))
        codes = decoded.unique().numpy()
        height = np.full(len(NUMBERS), -row)
        axes.plot(NUMBERS[:, 0].numpy(), height + 0.13, ".", color="#555555")
        axes.plot(codes, np.full(len(codes), -row), "^", color=COLOURS[0], markersize=8)
        for code in codes:
            axes.annotate(f"{code:.4g}", (code, -row), (0, -15), textcoords="offset points", ha="center")
        axes.annotate(
            f"{count} code{'s' if count > 1 else ''}, error {distortion(NUMBERS, decoded):.3f}", (15, -row), va="center"
        )
    axes.set_xlim(1, 19.5)
    axes.set_ylim(-2.6, 0.4)
    axes.axis("off")
    return figure


def water() -> Figure:
    """Reverse water-filling of 12 bits over eight variances, and the bits that integers allow."""
    variances = torch.tensor([8.0, 4.0, 2.2, 1.2, 0.6, 0.3, 0.12, 0.05])
    filling = reverse_water_filling(variances, 12)
    drawn = torch.randn(20_000, len(variances), generator=torch.Generator().manual_seed(0)) * variances.sqrt()
    whole = ScalarQuantizer(bits=12).fit(drawn).bits_per_dim
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(variances))
    axes.bar(place, variances.numpy(), color="#bcd0ea", label="variance")
    axes.bar(place, filling.distortions.numpy(), color="#c4500c", label="squared error")
    axes.axhline(filling.level, color="#c4500c", linestyle=":", linewidth=1)
    for index, (bits, integer) in enumerate(zip(filling.bits.tolist(), whole, strict=True)):
        text = f"{bits:.2f}\n{integer}"
        axes.annotate(text, (index, float(variances[index])), (0, 2), textcoords="offset points", ha="center")
    axes.set_yscale("log")
    axes.set_ylim(0.02, 40)
    axes.set_xlabel("dimension; above each its ideal share of 12 bits, and what the scalar quantizer gives it")
    axes.legend(frameon=False)
    return figure


def lattices() -> Figure:
    """Draws how far lattices and scalar quantization stay from the bound, on white Gaussian vectors."""
    vectors = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0))
    rates = (4, 8, 12, 16, 24, 32)
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(("Z", "D4", "E8")):
        found = [LatticeQuantizer(lattice=name, bits=float(rate), decorrelate=False).fit(vectors) for rate in rates]
        draw_gap(axes, name, [one.bits_per_vector for one in found], found, vectors, place)
    fixed = [ScalarQuantizer(bits=rate).fit(vectors) for rate in rates if rate % 8 == 0]
    draw_gap(axes, "scalar, fixed length", [one.bits_per_vector for one in fixed], fixed, vectors, 3)
    axes.axhline(10 * math.log10(math.pi * math.e / 6), color="#888888", linestyle=":", linewidth=1)
    axes.annotate("1.53 dB", (3.95, 1.53), (0, 2), textcoords="offset points", ha="right", color="#666666")
    axes.set_xlabel("bits a dimension")
    axes.set_ylabel("dB over the bound")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, ncols=2)
    return figure


def draw_gap(
    axes: Axes, name: str, bits: Sequence[float], found: Sequence[Quantizer], vectors: Tensor, place: int
) -> None:
    """A curve of errors over those of the Gaussian bound at the same rate."""
    errors = [distortion(vectors, one.decode(one.encode(vectors))) for one in found]
    bounds = [gaussian_distortion(torch.ones(vectors.shape[1]), rate) for rate in bits]
    gaps = [10 * math.log10(error / bound) for error, bound in zip(errors, bounds, strict=True)]
    per_dimension = [rate / vectors.shape[1] for rate in bits]
    axes.plot(per_dimension, gaps, marker="o^sd"[place], color=COLOURS[place], label=name)


def filled(page: str) -> str:
    """The page with the text between each pair of markers written anew: <!-- table NAME --> ... <!-- end -->."""
    tables = {"laboratory": laboratory, "bottlenecks": bottlenecks}

    def anew(match: re.Match[str]) -> str:
        return f"<!-- table {match[1]} -->\n{tables[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->.*?<!-- end -->", anew, page, flags=re.DOTALL)


def laboratory() -> str:
    """Draws the results of `vqcodec quantizers`: error and scores of every quantizer at every number of bits."""
    found = measured("quantizers")
    results = found["results"]
    budgets = sorted({one["budget"] for one in results})
    by_place = {(one["quantizer"], one["budget"]): one for one in results}
    bounds = [f"{bound_db(found['variances'], budget):.2f}" for budget in budgets]
    rows = [["Gaussian bound", *bounds]]
    for name in dict.fromkeys(one["quantizer"] for one in results):
        rows.append([name, *(cell(by_place.get((name, budget)), budget) for budget in budgets)])
    scores = " / ".join(f"{found['unquantized'][name]:.{digits}f}" for name, digits in SCORES.items())
    fit, test = found["fit"], found["test"]
    return "\n".join(
        [
            f"Latents of {found['model']}, fingerprint {found['fingerprint'][:16]}."
            f" Fitted on {fit['vectors']} of them ({fit['seconds'] / 60:.0f} minutes, {fit['speakers']} speakers),"
            f" measured on {test['vectors']} others ({test['recordings']} whole recordings of {test['speakers']} other"
            " speakers). Each cell has the signal-to-noise ratio of the latents in dB, then PESQ-WB and STOI of the"
            f" decoded sound (20 of the recordings); without quantization they are {scores}. A ratio in brackets is at"
            " the number of bits given there.",
            "",
            *table(["bits a vector", *map(str, budgets)], rows),
            "",
            "![Error and scores against bits](quantizers/curves.svg)",
        ]
    )


def cell(one: dict[str, Any] | None, budget: int) -> str:
    """One quantizer at one number of bits."""
    if one is None:
        return "–"
    ratio = f"{one['snr_db']:.2f}" if abs(one["bits"] - budget) < 0.5 else f"({one['snr_db']:.2f} at {one['bits']:.0f})"
    known = {name: digits for name, digits in SCORES.items() if one.get(name) is not None}
    return " / ".join([ratio, *(f"{one[name]:.{digits}f}" for name, digits in known.items())])


def curves() -> Figure:
    """The laboratory's results against bits: the latents' error, and what is heard of it."""
    found = measured("quantizers")
    results = [one for one in found["results"] if one["quantizer"] in CURVES]
    panels = {"snr_db": "SNR of the latents, dB", "pesq_wb": "PESQ-WB", "stoi": "STOI"}
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for place, name in enumerate(CURVES):
            points = [
                (one["bits"], one[key]) for one in results if one["quantizer"] == name and one.get(key) is not None
            ]
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            axes.plot(*zip(*sorted(points), strict=True), color=colour, marker=marker, markersize=4, label=name)
        if key == "snr_db":
            bits = np.linspace(min(one["bits"] for one in results), max(one["bits"] for one in results), 60)
            bound = [bound_db(found["variances"], rate) for rate in bits]
            axes.plot(bits, bound, color="#888888", linestyle=":", label="Gaussian bound")
            legend = axes.get_legend_handles_labels()
        axes.set_title(title)
        axes.set_xlabel("bits a vector")
        axes.grid(color="#dddddd")
    figure.legend(*legend, loc="outside lower center", ncols=5, frameon=False)
    return figure


def bottlenecks() -> str:
    """Draws the results of the tiny recipe with every kind of bottleneck."""
    found = measured("bottlenecks")
    return "\n".join(
        [
            found["text"],
            "",
            *table(found["columns"], found["rows"]),
        ]
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return [lines[0], "|" + "---|" * len(heads), *lines[1:]]


def measured(name: str) -> Any:
    """The contents of one of the files of measurements."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
