"""The table of scores: what each is called, what it needs and which way is better."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from .distances import lsd, mcd, mel_distance, si_sdr
from .opinion import distill_mos, dnsmos_ovrl, p808, plcmos
from .perceptual import estoi, pesq_nb, pesq_wb, stoi, visqol
from .texture import flatness_db, lattice_db
from .whistle import whistle_db


@dataclass(frozen=True)
class Metric:
    """A score, and what a table needs to know about it."""

    name: str
    """Column and JSON key."""
    label: str
    """Name for the reader."""
    unit: str
    """MOS or dB; empty for a bare number."""
    higher_is_better: bool
    function: Callable[..., float]
    """(reference [sample], decoded [sample], sample rate in Hz) -> score; raises AudioError where it is undefined."""
    periodic: bool = False
    """The function takes the codec's frame rate in Hz as a fourth argument."""
    requires: tuple[str, ...] = ()
    """Importable packages beyond those that vqcodec always has."""


_SPEECHMOS = ("speechmos", "onnxruntime")

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("distill_mos", "Distill-MOS", "MOS", True, distill_mos, requires=("distillmos", "torchaudio")),
        Metric("p808", "P.808", "MOS", True, p808, requires=_SPEECHMOS),
        Metric("plcmos", "PLCMOS", "MOS", True, plcmos, requires=_SPEECHMOS),
        Metric("dnsmos_ovrl", "DNSMOS OVRL", "MOS", True, dnsmos_ovrl, requires=_SPEECHMOS),
        Metric("lattice_db", "Lattice", "dB", False, lattice_db, periodic=True),
        Metric("flatness_db", "Flatness", "dB", False, flatness_db),
        Metric("whistle_db", "Whistle", "dB", False, whistle_db),
        Metric("pesq_wb", "PESQ-WB", "MOS", True, pesq_wb, requires=("pesq",)),
        Metric("pesq_nb", "PESQ-NB", "MOS", True, pesq_nb, requires=("pesq",)),
        Metric("visqol", "ViSQOL", "MOS", True, visqol, requires=("visqol", "ai_edge_litert")),
        Metric("stoi", "STOI", "", True, stoi, requires=("pystoi",)),
        Metric("estoi", "ESTOI", "", True, estoi, requires=("pystoi",)),
        Metric("mel_distance", "Mel distance", "", False, mel_distance),
        Metric("lsd", "LSD", "dB", False, lsd),
        Metric("mcd", "MCD", "dB", False, mcd),
        Metric("si_sdr", "SI-SDR", "dB", True, si_sdr),
    )
}
"""Every score by its name, in the order in which a table shows them."""

_DISTRIBUTIONS = {"visqol": "visqol-python", "ai_edge_litert": "ai-edge-litert"}
"""Package to install for an import, where the names differ."""


def missing(metric: Metric) -> str | None:
    """Say in one line which packages a score lacks here and how to get them; None where it can be had."""
    absent = [_DISTRIBUTIONS.get(name, name) for name in metric.requires if importlib.util.find_spec(name) is None]
    if not absent:
        return _unloadable(metric)
    packages = f"the package{'s' if len(absent) > 1 else ''} {' and '.join(absent)}"
    return f"{metric.label} needs {packages}: pip install 'vqcodec[eval]'"


def _unloadable(metric: Metric) -> str | None:
    """Say why a score cannot be had although its packages are there; None where it can."""
    if "torchaudio" in metric.requires:
        try:
            importlib.import_module("torchaudio")
        except (ImportError, OSError):  # it refuses builds of torch other than its own
            return f"{metric.label} needs a torchaudio that fits the installed torch"
    return None
