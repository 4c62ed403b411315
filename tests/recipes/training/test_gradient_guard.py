"""The guard lets ordinary gradients pass, however they drift, and stops outliers and runs that are made of them."""

import math

import numpy as np
import pytest

from vqcodec.errors import VqcodecError
from vqcodec.recipes.training.gradient_guard import LEARNING_STEPS, GradientSpikeGuard


def norms(count: int, usual: float = 0.5, spread: float = 0.4, seed: int = 0) -> list[float]:
    """Norms as training has them: log-normal about the usual one."""
    return list(usual * np.exp(spread * np.random.default_rng(seed).standard_normal(count)))


def used(guard: GradientSpikeGuard, values: list[float]) -> list[bool]:
    return [guard.accepts(value) for value in values]


def test_ordinary_gradients_pass() -> None:
    guard = GradientSpikeGuard(factor=10.0, patience=5)
    assert all(used(guard, norms(1000)))
    assert guard.skipped == 0
    assert guard.usual == pytest.approx(0.5, rel=0.3)


@pytest.mark.parametrize("outlier", [math.nan, math.inf, 30.0])
def test_outliers_are_skipped_and_counted(outlier: float) -> None:
    guard = GradientSpikeGuard(factor=10.0, patience=5)
    used(guard, norms(100))
    usual = guard.usual
    for _ in range(10):
        assert not guard.accepts(outlier)
        assert guard.accepts(0.5)
    assert guard.skipped == 10
    assert guard.usual == pytest.approx(usual, rel=0.3)


def test_not_finite_is_never_accepted_even_at_first() -> None:
    guard = GradientSpikeGuard(factor=10.0, patience=5)
    assert used(guard, [math.nan, 0.5, math.inf, 0.5]) == [False, True, False, True]


def test_the_first_gradients_may_be_anything() -> None:
    guard = GradientSpikeGuard(factor=10.0, patience=5)
    assert all(used(guard, list(np.geomspace(100.0, 0.5, LEARNING_STEPS))))


def test_a_slow_drift_is_followed() -> None:
    guard = GradientSpikeGuard(factor=10.0, patience=5)
    assert all(used(guard, list(np.array(norms(2000)) * np.geomspace(1.0, 1000.0, 2000))))


def test_a_lasting_change_of_scale_is_learnt_within_the_patience() -> None:
    guard = GradientSpikeGuard(factor=10.0, patience=50)
    used(guard, norms(100))
    accepted = used(guard, norms(200, usual=8.0))
    assert not accepted[0]
    assert all(accepted[50:])


@pytest.mark.parametrize("outlier", [math.nan, 1e6])
def test_a_diverged_run_is_stopped(outlier: float) -> None:
    guard = GradientSpikeGuard(factor=10.0, patience=5)
    used(guard, norms(100))
    assert not any(used(guard, [outlier] * 4))
    with pytest.raises(VqcodecError, match=r"^training diverged: 5 steps in a row .* lower optimizer.learning_rate$"):
        guard.accepts(outlier)
    assert guard.skipped == 5


def test_silence_has_no_gradient_and_does_no_harm() -> None:
    guard = GradientSpikeGuard(factor=10.0, patience=5)
    values = norms(200)
    values[::10] = [0.0] * 20
    assert all(used(guard, values))


def test_a_resumed_guard_goes_on_alike() -> None:
    values = norms(60)
    values[50:53] = [50.0, math.nan, 50.0]
    whole, first, second = (GradientSpikeGuard(factor=10.0, patience=5) for _ in range(3))
    expected = used(whole, values)
    begun = used(first, values[:52])
    second.load_state(first.state())
    assert begun + used(second, values[52:]) == expected
    assert second.state() == whole.state()
