"""Batches of sounds of different lengths: what is coded of an item depends on nothing but the item.

On a CPU every item is coded by itself, in the blocks in which it would be coded alone, so that the codes are the same
to the bit. On a GPU items of similar length are computed side by side; a code may differ where two are equally near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT
from vqcodec.models.layers import Stream

from .. import audio, checks
from ..errors import AudioError, ConfigError
from ..facts import ModelFacts
from ..payloads.plain import ABSENT
from ..rates.plan import plan_of
from .items import decode_items, encode_items, padded

Waveforms: TypeAlias = Tensor | NDArray[Any] | Sequence[Tensor | NDArray[Any]]
"""A padded batch [item, sample] or [item, channel, sample], or a list of items [sample] or [channel, sample]."""

CodeItems: TypeAlias = Tensor | NDArray[Any] | Sequence[Tensor | NDArray[Any]]
"""A padded batch of codes [item, channel, stage, frame], or a list of items [channel, stage, frame]."""

Lengths: TypeAlias = Tensor | NDArray[Any] | Sequence[int]
"""Whole numbers, one for each item."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedBatch:
    """Codes of several sounds, side by side."""

    codes: Tensor
    """int64 [item, channel, stage, frame], -1 beyond the end of an item"""
    num_frames: Tensor
    """Frames of each item, int64 [item]"""
    num_samples: Tensor
    """Samples per channel of each item at the codec's rate, int64 [item]"""

    @property
    def mask(self) -> Tensor:
        """True for the frames of each item, bool [item, frame]."""
        return torch.arange(self.codes.shape[-1], device=self.codes.device) < self.num_frames[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedBatch:
    """Several sounds, side by side."""

    waveforms: Tensor
    """float32 [item, channel, sample] in [-1, 1], 0 beyond the end of an item"""
    num_samples: Tensor
    """Samples per channel of each item, int64 [item]"""


class BatchCoding(ModelFacts):
    """The methods of `Codec` for batches."""

    model: Autoencoder
    precision: str

    def encode_batch(
        self,
        waveforms: Waveforms,
        lengths: Lengths | None = None,
        *,
        sample_rate: int | None = None,
        bitrate_bps: float | None = None,
        stages: int | None = None,
        effort: int = DEFAULT_EFFORT,
    ) -> EncodedBatch:
        """Encode several waveforms at a constant bitrate.

        Args:
            waveforms: floats in [-1, 1]: a padded batch [item, sample] or [item, channel, sample], or a list of items
                [sample] or [channel, sample], which all have as many channels.
            lengths: samples of each item; all that there are if None. What lies beyond is not looked at.
            sample_rate: of the waveforms in Hz, if it is not the codec's; they are resampled then.
            bitrate_bps, stages, effort: as in `Codec.encode`.

        Returns:
            The codes on the device of the waveforms (the CPU, if they are numpy arrays), without gradients. An item of
            no samples has no frames.

        Raises:
            AudioError: a shape, type or length does not fit, or a sample is NaN or infinite.
            ConfigError: a setting is out of range, or the model has no codes.
        """
        rate = self.sample_rate if sample_rate is None else checks.checked_sample_rate(sample_rate)
        chosen = plan_of(self.config, bitrate_bps, stages, None, varies=False).stages
        items = self._at_our_rate(_items(waveforms, lengths, rate), rate)
        found = encode_items(self.model, items, chosen, effort)
        frames = [codes.shape[-1] for codes in found]
        sizes = [item.shape[-1] for item in items]
        device = items[0].device
        return EncodedBatch(
            codes=padded(found, ABSENT), num_frames=_whole(frames, device), num_samples=_whole(sizes, device)
        )

    def decode_batch(
        self,
        codes: EncodedBatch | CodeItems,
        lengths: Lengths | None = None,
        *,
        texture: float = 1.0,
    ) -> DecodedBatch:
        """Decode several sounds to the codec's rate.

        Args:
            codes: what `encode_batch` returned; or integers, as a padded batch [item, channel, stage, frame] or as a
                list of items [channel, stage, frame], which all have as many channels.
            lengths: frames of each item; all that there are if None, or those of the encoded batch.
            texture: as in `Codec.decode`.

        Returns:
            Waveforms on the device of the codes. An item of an encoded batch has the samples that were encoded, another
            one all that its frames hold.

        Raises:
            CorruptFile: the codes cannot be this model's.
            ConfigError: a shape, length or setting does not fit.
        """
        sizes: list[int] | None = None
        if isinstance(codes, EncodedBatch):
            if lengths is None:
                lengths, sizes = codes.num_frames, codes.num_samples.tolist()
            codes = codes.codes
        items = _code_items(codes, lengths)
        found = decode_items(self.model, items, texture)
        if sizes is None:
            sizes = [waveform.shape[-1] for waveform in found]
        waveforms = [waveform[:, :size] for waveform, size in zip(found, sizes, strict=True)]
        return DecodedBatch(waveforms=padded(waveforms), num_samples=_whole(sizes, items[0].device))

    def latents(self, waveform: Tensor, *, gradient: bool = False) -> Tensor:
        """Continuous latents, before any quantizer.

        Args:
            waveform: floats in [-1, 1] at the codec's rate [..., sample], samples a multiple of `hop_length`.
            gradient: whether gradients reach the waveform (and the model, if its parameters want any).

        Returns:
            float32 [..., dim, frame] on the device of the waveform. Frame t ends where hop t does: it is what
            `encode` quantizes for that frame.

        Raises:
            AudioError: the samples are no multiple of the hop length, or no floats.
            ConfigError: the model computes in bfloat16, which has no gradients.
        """
        if gradient and self.precision != "float32":
            raise ConfigError('gradients need a codec that was loaded with precision="float32"')
        if not waveform.is_floating_point() or waveform.ndim < 1 or waveform.shape[-1] % self.hop_length:
            wanted = f"floats [..., sample] with a multiple of {self.hop_length} samples"
            raise AudioError(f"expected {wanted}, not {waveform.dtype} {list(waveform.shape)}")
        rows = waveform.reshape(-1, 1, waveform.shape[-1]).to(self.device).float()
        with torch.set_grad_enabled(gradient):
            latents: Tensor = self.model.encoder(rows, Stream()).float()
        return latents.view(*waveform.shape[:-1], *latents.shape[1:]).to(waveform.device)

    def from_codes(self, codes: Tensor) -> Tensor:
        """Latents that codes stand for, the sums of their code vectors.

        Args:
            codes: integers [..., stage, frame], of any number of stages that the model can decode.

        Returns:
            float32 [..., dim, frame] on the device of the codes, without gradients.

        Raises:
            ConfigError: the shape or type does not fit, or a code lies outside of the codebooks.
        """
        if codes.ndim < 2 or codes.is_floating_point() or not 1 <= codes.shape[-2] <= self.num_stages:
            wanted = f"integers [..., stage, frame] of 1 to {self.num_stages} stages"
            raise ConfigError(f"expected {wanted}, not {codes.dtype} {list(codes.shape)}")
        if codes.numel() and not (codes.min() >= 0 and codes.max() < self.codebook_size):
            raise ConfigError(f"codes lie from 0 to {self.codebook_size - 1}, not {codes.min()} to {codes.max()}")
        rows = codes.reshape(-1, *codes.shape[-2:]).to(self.device).long()
        with torch.no_grad():
            latents = self.model.quantizer.decode(rows)
        return latents.view(*codes.shape[:-2], *latents.shape[1:]).to(codes.device)

    @property
    def device(self) -> torch.device:
        """The device that the model computes on."""
        return next(self.model.parameters()).device

    def _at_our_rate(self, items: list[Tensor], sample_rate: int) -> list[Tensor]:
        if sample_rate == self.sample_rate:
            return items
        return [_resampled(item, sample_rate, self.sample_rate) for item in items]


def _items(waveforms: Waveforms, lengths: Lengths | None, sample_rate: int) -> list[Tensor]:
    """Items [channel, sample] of a batch, cut to their lengths."""
    items = [_as_tensor(item) for item in waveforms]
    if not items:
        raise AudioError("a batch has at least one item")
    shapes = sorted({item.ndim for item in items})
    if shapes not in ([1], [2]):
        raise AudioError(f"items of a batch are [sample] or [channel, sample], not of {shapes} dimensions")
    items = [item.detach() if item.ndim == 2 else item.detach()[None] for item in items]
    for item in items:
        checks.check_channels(len(item), sample_rate)
        if not item.is_floating_point():
            raise AudioError(f"waveforms are made of floats in [-1, 1], not {item.dtype}")
    if len({len(item) for item in items}) > 1:
        raise AudioError("all items of a batch have the same number of channels")
    return _cut(items, lengths, AudioError)


def _code_items(
    codes: Tensor | NDArray[Any] | Sequence[Tensor | NDArray[Any]], lengths: Lengths | None
) -> list[Tensor]:
    """Items [channel, stage, frame] of a batch, cut to their lengths."""
    items = [_as_tensor(item) for item in codes]
    if not items:
        raise ConfigError("a batch has at least one item")
    for item in items:
        if item.ndim != 3 or len(item) == 0:
            raise ConfigError(f"codes of an item have the shape [channel, stage, frame], not {list(item.shape)}")
    if len({len(item) for item in items}) > 1:
        raise ConfigError("all items of a batch have the same number of channels")
    return _cut(items, lengths, ConfigError)


def _cut(items: list[Tensor], lengths: Lengths | None, error: type[Exception]) -> list[Tensor]:
    if lengths is None:
        return items
    counts = np.asarray(lengths.cpu() if isinstance(lengths, Tensor) else lengths)
    if counts.shape != (len(items),) or counts.dtype.kind not in "iu":
        raise error(f"lengths are {len(items)} whole numbers, one for each item")
    for item, count in zip(items, counts, strict=True):
        if not 0 <= count <= item.shape[-1]:
            raise error(f"an item of {item.shape[-1]} cannot have the length {count}")
    return [item[..., :count] for item, count in zip(items, counts.tolist(), strict=True)]


def _resampled(item: Tensor, source_rate: int, target_rate: int) -> Tensor:
    resampler = audio.Resampler(source_rate, target_rate, len(item))
    parts = [resampler.push(item.cpu().numpy()), resampler.flush()]
    return torch.from_numpy(np.concatenate(parts, axis=-1)).to(item.device)


def _as_tensor(values: Tensor | NDArray[Any]) -> Tensor:
    return values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))


def _whole(values: Sequence[int], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device=device)
