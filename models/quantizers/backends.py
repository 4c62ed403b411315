"""K-means by other packages, where they are installed: faiss (all cores), scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vqcodec.errors import ConfigError

OWN = "torch"
"""Name of the built-in backend, `kmeans.kmeans`."""


def kmeans(backend: str, vectors: Tensor, num_codes: int, iterations: int, seed: int) -> Tensor:
    """A codebook [code, dim] of vectors [vector, dim], by a package of that name in `BACKENDS`.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        codes = BACKENDS[backend](vectors.cpu(), num_codes, iterations, seed)
    except ImportError as error:
        raise ConfigError(f"backend {backend!r} needs the package {error.name}, which is not installed") from None
    return codes.float().to(vectors.device).contiguous()


def _faiss(vectors: Tensor, num_codes: int, iterations: int, seed: int) -> Tensor:
    import faiss

    x = vectors.numpy()
    clustering = faiss.Kmeans(
        x.shape[1],
        num_codes,
        niter=iterations,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(x),  # all of them: what is too many was left out before
    )
    clustering.train(x)
    return torch.from_numpy(clustering.centroids)


def _scikit_learn(vectors: Tensor, num_codes: int, iterations: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans

    clustering = KMeans(num_codes, n_init=1, max_iter=iterations, random_state=seed)
    return torch.from_numpy(clustering.fit(vectors.numpy()).cluster_centers_)


BACKENDS: Mapping[str, Callable[[Tensor, int, int, int], Tensor]] = {"faiss": _faiss, "scikit-learn": _scikit_learn}
"""The other backends, by the names that `KMeansQuantizer` takes."""
