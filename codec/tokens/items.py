"""Items of a batch through a model: on a CPU one by one, on a GPU those of similar length side by side.

Each is computed in the blocks in which it would be computed alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT

from ..stream import MAX_BATCH, StreamDecoder, StreamEncoder


def encode_items(
    model: Autoencoder, items: Sequence[Tensor], stages: int, effort: int = DEFAULT_EFFORT
) -> list[Tensor]:
    """Waveforms -> codes.

    Args:
        model: in evaluation mode.
        items: at least one, floats [channel, sample] at the model's rate, all of as many channels.
        stages: codes of a frame.
        effort: width of the beam search.

    Returns:
        int64 [channel, stage, frame] for each item, on its device; an item of no samples has no frames.

    Raises:
        AudioError: a sample is NaN or infinite.
        ConfigError: a setting is out of range.
    """
    channels = len(items[0])
    codes = [item.new_zeros(channels, stages, 0, dtype=torch.int64) for item in items]
    for group in _groups(model, [item.shape[-1] for item in items], channels):
        rows = padded([items[index] for index in group]).flatten(0, 1)
        encoder = StreamEncoder(model, len(rows), stages=stages, effort=effort)
        found = torch.cat([encoder.push(rows), encoder.flush()], dim=-1)
        for index, of_item in zip(group, torch.split(found, channels), strict=True):
            codes[index] = of_item[..., : model.config.num_frames(items[index].shape[-1])]
    return codes


def decode_items(model: Autoencoder, items: Sequence[Tensor], texture: float = 1.0) -> list[Tensor]:
    """Codes -> waveforms.

    Args:
        model: in evaluation mode.
        items: at least one, integers [channel, stage, frame], all of as many channels.
        texture: as in `StreamDecoder`.

    Returns:
        float32 [channel, sample] for each item, all that its frames hold, on its device.

    Raises:
        CorruptFile: the codes cannot be this model's.
        ConfigError: a setting is out of range.
    """
    channels = len(items[0])
    waveforms = [item.new_zeros(channels, 0, dtype=torch.float32) for item in items]
    for group in _groups(model, [item.shape[-1] for item in items], channels):
        for stages in {items[index].shape[1] for index in group}:
            alike = [index for index in group if items[index].shape[1] == stages]
            rows = padded([items[index] for index in alike]).flatten(0, 1)
            decoder = StreamDecoder(model, len(rows), texture=texture)
            found = torch.cat([decoder.push(rows), decoder.flush()], dim=-1)
            for index, of_item in zip(alike, torch.split(found, channels), strict=True):
                waveforms[index] = of_item[:, : model.config.num_samples(items[index].shape[-1])]
    return waveforms


def padded(items: Sequence[Tensor], value: float = 0, length: int | None = None) -> Tensor:
    """Items [..., time] side by side [item, ..., time], as long as the longest or of another length, cut if need be."""
    length = max(item.shape[-1] for item in items) if length is None else length
    return torch.stack([torch.nn.functional.pad(item, (0, length - item.shape[-1]), value=value) for item in items])


def _groups(model: Autoencoder, sizes: Sequence[int], channels: int) -> Iterator[list[int]]:
    """Items that are computed together, those of no size left out: one by one on a CPU, else the longest first."""
    order = [index for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]) if sizes[index]]
    on_cpu = next(model.parameters()).device.type == "cpu"
    count = 1 if on_cpu else max(1, MAX_BATCH // channels)
    for start in range(0, len(order), count):
        yield order[start : start + count]
