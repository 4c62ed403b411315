"""Patterns and vocabularies: what they look like by hand, and that nothing is lost on the way back."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from vqcodec.errors import ConfigError
from vqcodec.tokens import Vocabulary, delay, flatten, stack, undelay, unflatten, unstack

CODES = torch.tensor([[1, 2, 3], [4, 5, 6]])


def test_delay_by_hand() -> None:
    assert delay(CODES, 0).tolist() == [[1, 2, 3, 0], [0, 4, 5, 6]]


def test_flatten_by_hand() -> None:
    assert flatten(CODES).tolist() == [1, 4, 2, 5, 3, 6]


def test_stack_by_hand() -> None:
    assert stack(CODES).tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("shape", [(1, 1), (6, 1), (6, 40), (3, 6, 40), (2, 1, 4, 0)])
def test_every_pattern_comes_back(shape: tuple[int, ...]) -> None:
    codes = torch.randint(0, 1024, shape)
    assert torch.equal(undelay(delay(codes, -1)), codes)
    assert torch.equal(unflatten(flatten(codes), shape[-2]), codes)
    assert torch.equal(unstack(stack(codes), shape[-2]), codes)


def test_what_was_generated_up_to_anywhere_can_be_decoded() -> None:
    codes = torch.randint(0, 9, (3, 10))
    assert torch.equal(undelay(delay(codes, -1)[..., :7]), codes[..., :5])
    assert torch.equal(unflatten(flatten(codes)[:20], 3), codes[..., :6])


def test_numbers_by_hand() -> None:
    vocabulary = Vocabulary(10, 2, ("pad", "end"), offset=100)
    assert len(vocabulary) == 22
    assert vocabulary.encode(CODES).tolist() == [[103, 104, 105], [116, 117, 118]]
    assert vocabulary.special("end") == 101
    assert vocabulary.allowed(1) == slice(112, 122)


def test_numbers_come_back() -> None:
    codes = torch.randint(0, 1024, (5, 1, 6, 30))
    codes[2, :, 4:, 7] = -1
    vocabulary = Vocabulary(1024, 12)
    tokens = vocabulary.encode(codes)
    assert torch.equal(vocabulary.decode(tokens), codes)
    assert (tokens[2, :, 4:, 7] == vocabulary.special("pad")).all()
    assert tokens.max() < len(vocabulary)
    assert len(set(tokens[tokens >= 4].tolist()) & {vocabulary.special(name) for name in vocabulary.specials}) == 0


def test_a_code_of_another_stage_is_none() -> None:
    vocabulary = Vocabulary(10, 2)
    tokens = vocabulary.encode(CODES).flip(0)
    assert (vocabulary.decode(tokens) == -1).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: delay(torch.zeros(3), 0),
        lambda: undelay(torch.zeros(0, 3)),
        lambda: unflatten(torch.zeros(3), 0),
        lambda: unstack(torch.zeros(7), 2),
        lambda: Vocabulary(0, 1),
        lambda: Vocabulary(10, 2, ("pad", "pad")),
        lambda: Vocabulary(10, 2).special("stop"),
        lambda: Vocabulary(10, 2).encode(torch.zeros(3, 9, dtype=torch.int64)),
        lambda: Vocabulary(10, 2).encode(torch.full((2, 9), 10)),
        lambda: Vocabulary(10, 2, ()).encode(torch.full((2, 9), -1)),
        lambda: Vocabulary(10, 2).allowed(2),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError):
        call()
