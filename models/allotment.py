"""Stages frame by frame: every frame keeps the codes that are worth their bits, a pause fewer than a vowel.

A frame of weight w keeps the least number n of stages for which w D(n) + price * n is least, D(n) being the squared
error of its latent after n stages. All frames pay the same price, as rate-distortion theory has it (Shoham and Gersho
1988, "Efficient bit allocation for an arbitrary set of quantizers").
"""

from __future__ import annotations

import torch
from torch import Tensor

LOUDNESS_EXPONENT = 0.15
"""Power of a frame's mean square that its error is weighed with. Anything from 0.05 to 0.3 does about as well."""

SILENCE = 1e-7
"""Mean square under which frames count as equally quiet."""

_SEARCH_STEPS = 30
_PRICES = (1e-9, 10.0)


def audibility(waveform: Tensor, hop: int, late: int) -> Tensor:
    """Weigh the frames of waveforms by how well their errors are heard.

    Args:
        waveform: [batch, sample] in [-1, 1], samples a multiple of the hop.
        hop: samples per frame.
        late: frames by which the latents lag behind the waveform.

    Returns:
        Weights in (0, 1] for full scale and less [batch, frame], in line with the latents: the largest of the frame
        itself and its two neighbours, because an onset is heard in the frame before it, too.
    """
    power = waveform.unflatten(-1, (-1, hop)).square().mean(-1)
    power = torch.nn.functional.pad(power, (late, 0))[:, : power.shape[-1]]
    weights = power.clamp_min(SILENCE) ** LOUDNESS_EXPONENT
    return torch.nn.functional.max_pool1d(weights, 3, 1, 1)


def allot(errors: Tensor, weights: Tensor, price: Tensor) -> Tensor:
    """Stages of each frame at a price.

    Args:
        errors: squared error of each frame's latent after 0, 1, ... stages [..., frame, stage + 1].
        weights: of these errors [..., frame].
        price: of a stage; broadcasts against [..., frame].

    Returns:
        int64 [..., frame].
    """
    stages = torch.arange(errors.shape[-1], device=errors.device)
    return (errors * weights[..., None] + price[..., None] * stages).argmin(-1)


def allot_mean(errors: Tensor, weights: Tensor, mean: Tensor) -> Tensor:
    """Stages of each frame, at the lowest price for which they are not more than `mean` stages in the mean.

    Args:
        errors: squared error of each frame's latent after 0, 1, ... stages [batch, frame, stage + 1].
        weights: of these errors [batch, frame].
        mean: wanted for each item [batch].

    Returns:
        int64 [batch, frame].
    """
    low, high = (torch.full(mean.shape, price, device=errors.device) for price in _PRICES)
    for _ in range(_SEARCH_STEPS):
        price = (low * high).sqrt()
        too_many = allot(errors, weights, price[:, None]).float().mean(-1) > mean
        low, high = torch.where(too_many, price, low), torch.where(too_many, high, price)
    return allot(errors, weights, high[:, None])
