"""Begin a run with a trained model, of the same sizes or of smaller ones."""

from __future__ import annotations

from pathlib import Path

import torch

from vqcodec.errors import ConfigError
from vqcodec.models import checkpoint
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig
from vqcodec.models.layers import ConvNeXtBlock

from ..loading import sizes_that_differ

MAY_GROW = (
    "encoder_blocks",
    "decoder_blocks",
    "encoder_fast_blocks",
    "decoder_fast_blocks",
    "decoder_stochastic",
    "decoder_conceals",
)
"""Sizes that the recipe's model may have more of than the trained one."""

NEW_BLOCK_SCALE = 0.01
"""Layer scale of a block that the trained model does not have: it begins by passing on what it gets."""


def begin_with(model: Autoencoder, trained: Path) -> None:
    """Give a new model the weights of a trained one, as far as that goes; what is beyond changes little at first.

    Blocks that are added pass on what they get, codebooks that are added to the end of a residual stack are still to be
    set, and spreads that are added are those that a new decoder begins with.

    Raises:
        ConfigError: a size of the trained model is larger, or differs in a way that weights cannot follow.
        CorruptFile: `trained` is not a model.
    """
    start = checkpoint.load(trained, next(model.parameters()).device)
    _check_growth(start.config, model.config, trained)
    known = start.state_dict()
    _quieten_new_blocks(model, set(known))
    state = {name: value for name, value in known.items() if name in model.state_dict()}
    model.load_state_dict(state, strict=False)
    for book, _ in zip(model.quantizer.books, start.quantizer.books, strict=False):
        book.restart()


def _check_growth(before: ModelConfig, after: ModelConfig, trained: Path) -> None:
    growing = [*MAY_GROW, *(["num_stages"] if after.kind.can_grow else [])]
    grown = {key for key in growing if getattr(after, key) > getattr(before, key)}
    if not before.decoder_stochastic:
        grown.add("decoder_spread_from_hz")
    if fixed := sizes_that_differ(before, after, besides=grown):
        raise ConfigError(f"{trained} is a model of other sizes than the recipe's: {', '.join(fixed)}")


@torch.no_grad()
def _quieten_new_blocks(model: Autoencoder, known: set[str]) -> None:
    for name, module in model.named_modules():
        if isinstance(module, ConvNeXtBlock) and f"{name}.scale" not in known:
            module.scale.fill_(NEW_BLOCK_SCALE)
