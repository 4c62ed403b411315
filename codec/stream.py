"""Block-by-block encoding and decoding with carried state. No files.

Both directions compute in blocks of a fixed number of frames of codes, aligned to the start of the stream. Whatever
the caller's chunking, the networks see the very same blocks (the last may be shorter), so that codes are bit-equal.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT, MAX_EFFORT
from vqcodec.models.layers import Stream

from .coding.engine import BLOCK_FRAMES
from .errors import AudioError, ConfigError, CorruptFile
from .payloads.plain import ABSENT

MAX_BATCH = 16
"""Channels that a GPU computes at once. A CPU gains nothing by it and takes them one by one."""

_TORCH_TYPES = {"f": np.float32, "i": np.int64, "u": np.int64}

LIMITED_FROM = 0.95
"""Magnitude beyond which decoded samples are limited; below it none is touched."""

Array = TypeVar("Array", NDArray[Any], Tensor)


class _BlockStream:
    """The common part of both directions: input that waits for its block to fill, and the state of every channel."""

    _rows_at_once: int | None = None
    """Channels that are computed together; None takes what is best for the device."""

    def __init__(self, model: Autoencoder, channels: int, stages: int | None, block_frames: int) -> None:
        self.model = model
        self.config = model.config
        self.config.require_codes()
        self.channels = _in_range("channels", channels, None)
        self.stages = None if stages is None else _in_range("stages", stages, None)
        if stages is not None:
            self.config.check_stages(stages)
        self.block_frames = _in_range("block_frames", block_frames, None)
        self.device = next(model.parameters()).device
        self._batch = self._rows_at_once or (1 if self.device.type == "cpu" else MAX_BATCH)
        self._streams = [Stream() for _ in range(0, channels, self._batch)]
        self._waiting: Tensor | None = None
        self._caller_device: torch.device | None = None  # of the tensors pushed; None while they are numpy arrays
        self._flushed = False

    def _compute(self, x: Tensor, stream: Stream) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _run(self, x: Tensor, block: int, last: bool = False) -> tuple[Tensor, ...] | None:
        """Put x [channel, ..., time] behind what waits and compute all full blocks; the `last` one may be short."""
        if self._waiting is not None:
            x = torch.cat([self._waiting, x], dim=-1)
        ready = x.shape[-1] if last else x.shape[-1] // block * block
        self._waiting = x[..., ready:].clone()  # a view would keep all of x
        if ready == 0:
            return None
        parts = [self._run_block(part) for part in torch.split(x[..., :ready], block, dim=-1)]
        return tuple(torch.cat(pieces, dim=-1) for pieces in zip(*parts, strict=True))

    @torch.inference_mode()
    def _run_block(self, x: Tensor) -> tuple[Tensor, ...]:
        groups = zip(torch.split(x, self._batch), self._streams, strict=True)
        parts = [self._compute(group, stream) for group, stream in groups]
        return tuple(torch.cat(pieces) for pieces in zip(*parts, strict=True))

    def _begin(self, pushed: NDArray[Any] | Tensor, axes: str, error: type[Exception]) -> Tensor:
        """The pushed array as a tensor on the model's device, its shape checked."""
        self._check_open()
        pushed = pushed.detach() if isinstance(pushed, Tensor) else np.asarray(pushed)
        if pushed.ndim != axes.count(",") + 1 or len(pushed) != self.channels:
            raise error(f"expected {axes} with {self.channels} channels, not the shape {list(pushed.shape)}")
        self._caller_device = pushed.device if isinstance(pushed, Tensor) else None
        if isinstance(pushed, np.ndarray):
            if pushed.dtype.kind not in _TORCH_TYPES:
                raise error(f"expected numbers, not {pushed.dtype}")
            if pushed.dtype == np.uint64:
                pushed = pushed.clip(max=2**63 - 1)  # what is larger would become negative
            pushed = torch.from_numpy(np.require(pushed, _TORCH_TYPES[pushed.dtype.kind], ["C", "W"]))
        return pushed.to(self.device)

    def _check_open(self) -> None:
        if self._flushed:
            raise RuntimeError("this stream is flushed; begin a new one")

    def _like_input(self, x: Tensor) -> Any:
        return x.cpu().numpy() if self._caller_device is None else x.to(self._caller_device)


class StreamEncoder(_BlockStream):
    """Waveform -> codes, block by block.

    Args:
        model: in evaluation mode.
        channels: coded one by one, each with its own state.
        stages: how many codes each frame gets; all that the model has if None.
        effort: width of the beam search, 1 to `MAX_EFFORT`.
        block_frames: frames computed at once. 1 gives the lowest latency, `ModelConfig.latency_s`. Another
            number may round differently, and so change a code now and then.

    Raises:
        ConfigError: an argument is out of range, or the model has no codes.
    """

    def __init__(
        self,
        model: Autoencoder,
        channels: int = 1,
        *,
        stages: int | None = None,
        effort: int = DEFAULT_EFFORT,
        block_frames: int = BLOCK_FRAMES,
    ) -> None:
        super().__init__(model, channels, stages, block_frames)
        self.effort = _in_range("effort", effort, MAX_EFFORT)
        self._samples = 0

    @property
    def most_stages(self) -> int:
        """The most codes that a frame gets."""
        return self.stages or self.config.num_stages

    def push(self, waveform: Array) -> Array:
        """Take any number of samples and return the codes of the blocks that they completed.

        Args:
            waveform: [channel, sample] at the codec's rate, numpy or torch; values beyond [-1, 1] are clipped.

        Returns:
            int64 [channel, stage, frame], of the same kind, often of 0 frames.

        Raises:
            AudioError: another shape or type, or a sample is NaN or infinite.
            RuntimeError: after `flush`.
        """
        x = self._begin(waveform, "[channel, sample]", AudioError)
        if not x.is_floating_point():
            raise AudioError(f"a waveform is made of floats in [-1, 1], not {waveform.dtype}")
        finite = x.isfinite().all(0)
        if not finite.all():
            first = self._samples + int(finite.int().argmin())
            raise AudioError(f"sample {first} ({first / self.config.sample_rate:.6f} s) is NaN or infinite")
        self._samples += x.shape[-1]
        return self._encode(x.float().clamp(-1, 1))  # type: ignore[no-any-return]

    def flush(self) -> Any:
        """Return the remaining codes [channel, stage, frame], as of zeros after the end.

        In all there are exactly `ModelConfig.num_frames(n)` frames for n samples, none for none. The kind is that of
        the last push, numpy without any.

        Raises:
            RuntimeError: when called twice.
        """
        self._check_open()
        frames = self.config.num_frames(self._samples) if self._samples else 0
        zeros = frames * self.config.hop_length - self._samples if frames else 0
        codes = self._encode(torch.zeros(self.channels, zeros, device=self.device), last=True)
        self._flushed = True
        return codes

    def _encode(self, x: Tensor, last: bool = False) -> Any:
        computed = self._run(x, self.block_frames * self.config.hop_length, last)
        return self._result(self._nothing() if computed is None else computed)

    def _result(self, computed: tuple[Tensor, ...]) -> Any:
        return self._like_input(computed[0])

    def _nothing(self) -> tuple[Tensor, ...]:
        return (torch.zeros(self.channels, self.most_stages, 0, dtype=torch.int64, device=self.device),)

    def _compute(self, x: Tensor, stream: Stream) -> tuple[Tensor, ...]:
        latents = self.model.encoder(x.unsqueeze(1), stream)
        return (self.model.quantizer.encode(latents, self.stages, self.effort),)


class StreamDecoder(_BlockStream):
    """Codes -> waveform, block by block; the delay of encoder and decoder is dropped at the start.

    The last frame usually holds a few samples more than were encoded. They are cut where the length is known, which
    is `num_samples`: given here, set as an attribute before the last frame is pushed, or given to `flush`, by
    which time they may have been returned (never with a block still waiting).

    Args:
        model: in evaluation mode.
        channels: decoded one by one, each with its own state.
        stages: use only that many of the stages pushed; all of them if None.
        block_frames: frames computed at once, 1 for the lowest latency.
        num_samples: the length at the codec's rate, if it is known.
        texture: share of the noise that a model which samples draws coefficients with, 0 to 1: with 0 it decodes their
            means, which measures closer to the original and sounds duller. A WaveNet decoder multiplies the scales of
            its distributions with it. Without effect on other models.

    Raises:
        ConfigError: an argument is out of range, or the model has no codes.
    """

    def __init__(
        self,
        model: Autoencoder,
        channels: int = 1,
        *,
        stages: int | None = None,
        block_frames: int = BLOCK_FRAMES,
        num_samples: int | None = None,
        texture: float = 1.0,
    ) -> None:
        super().__init__(model, channels, stages, block_frames)
        self.num_samples = num_samples
        self.texture = _share("texture", texture)
        self._pushed_stages: int | None = None
        self._skip = self.config.delay
        self._samples = 0

    def push(self, codes: Array) -> Array:
        """Take any number of frames and return the samples of the blocks that they completed.

        Args:
            codes: integers [channel, stage, frame], numpy or torch, of the same stages in every call. `ABSENT`, -1,
                stands in the last stages of frames that have fewer.

        Returns:
            float32 [channel, sample] in [-1, 1], of the same kind, often of 0 samples.

        Raises:
            CorruptFile: another shape or type, a number of stages that the model or this stream does not have, a code
                that is not below the codebook size, or absent codes where there can be none.
            RuntimeError: after `flush`.
        """
        x = self._begin(codes, "[channel, stage, frame]", CorruptFile)
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            raise CorruptFile(f"codes are integers, not {codes.dtype}")
        x = x.long()
        self._check_codes(x)
        return self._decode(x[:, : self.stages])  # type: ignore[no-any-return]

    def flush(self, num_samples: int | None = None) -> Any:
        """Return the remaining samples [channel, sample], up to `num_samples` in all, or as many as the frames hold.

        The kind is that of the last push, numpy without any.

        Raises:
            RuntimeError: when called twice.
        """
        self._check_open()
        if num_samples is not None:
            self.num_samples = num_samples
        nothing = torch.zeros(self.channels, 1, 0, dtype=torch.int64, device=self.device)
        waveform = self._decode(nothing if self._waiting is None else self._waiting[..., :0], last=True)
        self._flushed = True
        return waveform

    def _decode(self, codes: Tensor, last: bool = False) -> Any:
        """Codes [channel, stage, frame] -> what may leave of the samples that they complete."""
        computed = self._run(codes, self.block_frames, last)
        waveform = torch.zeros(self.channels, 0, device=self.device) if computed is None else computed[0]
        skip = min(self._skip, waveform.shape[-1])
        self._skip -= skip
        left = None if self.num_samples is None else max(0, self.num_samples - self._samples)
        waveform = waveform[:, skip:][:, :left]
        self._samples += waveform.shape[-1]
        return self._like_input(waveform)

    def _check_codes(self, codes: Tensor) -> None:
        stages, size = codes.shape[1], self.config.codebook_size
        least = self.stages or self.config.stage_choices[0]
        if not least <= stages <= self.config.num_stages:
            raise CorruptFile(f"{least} to {self.config.num_stages} stages can be decoded, not {stages}")
        if stages != (self._pushed_stages or stages):
            raise CorruptFile(f"codes of {stages} stages after codes of {self._pushed_stages}")
        self._pushed_stages = stages
        if not codes.numel():
            return
        low, high = int(codes.min()), int(codes.max())
        if high >= size or low < (ABSENT if self.config.kind.can_vary else 0):
            raise CorruptFile(f"codes from {low} to {high}, but the codebooks have {size} entries")
        if low == ABSENT and ((codes[:, :-1] == ABSENT) & (codes[:, 1:] != ABSENT)).any():
            raise CorruptFile("a frame has a code of a stage after an absent one")

    def _compute(self, codes: Tensor, stream: Stream) -> tuple[Tensor, ...]:
        waveform: Tensor = self.model.decoder(self._latents(codes), stream, self.texture)
        return (soft_limit(waveform.squeeze(1)),)

    def _latents(self, codes: Tensor) -> Tensor:
        absent = codes == ABSENT
        if not absent.any():
            return self.model.quantizer.decode(codes)
        return self.model.quantizer.decode_varying(codes.clamp_min(0), (~absent).sum(1), self.model.silence)


def soft_limit(waveform: Tensor) -> Tensor:
    """Keep samples within [-1, 1]: what is beyond `LIMITED_FROM` approaches 1 like a hyperbolic tangent; same shape.

    Without memory, so that neither blocks nor look-ahead matter.
    """
    room = 1 - LIMITED_FROM
    limited = LIMITED_FROM + room * torch.tanh((waveform.abs() - LIMITED_FROM) / room)
    return torch.where(waveform.abs() > LIMITED_FROM, limited * waveform.sign(), waveform)


def _in_range(name: str, value: int, high: int | None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (high is not None and value > high):
        raise ConfigError(f"{name} must be a whole number from 1{f' to {high}' if high else ''}, not {value!r}")
    return value


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{name} must be a number from 0 to 1, not {value!r}")
    return float(value)
