"""Records of an evaluation: means, intervals, and the use of the codebooks."""

import numpy as np
import pytest

from vqcodec.recipes.evaluation.results import EvaluationResult, SystemFacts, summarise
from vqcodec.recipes.statistics import Interval, count_codes, ratio_interval

SYSTEM = SystemFacts(name="codec-3", codec="Codec", setting="3 kbit/s", version="1")


def result(file: str, duration_s: float, size: int, **scores: float) -> EvaluationResult:
    return EvaluationResult(
        file=file, system="codec-3", duration_s=duration_s, bytes=size, encode_s=0.1, decode_s=0.2, scores=scores
    )


def test_a_bitrate_is_bytes_over_seconds() -> None:
    assert result("a", 2.0, 750).bitrate_bps == 3000.0


def test_totals_weigh_long_files_more_and_scores_do_not() -> None:
    summary = summarise(SYSTEM, [result("a", 1.0, 100, stoi=0.5), result("b", 3.0, 100, stoi=0.9)], ["stoi"])
    assert summary.files == 2
    assert summary.duration_s == 4.0
    assert summary.bitrate_bps.value == pytest.approx(8 * 200 / 4)
    assert summary.encode_s.value == pytest.approx(0.2 / 4)
    assert summary.decode_s.value == pytest.approx(0.4 / 4)
    assert summary.scores["stoi"].value == pytest.approx(0.7)


def test_a_score_counts_the_files_that_have_it() -> None:
    summary = summarise(SYSTEM, [result("a", 1.0, 1, pesq_wb=2.0), result("b", 1.0, 1)], ["pesq_wb", "stoi"])
    assert summary.scores["pesq_wb"] == Interval(2.0, 2.0, 2.0, 1)
    assert "stoi" not in summary.scores


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    samples = random.exponential(2.0, (200, 60))
    intervals = [ratio_interval(sample, np.ones(60)) for sample in samples]
    covered = np.mean([interval.low <= 2.0 <= interval.high for interval in intervals])
    assert 0.89 <= covered <= 0.99


def test_the_interval_of_a_mean_is_about_two_standard_errors_each_way() -> None:
    values = np.random.default_rng(1).normal(5.0, 1.0, 400)
    interval = ratio_interval(values, np.ones(400))
    assert interval.value == pytest.approx(values.mean())
    assert interval.half_width == pytest.approx(1.96 * values.std() / 20, rel=0.1)


def test_the_interval_is_the_same_every_time() -> None:
    values = np.random.default_rng(2).normal(size=30)
    assert ratio_interval(values, np.ones(30)) == ratio_interval(values, np.ones(30))


@pytest.mark.parametrize("count", [1, 5])
def test_values_that_are_alike_have_a_point_for_an_interval(count: int) -> None:
    assert ratio_interval(np.full(count, 3.0), np.ones(count)) == Interval(3.0, 3.0, 3.0, count)


def test_use_of_the_codebooks() -> None:
    files = [np.array([[0, 0, 1, 1], [2, 2, 2, 2]]), np.array([[2, 2, 3, 3], [2, 2, 2, 2]])]
    even, one = count_codes(files, 4)
    assert even.counts.tolist() == [2, 2, 2, 2]
    assert (even.entropy_bits, even.perplexity, even.used_share) == (2.0, 4.0, 1.0)
    assert (one.entropy_bits, one.perplexity, one.used_share) == (0.0, 1.0, 0.25)


def test_no_codes_no_stages() -> None:
    assert count_codes([], 4) == []
