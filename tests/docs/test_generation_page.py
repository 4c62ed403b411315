"""docs/generation.md: its code runs, its figures hold, and the commands that it shows exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
import typer

from vqcodec.models.prior.sampling import Sampling

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "generation.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text("utf-8")


def test_the_code_runs(page: str) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, names)
    assert "filled" in names


def test_the_table_of_sampling(page: str) -> None:
    rows = re.findall(r"^\| `--([\w-]+) ([\d.]+)` \| (.*) \|$", page, flags=re.MULTILINE)
    assert len(rows) == 4
    logits = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log()
    for name, value, cells in rows:
        sampling = Sampling(**{name.replace("-", "_"): int(value) if name == "top-k" else float(value)})
        found = sampling.probabilities(logits)[0].tolist()
        assert [float(cell) for cell in cells.split(" | ")] == pytest.approx(found, abs=5e-4)


def test_the_commands_exist(page: str) -> None:
    from vqcodec.cli.main import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL))
    lines = re.findall(r"^vqcodec .*$", blocks, flags=re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        _, name, *words = shlex.split(line, comments=True)
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
