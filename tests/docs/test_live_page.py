"""The code of docs/LIVE.md runs, and its figures of the format are right."""

import re
from pathlib import Path

import pytest

from vqcodec.live.payload import NOISE_TYPE, REDUNDANCIES, PayloadFormat
from vqcodec.live.reports import RedundancyChoice
from vqcodec.models import registry

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "LIVE.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


@pytest.mark.skipif(registry.DEFAULT not in registry.names(), reason="no trained weights in this build")
def test_the_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    exec(blocks[0], {})


def test_the_table_of_redundancy_is_that_of_the_format() -> None:
    rows = re.findall(r"^\| (\d) \| (\w+) \|", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert rows == [(str(number), str(one)) for number, one in enumerate(REDUNDANCIES)]
    assert f"{NOISE_TYPE} is a frame of background noise" in PAGE.read_text("utf-8")


def test_the_number_of_stages_follows_as_the_page_says() -> None:
    for bits in (8, 10, 16):
        for frames in range(1, 7):
            for rows in range(1, 35):
                length = -(-frames * rows * bits // 8)
                assert 8 * length // (frames * bits) == rows
    assert PayloadFormat(12, 1024).bits == 10


def test_redundancy_by_loss() -> None:
    chosen = [str(RedundancyChoice().reported(loss)) for loss in (0.005, 0.03, 0.1, 0.2)]
    assert chosen == ["none", "1x1", "2x1", "4x1"]
    assert "none below 1 %, 1x1 below 5 %, 2x1 below 15 %, 4x1 above" in PAGE.read_text("utf-8")
