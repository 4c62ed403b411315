"""The orders in which language models read the codes of a residual stack, and back; each a function of codes alone.

Codes are integers [..., stage, frame], as `Codec.encode_batch` and the arrays of `Codec.encode` have them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ConfigError


def delay(codes: Tensor, fill: int) -> Tensor:
    """Shift every stage one step further than the one before, so that a step needs no code that it predicts itself.

    After Copet et al. 2023, "Simple and Controllable Music Generation" (MusicGen).

    Args:
        codes: [..., stage, frame].
        fill: what stands in the steps where a stage has no code; no code should have this value.

    Returns:
        [..., stage, frame + stage - 1], or no step if there is no frame.

    Raises:
        ConfigError: there is no stage.
    """
    _check(codes)
    stages, frames = codes.shape[-2:]
    steps = frames + stages - 1 if frames else 0
    delayed = codes.new_full((*codes.shape[:-1], steps), fill)
    for stage in range(stages if frames else 0):
        delayed[..., stage, stage : stage + frames] = codes[..., stage, :]
    return delayed


def undelay(delayed: Tensor) -> Tensor:
    """The inverse of `delay`; whatever stands where a stage has no code is dropped.

    Args:
        delayed: [..., stage, step].

    Returns:
        [..., stage, step - stage + 1], the frames that are whole.

    Raises:
        ConfigError: there is no stage.
    """
    _check(delayed)
    stages, steps = delayed.shape[-2:]
    frames = max(0, steps - stages + 1)
    return torch.stack([delayed[..., stage, stage : stage + frames] for stage in range(stages)], dim=-2)


def flatten(codes: Tensor) -> Tensor:
    """Put all codes of a frame one after the other, then those of the next, as in AudioLM and SNAC's models.

    Args:
        codes: [..., stage, frame].

    Returns:
        [..., frame * stage].

    Raises:
        ConfigError: there is no stage.
    """
    _check(codes)
    return codes.mT.flatten(-2)


def unflatten(tokens: Tensor, stages: int) -> Tensor:
    """The inverse of `flatten`: [..., frame * stage] -> [..., stage, frame]; a frame that is not whole is dropped.

    Raises:
        ConfigError: there is no stage.
    """
    whole = _whole(tokens, stages)
    return tokens[..., :whole].reshape(*tokens.shape[:-1], whole // stages, stages).mT


def stack(codes: Tensor) -> Tensor:
    """Put all codes of the first stage before all of the second, and so on: coarse to fine, as VALL-E generates.

    Args:
        codes: [..., stage, frame].

    Returns:
        [..., stage * frame].

    Raises:
        ConfigError: there is no stage.
    """
    _check(codes)
    return codes.flatten(-2)


def unstack(tokens: Tensor, stages: int) -> Tensor:
    """The inverse of `stack`: [..., stage * frame] -> [..., stage, frame].

    Raises:
        ConfigError: there is no stage, or the tokens cannot be shared out evenly among them.
    """
    if _whole(tokens, stages) != tokens.shape[-1]:
        raise ConfigError(f"{tokens.shape[-1]} tokens are not those of {stages} whole stages")
    return tokens.reshape(*tokens.shape[:-1], stages, tokens.shape[-1] // stages)


def _check(codes: Tensor) -> None:
    if codes.ndim < 2 or codes.shape[-2] < 1:
        raise ConfigError(f"codes have the shape [..., stage, frame] with at least one stage, not {list(codes.shape)}")


def _whole(tokens: Tensor, stages: int) -> int:
    if stages < 1 or tokens.ndim < 1:
        raise ConfigError(f"tokens [..., token] of at least one stage are wanted, not {list(tokens.shape)} of {stages}")
    return tokens.shape[-1] // stages * stages
