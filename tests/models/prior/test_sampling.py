"""Sampling is exact: the distribution, the cache, seeds, truncation, and what stays untouched."""

from __future__ import annotations

import itertools

import pytest
import torch
from priors import KINDS, random_codes, tiny
from scipy.stats import chisquare

from vqcodec.errors import ConfigError
from vqcodec.models.prior.base import Condition
from vqcodec.models.prior.sampling import Draws, Sampling, extend, infill

NOTHING = Condition()
PLAIN = Sampling()
ITEMS = 4000


def shares_of(codes: torch.Tensor) -> torch.Tensor:
    """How often each sequence [stage, frame] of codes below 3 is there."""
    powers = 3 ** torch.arange(codes[0].numel() - 1, -1, -1)
    return torch.bincount((codes.flatten(1) * powers).sum(1), minlength=3 ** codes[0].numel())


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_distributed_as_the_likelihood_says(kind: str) -> None:
    prior = tiny(kind)
    every = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    expected = (-prior.bits(every, NOTHING).double().sum((1, 2))).exp2()
    nothing = torch.zeros(ITEMS, 2, 0, dtype=torch.int64)
    drawn = extend(prior, nothing, 2, Draws(PLAIN, range(ITEMS)))
    assert chisquare(shares_of(drawn), ITEMS * expected / expected.sum()).pvalue > 0.001
    other = expected.roll(1)
    assert chisquare(shares_of(drawn), ITEMS * other / other.sum()).pvalue < 1e-9


def test_fine_codes_are_sampled_given_the_coarse_ones() -> None:
    coarse, fine = tiny(num_stages=1), tiny(num_stages=1, first_stage=1, seed=2)
    every = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    top, bottom = every[:, :1], every[:, 1:]
    bits = coarse.bits(top, NOTHING) + fine.bits(bottom, Condition(given=top))
    expected = (-bits.double().sum((1, 2))).exp2()
    assert expected.sum().item() == pytest.approx(1, abs=1e-5)
    draws = Draws(PLAIN, range(ITEMS))
    nothing = torch.zeros(ITEMS, 1, 0, dtype=torch.int64)
    drawn = extend(coarse, nothing, 2, draws)
    refined = extend(fine, nothing, 2, draws, Condition(given=drawn))
    assert chisquare(shares_of(torch.cat([drawn, refined], 1)), ITEMS * expected / expected.sum()).pvalue > 0.001
    some = Condition(given=drawn[:5])
    cached, uncached = (extend(fine, nothing[:5], 2, Draws(PLAIN, range(5)), some, cached=c) for c in (True, False))
    assert torch.equal(cached, uncached)


def test_infilling_is_distributed_as_the_likelihood_of_the_gap_says() -> None:
    prior = tiny()
    around = random_codes(prior, 1, 5)
    every = around.repeat(81, 1, 1)
    every[:, :, 1:3] = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    expected = (-prior.bits(every, NOTHING, gap=(1, 3)).double()[..., 1:3].sum((1, 2))).exp2()
    assert expected.sum().item() == pytest.approx(1, abs=1e-5)
    drawn = infill(prior, around.repeat(ITEMS, 1, 1), (1, 3), Draws(PLAIN, range(ITEMS)))
    assert chisquare(shares_of(drawn[..., 1:3]), ITEMS * expected / expected.sum()).pvalue > 0.001


@pytest.mark.parametrize("told", [{}, {"speakers": ("a", "b")}, {"characters": "xyz"}])
@pytest.mark.parametrize("kind", KINDS)
def test_the_cache_makes_no_difference(kind: str, told: dict[str, object]) -> None:
    if kind == "pixelcnn" and "characters" in told:
        pytest.skip("it reads no texts")
    prior = tiny(kind, **told)
    condition = Condition(
        speakers=torch.tensor([1, 2]) if "speakers" in told else None,
        characters=torch.tensor([[1, 2, 3], [0, 3, 1]]) if "characters" in told else None,
    )
    prompt = random_codes(prior, 2, 7)
    sampling = Sampling(temperature=0.8, top_p=0.95)
    found = [extend(prior, prompt, 33, Draws(sampling, [5, 6]), condition, cached=cached) for cached in (True, False)]
    assert torch.equal(*found)
    assert torch.equal(found[0][..., :7], prompt)
    assert len(found[0][..., 7:].unique()) == 3


@pytest.mark.parametrize("gap", [(4, 9), (0, 5), (15, 20), (0, 20)])
def test_infilling_leaves_the_rest_untouched(gap: tuple[int, int]) -> None:
    prior = tiny()
    codes = random_codes(prior, 2, 20)
    filled = infill(prior, codes, gap, Draws(PLAIN, [1, 2]))
    assert torch.equal(filled, infill(prior, codes, gap, Draws(PLAIN, [1, 2]), cached=False))
    inside = torch.zeros(20, dtype=torch.bool)
    inside[gap[0] : gap[1]] = True
    assert torch.equal(filled[..., ~inside], codes[..., ~inside])
    assert not torch.equal(filled[..., inside], codes[..., inside])
    blank = torch.where(inside, 0, codes)
    assert torch.equal(infill(prior, blank, gap, Draws(PLAIN, [1, 2])), filled)


@pytest.mark.parametrize("kind", KINDS)
def test_items_of_a_batch_do_not_know_each_other(kind: str) -> None:
    prior = tiny(kind)
    prompt = random_codes(prior, 3, 4)
    together = extend(prior, prompt, 10, Draws(PLAIN, [7, 8, 9]))
    for item, seed in enumerate((7, 8, 9)):
        assert torch.equal(extend(prior, prompt[item : item + 1], 10, Draws(PLAIN, [seed]))[0], together[item])
    assert not torch.equal(together, extend(prior, prompt, 10, Draws(PLAIN, [10, 11, 12])))


def test_likelihood_is_what_sampling_saw() -> None:
    """The same numbers come from a row that is read at once and from one that grows."""
    prior = tiny()
    codes = random_codes(prior, 1, 6)
    session = prior.begin(1, NOTHING)
    session.read(codes[..., :0], 0)
    for frame in range(6):
        for stage in range(2):
            shares = torch.softmax(session.logits(codes[:, :stage, frame]), 1)
            bits = -shares[0, codes[0, stage, frame]].log2()
            assert bits.item() == pytest.approx(prior.bits(codes, NOTHING)[0, stage, frame].item(), abs=1e-5)
        session.push(codes[..., frame])


def test_truncated_distributions() -> None:
    logits = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log()
    for sampling, expected in (
        (Sampling(), [0.5, 0.2, 0.2, 0.1]),
        (Sampling(top_k=1), [1, 0, 0, 0]),
        (Sampling(top_k=2), [5 / 7, 2 / 7, 0, 0]),
        (Sampling(top_p=0.6), [5 / 7, 2 / 7, 0, 0]),
        (Sampling(top_p=0.9), [5 / 9, 2 / 9, 2 / 9, 0]),
        (Sampling(top_k=3, top_p=0.7), [5 / 7, 2 / 7, 0, 0]),
        (Sampling(temperature=0.5), [25 / 34, 4 / 34, 4 / 34, 1 / 34]),
        (Sampling(temperature=0), [1, 0, 0, 0]),
    ):
        found = sampling.probabilities(logits)[0]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype), atol=1e-6, rtol=1e-5)


def test_codes_without_probability_are_never_drawn() -> None:
    logits = torch.zeros(2000, 6)
    logits[:, 3:] = -torch.inf
    drawn = Draws(PLAIN, range(2000)).code(logits, torch.zeros(2000, 0, dtype=torch.int64))
    assert set(drawn.tolist()) == {0, 1, 2}


def test_the_guard_ends_a_loop() -> None:
    """The likeliest code again and again; once it is half of the last ten frames, all codes have their chance."""
    logits = torch.tensor([[2.0, 1.0, 1.0]]).repeat(500, 1)
    few, many = torch.tensor([[0] * 5 + [1] * 5]).repeat(500, 1), torch.tensor([[0] * 6 + [1] * 4]).repeat(500, 1)
    greedy = Sampling(temperature=0, repetition_share=0.5)
    assert Draws(greedy, range(500)).code(logits, few).unique().tolist() == [0]
    assert Draws(greedy, range(500)).code(logits, many).unique().tolist() == [0, 1, 2]
    assert Draws(Sampling(temperature=0), range(500)).code(logits, many).unique().tolist() == [0]


def test_what_cannot_be_made_is_refused() -> None:
    prior, draws = tiny(), Draws(PLAIN, [0])
    codes = random_codes(prior, 1, 40)
    with pytest.raises(ConfigError, match=r"0\.82 s in all are longer than the context of the prior, 0\.8 s"):
        extend(prior, codes, 1, draws)
    with pytest.raises(ConfigError, match="gap from frame 30 to 41 is not in 40 frames"):
        infill(prior, codes, (30, 41), draws)
    with pytest.raises(ConfigError, match="'pixelcnn' knows no frames behind a gap"):
        infill(tiny("pixelcnn"), codes, (3, 4), draws)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"repetition_share": 2.0},
    ],
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Sampling(**wrong)  # type: ignore[arg-type]
