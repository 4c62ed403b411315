"""Model sizes: what is refused, and what follows from the rest."""

import dataclasses
import json
from typing import Any

import pytest

from vqcodec.errors import ConfigError
from vqcodec.models import kinds
from vqcodec.models.config import ModelConfig

KINDS: dict[str, dict[str, Any]] = {
    "rvq": {},
    "vq": {"num_stages": 1},
    "product": {"num_stages": 8},
    "lattice": {"latent_dim": 60},
    "tree": {"num_stages": 4, "codebook_size": 16},
    "hierarchical": {},
    "vae": {},
    "none": {},
}
"""Sizes beside the default ones that let each kind of bottleneck be."""

CODED = [name for name, kind in kinds.KINDS.items() if kind.has_codes]
UNCODED = [name for name in KINDS if name not in CODED]
WITH_PREFIXES = [name for name, kind in kinds.KINDS.items() if kind.has_prefixes]


def of_kind(kind: str, **sizes: Any) -> ModelConfig:
    """The default model with another bottleneck."""
    return ModelConfig(**{**KINDS[kind], "bottleneck": kind, **sizes})


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
        ("bottleneck", None),
        ("encoder_lookahead", 1.0),
    ],
)
def test_wrong_type(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"model\.{key} must be"):
        ModelConfig.from_dict({key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((field.name, -1) for field in dataclasses.fields(ModelConfig) if field.type in ("int", "float")),
        ("stride", 0),
        ("mdct_hop", 1),
        ("mdct_hop", 2049),
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


@pytest.mark.parametrize(
    "name",
    ["", "../../x", "a/b", "a\\b", "..", ".x", "-x", " x", "x.", "a\nb", "\x1b[2J", "\udcff", "x" * 101, "c:x"],
)
def test_names_that_cannot_name_a_file(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^model\.name = .* cannot name a file: choose [^\n\x1b]*$"):
        ModelConfig(name=name)


@pytest.mark.parametrize("name", ["speech_16k", "my voice 2.1", "été-3", "x" * 100])
def test_names_that_can(name: str) -> None:
    assert ModelConfig(name=name).name == name


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(ModelConfig) if field.type == "int"])
def test_every_size_has_a_largest_value(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.{key} = 1000000000 "):
        ModelConfig.from_dict({key: 10**9})


def test_a_delay_out_of_range() -> None:
    sizes = {"kernel_size": 1024, "encoder_blocks": 4, "encoder_lookahead": 4092}
    with pytest.raises(ConfigError, match=r"model\.delay = "):
        ModelConfig.from_dict(sizes)


def test_hop_length_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"model\.hop_length = 65536"):
        ModelConfig(mdct_hop=2048, stride=32)
    assert ModelConfig(mdct_hop=2047, stride=32).hop_length == 65_504


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
        ("mdct_hop", 2048),
    ],
)
def test_bounds_are_allowed(key: str, value: float) -> None:
    assert ModelConfig.from_dict({key: value}).to_dict()[key] == value


# Bottlenecks


def test_every_kind_is_known() -> None:
    assert set(KINDS) == set(kinds.KINDS)
    assert set(WITH_PREFIXES) < set(CODED)


@pytest.mark.parametrize("kind", KINDS)
def test_stage_choices(kind: str) -> None:
    config = of_kind(kind)
    assert config.has_codes is (kind in CODED)
    if kind in WITH_PREFIXES:
        assert config.stage_choices == tuple(range(1, config.num_stages + 1))
    else:
        assert config.stage_choices == ((config.num_stages,) if kind in CODED else ())
    assert config.bitrates_bps == tuple(map(config.bitrate_of, config.stage_choices))
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("kind", CODED)
def test_stages_for_a_bitrate_are_among_the_choices(kind: str) -> None:
    config = of_kind(kind)
    for stages in config.stage_choices:
        assert config.stages_for(config.bitrate_of(stages)) == stages
        config.check_stages(stages)
    assert config.stages_for(1) == config.stage_choices[0]
    assert config.stages_for(1e9) == config.num_stages
    for stages in {0, 1, config.num_stages - 1, config.num_stages + 1} - set(config.stage_choices):
        with pytest.raises(ConfigError, match=f"{config.num_stages} stages.*, not {stages}$"):
            config.check_stages(stages)


@pytest.mark.parametrize("kind", UNCODED)
def test_without_codes(kind: str) -> None:
    config = of_kind(kind)
    for refused in (lambda: config.stages_for(3000), lambda: config.check_stages(1), config.require_codes):
        with pytest.raises(ConfigError, match=rf"has no codes: its bottleneck is '{kind}'; it cannot write .vq files"):
            refused()
    assert config.hop_length == config.latent_hop


def test_facts_with_two_time_scales() -> None:
    config, plain = of_kind("hierarchical"), ModelConfig()
    assert config.latent_hop == plain.hop_length == 320
    assert config.hop_length == 640
    assert config.frame_rate == 25
    assert config.delay == plain.delay
    assert config.latency_s == (config.delay + 640) / 16_000
    assert config.bitrates_bps == tuple(range(250, 3001, 250))
    assert [config.num_frames(samples) for samples in (1, 320, 321, 960, 961)] == [2, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("kind", "vectors"),
    [
        ("rvq", 12 * 1024),
        ("vq", 1024),
        ("product", 1024),
        ("lattice", 0),
        ("tree", 16 + 256 + 4096 + 65_536),
        ("hierarchical", (4 + 4) * 1024),
        ("vae", 0),
        ("none", 0),
    ],
)
def test_numbers_in_codebooks(kind: str, vectors: int) -> None:
    config = of_kind(kind)
    assert config.code_vectors == vectors * config.latent_dim


@pytest.mark.parametrize(
    ("kind", "sizes", "message"),
    [
        ("vq", {"num_stages": 2}, r"num_stages = 2 must be 1"),
        ("product", {"num_stages": 12}, r"latent_dim = 64 must be a multiple of num_stages = 12"),
        ("lattice", {"latent_dim": 64}, r"latent_dim = 64 must be num_stages \* 5 = 60"),
        ("lattice", {"codebook_size": 1000}, r"codebook_size = 1000 must be a power of lattice_levels = 4"),
        ("lattice", {"lattice_levels": 1}, r"lattice_levels = 1 must lie between 2 and 1024"),
        ("lattice", {"lattice_levels": 2048}, r"lattice_levels = 2048 must lie between 2 and 1024"),
        ("tree", {"num_stages": 5}, r"num_stages = 5 must be at most 4 with codebook_size = 16: 65536 leaves"),
        ("tree", {"codebook_size": 65_536, "num_stages": 2}, r"num_stages = 2 must be at most 1"),
        ("hierarchical", {"coarse_stages": 12}, r"num_stages = 12 must be coarse_stages = 12 and 2, 4, 6"),
        ("hierarchical", {"coarse_stages": 3}, r"num_stages = 12 must be coarse_stages = 3 and 2, 4, 6"),
    ],
)
def test_sizes_that_a_kind_cannot_have(kind: str, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.{message}.*"):
        of_kind(kind, **sizes)


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"model.bottleneck = 'product_vq' .* 'product'\?"):
        ModelConfig(bottleneck="product_vq")


@pytest.mark.parametrize(("levels", "size"), [(2, 1024), (3, 729), (5, 625), (4, 65_536), (7, 7), (243, 59_049)])
def test_lattices_that_fit(levels: int, size: int) -> None:
    digits = {1024: 10, 729: 6, 625: 4, 65_536: 8, 7: 1, 59_049: 2}[size]
    config = of_kind("lattice", num_stages=3, lattice_levels=levels, codebook_size=size, latent_dim=3 * digits)
    assert config.stage_choices == (3,)
