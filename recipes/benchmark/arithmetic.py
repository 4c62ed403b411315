"""Multiplications: figures of how many the codec needs, and of how many the machine can do."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .measurement import Figure, figure
from .subject import Bitrate
from .timing import Place, Samples

SIZES: Mapping[str, tuple[int, ...]] = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
"""Rows and columns of the square matrices whose product is timed, by kind of device."""

PEAK = "matrix product"
"""Name of the figure that says what the machine does at best."""


class MatrixProducts:
    """Products of two matrices of several sizes, to be timed, in the precision that the networks compute in."""

    def __init__(self, place: Place, precision: str) -> None:
        self.place = place
        sizes = SIZES["cuda" if place.device.startswith("cuda") else "cpu"]
        generator = torch.Generator().manual_seed(0)
        self.matrices = [
            torch.rand(size, size, generator=generator).to(place.device, getattr(torch, precision)) for size in sizes
        ]

    def measure(self) -> dict[str, float]:
        """Seconds per multiplication-addition of each size, by the name of the size."""
        seconds = {}
        for matrix in self.matrices:
            start = self.place.now()
            torch.mm(matrix, matrix)
            seconds[str(len(matrix))] = (self.place.now() - start) / len(matrix) ** 3
        return seconds


def count_figures(macs: Mapping[str, float], bitrate: Bitrate) -> list[Figure]:
    """Millions of multiply-accumulate operations per second of audio."""
    return [
        figure("arithmetic", direction, [count / 1e6], "MMAC/s", "lower", bitrate) for direction, count in macs.items()
    ]


def peak_figures(
    products: Samples, whole: Samples, macs: Mapping[str, float], duration_s: float, bitrate: Bitrate, place: Place
) -> list[Figure]:
    """The machine's peak in GFLOP/s, the best of all sizes, and the share of it that encoding and decoding reach.

    A multiply-accumulate operation counts as two floating-point operations.
    """
    quickest = min(products.values(), key=min)
    peak = figure("arithmetic", PEAK, [2e-9 / s for s in quickest], "GFLOP/s", "higher", "", place)
    found = [peak]
    for direction, count in macs.items():
        shares = [100 * 2e-9 * count * duration_s / s / peak.best for s in whole[direction]]
        found.append(figure("arithmetic", f"{direction}, share of the peak", shares, "%", "higher", bitrate, place))
    return found
