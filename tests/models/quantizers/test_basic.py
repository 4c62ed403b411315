"""The classical quantizers' common ground, and those of one table or tree: scalar, k-means, LBG, tree."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vqcodec.errors import ConfigError, CorruptFile, UnsupportedVersion, VqcodecError
from vqcodec.models import search
from vqcodec.models.quantizers import KINDS, Quantizer, kmeans, load, save
from vqcodec.models.quantizers.base import check_codes, check_integer, distortion, nearest
from vqcodec.models.quantizers.kmeans import KMeansQuantizer, lloyd, plus_plus
from vqcodec.models.quantizers.lbg import LBGQuantizer
from vqcodec.models.quantizers.scalar import MAX_BITS, ScalarQuantizer, allocate_bits
from vqcodec.models.quantizers.tree import TreeQuantizer

DIM = 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(count: int = 600, dim: int = DIM, seed: int = 1) -> Tensor:
    """White Gaussian vectors of variance 1 [vector, dim]."""
    return torch.randn(count, dim, generator=seeded(seed))


def column(*values: float) -> Tensor:
    """Vectors of one dimension [vector, 1]."""
    return torch.tensor(values, dtype=torch.float32)[:, None]


def error(quantizer: Quantizer, vectors: Tensor) -> float:
    """Mean squared error per dimension."""
    return distortion(vectors, quantizer.decode(quantizer.encode(vectors)))


def gain_db(quantizer: Quantizer, vectors: Tensor) -> float:
    """Signal-to-noise ratio of what it was fitted on."""
    return -10 * math.log10(error(quantizer, vectors) / float(vectors.var(correction=0)))


MAKERS: dict[str, Callable[[], Quantizer]] = {
    "scalar": lambda: ScalarQuantizer(bits=6),
    "uniform": lambda: ScalarQuantizer(bits=6, design="uniform"),
    "kmeans": lambda: KMeansQuantizer(num_codes=12, seed=3),
    "lbg": lambda: LBGQuantizer(num_codes=12, epsilon=0.02, seed=3),
    "tree": lambda: TreeQuantizer(depth=4, seed=3),
    "full_tree": lambda: TreeQuantizer(depth=4, search="full", iterations=7, seed=3),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Quantizer]:
    return MAKERS[request.param]


# What all quantizers have in common


def test_codes_and_vectors(make: Callable[[], Quantizer]) -> None:
    vectors = gaussian()
    quantizer = make()
    assert quantizer.fit(vectors) is quantizer
    codes = quantizer.encode(vectors)
    decoded = quantizer.decode(codes)
    assert codes.dtype == torch.int64
    assert len(codes) == len(vectors)
    assert decoded.dtype == torch.float32
    assert decoded.shape == vectors.shape
    assert error(quantizer, vectors) < 0.7  # 1 is what zero bits would leave
    assert 3 < quantizer.bits_per_vector <= 6


def test_the_seed_decides(make: Callable[[], Quantizer]) -> None:
    vectors = gaussian()
    torch.manual_seed(1)
    first = make().fit(vectors).tables()
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    second = make().fit(vectors).tables()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), state), "a fit drew from everybody's random numbers"


def test_another_seed_gives_other_codes() -> None:
    vectors = gaussian()
    books = [KMeansQuantizer(num_codes=12, seed=seed).fit(vectors).codes for seed in (0, 1)]
    assert not torch.equal(*books)


def test_file_and_back(make: Callable[[], Quantizer], tmp_path: Path) -> None:
    vectors = gaussian()
    quantizer = make().fit(vectors)
    save(tmp_path / "q.safetensors", quantizer)
    loaded = load(tmp_path / "q.safetensors")
    assert type(loaded) is type(quantizer)
    assert loaded.settings() == quantizer.settings()
    assert loaded.bits_per_vector == quantizer.bits_per_vector
    codes = loaded.encode(vectors)
    assert torch.equal(codes, quantizer.encode(vectors))
    assert torch.equal(loaded.decode(codes), quantizer.decode(codes))
    assert [path.name for path in tmp_path.iterdir()] == ["q.safetensors"]


def test_no_vectors_have_no_codes(make: Callable[[], Quantizer]) -> None:
    quantizer = make().fit(gaussian())
    codes = quantizer.encode(torch.zeros(0, DIM))
    assert len(codes) == 0
    assert quantizer.decode(codes).shape == (0, DIM)


def test_gradients_do_not_reach_the_tables(make: Callable[[], Quantizer]) -> None:
    vectors = gaussian().requires_grad_()
    quantizer = make().fit(vectors)
    assert not any(table.requires_grad for table in quantizer.tables().values())
    assert not quantizer.decode(quantizer.encode(vectors)).requires_grad


def test_bad_vectors(make: Callable[[], Quantizer]) -> None:
    vectors = gaussian()
    quantizer = make().fit(vectors)
    broken = vectors.clone()
    broken[417, 2] = math.nan
    broken[500, 0] = math.inf
    for use in (make().fit, quantizer.encode):
        with pytest.raises(VqcodecError, match=r"vector 417 \(counted from 0\)"):
            use(broken)
        with pytest.raises(VqcodecError, match=r"torch.float64 \[600, 4\], not torch.float32"):
            use(vectors.double())
        with pytest.raises(VqcodecError, match=r"\[600, 2, 2\]"):
            use(vectors.reshape(-1, 2, 2))
    with pytest.raises(VqcodecError, match="3 dimensions, not the 4 that the quantizer was fitted on"):
        quantizer.encode(vectors[:, :3])
    with pytest.raises(VqcodecError, match="0 dimensions"):
        make().fit(vectors[:, :0])


@pytest.mark.parametrize(
    ("quantizer", "least"),
    [
        (KMeansQuantizer(num_codes=12), 12),
        (LBGQuantizer(num_codes=12), 12),
        (TreeQuantizer(depth=4), 16),
        (ScalarQuantizer(bits=4 * 4), 2**4),
    ],
)
def test_too_few_vectors(quantizer: Quantizer, least: int) -> None:
    vectors = torch.eye(DIM).repeat(4, 1)[:least]  # as much variance in every dimension
    with pytest.raises(VqcodecError, match=f"{least - 1} vectors are too few: at least {least}"):
        quantizer.fit(vectors[:-1])
    quantizer.fit(vectors)


def test_bad_codes(make: Callable[[], Quantizer]) -> None:
    quantizer = make().fit(gaussian())
    codes = quantizer.encode(gaussian(5))
    for wrong in (-1, 1 << 20):
        broken = codes.clone()
        broken[3, -1] = wrong
        with pytest.raises(VqcodecError, match=rf"code {codes.shape[1] - 1} of vector 3 .* is {wrong}, not in 0 to"):
            quantizer.decode(broken)
    with pytest.raises(VqcodecError, match=r"torch.int32"):
        quantizer.decode(codes.int())
    with pytest.raises(VqcodecError, match=rf"\[5, {codes.shape[1] + 1}\]"):
        quantizer.decode(torch.cat([codes, codes[:, :1]], 1))


def test_fit_comes_first(make: Callable[[], Quantizer], tmp_path: Path) -> None:
    quantizer = make()
    for use in (
        lambda: quantizer.encode(gaussian()),
        lambda: quantizer.decode(torch.zeros(1, DIM, dtype=torch.int64)),
        quantizer.tables,
        lambda: save(tmp_path / "q.safetensors", quantizer),
    ):
        with pytest.raises(VqcodecError, match="fit it first"):
            use()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: KMeansQuantizer(num_codes=0), "num_codes is 0, not an integer, 1 to 1048576"),
        (lambda: KMeansQuantizer(num_codes=True), "num_codes is True"),
        (lambda: KMeansQuantizer(num_codes=8, seed=-1), "seed is -1, not an integer, 0 or more"),
        (lambda: LBGQuantizer(num_codes=8, epsilon=0), "epsilon is 0, not a number between 0 and 1"),
        (lambda: TreeQuantizer(depth=21), "depth is 21, not an integer, 1 to 20"),
        (lambda: TreeQuantizer(depth=2, search="best"), "search is 'best', not one of greedy, full"),
        (lambda: ScalarQuantizer(bits=4, design="cubic"), "design is 'cubic', not one of lloyd-max, uniform"),
        (lambda: ScalarQuantizer(bits=4 * MAX_BITS + 1).fit(gaussian()), "bits is 65: 4 dimensions take 16 each"),
        (lambda: check_integer("width", 1.0, 1), "width is 1.0"),  # type: ignore[arg-type]
    ],
)
def test_bad_settings(create: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        create()


# Files


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A file of 12 codes of 4 dimensions by k-means."""
    save(tmp_path / "q.safetensors", MAKERS["kmeans"]().fit(gaussian()))
    return tmp_path / "q.safetensors"


SETTINGS = '{"num_codes": 12, "iterations": 50, "vectors_per_code": 256, "seed": 3}'


@pytest.mark.parametrize(
    ("changes", "expected", "message"),
    [
        ({"format": "2"}, UnsupportedVersion, "format '2'"),
        ({"format": "x"}, CorruptFile, "format 'x'"),
        ({"kind": "wizard"}, CorruptFile, "kind 'wizard' is not one of scalar, kmeans"),
        ({"settings": "[1]"}, CorruptFile, "settings are not those of a kmeans quantizer"),
        ({"settings": "{"}, CorruptFile, "settings are not those"),
        ({"settings": '{"num_codes": 0}'}, CorruptFile, "num_codes is 0"),
        ({"settings": '{"num_code": 12}'}, CorruptFile, "num_code"),
        ({"settings": '{"num_codes": 11}'}, CorruptFile, r"table codes is \[12, 4\], not \[11, any\]"),
    ],
)
def test_metadata_that_does_not_fit(
    saved: Path, changes: dict[str, str], expected: type[VqcodecError], message: str
) -> None:
    metadata = {"format": "1", "kind": "kmeans", "settings": SETTINGS}
    save_file(load_file(saved), saved, metadata)
    assert load(saved).settings()["num_codes"] == 12
    save_file(load_file(saved), saved, metadata | changes)
    with pytest.raises(expected, match=message) as raised:
        load(saved)
    assert str(saved) in str(raised.value)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "table codes is missing"),
        ({"codes": torch.zeros(12, 4), "extra": torch.zeros(1)}, "table extra is not of this quantizer"),
        ({"codes": torch.zeros(12)}, r"\[12\]"),
        ({"codes": torch.zeros(12, 4).double()}, "torch.float64, not torch.float32"),
        ({"codes": torch.full((12, 4), math.nan)}, "NaN"),
    ],
)
def test_tables_that_do_not_fit(saved: Path, tables: dict[str, Tensor], message: str) -> None:
    save_file(tables, saved, {"format": "1", "kind": "kmeans", "settings": SETTINGS})
    with pytest.raises(CorruptFile, match=message):
        load(saved)


def test_files_that_are_none(saved: Path, tmp_path: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-1])
    for path in (saved, tmp_path / "absent.safetensors"):
        with pytest.raises(CorruptFile, match="cannot be read as a quantizer file"):
            load(path)
    with pytest.raises(VqcodecError, match="cannot write"):
        save(tmp_path / "absent" / "q.safetensors", MAKERS["kmeans"]().fit(gaussian()))


def test_kinds() -> None:
    assert {kind: cls.kind for kind, cls in KINDS.items()} == {kind: kind for kind in KINDS}
    assert {"scalar", "kmeans", "lbg", "tree"} <= set(KINDS)


# The nearest code


def test_nearest_is_exact() -> None:
    vectors, book = gaussian(500), gaussian(40, seed=2)
    expected = torch.cdist(vectors.double(), book.double()).argmin(1)
    assert torch.equal(nearest(vectors, book), expected)


def test_nearest_takes_the_lowest_of_equals() -> None:
    book = torch.tensor([[5.0, 5.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert nearest(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), book).tolist() == [1, 1]


def test_nearest_far_from_the_origin() -> None:
    vectors, book = gaussian(500) + 4096, gaussian(40, seed=2) + 4096
    expected = torch.cdist(vectors.double(), book.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
    assert torch.equal(nearest(vectors, book), expected)


def test_batches_and_autocast_change_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, book = gaussian(500), gaussian(40, seed=2)
    expected = nearest(vectors, book)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest(vectors, book), expected)
    monkeypatch.setattr(search, "_CPU_SCORES", 7 * len(book))
    assert torch.equal(nearest(vectors, book), expected)


def test_check_codes_looks_at_every_column() -> None:
    codes = torch.tensor([[0, 4], [1, 5]])
    assert check_codes(codes, [2, 6]) is codes
    with pytest.raises(VqcodecError, match=r"code 1 of vector 1 .* is 5, not in 0 to 4"):
        check_codes(codes, [2, 5])


# k-means

WORKED = torch.tensor(
    [
        [2.0, 3.0, 6.0, 6.0],
        [2.2, 3.5, 5.8, 6.1],
        [1.9, 2.8, 6.2, 5.9],
        [4.1, 5.0, 8.1, 7.9],
        [4.3, 5.1, 7.9, 8.2],
        [3.8, 4.6, 8.2, 8.1],
    ]
)


@pytest.mark.parametrize(
    ("vectors", "centres"),
    [
        (WORKED[:, :2], [[6.1 / 3, 3.1], [12.2 / 3, 4.9]]),
        (WORKED[:, 2:], [[6.0, 6.0], [24.2 / 3, 24.2 / 3]]),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_kmeans_worked_example(vectors: Tensor, centres: list[list[float]], seed: int) -> None:
    codes = KMeansQuantizer(num_codes=2, seed=seed).fit(vectors).codes
    torch.testing.assert_close(codes[codes[:, 0].argsort()], torch.tensor(centres))


def test_kmeans_finds_clusters() -> None:
    centres = torch.tensor([[x, y] for x in (-9.0, 0.0, 9.0) for y in (-9.0, 0.0, 9.0)])
    vectors = centres.repeat(50, 1) + 0.1 * gaussian(450, 2)
    quantizer = KMeansQuantizer(num_codes=9).fit(vectors)
    assert torch.cdist(centres, quantizer.codes).min(1).values.max() < 0.1
    assert error(quantizer, vectors) == pytest.approx(0.01, rel=0.1)


def test_lloyd_never_gets_worse() -> None:
    vectors = gaussian(2000)
    book = vectors[:32]
    errors = []
    for _ in range(15):
        errors.append(distortion(vectors, book[nearest(vectors, book)]))
        book = lloyd(vectors, book, 1)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]


def test_empty_clusters_are_repaired() -> None:
    vectors = gaussian(2000)
    far = torch.full((6, DIM), 1000.0)
    book = lloyd(vectors, torch.cat([vectors[:26], far]), 50)
    codes = nearest(vectors, book)
    assert torch.bincount(codes, minlength=32).min() > 0
    plain = KMeansQuantizer(num_codes=32).fit(vectors)
    assert distortion(vectors, book[codes]) < 1.05 * error(plain, vectors)


@pytest.mark.parametrize("kind", ["kmeans", "lbg", "tree"])
def test_fewer_different_vectors_than_codes(kind: str) -> None:
    vectors = column(*[0.0] * 100, 1.0, 2.0, 5.0)
    quantizer = MAKERS[kind]().fit(vectors)
    torch.testing.assert_close(quantizer.decode(quantizer.encode(vectors)), vectors)
    alike = torch.ones(50, DIM)
    assert error(MAKERS[kind]().fit(alike), alike) == 0


def test_plus_plus_draws_different_vectors() -> None:
    vectors = gaussian(300)
    book = plus_plus(vectors, 300, seeded())
    assert torch.equal(book.unique(dim=0), vectors.unique(dim=0))


def test_plus_plus_prefers_what_is_far() -> None:
    vectors = torch.cat([0.01 * gaussian(990), 50 + gaussian(10)])
    hits = sum(bool((plus_plus(vectors, 2, seeded(seed)) > 25).any()) for seed in range(20))
    assert hits == 20


def test_far_from_the_origin() -> None:
    vectors = gaussian(1000)
    near = error(KMeansQuantizer(num_codes=16).fit(vectors), vectors)
    shifted = vectors + 4096
    assert error(KMeansQuantizer(num_codes=16).fit(shifted), shifted) == pytest.approx(near, rel=0.02)


def test_large_sets_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = gaussian(5000)
    whole = KMeansQuantizer(num_codes=16, vectors_per_code=50).fit(vectors)
    monkeypatch.setattr(kmeans, "_MIN_SAMPLE", 100)
    seen: list[int] = []
    learn = kmeans.kmeans

    def counted(vectors: Tensor, num_codes: int, generator: torch.Generator, iterations: int) -> Tensor:
        seen.append(len(vectors))
        return learn(vectors, num_codes, generator, iterations)

    monkeypatch.setattr(kmeans, "kmeans", counted)
    part = KMeansQuantizer(num_codes=16, vectors_per_code=50).fit(vectors)
    assert seen == [800]
    assert error(whole, vectors) < error(part, vectors) < 1.05 * error(whole, vectors)


# LBG


def test_lbg_worked_example() -> None:
    vectors = column(2, 3, 3, 4, 5, 6, 8, 9, 12, 13, 14)
    two = LBGQuantizer(num_codes=2, epsilon=0.01).fit(vectors)
    torch.testing.assert_close(two.codes.sort(0).values, column(23 / 6, 56 / 5))
    four = LBGQuantizer(num_codes=4, epsilon=0.01).fit(vectors)
    torch.testing.assert_close(four.codes.sort(0).values, column(8 / 3, 5, 8.5, 13))
    assert error(four, vectors) == pytest.approx(0.470, abs=5e-4)


def test_lbg_of_one_code_is_the_mean() -> None:
    vectors = gaussian() + 3
    torch.testing.assert_close(LBGQuantizer(num_codes=1).fit(vectors).codes, vectors.mean(0, keepdim=True))


@pytest.mark.parametrize("num_codes", [8, 11])
def test_lbg_is_as_good_as_kmeans(num_codes: int) -> None:
    vectors = gaussian(3000)
    quantizer = LBGQuantizer(num_codes=num_codes).fit(vectors)
    assert torch.bincount(quantizer.encode(vectors)[:, 0], minlength=num_codes).min() > 0
    assert error(quantizer, vectors) < 1.03 * error(KMeansQuantizer(num_codes=num_codes).fit(vectors), vectors)


# Tree


def test_full_search_beats_greedy_and_kmeans_beats_both() -> None:
    vectors = gaussian(4000)
    errors = [
        error(quantizer.fit(vectors), vectors)
        for quantizer in (KMeansQuantizer(num_codes=64), TreeQuantizer(depth=6, search="full"), TreeQuantizer(depth=6))
    ]
    assert errors == sorted(errors)
    assert errors[0] < errors[2]
    assert errors[2] < 1.3 * errors[0]


def test_no_vector_is_coded_worse_by_the_full_search() -> None:
    vectors = gaussian(1000)
    greedy, full = TreeQuantizer(depth=5).fit(vectors), TreeQuantizer(depth=5, search="full").fit(vectors)
    assert torch.equal(greedy.level(5), full.level(5))
    errors = [(q.decode(q.encode(vectors)) - vectors).square().sum(1) for q in (greedy, full)]
    assert (errors[1] <= errors[0] + 1e-5).all()
    assert torch.equal(full.encode(vectors) @ torch.tensor([16, 8, 4, 2, 1]), nearest(vectors, full.level(5)))


def test_greedy_goes_to_the_nearer_child() -> None:
    vectors = gaussian(200)
    tree = TreeQuantizer(depth=3).fit(vectors)
    for vector, path in zip(vectors, tree.encode(vectors).tolist(), strict=True):
        node = 0
        for depth, step in enumerate(path, 1):
            children = tree.level(depth)[2 * node : 2 * node + 2]
            assert step == int((vector - children).square().sum(1).argmin())
            node = 2 * node + step


def test_every_beginning_of_a_path_is_a_code() -> None:
    vectors = gaussian(2000)
    tree = TreeQuantizer(depth=6).fit(vectors)
    codes = tree.encode(vectors)
    errors = [distortion(vectors, tree.decode(codes[:, :length])) for length in range(1, 7)]
    assert errors == sorted(errors, reverse=True)
    shallow = TreeQuantizer(depth=3).fit(vectors)
    assert torch.equal(shallow.level(3), tree.level(3))
    with pytest.raises(VqcodecError, match=r"\[2000, 0\]"):
        tree.decode(codes[:, :0])


def test_a_node_is_the_mean_of_its_vectors() -> None:
    vectors = gaussian(1000)
    tree = TreeQuantizer(depth=4, iterations=200).fit(vectors)
    leaves = tree.encode(vectors) @ torch.tensor([8, 4, 2, 1])
    means = torch.stack([vectors[leaves == leaf].mean(0) for leaf in range(16)])
    torch.testing.assert_close(means, tree.level(4), atol=0.02, rtol=0)


def test_a_tree_may_have_nodes_without_vectors() -> None:
    vectors = torch.cat([torch.zeros(60, 2), torch.ones(4, 2)])
    tree = TreeQuantizer(depth=6).fit(vectors)
    assert error(tree, vectors) == 0
    assert tree.level(6).isfinite().all()


# Scalar


@pytest.mark.parametrize(
    ("design", "bits", "expected"),
    [  # signal-to-noise ratio in dB for the Gaussian: Max 1960, tables I and II
        ("lloyd-max", 1, 4.40),
        ("lloyd-max", 2, 9.30),
        ("lloyd-max", 3, 14.62),
        ("lloyd-max", 4, 20.22),
        ("uniform", 1, 4.40),
        ("uniform", 2, 9.25),
        ("uniform", 3, 14.27),
        ("uniform", 4, 19.38),
    ],
)
def test_textbook_gains_on_gaussian_values(design: str, bits: int, expected: float) -> None:
    values = gaussian(400_000, 1)
    assert gain_db(ScalarQuantizer(bits=bits, design=design).fit(values), values) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("design", ["lloyd-max", "uniform"])
@pytest.mark.parametrize("bits", [1, 3, 5])
def test_six_db_a_bit_on_uniform_values(design: str, bits: int) -> None:
    values = torch.rand(100_000, 1, generator=seeded()) * 7 - 2
    quantizer = ScalarQuantizer(bits=bits, design=design).fit(values)
    assert gain_db(quantizer, values) == pytest.approx(6.02 * bits, abs=0.05)


def test_uniform_levels_are_equally_spaced() -> None:
    levels = ScalarQuantizer(bits=4, design="uniform").fit(gaussian(5000, 1)).levels()[0]
    steps = levels.diff()
    torch.testing.assert_close(steps, steps[:1].expand(15))
    assert steps[0] == pytest.approx(0.335, abs=0.02)  # Max 1960, table II


def test_lloyd_max_meets_its_conditions() -> None:
    values = -gaussian(20_000, 1).abs().log()
    quantizer = ScalarQuantizer(bits=3, iterations=2000).fit(values)
    codes, levels = quantizer.encode(values)[:, 0], quantizer.levels()[0]
    assert torch.equal(codes, nearest(values, levels[:, None]))
    means = torch.stack([values[codes == code].mean() for code in range(8)])
    torch.testing.assert_close(means, levels, atol=0.02, rtol=0)


def test_bits_go_where_the_variance_is() -> None:
    assert allocate_bits([16.0, 4.0, 1.0, 0.01], 6) == [3, 2, 1, 0]
    assert allocate_bits([1.0, 1.0, 1.0], 4) == [2, 1, 1]
    assert allocate_bits([0.0, 0.0], 3) == [2, 1]
    assert allocate_bits([1e30, 1e-30], 20) == [16, 4]


def test_allocation_is_the_best_under_its_model() -> None:
    """A bit divides the error by four: no other way to share 7 bits leaves less."""
    variances = [5.0, 2.0, 0.7, 0.3]

    def left(shares: tuple[int, ...]) -> float:
        return sum(variance / 4**bits for variance, bits in zip(variances, shares, strict=True))

    every = [(a, b, c, 7 - a - b - c) for a in range(8) for b in range(8 - a) for c in range(8 - a - b)]
    assert left(tuple(allocate_bits(variances, 7))) == pytest.approx(min(map(left, every)))


def test_dimensions_without_bits_are_their_mean() -> None:
    vectors = gaussian(2000) * torch.tensor([8.0, 0.01, 4.0, 0.02]) + 1
    quantizer = ScalarQuantizer(bits=5).fit(vectors)
    assert quantizer.bits_per_dim == [3, 0, 2, 0]
    assert [len(levels) for levels in quantizer.levels()] == [8, 1, 4, 1]
    decoded = quantizer.decode(quantizer.encode(vectors))
    torch.testing.assert_close(decoded[:, [1, 3]], vectors.mean(0)[[1, 3]].expand(2000, 2))
    assert quantizer.bits_per_vector == 5


def test_few_values_are_coded_exactly() -> None:
    values = column(*[0.0] * 1000, 1.0, 2.0, 3.0)
    assert error(ScalarQuantizer(bits=2).fit(values), values) < 1e-10
    alike = torch.full((10, 2), 5.0)
    for design in ("lloyd-max", "uniform"):
        assert error(ScalarQuantizer(bits=3, design=design).fit(alike), alike) == 0


@pytest.mark.parametrize(
    ("bits", "levels", "message"),
    [
        ([3.0, 2.0], 12, "does not share 6 bits"),
        ([7.0, -1.0], 130, "does not share 6 bits"),
        ([3.5, 2.5], 12, "does not share 6 bits"),
        ([4.0, 2.0], 19, "levels has 19 values, not 20"),
    ],
)
def test_scalar_tables_that_do_not_fit(bits: list[float], levels: int, message: str) -> None:
    quantizer = ScalarQuantizer(bits=6)
    quantizer.load_tables({"bits": torch.tensor([4.0, 2.0]), "levels": torch.zeros(20)})
    with pytest.raises(CorruptFile, match=message):
        quantizer.load_tables({"bits": torch.tensor(bits), "levels": torch.zeros(levels)})
