"""The shipped model on real speech that it was not trained on. Needs recordings beside the project."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vqcodec import Codec, audio
from vqcodec.models import registry

SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech" / "dev"

FLOORS = {3: (1.6, 0.82), 6: (1.9, 0.88), 12: (2.2, 0.91)}
"""PESQ-WB and STOI that the model must reach, by stages: 1.5, 3 and 6 kbit/s. The goal for the first STOI is 0.84."""


@pytest.fixture(scope="module")
def paths() -> list[Path]:
    """The development set: the recordings at 16 kHz."""
    if not SPEECH.is_dir():
        pytest.skip("no recorded speech beside the project")
    return [path for path in audio.find(SPEECH) if "48k" not in path.parent.parent.name]


@pytest.fixture(scope="module")
def codec() -> Iterator[Codec]:
    if registry.DEFAULT not in registry.names():
        pytest.skip("no trained weights in this build")
    threads = torch.get_num_threads()
    yield Codec.load(device="cpu")
    torch.set_num_threads(threads)


def test_quality_rises_with_the_bitrate_above_the_floors(codec: Codec, paths: list[Path]) -> None:
    pytest.importorskip("pesq", reason="the eval extra is not installed")
    from vqcodec.recipes.evaluate import score, summarise

    means = [summarise([score(codec, path, stages) for path in paths]) for stages in FLOORS]
    print(*means, sep="\n")
    for mean in means:
        pesq, stoi = FLOORS[mean.stages]
        assert mean.pesq_wb >= pesq
        assert mean.stoi >= stoi
        assert mean.bitrate_bps < 1.1 * codec.bitrates[mean.stages - 1]
    assert [mean.pesq_wb for mean in means] == sorted(mean.pesq_wb for mean in means)
    assert [mean.stoi for mean in means] == sorted(mean.stoi for mean in means)


def test_every_codebook_is_in_use(codec: Codec, paths: list[Path]) -> None:
    from vqcodec.recipes.evaluate import stage_perplexities

    assert min(stage_perplexities(codec, paths)) > 400
