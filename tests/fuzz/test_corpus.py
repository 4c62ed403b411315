"""What fuzzing found, or began with, is tried again in every run of the tests; and damage at random for a moment."""

from random import Random

import pytest

from fuzz import NAMES, load, mutation


@pytest.mark.parametrize("name", NAMES)
def test_kept_inputs(name: str) -> None:
    target = load(name)
    assert target.inputs
    for data in target.inputs:
        target.check(data)


@pytest.mark.parametrize("name", NAMES)
def test_some_damage(name: str) -> None:
    target, random = load(name), Random(0)
    for _ in range(30):
        data = target.mutate(random.choice(target.inputs), random, lambda part: mutation.changed(part, random, [part]))
        target.check(data)
