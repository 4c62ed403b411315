"""The family beside faiss and scikit-learn, where they have the same quantizer: as little distortion, within 2 %."""

import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from vqcodec.errors import ConfigError
from vqcodec.models.quantizers import load, save
from vqcodec.models.quantizers.base import Quantizer, distortion
from vqcodec.models.quantizers.kmeans import KMeansQuantizer
from vqcodec.models.quantizers.opq import OptimizedProductQuantizer
from vqcodec.models.quantizers.product import ProductQuantizer
from vqcodec.models.quantizers.residual import ResidualQuantizer

DIM = 16
BOOKS = 4
BITS = 5  # per book
SIZE = 1 << BITS
MARGIN = 1.02
ITERATIONS = 25


@pytest.fixture(scope="module")
def faiss() -> ModuleType:
    with warnings.catch_warnings():  # its bindings lack a module name, which Python announces will be refused
        warnings.filterwarnings("ignore", "builtin type (Swig|swig)", DeprecationWarning)
        module: ModuleType = pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    return module


@pytest.fixture(scope="module")
def vectors() -> Tensor:
    """A correlated mixture, with some structure to find [vector, dim]."""
    generator = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(20, DIM, generator=generator)
    mixing = torch.randn(DIM, DIM, generator=generator) * torch.logspace(0, -1, DIM)
    picks = torch.randint(20, (6000,), generator=generator)
    return (centres[picks] + torch.randn(6000, DIM, generator=generator)) @ mixing


def own(quantizer: Quantizer, vectors: Tensor) -> float:
    return distortion(vectors, quantizer.fit(vectors).decode(quantizer.encode(vectors)))


def coded(codec, x: np.ndarray) -> np.ndarray:
    """Trained on x, then x coded and decoded by a quantizer of faiss."""
    codec.train(x)
    decoded: np.ndarray = codec.decode(codec.compute_codes(x))
    return decoded


def test_kmeans_beside_faiss(faiss: ModuleType, vectors: Tensor) -> None:
    x = vectors.numpy()
    theirs = faiss.Kmeans(DIM, 64, niter=ITERATIONS, seed=1, max_points_per_centroid=1000)
    theirs.train(x)
    error = float(theirs.index.search(x, 1)[0].mean()) / DIM
    assert own(KMeansQuantizer(num_codes=64, iterations=ITERATIONS), vectors) < MARGIN * error


def test_kmeans_beside_sklearn(vectors: Tensor) -> None:
    cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed")
    theirs = cluster.KMeans(64, n_init=1, max_iter=ITERATIONS, tol=0, random_state=0).fit(vectors.numpy())
    error = theirs.inertia_ / vectors.numel()
    assert own(KMeansQuantizer(num_codes=64, iterations=ITERATIONS), vectors) < MARGIN * error


def test_nearest_code_beside_faiss(faiss: ModuleType, vectors: Tensor) -> None:
    """The same book, and so the same codes, but where two codes are equally far for float32."""
    quantizer = KMeansQuantizer(num_codes=64, iterations=5).fit(vectors)
    index = faiss.IndexFlatL2(DIM)
    index.add(quantizer.codes.numpy())
    theirs = torch.from_numpy(index.search(vectors.numpy(), 1)[1])
    assert float((quantizer.encode(vectors) == theirs).double().mean()) > 0.999


def test_product_beside_faiss(faiss: ModuleType, vectors: Tensor) -> None:
    x = vectors.numpy()
    error = float(np.square(x - coded(faiss.ProductQuantizer(DIM, BOOKS, BITS), x)).mean())
    quantizer = ProductQuantizer(num_books=BOOKS, codes_per_book=SIZE, iterations=ITERATIONS)
    assert own(quantizer, vectors) < MARGIN * error


def test_optimized_product_beside_faiss(faiss: ModuleType, vectors: Tensor) -> None:
    x = vectors.numpy()
    rotation = faiss.OPQMatrix(DIM, BOOKS)
    rotation.niter = 20
    product = faiss.ProductQuantizer(DIM, BOOKS, BITS)
    rotation.pq = product  # otherwise it is learnt for 8 bits a book
    rotation.train(x)
    turned = rotation.apply(x)
    error = float(np.square(turned - coded(faiss.ProductQuantizer(DIM, BOOKS, BITS), turned)).mean())
    quantizer = OptimizedProductQuantizer(num_books=BOOKS, codes_per_book=SIZE)
    assert own(quantizer, vectors) < MARGIN * error


@pytest.mark.parametrize("beam", [1, 4])
def test_residual_beside_faiss(faiss: ModuleType, vectors: Tensor, beam: int) -> None:
    x = vectors.numpy()
    theirs = faiss.ResidualQuantizer(DIM, BOOKS, BITS)
    theirs.train_type = faiss.ResidualQuantizer.Train_default
    theirs.max_beam_size = beam
    error = float(np.square(x - coded(theirs, x)).mean())
    quantizer = ResidualQuantizer(num_books=BOOKS, codes_per_book=SIZE, beam=beam)
    assert own(quantizer, vectors) < MARGIN * error


@pytest.mark.parametrize("backend", ["faiss", "scikit-learn"])
def test_kmeans_by_other_packages(
    backend: str, vectors: Tensor, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if backend == "faiss":
        request.getfixturevalue("faiss")
    else:
        pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed")
    quantizer = KMeansQuantizer(num_codes=64, iterations=ITERATIONS, backend=backend)
    error = own(quantizer, vectors)
    assert 1 / MARGIN < error / own(KMeansQuantizer(num_codes=64, iterations=ITERATIONS), vectors) < 1.1
    assert own(KMeansQuantizer(num_codes=64, iterations=ITERATIONS, backend=backend), vectors) == error  # seeded
    save(tmp_path / "q.safetensors", quantizer)
    loaded = load(tmp_path / "q.safetensors")
    assert loaded.settings() == quantizer.settings()
    assert loaded.encode(vectors).equal(quantizer.encode(vectors))


def test_a_missing_package_is_named(vectors: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"backend 'faiss' needs the package faiss, which is not installed"):
        KMeansQuantizer(num_codes=4, backend="faiss").fit(vectors)
    with pytest.raises(ConfigError, match="backend is 'annoy', not one of torch, faiss, scikit-learn"):
        KMeansQuantizer(num_codes=4, backend="annoy")
