"""The loop over samples: each takes one step of every layer, and what layers will need again is kept.

After Le Paine et al. 2016, "Fast Wavenet Generation Algorithm". It computes what `network` and `mixture` compute, but
in numpy, which begins a small product sooner than torch.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import nn

from .mixture import LEAST_LOG_SCALE, LEVELS, STEP
from .network import FEATURES, Conditions, GatedLayer, GatedStack

Array = NDArray[np.float64]


class SampleLoop:
    """The weights of the gated layers in float64, and the state of a batch of signals.

    Args:
        stack: in float64, on the CPU.
        batch: number of signals.
        order: of the linear predictor.
    """

    def __init__(self, stack: GatedStack, batch: int, order: int) -> None:
        channels = stack.mix.in_features
        self.position = 0
        """Number of the next sample."""
        self._layers = [_LayerStep(layer, batch, channels) for layer in stack.gated]
        self._first, self._mix, self._last = (_matrix(end) for end in (stack.project_in, stack.mix, stack.project_out))
        self._mix[:-1] /= math.sqrt(len(self._layers))
        self._state = np.zeros((batch, 2 * channels))  # the signal between the layers, and the sum of the skips
        self._signal, self._skips = self._state[:, :channels], self._state[:, channels:]
        self._hidden = np.ones((2, batch, channels + 1))  # 1 is what biases are multiplied with
        self._features = np.ones((batch, FEATURES + 1))
        self._past = np.zeros((batch, order))  # the latest sample first
        self._error = np.zeros(batch)
        self._rows = np.arange(batch)

    def run(self, conditions: Conditions, random: Array, texture: float, delay: int) -> Array:
        """Draw the samples of a frame [sample, batch].

        Args:
            conditions: of this frame and its samples.
            random: numbers between 0 and 1 [sample, 2]: one that chooses the component, one for the place in it.
            texture: factor of the scales.
            delay: samples before this number are zeros.
        """
        gates, predictor, log_scale = (values.transpose(0, 1).numpy() for values in conditions)
        gates = np.stack(np.split(gates[0], len(self._layers), -1))  # [layer, batch, 2 * channel]
        gates[..., gates.shape[-1] // 2 :] *= 0.5  # see `_LayerStep`
        places = texture * np.log(random[:, 1] / (1 - random[:, 1]))
        drawn = np.empty(predictor.shape[:2])
        for index, sample in enumerate(drawn):
            prediction = (self._past * predictor[index]).sum(-1)
            parameters = self._step(prediction, gates, log_scale[index])
            if self.position < delay:
                sample[:] = 0.0
            else:
                sample[:] = self._draw(parameters, prediction, log_scale[index], random[index, 0], places[index])
            np.subtract(sample, prediction, out=self._error)
            self._past[:, 1:] = self._past[:, :-1].copy()
            self._past[:, 0] = sample
            self.position += 1
        return drawn

    def _step(self, prediction: Array, gates: Array, log_scale: Array) -> Array:
        """Parameters of a sample's mixture [batch, 3 * component], given the gates [layer, batch, 2 * channel]."""
        inputs = self._features[:, :-1]
        inputs[:, 0], inputs[:, 1], inputs[:, 2] = self._past[:, 0], prediction, self._error
        inputs *= np.exp(-log_scale)
        np.arcsinh(inputs, out=inputs)
        np.matmul(self._features, self._first, out=self._signal)
        self._skips[:] = 0.0
        for layer, biases in zip(self._layers, gates, strict=True):
            layer.add(self._state, self._signal, biases, self.position)
        hidden, mixed = self._hidden
        np.maximum(self._skips, 0.0, out=hidden[:, :-1])
        np.matmul(hidden, self._mix, out=mixed[:, :-1])
        np.maximum(mixed[:, :-1], 0.0, out=mixed[:, :-1])
        parameters: Array = mixed @ self._last
        return parameters

    def _draw(self, parameters: Array, prediction: Array, log_scale: Array, which: float, place: float) -> Array:
        """Draw samples [batch], as `mixture_of` and `Mixture.draw` do."""
        count = parameters.shape[-1] // 3
        logits, offsets, log_ratios = (
            parameters[:, :count],
            parameters[:, count : 2 * count],
            parameters[:, 2 * count :],
        )
        shares = np.exp(logits - logits.max(-1, keepdims=True)).cumsum(-1)
        chosen = (which * shares[:, -1:] > shares[:, :-1]).sum(-1)
        level = log_scale[:, 0]
        means = prediction + np.exp(level) * offsets[self._rows, chosen]
        scales = np.exp(np.maximum(level + log_ratios[self._rows, chosen], LEAST_LOG_SCALE))
        drawn: Array = np.rint((means + place * scales) / STEP)
        return drawn.clip(-LEVELS // 2, LEVELS // 2 - 1) * STEP


class _LayerStep:
    """A gated layer, one sample at a time.

    As sigmoid(x) = (tanh(x / 2) + 1) / 2, one call computes both activations; the halves are in the weights.
    """

    def __init__(self, layer: GatedLayer, batch: int, channels: int) -> None:
        self._convolve = _matrix(layer.convolve)[: 2 * channels]
        self._convolve[:, channels:] *= 0.5
        self._project = _matrix(layer.project)
        self._project[:-1] *= 0.5
        self._kept = np.zeros((layer.dilation, batch, channels))  # inputs of the last samples, the oldest due next
        self._seen = np.zeros((batch, 2 * channels))
        self._before, self._now = self._seen[:, :channels], self._seen[:, channels:]
        self._active = np.zeros((batch, 2 * channels))
        self._signal, self._gate = self._active[:, :channels], self._active[:, channels:]
        self._gated = np.ones((batch, channels + 1))
        self._product = self._gated[:, :-1]
        self._added = np.zeros((batch, 2 * channels))

    def add(self, state: Array, x: Array, biases: Array, position: int) -> None:
        """Add the outputs of sample number `position` to signal and skips [batch, 2 * channel], x being the signal."""
        due = self._kept[position % len(self._kept)]
        self._before[:] = due
        self._now[:] = due[:] = x
        np.dot(self._seen, self._convolve, out=self._active)
        self._active += biases
        np.tanh(self._active, out=self._active)
        self._gate += 1.0
        np.multiply(self._signal, self._gate, out=self._product)
        np.dot(self._gated, self._project, out=self._added)
        state += self._added


def _matrix(layer: nn.Linear) -> Array:
    """Weights of a linear layer as a matrix to multiply with from the right [in + 1, out]; its last row is the bias."""
    bias = np.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().numpy()
    return np.concatenate([layer.weight.detach().numpy().T, bias[None]]).copy()
