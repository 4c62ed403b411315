"""Which scores a recipe's losses imitate."""

from vqcodec.recipes.config import LossConfig
from vqcodec.recipes.loading import load
from vqcodec.recipes.metrics import METRICS
from vqcodec.recipes.metrics.imitated import IMITATED, imitated_scores

NEUTRAL = frozenset({"commitment", "codebook", "divergence", "sparse", "contractive"})
"""Weights of losses that look at latents and codes only."""
SETTINGS = {"draws", "signed_focus", "sparse_rho", "schedule_start", "schedule_steps"}
"""Of [loss], without being weights."""


def test_every_weight_is_accounted_for() -> None:
    """A loss that is added must say which scores it spoils."""
    assert IMITATED.keys() | NEUTRAL | SETTINGS == set(LossConfig.model_fields)
    assert not IMITATED.keys() & NEUTRAL
    assert {score for scores in IMITATED.values() for score in scores} <= METRICS.keys()


def test_a_loss_without_weight_imitates_nothing() -> None:
    nothing = LossConfig(**dict.fromkeys(IMITATED, 0.0))
    assert imitated_scores(nothing) == ()
    for name, scores in IMITATED.items():
        assert set(imitated_scores(nothing.model_copy(update={name: 0.1}))) == set(scores)


def test_the_judges_of_the_default_recipe() -> None:
    independent = [name for name in METRICS if name not in imitated_scores(load("speech_16k").loss)]
    assert independent == [
        "distill_mos",
        "p808",
        "plcmos",
        "dnsmos_ovrl",
        "lattice_db",
        "flatness_db",
        "whistle_db",
        "visqol",
    ]


def test_what_a_model_was_trained_on_before_counts() -> None:
    nothing = LossConfig(**dict.fromkeys(IMITATED, 0.0))
    assert imitated_scores(nothing, ["stoi", "pesq_wb"]) == tuple(n for n in METRICS if n in ("stoi", "pesq_wb"))
