"""The model in transformers: an `Autoencoder` behind the methods that EnCodec, DAC and Mimi have there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import initialization as init
from transformers.modeling_utils import PreTrainedAudioTokenizerBase
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT, ModelConfig

from ...errors import AudioError, ConfigError
from ...payloads.plain import ABSENT
from ...tokens.items import decode_items, encode_items, padded
from .configuration import VqCodecConfig


@dataclass
class VqCodecEncoderOutput(ModelOutput):  # type: ignore[misc]
    """Result of `VqCodecModel.encode`."""

    audio_codes: Tensor | None = None
    """int64 [batch, stage, frame], -1 beyond the end of an item"""
    audio_scales: Tensor | None = None
    """Always None: the level of a sound is in its codes; EnCodec has its scales here."""


@dataclass
class VqCodecDecoderOutput(ModelOutput):  # type: ignore[misc]
    """Result of `VqCodecModel.decode`."""

    audio_values: Tensor | None = None
    """float32 [batch, 1, sample] in [-1, 1], 0 beyond the end of an item"""


@dataclass
class VqCodecOutput(ModelOutput):  # type: ignore[misc]
    """Result of `VqCodecModel.forward`."""

    audio_codes: Tensor | None = None
    """As in `VqCodecEncoderOutput`."""
    audio_values: Tensor | None = None
    """As in `VqCodecDecoderOutput`."""


class VqCodecModel(PreTrainedAudioTokenizerBase):  # type: ignore[misc]
    """Speech -> codes, and back, as a model of transformers.

    The codes of an item are those that `Codec.encode` gives it alone: neither its neighbours nor the padding change
    them. It computes in float32, whatever type is asked for, and without gradients.

    Args:
        config: of a codec that has codes.

    Raises:
        ConfigError: the codec has no codes.
    """

    config_class = VqCodecConfig
    base_model_prefix = "vqcodec"
    main_input_name = "input_values"
    input_modalities = "audio"
    _keep_in_fp32_modules_strict = ("autoencoder",)

    def __init__(self, config: VqCodecConfig) -> None:
        super().__init__(config)
        config.sizes.require_codes()
        self.autoencoder = Autoencoder(config.sizes).requires_grad_(False)
        self.autoencoder.register_buffer("silence", self.autoencoder.silence, persistent=True)
        for book in self.autoencoder.quantizer.books:  # what they learn from is not stored
            book.register_buffer("counts", book.counts, persistent=False)
            book.register_buffer("sums", book.sums, persistent=False)
        self.post_init()

    @classmethod
    def from_autoencoder(cls, autoencoder: Autoencoder) -> VqCodecModel:
        """A model with the weights of an `Autoencoder`, in evaluation mode."""
        model = cls(VqCodecConfig(codec_config=autoencoder.config.to_dict()))
        values = {**autoencoder.state_dict(), "silence": autoencoder.silence}
        model.autoencoder.load_state_dict({name: values[name] for name in model.autoencoder.state_dict()})
        model.eval()
        return model

    @can_return_tuple  # type: ignore[untyped-decorator]
    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        bandwidth: float | None = None,
        num_quantizers: int | None = None,
        effort: int = DEFAULT_EFFORT,
    ) -> VqCodecEncoderOutput:
        """Encode a batch of waveforms.

        Args:
            input_values: floats [batch, 1, sample] in [-1, 1] at `config.sampling_rate`.
            padding_mask: 1 or True where there is sound, 0 or False for the padding behind it [batch, sample] or
                [batch, 1, sample]; all is sound if None.
            bandwidth: bitrate in kbit/s; the nearest possible is used. Less than a quarter of the lowest, or more
                than four times the highest, is refused.
            num_quantizers: codes per frame, instead of a bandwidth. All that there are if neither is given.
            effort: width of the search for codes, as in `Codec.encode`.

        Returns:
            `audio_codes` int64 [batch, stage, frame] on the device of the waveforms, -1 beyond the end of an item.

        Raises:
            AudioError: a shape or type does not fit, there is padding in front of sound, or a sample is NaN or
                infinite.
            ConfigError: a setting is out of range, or the weights are no longer in float32.
        """
        if input_values.ndim != 3 or input_values.shape[1] != 1 or len(input_values) == 0:
            raise AudioError(f"expected waveforms [batch, 1, sample], not {list(input_values.shape)}")
        if not input_values.is_floating_point():
            raise AudioError(f"waveforms are made of floats in [-1, 1], not {input_values.dtype}")
        self._check_type()
        counts = _counts(padding_mask, input_values)
        items = [item[:, :count] for item, count in zip(input_values.detach(), counts, strict=True)]
        codes = encode_items(self.autoencoder, items, self._stages(bandwidth, num_quantizers), effort)
        return VqCodecEncoderOutput(audio_codes=padded([item[0] for item in codes], ABSENT))

    @can_return_tuple  # type: ignore[untyped-decorator]
    def decode(
        self,
        audio_codes: Tensor,
        audio_scales: Tensor | None = None,
        padding_mask: Tensor | None = None,
        texture: float = 1.0,
    ) -> VqCodecDecoderOutput:
        """Decode a batch of codes.

        Args:
            audio_codes: integers [batch, stage, frame], of the first stages or all. Frames of -1 at the end of an
                item are padding.
            audio_scales: of no use. EnCodec has its scales in this place and Mimi the padding mask, which it is taken
                for if it is a tensor.
            padding_mask: that of the waveforms, as in `encode`: an item is cut to its samples, and the batch is as
                long as the mask. Without it there is all that the frames hold.
            texture: as in `Codec.decode`.

        Returns:
            `audio_values` float32 [batch, 1, sample] in [-1, 1] on the device of the codes, 0 beyond the end of an
            item.

        Raises:
            CorruptFile: the codes cannot be this model's.
            ConfigError: a shape or setting does not fit, or the weights are no longer in float32.
        """
        if audio_codes.ndim != 3 or len(audio_codes) == 0:
            raise ConfigError(f"expected codes [batch, stage, frame], not {list(audio_codes.shape)}")
        self._check_type()
        mask = audio_scales if padding_mask is None and isinstance(audio_scales, Tensor) else padding_mask
        frames = _frames(audio_codes)
        items = [item[None, :, :count] for item, count in zip(audio_codes, frames, strict=True)]
        waveforms = decode_items(self.autoencoder, items, texture)
        length = self.config.sizes.num_samples(audio_codes.shape[-1])
        if mask is not None:
            counts = _counts(mask, audio_codes)
            waveforms = [waveform[:, :count] for waveform, count in zip(waveforms, counts, strict=True)]
            length = mask.shape[-1]
        return VqCodecDecoderOutput(audio_values=padded(waveforms, length=length))

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        bandwidth: float | None = None,
        audio_codes: Tensor | None = None,
        num_quantizers: int | None = None,
        **kwargs: Any,
    ) -> VqCodecOutput:
        """Encode and decode a batch of waveforms.

        Args:
            input_values, padding_mask, bandwidth, num_quantizers: as in `encode`.
            audio_codes: to decode instead of those of the waveforms.
            kwargs: what models of transformers are called with and this one has no use for.

        Returns:
            `audio_codes` as from `encode`, and `audio_values` of the shape of `input_values`.

        Raises:
            VqcodecError: as `encode` and `decode`.
        """
        if audio_codes is None:
            audio_codes = self.encode(
                input_values, padding_mask, bandwidth, num_quantizers, return_dict=True
            ).audio_codes
        mask = torch.ones_like(input_values[:, 0]) if padding_mask is None else padding_mask
        decoded = self.decode(audio_codes, padding_mask=mask, return_dict=True)
        return VqCodecOutput(audio_codes=audio_codes, audio_values=decoded.audio_values)

    def get_encoded_length(self, input_length: Tensor) -> Tensor:
        """Frames of so many samples; whole numbers of any shape, none for none."""
        sizes = self.config.sizes
        frames = (input_length + sizes.delay + sizes.hop_length - 1) // sizes.hop_length
        return torch.where(input_length > 0, frames, 0)

    def get_audio_codes_mask(self, padding_mask: Tensor) -> Tensor:
        """The mask of the frames of each item, bool [batch, frame], for that of the samples [batch, sample]."""
        frames = self.get_encoded_length(padding_mask.reshape(len(padding_mask), -1).sum(-1))
        return torch.arange(int(frames.max()), device=frames.device) < frames[:, None]

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """Give all that was not loaded the values of a new model: what is computed and not stored among it."""
        new = Autoencoder(self.config.sizes)
        values = {**dict(new.named_parameters()), **dict(new.named_buffers())}
        for name, tensor in [*self.autoencoder.named_parameters(), *self.autoencoder.named_buffers()]:
            init.copy_(tensor, values[name])

    def _stages(self, bandwidth: float | None, num_quantizers: int | None) -> int:
        sizes: ModelConfig = self.config.sizes
        if bandwidth is not None and num_quantizers is not None:
            raise ConfigError("choose either a bandwidth or a number of quantizers, not both")
        if bandwidth is not None:
            sizes.check_bitrate(bandwidth * 1000)
            return sizes.stages_for(bandwidth * 1000)
        stages = sizes.num_stages if num_quantizers is None else num_quantizers
        sizes.check_stages(stages)
        return stages

    def _check_type(self) -> None:
        found = next(self.autoencoder.parameters()).dtype
        if found != torch.float32:
            raise ConfigError(f"the model computes in float32, and its weights were made {found}: call .float()")


def _frames(audio_codes: Tensor) -> list[int]:
    """Frames of each item of codes [batch, stage, frame], without those of -1 at its end."""
    sound = (audio_codes != ABSENT).any(1)
    numbers = sound * torch.arange(1, sound.shape[-1] + 1, device=sound.device)
    frames: list[int] = torch.nn.functional.pad(numbers, (1, 0)).amax(-1).tolist()
    return frames


def _counts(padding_mask: Tensor | None, items: Tensor) -> list[int]:
    """Samples of each item, by a mask that has padding only behind the sound."""
    if padding_mask is None:
        return [items.shape[-1]] * len(items)
    fits = padding_mask.ndim in (2, 3) and len(padding_mask) == len(items)
    if not fits or (padding_mask.ndim == 3 and padding_mask.shape[1] != 1):
        raise AudioError(f"expected a mask [batch, sample] for {len(items)} items, not {list(padding_mask.shape)}")
    rows = padding_mask.reshape(len(items), -1).bool()
    if (rows[:, 1:] & ~rows[:, :-1]).any():
        raise AudioError("padding comes behind the sound, and nowhere else")
    counts: list[int] = rows.sum(-1).tolist()
    return counts
