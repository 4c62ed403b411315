"""Model sizes: what is refused, and what follows from the rest."""

import dataclasses
import json
from typing import Any

import pytest

from vqcodec.errors import ConfigError
from vqcodec.models.config import ModelConfig


def test_facts_of_the_default() -> None:
    config = ModelConfig()
    assert config.hop_length == 320
    assert config.frame_rate == 50.0
    assert config.bits_per_code == 10
    assert config.bitrates_bps == tuple(range(500, 6001, 500))
    assert config.lookahead == 2
    assert config.delay == 160 + 2 * 320
    assert config.latency_s <= 0.08


def test_facts_with_a_stride() -> None:
    config = ModelConfig(mdct_hop=160, stride=2, encoder_lookahead=2, decoder_lookahead=1, codebook_size=1025)
    assert config.hop_length == 320
    assert config.frame_rate == 50.0
    assert config.bits_per_code == 11
    assert config.bitrates_bps[:2] == (550, 1100)
    assert config.lookahead == 3
    assert config.delay == 160 + 3 * 320
    assert config.latency_s == (160 + 4 * 320) / 16_000


@pytest.mark.parametrize(("size", "bits"), [(2, 1), (3, 2), (256, 8), (257, 9), (65_536, 16)])
def test_bits_per_code(size: int, bits: int) -> None:
    assert ModelConfig(codebook_size=size).bits_per_code == bits


def test_uneven_bitrates_are_rounded() -> None:
    config = ModelConfig(mdct_hop=480, stride=1, num_stages=3)  # 33 1/3 frames a second
    assert config.bitrates_bps == (333, 667, 1000)


def test_num_frames() -> None:
    config = ModelConfig(mdct_hop=320, stride=1)  # a delay of three frames
    assert [config.num_frames(samples) for samples in (1, 319, 320, 321, 16_000)] == [4, 4, 4, 5, 53]


def test_round_trip() -> None:
    config = ModelConfig(name="other", power=0.5, stride=2, mdct_hop=100, decoder_fast_blocks=3)
    values = json.loads(json.dumps(config.to_dict()))
    assert ModelConfig.from_dict(values) == config
    assert ModelConfig.from_dict({}) == ModelConfig()
    assert set(values) == {field.name for field in dataclasses.fields(ModelConfig)}


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().stride = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("latent_dims", "latent_dim"),
        ("codebooksize", "codebook_size"),
        ("num_stage", "num_stages"),
        ("encoder_look_ahead", "encoder_lookahead"),
        ("sample-rate", "sample_rate"),
    ],
)
def test_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.{key} .*model\.{nearest}\?"):
        ModelConfig.from_dict({"name": "x", key: 1})


def test_unknown_key_unlike_any_other() -> None:
    with pytest.raises(ConfigError, match=r"model\.~"):
        ModelConfig.from_dict({"~": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stride", "2"),
        ("stride", 2.0),
        ("stride", True),
        ("stride", None),
        ("latent_dim", [128]),
        ("power", "0.3"),
        ("power", False),
        ("power", float("nan")),
        ("power", float("inf")),
        ("name", 3),
        ("encoder_lookahead", 1.0),
    ],
)
def test_wrong_type(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"model\.{key} must be"):
        ModelConfig.from_dict({key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((field.name, -1) for field in dataclasses.fields(ModelConfig) if field.name != "name"),
        ("stride", 0),
        ("mdct_hop", 1),
        ("mdct_hop", 8193),
        ("latent_dim", 0),
        ("kernel_size", 0),
        ("expansion", 0),
        ("encoder_width", 0),
        ("encoder_blocks", 0),
        ("decoder_width", 0),
        ("decoder_blocks", 0),
        ("num_stages", 0),
        ("num_stages", 256),
        ("codebook_size", 1),
        ("codebook_size", 65_537),
        ("sample_rate", 999),
        ("sample_rate", 1_000_001),
        ("power", 0.0),
        ("power", 0.04),
        ("power", 1.01),
        ("encoder_lookahead", 31),  # five blocks of kernel 7 see at most 30 frames
        ("decoder_lookahead", 37),
    ],
)
def test_out_of_range(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"model\.{key} = {value}"):
        ModelConfig.from_dict({key: value})


def test_hop_length_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"model\.hop_length = 65536"):
        ModelConfig(mdct_hop=8192, stride=8)
    assert ModelConfig(mdct_hop=8191, stride=8).hop_length == 65_528


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_stages", 1),
        ("num_stages", 255),
        ("codebook_size", 2),
        ("sample_rate", 1000),
        ("power", 1),
        ("power", 0.05),
        ("encoder_lookahead", 0),
        ("encoder_lookahead", 30),
        ("decoder_lookahead", 36),
        ("encoder_fast_blocks", 0),
        ("mdct_hop", 2),
        ("mdct_hop", 8192),
    ],
)
def test_bounds_are_allowed(key: str, value: float) -> None:
    assert ModelConfig.from_dict({key: value}).to_dict()[key] == value
