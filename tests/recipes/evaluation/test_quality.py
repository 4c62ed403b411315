"""The shipped model on real speech that it was not trained on. Needs recordings beside the project."""

from pathlib import Path

import pytest

from vqcodec.models import registry

SPEECH = Path(__file__).resolve().parents[4] / "shared" / "speech" / "dev"
NOT_AT_16_KHZ = "vctk_48k"

FLOORS = {"1.5 kbit/s": (1.98, 0.88), "3 kbit/s": (2.63, 0.92), "6 kbit/s": (3.2, 0.948)}
"""PESQ-WB and STOI that the model must reach, and the bitrate on disk in terms of that of the codes."""


def test_quality_rises_with_the_bitrate_above_the_floors(tmp_path: Path) -> None:
    for package in ("pesq", "pystoi"):
        pytest.importorskip(package, reason="the eval extra is not installed")
    if not SPEECH.is_dir():
        pytest.skip("no recorded speech beside the project")
    if registry.DEFAULT not in registry.names():
        pytest.skip("no trained weights in this build")
    from vqcodec.recipes.evaluation.comparison import compare
    from vqcodec.recipes.evaluation.runner import evaluate
    from vqcodec.recipes.evaluation.store import Store

    folders = sorted(folder for folder in SPEECH.iterdir() if folder.is_dir() and folder.name != NOT_AT_16_KHZ)
    plan = compare(folders, [registry.DEFAULT], [1500, 3000, 6000], scores=["pesq_wb", "stoi", "si_sdr"])
    evaluation = evaluate(plan, Store(tmp_path / "report"))
    assert evaluation.failures == ()
    means = {one.system.setting: one for one in evaluation.summaries if one.system.setting in FLOORS}
    assert list(means) == list(FLOORS)
    for setting, (pesq, stoi) in FLOORS.items():
        mean = means[setting]
        print(setting, {name: round(score.value, 3) for name, score in mean.scores.items()}, mean.bitrate_bps.value)
        assert mean.files == 76
        assert mean.scores["pesq_wb"].value >= pesq
        assert mean.scores["stoi"].value >= stoi
        assert mean.bitrate_bps.value < 1.1 * 1000 * float(setting.split()[0])
    for name in ("pesq_wb", "stoi", "si_sdr"):
        values = [mean.scores[name].value for mean in means.values()]
        assert values == sorted(values)
    print("perplexities", [round(stage.perplexity) for stage in evaluation.usage])
    assert min(stage.perplexity for stage in evaluation.usage) > 400
