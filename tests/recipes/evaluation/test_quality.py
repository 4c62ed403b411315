"""The shipped model on real speech that it was not trained on. Needs recordings beside the project."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from vqcodec.models import registry
from vqcodec.recipes.evaluation.comparison import compare
from vqcodec.recipes.evaluation.runner import evaluate
from vqcodec.recipes.evaluation.store import Evaluation, EvaluationStore

SPEECH = Path(__file__).resolve().parents[4] / "shared" / "speech" / "dev"
NOT_AT_16_KHZ = "vctk_48k"

FLOORS = {"1 kbit/s": (1.9, 0.863), "1.5 kbit/s": (2.22, 0.891), "3 kbit/s": (2.8, 0.925)}
"""PESQ-WB and STOI that the model must reach at bitrates of the whole file."""

MOST_LATTICE_DB = 4.0
"""Buzz at multiples of the frame rate above 1.5 kHz, over that of the recordings; a deterministic decoder had 10.8."""

JUDGED = "librispeech_dev_clean"
"""The recordings that judges score which no loss imitates; they take long."""

JUDGES = {"1 kbit/s": (3.44, 3.92), "1.5 kbit/s": (3.55, 4.06), "3 kbit/s": (3.67, 4.2)}
"""P.808 and PLCMOS that the model must reach there."""


@pytest.fixture
def folders() -> list[Path]:
    """The corpora of the development set that are at 16 kHz."""
    for package in ("pesq", "pystoi", "speechmos"):
        pytest.importorskip(package, reason="the eval extra is not installed")
    if not SPEECH.is_dir():
        pytest.skip("no recorded speech beside the project")
    if registry.DEFAULT not in registry.names():
        pytest.skip("no trained weights in this build")
    return sorted(folder for folder in SPEECH.iterdir() if folder.is_dir() and folder.name != NOT_AT_16_KHZ)


def evaluation_of(folders: Sequence[Path], scores: Sequence[str], out: Path) -> Evaluation:
    """The shipped model at three bitrates, without the recordings themselves."""
    plan = compare(folders, [registry.DEFAULT], [1000, 1500, 3000], scores=scores)
    facts = dataclasses.replace(plan.facts, systems=plan.facts.systems[1:])
    evaluation = evaluate(dataclasses.replace(plan, systems=plan.systems[1:], facts=facts), EvaluationStore(out))
    assert evaluation.failures == ()
    return evaluation


def test_judges_that_the_model_was_not_trained_on(folders: list[Path], tmp_path: Path) -> None:
    judged = [folder for folder in folders if folder.name == JUDGED]
    evaluation = evaluation_of(judged, ["p808", "plcmos", "lattice_db"], tmp_path / "report")
    assert not evaluation.facts.trained_on_scores & {"p808", "plcmos", "lattice_db"}
    means = {one.system.setting: one.scores for one in evaluation.summaries if one.system.setting in JUDGES}
    assert list(means) == list(JUDGES)
    for setting, (p808, plcmos) in JUDGES.items():
        print(setting, {name: round(score.value, 3) for name, score in means[setting].items()})
        assert means[setting]["p808"].value >= p808
        assert means[setting]["plcmos"].value >= plcmos
        assert means[setting]["lattice_db"].value <= MOST_LATTICE_DB


def test_quality_rises_with_the_bitrate_above_the_floors(folders: list[Path], tmp_path: Path) -> None:
    evaluation = evaluation_of(folders, ["pesq_wb", "stoi", "si_sdr"], tmp_path / "report")
    means = {one.system.setting: one for one in evaluation.summaries if one.system.setting in FLOORS}
    assert list(means) == list(FLOORS)
    for setting, (pesq, stoi) in FLOORS.items():
        mean = means[setting]
        print(setting, {name: round(score.value, 3) for name, score in mean.scores.items()}, mean.bitrate_bps.value)
        assert mean.files == 76
        assert mean.scores["pesq_wb"].value >= pesq
        assert mean.scores["stoi"].value >= stoi
        assert 0.95 <= mean.bitrate_bps.value / (1000 * float(setting.split()[0])) <= 1
    for name in ("pesq_wb", "stoi", "si_sdr"):
        values = [mean.scores[name].value for mean in means.values()]
        assert values == sorted(values)
    print("perplexities", [round(stage.perplexity) for stage in evaluation.usage])
    assert min(stage.perplexity for stage in evaluation.usage[:6]) > 400
