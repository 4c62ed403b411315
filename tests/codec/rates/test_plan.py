"""What may be asked of the bitrate, and what it means for a model."""

from __future__ import annotations

from typing import Any

import pytest

from vqcodec import Rate
from vqcodec.errors import ConfigError
from vqcodec.models.config import ModelConfig
from vqcodec.rates.plan import plan_of

SPEECH = ModelConfig()
FIXED = ModelConfig(bottleneck="product", num_stages=8)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"bitrate_bps": 900, "stages": 2}, "not both"),
        ({"bitrate_bps": 900, "quality": 5}, "not both"),
        ({"quality": 11}, "0 to 10"),
        ({"mode": "average"}, "variable or constant"),
        ({"packing": "zip"}, "plain or context"),
        ({"mode": "variable", "stages": 2}, "constant bitrate"),
        ({"mode": "constant", "quality": 2}, "variable bitrate"),
        ({"mode": "constant", "max_bitrate_bps": 2000}, "variable bitrate"),
        ({"stages": 3, "max_bitrate_bps": 2000}, "variable bitrate"),
    ],
)
def test_wishes_that_contradict_themselves(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Rate(**wish)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Rate(mode="variable"), "same number of stages"),
        (Rate(quality=5), "same number of stages"),
        (Rate(bitrate_bps=float("nan"), mode="constant"), "not at nan"),
        (Rate(stages=5), "8 stages"),
    ],
)
def test_what_a_model_cannot_do(wish: Rate, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(FIXED, None, None, wish, varies=True)


@pytest.mark.parametrize("bitrate", [0, -1, float("inf"), float("nan")])
def test_bitrates_are_positive_numbers(bitrate: float) -> None:
    for mode in ("variable", "constant"):
        with pytest.raises(ConfigError, match="bits a second and channel"):
            plan_of(SPEECH, None, None, Rate(bitrate, mode=mode), varies=True)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="highest bitrate is a positive"):
        plan_of(SPEECH, None, None, Rate(900, max_bitrate_bps=bitrate), varies=True)


def test_the_default_varies_only_where_it_may() -> None:
    assert plan_of(SPEECH, None, None, None, varies=False).target is None
    assert plan_of(SPEECH, None, None, None, varies=False).stages == 6
    target = plan_of(SPEECH, None, None, None, varies=True).target
    assert target is not None
    assert target.bitrate_bps == 3000
    assert plan_of(SPEECH, None, 4, None, varies=True).target is None
    assert plan_of(SPEECH, 1500, None, None, varies=False).stages == 3
    assert plan_of(FIXED, None, None, None, varies=True).target is None
    with pytest.raises(ConfigError, match="not both"):
        plan_of(SPEECH, 900, None, Rate(900), varies=True)


def test_better_quality_is_a_lower_price() -> None:
    prices = []
    for quality in range(11):
        target = plan_of(SPEECH, None, None, Rate(quality=quality), varies=False).target
        assert target is not None
        assert target.price is not None
        prices.append(target.price)
    assert prices == sorted(prices, reverse=True)


def test_payload_codings() -> None:
    constant, variable = (
        plan_of(SPEECH, None, None, Rate(mode=mode), varies=True) for mode in ("constant", "variable")
    )
    assert [constant.payload_coding(False), constant.payload_coding(True)] == [0, 0]
    assert [variable.payload_coding(False), variable.payload_coding(True)] == [1, 2]
    packed = plan_of(SPEECH, None, None, Rate(mode="constant", packing="context"), varies=True)
    assert packed.payload_coding(True) == 2
    with pytest.raises(ConfigError, match="train-context"):
        packed.payload_coding(False)
    assert plan_of(SPEECH, None, None, Rate(packing="plain"), varies=True).payload_coding(True) == 1
