"""Losses of the latents beside reconstruction, for any bottleneck; lower is better.

The third of the classical ones, denoising, is not a loss: there the input is noisy and the target clean (see
`AugmentConfig.denoise`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SURE = 1e-6
"""Mean activations are kept this far from 0 and 1."""


def activations(latents: Tensor) -> Tensor:
    """Sigmoid of the latents [batch, dim, frame], mean over batch and frames: how active each dimension is [dim]."""
    return latents.sigmoid().mean((0, 2))


def sparsity(latents: Tensor, rho: float, mean: Tensor | None = None) -> Tensor:
    """KL divergence of the mean activations from `rho` in nats, mean over the dimensions [].

    After Ng 2011, "Sparse autoencoder" (CS294A lecture notes). Latents as `Encoder` makes them have a mean of 0 and a
    variance of 1 in every frame, so that their mean activation cannot come down to a small `rho`: what the
    divergence then rewards is a few strong values a frame among many weak ones.

    Args:
        latents: [batch, dim, frame].
        rho: the mean activation that is wanted, in (0, 1).
        mean: activations that count, if not those of these latents: their mean over the parts of a batch [dim].
    """
    active = activations(latents)
    if mean is not None:
        active = active + (mean - active).detach()  # that value; the gradient of this part
    active = active.clamp(SURE, 1 - SURE)
    divergence = rho * (rho / active).log() + (1 - rho) * ((1 - rho) / (1 - active)).log()
    return divergence.mean()


def contraction(encode: Callable[[Tensor], Tensor], waveform: Tensor, probe: Tensor) -> Tensor:
    """Squared Frobenius norm of the Jacobian d latents / d waveform over the number of latents, estimated [].

    The penalty of Rifai et al. 2011, "Contractive auto-encoders", by one random projection: |probe^T J|^2 has the
    expectation |J|^2 (Hutchinson 1990, "A stochastic estimator of the trace of the influence matrix"). Its gradient
    takes a second derivative of the encoder.

    Args:
        encode: waveforms -> latents [item, dim, frame].
        waveform: [item, 1, sample].
        probe: random signs, -1 or 1, of the latents' shape.
    """
    waveform = waveform.detach().requires_grad_()
    latents = encode(waveform)
    [projected] = torch.autograd.grad(latents, waveform, probe, create_graph=True)
    return projected.square().sum() / latents.numel()
