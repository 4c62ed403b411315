"""Both kinds of prior: what their codes depend on, the chain rule, and what training starts from."""

from __future__ import annotations

import itertools

import pytest
import torch
from priors import KINDS, random_codes, tiny

from vqcodec.errors import ConfigError
from vqcodec.models.prior.base import Condition, character_numbers, speaker_numbers
from vqcodec.models.prior.slots import NONE, arrange

NOTHING = Condition()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap", [None, (1, 2)])
def test_probabilities_of_all_sequences_add_up_to_one(kind: str, gap: tuple[int, int] | None) -> None:
    prior = tiny(kind)
    if gap is not None and not prior.can_infill:
        pytest.skip("it reads as time goes")
    every = torch.tensor(list(itertools.product(range(3), repeat=6))).view(-1, 2, 3)
    bits = prior.bits(every, NOTHING, gap)
    assert bits.shape == every.shape
    probabilities = (-bits.double().sum((1, 2))).exp2()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    assert probabilities.max() > 3 * probabilities.min()


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_depends_on_those_before_it_alone(kind: str) -> None:
    prior = tiny(kind)
    codes = random_codes(prior, 1, 12)
    bits = prior.bits(codes, NOTHING)
    changed = codes.clone()
    changed[0, 1, 6] = (codes[0, 1, 6] + 1) % 3
    difference = (prior.bits(changed, NOTHING) != bits)[0]
    assert not difference[:, :6].any() and not difference[0, 6]
    assert difference[1, 6] and difference[0, 7] and difference[1, 7]


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_stage_depends_on_the_stage_before(kind: str) -> None:
    prior = tiny(kind)
    codes = random_codes(prior, 1, 12)
    changed = codes.clone()
    changed[0, 0, 6] = (codes[0, 0, 6] + 1) % 3
    assert prior.bits(codes, NOTHING)[0, 1, 6] != prior.bits(changed, NOTHING)[0, 1, 6]


def test_a_gap_is_predicted_from_both_sides() -> None:
    prior = tiny()
    codes = random_codes(prior, 1, 12)
    bits = prior.bits(codes, NOTHING, gap=(4, 7))
    for place, gap_changes, before_changes in ((9, True, False), (5, True, False), (1, True, True)):
        changed = codes.clone()
        changed[0, 0, place] = (codes[0, 0, place] + 1) % 3
        difference = prior.bits(changed, NOTHING, gap=(4, 7))[0, 0] != bits[0, 0]
        assert bool(difference[4:7].any()) == gap_changes
        assert bool(difference[:4].any()) == before_changes


def test_slots_of_a_gap_keep_their_places() -> None:
    codes = torch.arange(5).view(1, 1, 5)
    slots = arrange(codes, (1, 3))
    assert slots.places.tolist() == [0, 1, 3, 4, 5, 1, 2]
    assert slots.before[0, 0].tolist() == [NONE, 0, NONE, 3, 4, NONE, 1]
    assert slots.targets[0, 0].tolist() == [0, NONE, 3, 4, NONE, 1, 2]
    assert slots.targets[0, 0, slots.order].tolist() == [0, 1, 2, 3, 4]
    plain = arrange(codes)
    assert plain.targets[0, 0].tolist() == [0, 1, 2, 3, 4] and plain.before[0, 0].tolist() == [NONE, 0, 1, 2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_training_starts_from_how_often_codes_are_used(kind: str) -> None:
    prior = tiny(kind)
    prior.head.zero_()  # type: ignore[operator]
    counts = torch.tensor([[1, 2, 5], [4, 3, 1]])
    prior.begin_with(torch.randn(2, 3, 4), counts)
    codes = random_codes(prior, 2, 10)
    expected = -(counts / 8).log2()[torch.arange(2)[:, None], codes]
    torch.testing.assert_close(prior.bits(codes, NOTHING), expected, check_dtype=False, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_speakers_make_a_difference(kind: str) -> None:
    prior = tiny(kind, speakers=("anna", "ben"))
    codes = random_codes(prior, 2, 8)[:1].repeat(2, 1, 1)
    numbers = speaker_numbers(prior.config, ["anna", "ben"])
    bits = prior.bits(codes, Condition(speakers=numbers))
    assert (bits[0] != bits[1]).all()
    nobody = prior.bits(codes, NOTHING)
    torch.testing.assert_close(nobody, prior.bits(codes, Condition(speakers=torch.zeros(2).long())))
    with pytest.raises(ConfigError, match="does not know the speaker 'carl'; it knows 2, such as anna, ben"):
        speaker_numbers(prior.config, ["carl"])


def test_texts_make_a_difference_and_stay_out_of_the_codes() -> None:
    prior = tiny(characters="abc")
    numbers = character_numbers(prior.config, ["Ab, c", "b"])
    assert numbers.tolist() == [[1, 2, 3], [0, 0, 2]]
    codes = random_codes(prior, 1, 8).repeat(2, 1, 1)
    bits = prior.bits(codes, Condition(characters=numbers))
    assert bits.shape == codes.shape
    assert (bits[0] != bits[1]).all()


def test_given_stages_of_frames_behind_count_as_well() -> None:
    prior = tiny(first_stage=2)
    codes = random_codes(prior, 1, 12)
    given = random_codes(prior, 1, 12, seed=2)
    bits = prior.bits(codes, Condition(given=given))
    changed = given.clone()
    changed[0, 1, 8] = (given[0, 1, 8] + 1) % 3
    difference = prior.bits(codes, Condition(given=changed))[0, 0] != bits[0, 0]
    assert difference[8] and difference[6] and not difference[0]


def test_unknown_conditions_are_refused() -> None:
    prior = tiny()
    number = torch.ones(1, dtype=torch.int64)
    for condition, words in (
        (Condition(speakers=number), "without|not trained with speakers"),
        (Condition(characters=number[None]), "not trained with texts"),
        (Condition(given=number[None, None]), "given the codes of 0 stages, not of 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            prior.begin(1, condition)
