"""A Gaussian bottleneck: the encoder gives a mean and a variance; training draws samples, coding takes the mean.

Kingma and Welling 2013, "Auto-Encoding Variational Bayes"; Higgins et al. 2017, "beta-VAE".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Bottleneck, Quantized
from .codebook import to_latents, to_vectors

LOG_VARIANCES = (-12.0, 6.0)
"""Range that log variances are clamped to."""

FIRST_LOG_VARIANCE = -3.0
"""Log variances at the start, roughly: from variances near 1, which drown the means, training is slow to get away."""


class VariationalBottleneck(Bottleneck):
    """Mean and log variance, each by a linear layer; a sample in training, the mean otherwise.

    The loss "divergence" is the mean over dimensions of KL(N(mean, variance) || N(0, 1)). In the textbook's objective,
    log likelihood less beta times the divergence summed over dimensions, a weight w here stands for beta = w / dim per
    latent frame, relative to the weights of the reconstruction losses, which are means as well.
    """

    kind = "vae"
    samples = True

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(dim, dim)
        self.log_variance = nn.Linear(dim, dim)
        nn.init.constant_(self.log_variance.bias, FIRST_LOG_VARIANCE)

    def forward(self, latents: Tensor, stages: Tensor | None = None, noise: Tensor | None = None) -> Quantized:
        x = to_vectors(latents)
        mean = self.mean(x).float()
        log_variance = self.log_variance(x).float().clamp(*LOG_VARIANCES)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        sample = to_latents(mean, len(latents))
        if self.training:
            if noise is None:
                noise = torch.randn(latents.shape, generator=self.generator)
            deviation = to_latents((0.5 * log_variance).exp(), len(latents))
            sample = sample + deviation * noise.to(latents.device)
        return Quantized(sample, None, {"divergence": divergence})
