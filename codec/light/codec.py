"""`Codec` without torch."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcodec.models import registry, tensor_file
from vqcodec.models.config import DEFAULT_EFFORT, ModelConfig
from vqcodec.models.context.store import book_name

from ..coding.engine import BLOCK_FRAMES
from ..coding.sounds import SoundCoding
from ..errors import CorruptFile
from ..payloads.context import ContextCoder
from ..rates.plan import Rate, plan_of
from .layout import CODES, DECODER, ENCODER
from .networks import Network
from .streams import LightCandidates, LightDecoder, LightEncoder


class LightEngine:
    """The networks of an exported model, each loaded when it is first needed; see `Engine`.

    Args:
        folder: that `vqcodec export --onnx` wrote.
        config: of the model.
        threads: to compute on.

    Raises:
        CorruptFile: the codebooks cannot be read, or are not those of the configuration.
    """

    def __init__(self, folder: Path, config: ModelConfig, threads: int) -> None:
        self.config = config
        self._books, self._silence = _codebooks(folder / CODES, self.config)
        self._folder, self._threads = folder, threads

    @functools.cached_property
    def _encoder(self) -> Network:
        return Network(self._folder / ENCODER, self._threads)

    @functools.cached_property
    def _decoder(self) -> Network:
        return Network(self._folder / DECODER, self._threads)

    def encoder(self, channels: int, stages: int, effort: int, block_frames: int = BLOCK_FRAMES) -> LightEncoder:
        """Begin a stream to codes."""
        books = self._books[:stages]
        return LightEncoder(self._encoder, self.config, books, self._silence, channels, effort, block_frames)

    def candidates(self, channels: int, stages: int, effort: int) -> LightCandidates:
        """Begin a stream to the codes and errors of every number of stages."""
        books = self._books[:stages]
        return LightCandidates(self._encoder, self.config, books, self._silence, channels, effort, BLOCK_FRAMES)

    def decoder(self, channels: int, stages: int | None, block_frames: int, texture: float) -> LightDecoder:
        """Begin a stream to waveforms."""
        return LightDecoder(self._decoder, self.config, channels, stages, block_frames, texture)


class Codec(SoundCoding):
    """Speech -> codes or a `.vq` file, and back, on onnxruntime; waveforms and codes are numpy arrays.

    Args:
        folder: that `vqcodec export --onnx` wrote.
        threads: to compute on.

    Raises:
        CorruptFile: the folder does not hold a whole model.
        ConfigError: the model has settings unknown to this version.
    """

    def __init__(self, folder: str | os.PathLike[str], threads: int = 1) -> None:
        self._folder = Path(folder)
        info = registry.describe(self._folder / CODES)
        self.fingerprint, self.decodes = info.fingerprint, info.decodes
        self.engine: LightEngine = LightEngine(self._folder, info.config, threads)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], threads: int = 1) -> Codec:
        """Load an exported model; arguments and errors as those of the class."""
        return cls(folder, threads)

    @functools.cached_property
    def context(self) -> ContextCoder | None:  # type: ignore[override]
        """The model's context model; None if it has none."""
        return ContextCoder.load(self._folder / CODES)

    def encoder(
        self,
        channels: int = 1,
        *,
        bitrate_bps: float | None = None,
        stages: int | None = None,
        effort: int = DEFAULT_EFFORT,
        block_frames: int = BLOCK_FRAMES,
    ) -> LightEncoder:
        """A stream from waveforms [channel, sample] at the codec's rate to codes [channel, stage, frame].

        Raises:
            ConfigError: a setting is out of range, or both bitrate and stages are given.
        """
        plan = plan_of(self.config, None, None, Rate(bitrate_bps, stages), varies=False)
        return self.engine.encoder(channels, plan.stages, effort, block_frames)

    def decoder(
        self,
        channels: int = 1,
        *,
        stages: int | None = None,
        block_frames: int = BLOCK_FRAMES,
        num_samples: int | None = None,
        texture: float = 1.0,
    ) -> LightDecoder:
        """A stream from codes to waveforms [channel, sample] at the codec's rate.

        Raises:
            ConfigError: a setting is out of range.
        """
        stream = self.engine.decoder(channels, stages, block_frames, texture)
        stream.num_samples = num_samples
        return stream


def _codebooks(path: Path, config: ModelConfig) -> tuple[Sequence[NDArray[np.float32]], NDArray[np.float32]]:
    """Codebooks [code, dim] of all stages, and the latent of a frame without codes [dim]."""
    with tensor_file.opened(path, "an exported model") as file:
        tensor_file.check_whole(path, file.metadata(), registry.METADATA)
        names = [book_name(stage) for stage in range(config.num_stages)]
        if missing := set(names) - set(file.keys()):
            raise CorruptFile(f"{path}: the tensor {min(missing)} is missing")
        books = [file.get_tensor(name).astype(np.float32) for name in names]
        silence = np.zeros(config.latent_dim, np.float32)  # of models that are older than frames without codes
        if registry.SILENCE in file.keys():  # noqa: SIM118
            silence = file.get_tensor(registry.SILENCE).astype(np.float32)
    shape = (config.codebook_size, config.latent_dim)
    if any(book.shape != shape for book in books) or silence.shape != shape[1:]:
        raise CorruptFile(f"{path}: the codebooks are not of the shape {list(shape)}")
    return books, silence
