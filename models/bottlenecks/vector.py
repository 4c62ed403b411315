"""Vector quantization: a single codebook and a code for each frame, as in van den Oord et al. 2017 (VQ-VAE)."""

from __future__ import annotations

from .residual import ResidualVQ


class VectorQuantizer(ResidualVQ):
    """A stack of a single stage."""

    kind = "vq"

    def __init__(self, codebook_size: int, dim: int) -> None:
        super().__init__(1, codebook_size, dim)
