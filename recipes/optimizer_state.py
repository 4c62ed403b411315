"""Optimizers that go on where others stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_AVERAGES = {"AdamW": {"exp_avg", "exp_avg_sq", "step"}, "Muon": {"momentum_buffer"}}


def load_state(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Take over the running averages of an optimizer of the same parameters; the settings stay as they are.

    `load_state_dict` looks at the number of parameters alone: averages of another shape end in wrong memory.

    Args:
        optimizer: AdamW or Muon.
        saved: what its `state_dict` gave.

    Raises:
        ValueError: these are not the averages of such parameters; or another error of a wrong type or key.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if sum(len(group["params"]) for group in saved["param_groups"]) != len(parameters):
        raise ValueError("the optimizer had other parameters")
    wanted, state = _AVERAGES[type(optimizer).__name__], {}
    for number, averages in saved["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters) or set(averages) != wanted:
            raise ValueError("the optimizer had other parameters, or was another one")
        parameter = parameters[number]
        state[number] = {name: _average(name, averages[name], parameter) for name in averages}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _average(name: str, value: Tensor, parameter: Tensor) -> Tensor:
    """One of the averages, in memory of its own that is laid out as the parameter is."""
    if name == "step":
        steps = float(value)
        if not 0 <= steps < math.inf:
            raise ValueError(f"the optimizer made {steps:g} steps")
        return torch.tensor(steps)
    if value.shape != parameter.shape:
        raise ValueError(f"an average of the optimizer is {list(value.shape)}, not {list(parameter.shape)}")
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
