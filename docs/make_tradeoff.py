"""Draws `docs/results/tradeoff.svg` from `docs/results/tries.json`: independent judges against PESQ.

    python docs/make_tradeoff.py

Nothing is measured here. Every entry of the file is a decoder, a share of its spreads (`scale`, from the lowest
coefficient with a spread to the highest if there are several), the share of the lost energy that is `restored`, a
bitrate, and scores.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parent / "results"
JUDGES = {"plcmos": "PLCMOS", "p808": "P.808", "lattice_db": "lattice, dB over the reference"}
BITRATES = {1.5: "#1f5aa8", 3.0: "#c4500c", 6.0: "#0a8060"}
MARKERS = "oPsDv^<>*Xdph"


def main() -> None:
    """Read the tries and draw a panel for each judge."""
    tries = json.loads((RESULTS / "tries.json").read_text(encoding="utf-8"))
    draw(tries, RESULTS / "tradeoff.svg")


def draw(tries: list[dict[str, Any]], path: Path) -> None:
    """A marker for each decoder, a colour for each bitrate; the dashed line is the reference's own score."""
    reference = next(entry["scores"] for entry in tries if entry["try"] == "reference")
    decoders = list(dict.fromkeys(entry["try"] for entry in tries if entry["try"] != "reference"))
    with rc_context({"font.size": 8, "svg.hashsalt": "vqcodec"}):
        figure = Figure(figsize=(4.0 * len(JUDGES), 5.2), layout="constrained")
        for axes, (judge, label) in zip(figure.subplots(1, len(JUDGES)), JUDGES.items(), strict=True):
            for marker, decoder in zip(MARKERS, decoders, strict=False):
                entries = [entry for entry in tries if entry["try"] == decoder]
                axes.scatter(
                    [entry["scores"]["pesq_wb"] for entry in entries],
                    [entry["scores"][judge] for entry in entries],
                    c=[BITRATES[entry["kbps"]] for entry in entries],
                    marker=marker,
                    s=28,
                    label=decoder,
                )
            axes.axhline(reference.get(judge, 0.0), color="#888888", linestyle="--")
            axes.set_xlabel("PESQ-WB")
            axes.set_title(label)
            axes.grid(color="#dddddd")
            axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
