"""Codes for language models: batches, the patterns in which models read codes, and vocabularies."""

from .batches import DecodedBatch, EncodedBatch
from .patterns import delay, flatten, stack, undelay, unflatten, unstack
from .vocabulary import Vocabulary

__all__ = [
    "DecodedBatch",
    "EncodedBatch",
    "Vocabulary",
    "delay",
    "flatten",
    "stack",
    "undelay",
    "unflatten",
    "unstack",
]
