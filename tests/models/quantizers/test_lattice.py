"""Lattices, learning vector quantization, and the bound that none of the family can beat on Gaussian vectors."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vqcodec.errors import ConfigError, CorruptFile, VqcodecError
from vqcodec.models.quantizers import KINDS, load, save
from vqcodec.models.quantizers.base import distortion
from vqcodec.models.quantizers.bounds import (
    covariance,
    gaussian_distortion,
    principal_variances,
    reverse_water_filling,
)
from vqcodec.models.quantizers.kmeans import KMeansQuantizer
from vqcodec.models.quantizers.lattice import LATTICES, Lattice, LatticeQuantizer, closest_points
from vqcodec.models.quantizers.lvq import LearningVectorQuantizer
from vqcodec.models.quantizers.product import ProductQuantizer
from vqcodec.models.quantizers.residual import ResidualQuantizer
from vqcodec.models.quantizers.scalar import ScalarQuantizer


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(count: int, variances: list[float], seed: int = 0) -> Tensor:
    """Gaussian vectors [vector, dim], turned away from their principal axes, with a mean."""
    generator = seeded(seed)
    dim = len(variances)
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q
    return torch.randn(count, dim, generator=generator) * torch.tensor(variances).sqrt() @ rotation + 3


def decibels(ratio: float) -> float:
    return 10 * math.log10(ratio)


# Bounds


def test_water_filling_by_hand() -> None:
    """Level 1: half a bit for each doubling of the variance above it, and nothing for what lies under it."""
    filling = reverse_water_filling(torch.tensor([0.5, 4.0, 16.0]), 3.0)
    assert filling.level == pytest.approx(1.0)
    assert filling.bits.tolist() == pytest.approx([0.0, 1.0, 2.0])
    assert filling.distortions.tolist() == pytest.approx([0.5, 1.0, 1.0])
    assert filling.distortion == pytest.approx(2.5 / 3)


def test_white_vectors_gain_six_decibels_a_bit() -> None:
    white = torch.full((8,), 2.0)
    assert gaussian_distortion(white, 0) == pytest.approx(2.0)
    assert gaussian_distortion(white, 8) == pytest.approx(2.0 / 4)
    assert gaussian_distortion(white, 24) == pytest.approx(2.0 / 64)


@pytest.mark.parametrize("bits", [0.1, 1.0, 7.5, 40.0, 400.0])
def test_rate_and_distortion_invert_each_other(bits: float) -> None:
    variances = torch.logspace(1, -3, 16)
    variances[3] = 0
    filling = reverse_water_filling(variances, bits)
    assert float(filling.bits.sum()) == pytest.approx(bits)
    level = filling.level
    assert float(0.5 * (variances.double() / level).clamp_min(1).log2().sum()) == pytest.approx(bits)
    assert float(variances.double().clamp_max(level).mean()) == pytest.approx(filling.distortion)
    shifted = reverse_water_filling(variances, bits + 0.01).distortion
    assert (filling.distortion - shifted) * 16 / 0.01 == pytest.approx(2 * math.log(2) * filling.level, rel=0.02)


def test_bounds_at_their_ends() -> None:
    assert gaussian_distortion(torch.zeros(3), 5) == 0


def test_principal_variances() -> None:
    vectors = gaussian(20000, [9.0, 4.0, 1.0])
    assert torch.allclose(covariance(vectors), torch.cov(vectors.double().T, correction=0))
    assert principal_variances(covariance(vectors)).tolist() == pytest.approx([9.0, 4.0, 1.0], rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_distortion(torch.tensor([1.0, -2.0]), 1), "variance 1 is -2.0"),
        (lambda: gaussian_distortion(torch.tensor([math.nan]), 1), "variance 0 is nan"),
        (lambda: gaussian_distortion(torch.ones(0), 1), r"\[dim\], not \[0\]"),
        (lambda: gaussian_distortion(torch.ones(2), -1), "bits is -1"),
        (lambda: covariance(torch.zeros(0, 4)), "too few"),
        (lambda: principal_variances(torch.ones(2, 3)), r"not \[2, 3\]"),
        (lambda: principal_variances(torch.tensor([[1.0, 2.0], [0.0, 1.0]])), "not symmetric"),
        (lambda: principal_variances(torch.full((2, 2), math.inf)), "not finite"),
    ],
)
def test_bounds_refuse(call, message) -> None:
    with pytest.raises(VqcodecError, match=message):
        call()


# Lattices


def points_around(lattice: Lattice) -> Tensor:
    """Every lattice point with coordinates in -1..2 [point, n]: all that can be closest to one in the unit cube."""
    whole = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0, 2.0], repeat=lattice.dim)))
    if lattice.even:
        whole = whole[whole.sum(1) % 2 == 0]
    if not lattice.halves:
        return whole
    half = torch.tensor(list(itertools.product([-0.5, 0.5, 1.5], repeat=lattice.dim)))
    return torch.cat([whole, half[half.sum(1) % 2 == 0]])


@pytest.mark.parametrize("name", LATTICES)
def test_closest_point_is_the_closest_of_all(name: str) -> None:
    lattice = LATTICES[name]
    x = torch.rand(60, lattice.dim, generator=seeded())
    closest = (x - closest_points(x, lattice)).norm(dim=1)
    exhaustive = torch.cdist(x, points_around(lattice), compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    assert torch.allclose(closest, exhaustive, atol=1e-6)


@pytest.mark.parametrize("name", LATTICES)
def test_closest_point_is_of_the_lattice(name: str) -> None:
    lattice = LATTICES[name]
    point = closest_points(20 * torch.randn(500, lattice.dim, generator=seeded()), lattice)
    assert torch.equal(closest_points(point, lattice), point)
    assert torch.equal((2 * point).round(), 2 * point)
    fraction = point - point.floor()
    assert torch.equal(fraction, fraction[:, :1].expand_as(point))
    assert bool((fraction == 0).all()) != lattice.halves
    if lattice.even:
        assert bool((point.sum(1) % 2 == 0).all())


@pytest.mark.parametrize(("name", "gain"), [("Z", 0.0), ("D4", 0.37), ("E8", 0.65)])
def test_textbook_granular_gain(name: str, gain: float) -> None:
    """On uniform vectors, against the error 1/12 of the integers."""
    lattice = LATTICES[name]
    x = 64 * torch.rand(100_000, lattice.dim, generator=seeded())
    error = distortion(x, closest_points(x, lattice)) / lattice.volume ** (2 / lattice.dim)
    assert decibels(1 / 12 / error) == pytest.approx(gain, abs=0.02)
    assert decibels(1 / 12 / lattice.second_moment) == pytest.approx(gain, abs=0.005)


@pytest.mark.parametrize(("name", "loss"), [("Z", 1.53), ("D4", 1.53 - 0.37), ("E8", 1.53 - 0.65)])
def test_gaussian_vectors_at_high_rate(name: str, loss: float) -> None:
    """Entropy coded, a lattice is its granular loss away from the bound: E8 gains 0.65 dB over Z^8 at equal bits."""
    vectors = torch.randn(60_000, 8, generator=seeded())
    quantizer = LatticeQuantizer(lattice=name, bits=32).fit(vectors)
    assert quantizer.bits_per_vector == pytest.approx(32, abs=0.01)
    error = distortion(vectors, quantizer.decode(quantizer.encode(vectors)))
    bound = gaussian_distortion(principal_variances(covariance(vectors)), quantizer.bits_per_vector)
    assert decibels(error / bound) == pytest.approx(loss, abs=0.05)


@pytest.mark.parametrize("bits", [3.0, 12.0, 48.0])
@pytest.mark.parametrize("name", LATTICES)
def test_lattices_keep_to_the_bound_and_near_it(name: str, bits: float) -> None:
    vectors = gaussian(30_000, torch.logspace(1, -2, 16).tolist())
    quantizer = LatticeQuantizer(lattice=name, bits=bits).fit(vectors)
    codes = quantizer.encode(vectors)
    assert quantizer.entropy(codes) == pytest.approx(bits, rel=0.002)
    bound = gaussian_distortion(principal_variances(covariance(vectors)), bits)
    assert 0 < decibels(distortion(vectors, quantizer.decode(codes)) / bound) < 1.7


def test_fixed_tables_keep_to_the_bound() -> None:
    variances = [4.0, 2.0, 1.0, 0.5]
    train, test = gaussian(30_000, variances).split(15_000)
    bound = principal_variances(covariance(test))
    for quantizer in (
        ScalarQuantizer(bits=6),
        KMeansQuantizer(num_codes=64, iterations=10),
        ProductQuantizer(num_books=2, codes_per_book=8),
        ResidualQuantizer(num_books=2, codes_per_book=8),
    ):
        error = distortion(test, quantizer.fit(train).decode(quantizer.encode(test)))
        assert error > gaussian_distortion(bound, quantizer.bits_per_vector)


@pytest.mark.parametrize(("bits", "snr_db"), [(1, 4.40), (2, 9.30), (3, 14.62), (4, 20.22)])
def test_textbook_scalar_quantizer(bits: int, snr_db: float) -> None:
    """Max 1960, "Quantizing for minimum distortion", table I."""
    vectors = torch.randn(100_000, 1, generator=seeded())
    quantizer = ScalarQuantizer(bits=bits).fit(vectors)
    error = distortion(vectors, quantizer.decode(quantizer.encode(vectors)))
    assert decibels(float(vectors.square().mean()) / error) == pytest.approx(snr_db, abs=0.05)


@pytest.mark.parametrize("name", LATTICES)
def test_codes_stand_for_points(name: str) -> None:
    """Decoding gives the closest lattice point, and encoding that again the same codes."""
    vectors = gaussian(2000, [1.0] * 8)
    quantizer = LatticeQuantizer(lattice=name, bits=24, decorrelate=False).fit(vectors)
    quantizer.load_tables(quantizer.tables() | {"gains": torch.ones(8)})
    mean, step = quantizer.tables()["mean"], quantizer.tables()["step"]
    codes = quantizer.encode(vectors)
    assert codes.dtype == torch.int64
    assert codes.shape == (2000, 9 if name == "E8" else 8)
    assert int(codes.min()) == 0
    decoded = quantizer.decode(codes)
    blocks = ((vectors - mean) / step).unflatten(1, (-1, LATTICES[name].dim))
    expected = closest_points(blocks, LATTICES[name]).flatten(1) * step + mean
    assert torch.allclose(decoded, expected, atol=1e-4)
    assert torch.equal(quantizer.encode(decoded), codes)


def test_entropy_of_few_points() -> None:
    """Two equally frequent points of Z cost one bit; E8's halves are told once a block."""
    vectors = torch.tensor([[0.0], [1.0]]).repeat(50, 1)
    quantizer = LatticeQuantizer(lattice="Z", bits=0.9).fit(vectors)
    assert quantizer.entropy(torch.tensor([[0], [2], [0], [2]])) == pytest.approx(1.0)
    eight = LatticeQuantizer(lattice="E8")
    whole, half = [0] * 9, [1] + [0] * 8
    assert eight.entropy(torch.tensor([whole, half])) == pytest.approx(1.0)
    with pytest.raises(VqcodecError, match="at least one code"):
        eight.entropy(torch.zeros(0, 9, dtype=torch.int64))
    with pytest.raises(VqcodecError, match=r"\[1, 8\], not torch\.int64 \[vector, 9 a block\]"):
        eight.entropy(torch.tensor([whole[:8]]))


def test_principal_axes_save_bits() -> None:
    vectors = gaussian(20_000, [16.0, 0.1, 0.1, 0.1])
    errors = []
    for decorrelate in (True, False):
        quantizer = LatticeQuantizer(lattice="D4", bits=6, decorrelate=decorrelate).fit(vectors)
        errors.append(distortion(vectors, quantizer.decode(quantizer.encode(vectors))))
    assert errors[0] < 0.7 * errors[1]


def test_lattice_is_saved_and_deterministic(tmp_path: Path) -> None:
    vectors = gaussian(70_000, [4.0, 1.0, 1.0, 0.5])  # more than the step is found with
    quantizer = LatticeQuantizer(lattice="D4", bits=8, seed=3).fit(vectors)
    again = LatticeQuantizer(lattice="D4", bits=8, seed=3).fit(vectors)
    save(tmp_path / "lattice.safetensors", quantizer)
    loaded = load(tmp_path / "lattice.safetensors")
    assert isinstance(loaded, LatticeQuantizer)
    assert loaded.settings() == quantizer.settings()
    assert loaded.bits_per_vector == quantizer.bits_per_vector
    codes = quantizer.encode(vectors)
    for other in (again, loaded):
        assert torch.equal(other.encode(vectors), codes)
        assert torch.equal(other.decode(codes), quantizer.decode(codes))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lattice": "Z8"}, "'Z8', not one of Z, D4, E8"),
        ({"bits": 0}, "bits is 0, not a number above 0"),
        ({"bits": math.nan}, "bits is nan"),
        ({"bits": "8"}, "bits is '8'"),
        ({"seed": -1}, "seed is -1"),
        ({"decorrelate": 1}, "decorrelate is 1"),
    ],
)
def test_lattice_refuses_settings(settings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LatticeQuantizer(**settings)


def test_lattice_refuses_vectors_and_codes() -> None:
    vectors = torch.randn(200, 8, generator=seeded())
    quantizer = LatticeQuantizer(lattice="E8", bits=8)
    with pytest.raises(VqcodecError, match="fit it first"):
        quantizer.encode(vectors)
    with pytest.raises(VqcodecError, match="12 dimensions, not a multiple of the 8 of E8"):
        quantizer.fit(torch.zeros(10, 12))
    with pytest.raises(VqcodecError, match="1 vectors are too few"):
        quantizer.fit(vectors[:1])
    with pytest.raises(VqcodecError, match="out of reach"):
        quantizer.fit(torch.ones(100, 8))
    with pytest.raises(VqcodecError, match="100 bits per vector are out of reach: these 200 vectors"):
        LatticeQuantizer(bits=100).fit(vectors)
    quantizer.fit(vectors)
    bad = vectors.clone()
    bad[7, 1] = math.nan
    with pytest.raises(VqcodecError, match="vector 7"):
        quantizer.encode(bad)
    with pytest.raises(VqcodecError, match="4 dimensions, not the 8"):
        quantizer.encode(vectors[:, :4])
    with pytest.raises(VqcodecError, match="steps or more away"):
        quantizer.encode(vectors * 1e9)
    codes = quantizer.encode(vectors)
    codes[5, 0] = 2
    with pytest.raises(VqcodecError, match=r"code 0 of vector 5 .* is 2, not in 0 to 1"):
        quantizer.decode(codes)
    with pytest.raises(VqcodecError, match=r"not torch.int64 \[vector, 9\]"):
        quantizer.decode(codes[:, :8])


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("axes", torch.eye(4), "not of one dimension"),
        ("gains", torch.ones(4), "not of one dimension"),
        ("step", torch.tensor(0.0), "step is 0.0"),
        ("mean", torch.full((8,), math.nan), "mean holds values"),
    ],
)
def test_lattice_refuses_tables(name: str, table: Tensor, message: str) -> None:
    quantizer = LatticeQuantizer(bits=8).fit(torch.randn(200, 8, generator=seeded()))
    with pytest.raises(CorruptFile, match=message):
        LatticeQuantizer(bits=8).load_tables(quantizer.tables() | {name: table})


def test_no_vectors_have_no_codes() -> None:
    quantizer = LatticeQuantizer(bits=8).fit(torch.randn(200, 8, generator=seeded()))
    codes = quantizer.encode(torch.zeros(0, 8))
    assert codes.shape == (0, 9)
    assert quantizer.decode(codes).shape == (0, 8)


# Learning vector quantization


def labelled(count: int = 3000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Vectors [vector, 6] of classes 100, 101, 102 that the first dimension tells apart, while others vary more."""
    generator = seeded(seed)
    labels = torch.randint(3, (count,), generator=generator)
    vectors = 3 * torch.randn(count, 6, generator=generator)
    vectors[:, 0] = 0.5 * torch.randn(count, generator=generator) + 2 * labels
    return vectors, labels + 100


@pytest.mark.parametrize("rule", ["lvq1", "glvq"])
def test_labels_help_to_tell_classes_apart(rule: str) -> None:
    """On vectors that were not learnt from: more accurate than the k-means that it starts from, and less exact."""
    start = LearningVectorQuantizer(num_codes=12, rule=rule, epochs=0).fit(*labelled())
    learnt = LearningVectorQuantizer(num_codes=12, rule=rule).fit(*labelled())
    before, after = start.score(*labelled(seed=1)), learnt.score(*labelled(seed=1))
    assert after.accuracy > before.accuracy + 0.05
    assert before.distortion < after.distortion < 1.5 * before.distortion


def test_one_step_of_lvq1_by_hand() -> None:
    """Two codes at 0 (class 0) and 10 (class 1): each is the mean of its class, and its vectors balance."""
    vectors = torch.tensor([[-1.0], [1.0], [9.0], [11.0]])
    quantizer = LearningVectorQuantizer(num_codes=2, rule="lvq1", epochs=1).fit(vectors, torch.tensor([0, 0, 1, 1]))
    assert quantizer.codes.flatten().tolist() == pytest.approx([0.0, 10.0])
    # a vector of class 1 nearest to the code of class 0 (at 0.75) repels it, by 3 steps' share of the mean pull
    vectors = torch.tensor([[0.0], [1.5], [2.0], [12.0]])
    quantizer = LearningVectorQuantizer(num_codes=2, rule="lvq1", epochs=1, learning_rate=0.1)
    quantizer.fit(vectors, torch.tensor([0, 0, 1, 1]))
    pull = ((0 - 0.75) + (1.5 - 0.75) - (2 - 0.75)) / 3
    assert quantizer.codes.flatten().tolist() == pytest.approx([0.75 + (1 - 0.9**3) * pull, 7.0 + 0.1 * 5])


def test_codes_and_classes(tmp_path: Path) -> None:
    vectors, labels = labelled()
    quantizer = LearningVectorQuantizer(num_codes=8, epochs=2).fit(vectors, labels)
    codes = quantizer.encode(vectors)
    assert codes.shape == (3000, 1)
    assert torch.equal(codes[:, 0], torch.cdist(vectors, quantizer.codes).argmin(1))
    assert torch.equal(quantizer.classify(vectors), quantizer.tables()["labels"][codes[:, 0]])
    score = quantizer.score(vectors, labels)
    assert score.accuracy == float((quantizer.classify(vectors) == labels).double().mean())
    assert score.distortion == pytest.approx(float((vectors - quantizer.decode(codes)).square().mean()))
    assert quantizer.bits_per_vector == 3

    save(tmp_path / "lvq.safetensors", quantizer)
    loaded = load(tmp_path / "lvq.safetensors")
    again = LearningVectorQuantizer(num_codes=8, epochs=2).fit(vectors, labels)
    for other in (loaded, again):
        assert isinstance(other, LearningVectorQuantizer)
        assert other.settings() == quantizer.settings()
        assert torch.equal(other.classify(vectors), quantizer.classify(vectors))
        assert torch.equal(other.codes, quantizer.codes)


def test_codes_are_shared_out_by_size_of_class() -> None:
    labels = torch.tensor([5] * 60 + [-1] * 30 + [7] * 2)
    vectors = torch.randn(92, 3, generator=seeded())
    quantizer = LearningVectorQuantizer(num_codes=10, epochs=1).fit(vectors, labels)
    assert quantizer.tables()["labels"].tolist() == [-1] * 3 + [5] * 6 + [7]
    every = LearningVectorQuantizer(num_codes=92, epochs=0).fit(vectors, labels)
    assert every.score(vectors, labels) == (pytest.approx(0, abs=1e-12), 1.0)


def test_lvq_refuses() -> None:
    vectors, labels = labelled(50)
    quantizer = LearningVectorQuantizer(num_codes=4, epochs=1)
    with pytest.raises(VqcodecError, match="labelled vectors"):
        quantizer.fit(vectors)
    with pytest.raises(VqcodecError, match=r"labels are torch.int64 \[49\], not torch.int64 \[50\]"):
        quantizer.fit(vectors, labels[1:])
    with pytest.raises(VqcodecError, match=r"labels are torch\.float32"):
        quantizer.fit(vectors, labels.float())
    with pytest.raises(VqcodecError, match="3 vectors are too few"):
        quantizer.fit(vectors[:3], labels[:3])
    with pytest.raises(VqcodecError, match="50 classes need a code each, and there are 4 codes"):
        quantizer.fit(vectors, torch.arange(50))
    with pytest.raises(VqcodecError, match="all vectors are of a single class"):
        quantizer.fit(vectors, torch.zeros_like(labels))
    with pytest.raises(VqcodecError, match="fit it first"):
        quantizer.score(vectors, labels)
    with pytest.raises(VqcodecError, match="code 0 of vector 0"):
        quantizer.fit(vectors, labels).decode(torch.tensor([[4]]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_codes": 0}, "num_codes is 0"),
        ({"num_codes": 4, "rule": "lvq2"}, "'lvq2', not one of glvq, lvq1"),
        ({"num_codes": 4, "learning_rate": 1.0}, "learning_rate is 1.0"),
        ({"num_codes": 4, "epochs": -1}, "epochs is -1"),
    ],
)
def test_lvq_refuses_settings(settings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LearningVectorQuantizer(**settings)


def test_kinds() -> None:
    assert KINDS["lattice"] is LatticeQuantizer
    assert KINDS["lvq"] is LearningVectorQuantizer
