"""Which scores the losses of a recipe imitate: such a score is not an independent judge."""

from __future__ import annotations

from collections.abc import Collection

from ..config import LossConfig
from .table import METRICS

TRAINED_ON = "†"
"""Mark behind the label of a score that the model was trained on."""

TRAINED_ON_NOTE = (
    "the model was trained on a loss that imitates this score, which is therefore not an independent judge of it"
)

IMITATED: dict[str, tuple[str, ...]] = {
    "signed": ("si_sdr",),
    "signed_final": ("si_sdr",),
    "mean": ("si_sdr",),
    "mel": ("mel_distance", "mcd"),
    "magnitude": ("lsd",),
    "complex": ("lsd", "si_sdr"),
    "intelligibility": ("stoi", "estoi"),
    "loudness": ("pesq_wb", "pesq_nb"),
    "similarity": ("visqol",),
}
"""Names in `METRICS` by the names of the weights in a recipe's [loss]."""


def imitated_scores(loss: LossConfig, before: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the scores that the losses of some weight imitate, and those `before`, in the order of `METRICS`.

    Args:
        loss: weights of the losses.
        before: scores that the model was trained on before the run.
    """
    weights = loss.model_dump()
    imitated = {score for name, scores in IMITATED.items() if weights[name] > 0 for score in scores}
    return tuple(name for name in METRICS if name in imitated or name in before)


def marked(label: str, trained_on: bool) -> str:
    """The label of a score, with a dagger if the model was trained on it."""
    return f"{label} {TRAINED_ON}" if trained_on else label
