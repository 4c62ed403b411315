"""Stages frame by frame: every frame keeps the codes that are worth their bits, a pause fewer than a vowel.

A frame of weight w keeps the least number n of stages for which w D(n) + price * n is least, D(n) being the squared
error of its latent after n stages. All frames pay the same price, as rate-distortion theory has it (Shoham and Gersho
1988, "Efficient bit allocation for an arbitrary set of quantizers").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import Stream

LOUDNESS_EXPONENT = 0.15
"""Power of a frame's mean square that its error is weighed with. Anything from 0.05 to 0.3 does about as well."""

SILENCE = 1e-9
"""Mean square up to which a frame is as good as silent: -90 dB, about the dither of 16-bit recordings."""

_SEARCH_STEPS = 30
_PRICES = (1e-9, 10.0)


class Audibility(nn.Module):
    """Weigh the frames of a running waveform by how well their errors are heard.

    A frame counts as much as the loudest of itself and its two neighbours, because an onset is heard in the frame
    before it, too. Without look-ahead there is only the neighbour before.

    Args:
        hop: samples per frame.
        late: frames by which the latents lag behind the waveform.
    """

    def __init__(self, hop: int, late: int) -> None:
        super().__init__()
        self.hop, self.late = hop, late

    def forward(self, waveform: Tensor, stream: Stream) -> Tensor:
        """Waveform [batch, 1, sample] in [-1, 1], whole frames of it -> weights in [0, 1] [batch, frame].

        They are in line with the latents. What is as quiet as `SILENCE` weighs nothing.
        """
        power = waveform.reshape(len(waveform), 1, -1, self.hop).square().mean(-1)  # [batch, 1, frame]
        loudest = stream.extend(self, power, self.late + 1).unfold(-1, min(3, self.late + 2), 1).amax(-1)
        loudest = loudest[:, 0, : power.shape[-1]]
        return torch.where(loudest > SILENCE, loudest, 0.0) ** LOUDNESS_EXPONENT


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
