"""Running signals on graphs: as `StreamEncoder`, `CandidateEncoder` and `StreamDecoder`, with numpy arrays alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vqcodec.models.config import MAX_EFFORT, ModelConfig

from ..errors import AudioError, ConfigError, CorruptFile
from ..payloads.plain import ABSENT
from ..rates.candidates import Candidates
from .networks import Network
from .search import endings

Waveform: TypeAlias = NDArray[np.float32]
Codes: TypeAlias = NDArray[np.int64]


class _Blocks:
    """Input that waits until it fills a block, and the state of every channel."""

    def __init__(self, network: Network, config: ModelConfig, channels: int, block_frames: int) -> None:
        self.config, self.channels, self.block_frames = config, channels, block_frames
        self._network = network
        self._states = [dict(network.first) for _ in range(channels)]
        self._waiting: NDArray[Any] | None = None

    def _blocks(self, x: NDArray[Any], size: int, last: bool = False) -> list[NDArray[Any]]:
        """The blocks that x [channel, ..., time] completes, of `size` each; the `last` one may be short."""
        if x.shape[0] != self.channels:
            raise AudioError(f"{self.channels} channels are expected, not {x.shape[0]}")
        if self._waiting is not None:
            x = np.concatenate([self._waiting, x], axis=-1)
        ready = x.shape[-1] if last else x.shape[-1] // size * size
        self._waiting = x[..., ready:].copy()
        return [x[..., begin : begin + size] for begin in range(0, ready, size)]


class LightCandidates(_Blocks):
    """Waveform -> `Candidates`, block by block.

    Args:
        network: the encoder.
        config: of the model.
        books: a codebook [code, dim] for each stage to use.
        silence: latent of a frame without codes [dim].
        channels: coded one by one.
        effort: width of the search for codes.
        block_frames: frames computed at once.

    Raises:
        ConfigError: the effort is out of range.
    """

    def __init__(
        self,
        network: Network,
        config: ModelConfig,
        books: Sequence[NDArray[np.float32]],
        silence: NDArray[np.float32],
        channels: int,
        effort: int,
        block_frames: int,
    ) -> None:
        super().__init__(network, config, channels, block_frames)
        if not isinstance(effort, int) or not 1 <= effort <= MAX_EFFORT:
            raise ConfigError(f"effort must be a whole number from 1 to {MAX_EFFORT}, not {effort!r}")
        self._books, self._silence, self._effort = books, silence, effort
        self._samples = 0

    def push(self, waveform: Waveform) -> Any:
        """Take any number of samples [channel, sample] at the codec's rate; values beyond [-1, 1] are clipped.

        Raises:
            AudioError: a sample is NaN or infinite, or the channels are not those of the stream.
        """
        finite = np.isfinite(waveform).all(0)
        if not finite.all():
            first = self._samples + int(np.argmin(finite))
            raise AudioError(f"sample {first} ({first / self.config.sample_rate:.6f} s) is NaN or infinite")
        self._samples += waveform.shape[-1]
        return self._encode(np.clip(waveform, -1, 1).astype(np.float32))

    def flush(self) -> Any:
        """Return the rest, as of zeros after the end."""
        frames = self.config.num_frames(self._samples) if self._samples else 0
        zeros = frames * self.config.hop_length - self._samples if frames else 0
        return self._encode(np.zeros((self.channels, zeros), np.float32), last=True)

    def _encode(self, x: Waveform, last: bool = False) -> Any:
        hop, stages = self.config.hop_length, len(self._books)
        nothing = Candidates(
            np.zeros((self.channels, stages + 1, stages, 0), np.uint16),
            np.zeros((self.channels, stages + 1, 0), np.float32),
        )
        blocks = self._blocks(x, self.block_frames * hop, last)
        return self._result(Candidates.joined([nothing, *(self._block(block) for block in blocks)]))

    def _block(self, x: Waveform) -> Candidates:
        parts = [self._channel(row, states) for row, states in zip(x, self._states, strict=True)]
        codes, errors = (np.stack(part) for part in zip(*parts, strict=True))
        return Candidates(codes, errors)

    def _channel(self, x: Waveform, states: dict[str, NDArray[Any]]) -> tuple[NDArray[np.uint16], Waveform]:
        """[sample] -> codes [ending, stage, frame] and weighed errors [ending, frame]."""
        found = self._network.run(states, waveform=x[None, None])
        latents = np.ascontiguousarray(found["latents"][0].T)
        codes, errors = endings(latents, self._books, self._silence, self._effort)
        return codes.transpose(1, 2, 0).astype(np.uint16), (errors * found["weights"][0][:, None]).T

    def _result(self, candidates: Candidates) -> Any:
        return candidates


class LightEncoder(LightCandidates):
    """Waveform -> codes [channel, stage, frame] of all stages in use."""

    def _result(self, candidates: Candidates) -> Codes:
        return candidates.codes[:, -1].astype(np.int64)


class LightDecoder(_Blocks):
    """Codes -> waveform, block by block; the delay of encoder and decoder is dropped at the start.

    Args:
        network: the decoder.
        config: of the model.
        channels: decoded one by one.
        stages: use only that many of the stages pushed; all of them if None.
        block_frames: frames computed at once.
        texture: share of the noise that a model which samples draws with, 0 to 1.
        num_samples: the length at the codec's rate, if it is known; it may be set later, before the last frame.

    Raises:
        ConfigError: the texture is out of range.
    """

    def __init__(
        self,
        network: Network,
        config: ModelConfig,
        channels: int,
        stages: int | None,
        block_frames: int,
        texture: float,
        num_samples: int | None = None,
    ) -> None:
        super().__init__(network, config, channels, block_frames)
        if not 0 <= texture <= 1:
            raise ConfigError(f"texture must be a number from 0 to 1, not {texture!r}")
        self.num_samples = num_samples
        self._stages, self._texture = stages, np.array(texture, np.float32)
        self._skip = config.delay
        self._samples = 0

    def push(self, codes: NDArray[Any]) -> Waveform:
        """Take codes [channel, stage, frame], -1 where a frame has fewer, and return samples [channel, sample].

        Raises:
            CorruptFile: a code that the model does not have, or one behind an absent one.
        """
        codes = codes[:, : self._stages].astype(np.int64)
        self._check(codes)
        missing = self.config.num_stages - codes.shape[1]
        return self._decode(np.pad(codes, ((0, 0), (0, missing), (0, 0)), constant_values=ABSENT))

    def flush(self) -> Waveform:
        """Return the rest, up to `num_samples` in all."""
        return self._decode(np.zeros((self.channels, self.config.num_stages, 0), np.int64), last=True)

    def _decode(self, codes: Codes, last: bool = False) -> Waveform:
        parts = [np.zeros((self.channels, 0), np.float32)]
        parts += [self._block(block) for block in self._blocks(codes, self.block_frames, last)]
        waveform = np.concatenate(parts, axis=-1)
        skip = min(self._skip, waveform.shape[-1])
        self._skip -= skip
        left = None if self.num_samples is None else max(0, self.num_samples - self._samples)
        waveform = waveform[:, skip:][:, :left]
        self._samples += waveform.shape[-1]
        return waveform

    def _block(self, codes: Codes) -> Waveform:
        rows = zip(codes, self._states, strict=True)
        found = [self._network.run(states, codes=row[None], texture=self._texture) for row, states in rows]
        return np.concatenate([part["waveform"][0] for part in found])

    def _check(self, codes: Codes) -> None:
        stages, size = codes.shape[1], self.config.codebook_size
        if not 1 <= stages <= self.config.num_stages:
            raise CorruptFile(f"1 to {self.config.num_stages} stages can be decoded, not {stages}")
        if codes.size and not ABSENT <= codes.min() <= codes.max() < size:
            raise CorruptFile(f"codes from {codes.min()} to {codes.max()}, but the codebooks have {size} entries")
        if ((codes[:, :-1] == ABSENT) & (codes[:, 1:] != ABSENT)).any():
            raise CorruptFile("a frame has a code of a stage after an absent one")
