"""The weight that makes an adversarial loss pull as hard as the reconstruction, as in a VQ-GAN."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-4
"""Added to the norm that divides."""

MOST = 1e4
"""The largest weight."""


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """Compute |grad reconstruction| / (|grad adversarial| + 1e-4), at most 1e4: [], without gradient.

    After Esser, Rombach and Ommer 2021, "Taming Transformers for High-Resolution Image Synthesis" (VQ-GAN).

    Args:
        reconstruction: weighted sum of the losses of what is decoded [].
        adversarial: the adversarial loss [], unweighted.
        last_layer: weight of the decoder's last layer, with respect to which gradients are taken.
    """
    ours, theirs = (
        torch.autograd.grad(loss, last_layer, retain_graph=True)[0].float().norm()
        for loss in (reconstruction, adversarial)
    )
    ratio: Tensor = ours / (theirs + FLOOR)
    return ratio.clamp(max=MOST).detach()
