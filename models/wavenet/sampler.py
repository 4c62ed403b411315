"""Running signals that are drawn sample by sample.

The conditions of a frame are computed for all of its samples at once, the samples one after the other. Everything is in
float64: rounding to 16 bits would now and then turn the last bit of a float32 into another sample, after which all
samples differ. As it is, a sound is the same however it is cut into blocks.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from ..layers import Stream
from ..texture import uniforms
from .loop import Array, SampleLoop
from .network import Conditioner, Conditions, GatedStack, at_samples

KEY = 0
"""Of the random numbers that samples are drawn with."""


class Sampler:
    """The state of running signals.

    Args:
        conditioner: is copied, so that later changes of its weights do not matter; likewise the stack.
        stack: of gated layers.
        hop: samples of a frame of conditions.
        delay: samples at the beginning that are zeros, as they are in training.
    """

    def __init__(self, conditioner: Conditioner, stack: GatedStack, hop: int, delay: int) -> None:
        self._conditioner = copy.deepcopy(conditioner).double().cpu()
        self._stack = copy.deepcopy(stack).double().cpu()
        self._hop, self._delay = hop, delay
        self._stream = Stream()
        self._loop: SampleLoop | None = None

    @torch.no_grad()
    def push(self, latents: Tensor, texture: float) -> Tensor:
        """Draw the samples of some frames [batch, dim, frame] -> float64 [batch, sample], on the CPU."""
        conditions = self._conditioner(latents.double().cpu(), self._stream)
        if self._loop is None:
            self._loop = SampleLoop(self._stack, len(latents), conditions.predictor.shape[-1])
        frames = zip(*(values.split(1, 1) for values in conditions), strict=True)
        drawn = [self._frame(self._loop, Conditions(*frame), texture) for frame in frames]
        return torch.from_numpy(np.concatenate(drawn)).T

    def _frame(self, loop: SampleLoop, conditions: Conditions, texture: float) -> Array:
        """Draw the samples of a single frame [sample, batch]."""
        of_samples = at_samples(conditions, self._hop, self._stream, self._stack)
        random = uniforms(KEY, loop.position, self._hop, 2).numpy()
        return loop.run(of_samples, random, texture, self._delay)
