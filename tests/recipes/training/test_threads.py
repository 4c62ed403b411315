"""The number of threads that training takes."""

import pytest
import torch

from vqcodec.recipes import loading
from vqcodec.recipes.config import Recipe
from vqcodec.recipes.data.batches import Example
from vqcodec.recipes.training import dry_run, threads


@pytest.fixture(autouse=True)
def as_before() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def recipe() -> Recipe:
    return loading.load("tiny", ["data.batch_size=2", "model.encoder_width=8", "model.decoder_width=8"])


@pytest.mark.parametrize(
    ("cpus", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])]
)
def test_what_is_tried(cpus: int, counts: list[int]) -> None:
    assert threads.counts(cpus) == counts


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 0.6, 4: 0.4, 8: 0.45}, 4),
        ({1: 1.0, 2: 0.95}, 1),  # not worth a core
        ({1: 1.0, 2: 7.0}, 1),
        ({1: 1.0, 2: 0.95, 4: 0.5}, 4),
    ],
)
def test_the_fastest(seconds: dict[int, float], best: int) -> None:
    assert threads.fastest(seconds) == best


def test_each_number_is_timed_until_more_are_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    costs = {1: 3.0, 2: 2.0, 4: 2.5}

    def step(batch: Example) -> None:
        nonlocal now
        now += costs[torch.get_num_threads()]

    monkeypatch.setattr(threads.time, "perf_counter", lambda: now)
    batch = Example(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    assert threads.times(step, batch, [1, 2, 4, 8]) == costs


def test_the_choice_is_set_and_told(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "times", lambda step, batch, counts: {1: 2.0, 2: 1.0})
    told: list[str] = []
    assert threads.choose(recipe, told.append) == torch.get_num_threads() == 2
    assert told == ["computing on 2 threads (a step by their number: 1: 2 s, 2: 1 s)"]


def test_a_dry_run_measures_only_if_asked(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "times", lambda step, batch, counts: {1: 2.0, 3: 1.0})
    before = torch.get_num_threads()
    dry_run.plan(recipe, "cpu")
    assert torch.get_num_threads() == before != 3
    told: list[str] = []
    dry_run.plan(recipe, "cpu", told.append)
    assert torch.get_num_threads() == 3 and len(told) == 1
