"""Waveforms of different lengths -> what the model in transformers takes: a padded batch and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from transformers import BatchFeature, SequenceFeatureExtractor

from ...errors import AudioError

RawAudio: TypeAlias = NDArray[Any] | Sequence[float] | Sequence[NDArray[Any]] | Sequence[Sequence[float]]


class VqCodecFeatureExtractor(SequenceFeatureExtractor):  # type: ignore[misc]
    """Pads waveforms to one length, and says where they end.

    Args:
        feature_size: channels, always 1.
        sampling_rate: of the model, in Hz.
        padding_value: of the samples behind a waveform; the model does not look at them.
        kwargs: what all feature extractors in transformers have.

    Raises:
        AudioError: there is more than one channel, or padding in front of the sound is asked for.
    """

    model_input_names = ("input_values", "padding_mask")

    def __init__(
        self, feature_size: int = 1, sampling_rate: int = 16_000, padding_value: float = 0.0, **kwargs: Any
    ) -> None:
        if feature_size != 1 or kwargs.get("padding_side", "right") != "right":
            raise AudioError("waveforms have one channel, and padding comes behind them")
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)

    def __call__(
        self,
        raw_audio: RawAudio,
        padding: bool | str | None = None,
        truncation: bool | None = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        sampling_rate: int | None = None,
    ) -> BatchFeature:
        """Prepare one waveform or several.

        Args:
            raw_audio: floats [sample] in [-1, 1], or a list of such.
            padding: True or "longest" (the default): to the longest; "max_length": to `max_length`; False: not.
            truncation: whether to cut what is longer than `max_length`; not together with padding.
            max_length: in samples.
            return_tensors: "pt" or "np"; lists without it.
            sampling_rate: of the waveforms in Hz, to be sure that it is the model's: nothing is resampled.

        Returns:
            `input_values` float32 [batch, 1, sample], and with padding `padding_mask` int32 [batch, sample].

        Raises:
            AudioError: a waveform has another shape or sampling rate, or both padding and truncation are asked for.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise AudioError(
                f"the model works at {self.sampling_rate} Hz, the waveforms have {sampling_rate}: resample"
            )
        if padding and truncation:
            raise AudioError("choose either padding or truncation, not both")
        padding = not truncation if padding is None else padding
        several = isinstance(raw_audio, list | tuple) and len(raw_audio) > 0 and np.ndim(raw_audio[0]) > 0
        waveforms = [np.asarray(item, dtype=np.float32) for item in (raw_audio if several else [raw_audio])]
        for waveform in waveforms:
            if waveform.ndim != 1:
                raise AudioError(f"a waveform has the shape [sample], not {list(waveform.shape)}")
        batch = self.pad(
            BatchFeature({"input_values": waveforms}),
            padding=padding,
            max_length=max_length,
            truncation=truncation,
            return_attention_mask=bool(padding),
        )
        if padding:
            batch["padding_mask"] = batch.pop("attention_mask")
        batch["input_values"] = [np.asarray(waveform, np.float32)[None] for waveform in batch["input_values"]]
        return batch if return_tensors is None else batch.convert_to_tensors(return_tensors)
