"""Quantizers of several books: product, optimized product, residual, additive, composite."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vqcodec.errors import ConfigError, CorruptFile, VqcodecError
from vqcodec.models.quantizers import Quantizer, load, save
from vqcodec.models.quantizers.additive import AdditiveQuantizer, conditional_modes, least_squares
from vqcodec.models.quantizers.base import distortion
from vqcodec.models.quantizers.composite import CompositeQuantizer, descend, inner_products, objective
from vqcodec.models.quantizers.opq import OptimizedProductQuantizer, balanced_axes, procrustes
from vqcodec.models.quantizers.product import ProductQuantizer
from vqcodec.models.quantizers.residual import MAX_BEAM, ResidualQuantizer, beam_search, sum_of

DIM = 6
SIZES: dict[str, Any] = {"num_books": 3, "codes_per_book": 8}
KINDS: dict[str, Callable[..., Quantizer]] = {
    "product": ProductQuantizer,
    "opq": OptimizedProductQuantizer,
    "residual": ResidualQuantizer,
    "additive": AdditiveQuantizer,
    "composite": CompositeQuantizer,
}
FOUR_POINTS = torch.tensor([[2.0, 3.0], [3.0, 3.5], [4.0, 5.0], [5.0, 4.5]])
SIX_POINTS = torch.tensor(
    [
        [2.0, 3.0, 6.0, 6.0],
        [2.2, 3.5, 5.8, 6.1],
        [1.9, 2.8, 6.2, 5.9],
        [4.1, 5.0, 8.1, 7.9],
        [4.3, 5.1, 7.9, 8.2],
        [3.8, 4.6, 8.2, 8.1],
    ]
)
EIGHT_POINTS = torch.cat([SIX_POINTS, torch.tensor([[2.5, 3.2, 6.5, 6.3], [3.0, 3.8, 7.0, 6.9]])])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def correlated(count: int = 1500, dim: int = DIM, seed: int = 1) -> Tensor:
    """Gaussian vectors of one covariance, whatever the seed, and of a mean that is not zero [vector, dim]."""
    mixture = torch.randn(dim, dim, generator=seeded(7)) * torch.logspace(0, -1, dim)
    return 3 + torch.randn(count, dim, generator=seeded(seed)) @ mixture.T


def random_books(num_books: int = 3, size: int = 5, dim: int = DIM, seed: int = 3) -> Tensor:
    """[book, code, dim]"""
    return torch.randn(num_books, size, dim, generator=seeded(seed))


def all_codes(num_books: int, size: int) -> Tensor:
    """Every choice of codes [choice, book]."""
    return torch.tensor(list(itertools.product(range(size), repeat=num_books)))


def error(quantizer: Quantizer, vectors: Tensor) -> float:
    return distortion(vectors, quantizer.decode(quantizer.encode(vectors)))


def sorted_rows(book: Tensor) -> Tensor:
    return torch.stack(sorted(book, key=lambda row: row.tolist()))


@pytest.fixture(scope="module")
def fitted() -> dict[str, Quantizer]:
    """One of each kind, fitted on the same vectors."""
    return {kind: make(**SIZES).fit(correlated()) for kind, make in KINDS.items()}


# What all have in common


@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_vectors(fitted: dict[str, Quantizer], kind: str) -> None:
    vectors = correlated(200, seed=2)
    codes = fitted[kind].encode(vectors)
    decoded = fitted[kind].decode(codes)
    assert codes.shape == (200, 3)
    assert codes.dtype == torch.int64
    assert decoded.shape == vectors.shape
    assert decoded.dtype == torch.float32
    assert fitted[kind].bits_per_vector == 9
    assert distortion(vectors, decoded) < 0.25 * vectors.var(0).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_the_set_does_not_matter_to_a_vector(fitted: dict[str, Quantizer], kind: str) -> None:
    vectors = correlated(50, seed=2)
    one_by_one = torch.cat([fitted[kind].encode(vector[None]) for vector in vectors])
    assert torch.equal(fitted[kind].encode(vectors), one_by_one)
    assert fitted[kind].encode(vectors[:0]).shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_learns_the_same(kind: str) -> None:
    def learnt(seed: int) -> list[Tensor]:
        return list(KINDS[kind](**SIZES, seed=seed).fit(correlated(400)).tables().values())

    assert all(map(torch.equal, learnt(1), learnt(1)))
    assert not all(map(torch.equal, learnt(1), learnt(2)))


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded(fitted: dict[str, Quantizer], kind: str, tmp_path: Path) -> None:
    vectors = correlated(100, seed=2)
    save(tmp_path / "quantizer.safetensors", fitted[kind])
    again = load(tmp_path / "quantizer.safetensors")
    assert type(again) is KINDS[kind]
    assert again.settings() == fitted[kind].settings()
    codes = again.encode(vectors)
    assert torch.equal(codes, fitted[kind].encode(vectors))
    assert torch.equal(again.decode(codes), fitted[kind].decode(codes))


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_that_repeat(kind: str) -> None:
    vectors = correlated(5).repeat(20, 1)
    quantizer = KINDS[kind](**SIZES).fit(vectors)
    assert error(quantizer, vectors) < 1e-3
    constant = torch.full((20, DIM), 2.0)
    torch.testing.assert_close(
        KINDS[kind](**SIZES).fit(constant).decode(torch.zeros(1, 3, dtype=torch.int64))[0], constant[0]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_bad_vectors(fitted: dict[str, Quantizer], kind: str) -> None:
    bad = correlated(20)
    bad[13, 2] = torch.nan
    with pytest.raises(VqcodecError, match="vector 13"):
        KINDS[kind](**SIZES).fit(bad)
    with pytest.raises(VqcodecError, match="vector 13"):
        fitted[kind].encode(bad)
    with pytest.raises(VqcodecError, match="7 vectors are too few"):
        KINDS[kind](**SIZES).fit(correlated(7))
    with pytest.raises(VqcodecError, match="5 dimensions"):
        fitted[kind].encode(correlated(20, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_bad_codes(fitted: dict[str, Quantizer], kind: str) -> None:
    codes = torch.zeros(4, 3, dtype=torch.int64)
    codes[2, 1] = 8
    with pytest.raises(VqcodecError, match="code 1 of vector 2"):
        fitted[kind].decode(codes)
    with pytest.raises(VqcodecError, match=r"\[4, 2\]"):
        fitted[kind].decode(codes[:, :2])


@pytest.mark.parametrize("kind", KINDS)
def test_not_fitted(kind: str) -> None:
    with pytest.raises(VqcodecError, match="fit it first"):
        KINDS[kind](**SIZES).encode(correlated(20))
    with pytest.raises(VqcodecError, match="fit it first"):
        KINDS[kind](**SIZES).decode(torch.zeros(1, 3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        *itertools.product(KINDS, ("num_books", "codes_per_book", "iterations", "vectors_per_code"), (0,)),
        *itertools.product(KINDS, ("seed",), (-1,)),
        *itertools.product(("residual", "additive"), ("beam",), (0, MAX_BEAM + 1)),
        *itertools.product(("additive", "opq", "composite"), ("updates",), (-1,)),
        *itertools.product(("additive", "composite"), ("sweeps",), (-1,)),
        *itertools.product(("composite",), ("penalty",), (-1.0, float("nan"), "much")),
    ],
)
def test_bad_settings(kind: str, setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=setting):
        KINDS[kind](**{setting: value})


@pytest.mark.parametrize("kind", ["product", "opq", "composite"])
def test_more_parts_than_dimensions(kind: str) -> None:
    with pytest.raises(VqcodecError, match="2 dimensions cannot be cut into 3 parts"):
        KINDS[kind](**SIZES).fit(correlated(50, 2))


def test_tables_of_other_sizes(fitted: dict[str, Quantizer]) -> None:
    with pytest.raises(CorruptFile, match="books"):
        ResidualQuantizer(num_books=4, codes_per_book=8).load_tables(fitted["residual"].tables())


def test_a_rotation_of_other_dimensions(fitted: dict[str, Quantizer]) -> None:
    tables = fitted["opq"].tables() | {"rotation": torch.eye(DIM + 1)}
    with pytest.raises(CorruptFile, match=r"rotation is \[7, 7\], but the books have 6 dimensions"):
        OptimizedProductQuantizer(**SIZES).load_tables(tables)


def test_order_at_equal_bits(fitted: dict[str, Quantizer]) -> None:
    greedy = ResidualQuantizer(**SIZES, beam=1).fit(correlated())
    for vectors in (correlated(), correlated(seed=2)):  # fitted on, and new
        errors = {kind: error(quantizer, vectors) for kind, quantizer in fitted.items()}
        assert errors["additive"] < errors["residual"] < error(greedy, vectors)
        assert errors["composite"] < 1.02 * errors["opq"]
        assert errors["opq"] < 0.9 * errors["product"]


# Product


def test_product_quantizer_by_hand() -> None:
    quantizer = ProductQuantizer(num_books=2, codes_per_book=2).fit(SIX_POINTS)
    centres = [sorted_rows(book) for book in quantizer.tables().values()]
    torch.testing.assert_close(centres[0], torch.tensor([[6.1 / 3, 3.1], [12.2 / 3, 4.9]]))
    torch.testing.assert_close(centres[1], torch.tensor([[6.0, 6.0], [24.2 / 3, 24.2 / 3]]))
    new = torch.tensor([[2.1, 3.4, 5.7, 6.2]])
    codes = quantizer.encode(new)
    torch.testing.assert_close(quantizer.decode(codes), torch.cat([centres[0][:1], centres[1][:1]], 1))
    assert (new - quantizer.decode(codes)).norm().item() == pytest.approx(0.474, abs=5e-4)


def test_dimensions_that_do_not_divide() -> None:
    quantizer = ProductQuantizer(num_books=3, codes_per_book=4).fit(correlated(100, 7))
    assert [book.shape[1] for book in quantizer.tables().values()] == [3, 2, 2]
    assert quantizer.decode(quantizer.encode(correlated(100, 7))).shape == (100, 7)


def test_product_codes_are_the_nearest_of_all() -> None:
    quantizer = ProductQuantizer(num_books=2, codes_per_book=4).fit(correlated(100))
    codes = all_codes(2, 4)
    best = codes[torch.cdist(correlated(50, seed=2), quantizer.decode(codes)).argmin(1)]
    assert torch.equal(quantizer.encode(correlated(50, seed=2)), best)


# Optimized product


def test_opq_on_the_worked_example() -> None:
    sizes = {"num_books": 2, "codes_per_book": 2}
    plain = ProductQuantizer(**sizes).fit(EIGHT_POINTS)
    errors = []
    for updates in range(8):
        quantizer = OptimizedProductQuantizer(**sizes, updates=updates).fit(EIGHT_POINTS)
        rotation = quantizer.tables()["rotation"].double()
        torch.testing.assert_close(rotation.T @ rotation, torch.eye(4).double(), rtol=0, atol=1e-6)
        errors.append(error(quantizer, EIGHT_POINTS))
    assert errors[0] <= error(plain, EIGHT_POINTS) * (1 + 1e-5)
    assert all(after <= before * (1 + 1e-5) for before, after in itertools.pairwise(errors))


@pytest.mark.parametrize("seed", range(4))
def test_opq_never_gets_worse(seed: int) -> None:
    vectors = correlated(400).pow(2)
    errors = [error(ProductQuantizer(**SIZES, seed=seed).fit(vectors), vectors)]
    errors += [
        error(OptimizedProductQuantizer(**SIZES, updates=updates, seed=seed).fit(vectors), vectors)
        for updates in (0, 1, 2, 4, 8)
    ]
    assert all(after <= before * (1 + 1e-5) for before, after in itertools.pairwise(errors))
    assert errors[-1] < errors[1]


def test_procrustes_finds_a_rotation() -> None:
    rotation, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=seeded(4)))
    vectors = correlated(50)
    torch.testing.assert_close(procrustes(vectors, vectors @ rotation), rotation, rtol=0, atol=1e-5)


def test_balanced_axes_share_the_variance() -> None:
    axes = torch.linalg.qr(torch.randn(4, 4, generator=seeded(4))).Q
    scales = torch.tensor([8.0, 4.0, 2.0, 1.0])
    white = torch.randn(500, 4, generator=seeded(5))
    white = torch.linalg.qr(white - white.mean(0)).Q * 500**0.5  # covariance exactly 1
    rotated = (white * scales) @ axes.T @ balanced_axes((white * scales) @ axes.T, 2)
    torch.testing.assert_close(rotated.std(0, correction=0), torch.tensor([8.0, 1.0, 4.0, 2.0]), rtol=1e-3, atol=0)


# Residual


def test_residual_quantizer_by_hand() -> None:
    quantizer = ResidualQuantizer(num_books=2, codes_per_book=2, beam=1).fit(FOUR_POINTS)
    first, second = map(sorted_rows, quantizer.tables()["books"])
    torch.testing.assert_close(first, torch.tensor([[2.5, 3.25], [4.5, 4.75]]))
    torch.testing.assert_close(second, torch.tensor([[-0.5, 0.0], [0.5, 0.0]]))


def test_beam_of_one_takes_the_nearest_code() -> None:
    books, left = random_books(), correlated(50)
    for index, code in enumerate(beam_search(left, books, 1).T):
        assert torch.equal(code, torch.cdist(left, books[index]).argmin(1))
        left = left - books[index][code]


def test_beam_takes_the_lowest_code_on_a_tie() -> None:
    books = torch.tensor([[[2.0, 3.0], [3.0, 4.0]], [[0.2, 0.5], [0.5, 0.7]]])
    assert beam_search(torch.tensor([[2.3, 3.7]]), books, 1).tolist() == [[0, 1]]


def test_a_wide_beam_finds_the_best_sum() -> None:
    books, vectors = random_books(3, 4), correlated(50) - 3
    codes = all_codes(3, 4)
    best = codes[torch.cdist(vectors, sum_of(books, codes)).argmin(1)]
    assert torch.equal(beam_search(vectors, books, 16), best)
    errors = [distortion(vectors, sum_of(books, beam_search(vectors, books, width))) for width in (1, 2, 4, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.95 * errors[0]


def test_first_codes_decode_by_themselves(fitted: dict[str, Quantizer]) -> None:
    vectors, books = correlated(300, seed=2), fitted["residual"].tables()["books"]
    codes = fitted["residual"].encode(vectors)
    errors = [distortion(vectors, sum_of(books[:count], codes[:, :count])) for count in (1, 2, 3)]
    assert errors[2] < 0.8 * errors[1] < 0.64 * errors[0]


# Additive


def test_additive_quantizer_by_hand() -> None:
    quantizer = AdditiveQuantizer(num_books=2, codes_per_book=2)
    quantizer.load_tables({"books": torch.tensor([[[2.0, 3.0], [1.0, 2.0]], [[3.0, 4.0], [2.0, 3.0]]])})
    vectors = torch.tensor([[5.0, 7.0], [4.0, 6.0]])
    assert torch.equal(quantizer.decode(quantizer.encode(vectors)), vectors)


def test_least_squares_recovers_the_books() -> None:
    codes = all_codes(3, 5)
    vectors = sum_of(random_books(), codes)
    books = least_squares(vectors, codes, torch.zeros(3, 5, DIM), damping=1e-6)
    torch.testing.assert_close(sum_of(books, codes), vectors, rtol=0, atol=1e-4)
    torch.testing.assert_close(books[1:].mean(1), torch.zeros(2, DIM), rtol=0, atol=1e-5)


def test_least_squares_by_lstsq() -> None:
    vectors, codes = correlated(200), torch.randint(5, (200, 3), generator=seeded(6))
    choices = torch.nn.functional.one_hot(codes, 5).flatten(1).double()
    best = choices @ torch.linalg.lstsq(choices, vectors.double(), driver="gelsd").solution
    books = least_squares(vectors, codes, random_books(), damping=1e-6)
    torch.testing.assert_close(sum_of(books, codes), best.float(), rtol=0, atol=1e-3)


def test_least_squares_leaves_unused_codes() -> None:
    codes = torch.zeros(20, 3, dtype=torch.int64)
    books = least_squares(correlated(20), codes, random_books())
    before = random_books()
    torch.testing.assert_close(books[:, 1:] - books[:, 1:2], before[:, 1:] - before[:, 1:2])


def test_least_squares_never_adds_to_the_error() -> None:
    vectors, codes = correlated(30), torch.randint(5, (30, 3), generator=seeded(6))
    before = distortion(vectors, sum_of(random_books(), codes))
    for damping in (1e-6, 1.0, 100.0):
        assert distortion(vectors, sum_of(least_squares(vectors, codes, random_books(), damping), codes)) < before


def test_additive_fitting_never_adds_to_the_error() -> None:
    errors = []
    for updates in (0, 1, 2, 4, 8):
        quantizer = AdditiveQuantizer(**SIZES, updates=updates, beam=16, sweeps=8).fit(correlated(500))
        errors.append(error(quantizer, correlated(500)))
    assert all(after < 1.005 * before for before, after in itertools.pairwise(errors))  # a search may miss a code
    assert errors[-1] < 0.98 * errors[0]


@pytest.mark.parametrize("weight", [0.0, 0.1, 10.0])
def test_conditional_modes(weight: float) -> None:
    books, vectors = random_books(), correlated(100) - 3
    target = -1.0

    def costs(codes: Tensor) -> Tensor:
        excess = inner_products(books, codes) - target
        return (vectors - sum_of(books, codes)).square().sum(1) + weight * excess.square()

    codes = torch.randint(5, (100, 3), generator=seeded(6))
    for _ in range(6):
        after = conditional_modes(vectors, books, codes, 1, weight, target)
        assert (costs(after) <= costs(codes) + 1e-4).all()
        codes = after
    for book, code in itertools.product(range(3), range(5)):  # no single change is any better
        other = codes.clone()
        other[:, book] = code
        assert (costs(other) >= costs(codes) - 1e-4).all()


# Composite


def test_inner_products_by_hand() -> None:
    books = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]])
    assert inner_products(books, torch.zeros(1, 3, dtype=torch.int64)).tolist() == [2 * (11 + 17 + 39)]


def test_composite_begins_with_the_optimized_product() -> None:
    vectors = correlated(400)
    product = OptimizedProductQuantizer(**SIZES).fit(vectors)
    composite = CompositeQuantizer(**SIZES, updates=0).fit(vectors)
    codes = product.encode(vectors)
    torch.testing.assert_close(composite.decode(codes), product.decode(codes), rtol=0, atol=1e-4)
    assert inner_products(composite.tables()["books"], codes).abs().max() < 1e-3


def test_gradient_of_the_composite_objective() -> None:
    vectors, codes = correlated(40), torch.randint(5, (40, 3), generator=seeded(6))
    books = random_books().requires_grad_()
    excess = inner_products(books, codes) - 0.5
    loss = ((vectors - sum_of(books, codes)).square().sum(1) + 0.3 * excess.square()).mean()
    loss.backward()
    value, gradient = objective(vectors, books.detach(), codes, 0.3, 0.5)
    assert value == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(gradient, books.grad, rtol=1e-4, atol=1e-4)


def test_descending_lowers_the_composite_objective() -> None:
    vectors, codes, books = correlated(200), torch.randint(5, (200, 3), generator=seeded(6)), random_books()
    before = objective(vectors, books, codes, 0.3, 0.5)[0]
    assert objective(vectors, descend(vectors, books, codes, 0.3, 0.5), codes, 0.3, 0.5)[0] < 0.5 * before


def test_inner_products_are_nearly_constant(fitted: dict[str, Quantizer]) -> None:
    vectors = correlated(seed=2)
    spread = {
        kind: inner_products(fitted[kind].tables()["books"], fitted[kind].encode(vectors)).std()
        for kind in ("composite", "additive")
    }
    energy = (vectors - vectors.mean(0)).square().sum(1).mean()
    assert spread["composite"] < 0.02 * energy
    assert spread["composite"] < 0.1 * spread["additive"]


def test_distances_by_table(fitted: dict[str, Quantizer]) -> None:
    quantizer = fitted["composite"]
    assert isinstance(quantizer, CompositeQuantizer)
    queries, codes = correlated(10, seed=3), quantizer.encode(correlated(300, seed=2))
    books, cross = quantizer.tables()["books"], quantizer.tables()["cross"]
    exact = torch.cdist(queries, quantizer.decode(codes)).square()
    off = inner_products(books, codes) - cross
    found = quantizer.distances(queries, codes)
    torch.testing.assert_close(found, exact - off, rtol=1e-3, atol=1e-3)
    assert (found - exact).abs().mean() < 0.05 * exact.mean()
