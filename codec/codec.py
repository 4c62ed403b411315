"""`class Codec`: the public face. It composes a model that torch computes, the coding of sounds, and streams."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TypeAlias

from vqcodec.models import checkpoint, registry
from vqcodec.models import precision as arithmetic
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT
from vqcodec.models.context import int8

from . import checks
from .coding.engine import BLOCK_FRAMES
from .coding.sounds import SoundCoding
from .coding.torch_engine import TorchEngine
from .encoded import Encoded
from .payloads.context import ContextCoder
from .pipeline import FileResult
from .rates.encoders import VaryingEncoder
from .rates.plan import DEFAULT_BITRATE_BPS, Rate, plan_of
from .stream import StreamDecoder, StreamEncoder
from .tokens.batches import BatchCoding

__all__ = ["DEFAULT_BITRATE_BPS", "Codec", "Encoded", "FileResult", "Rate"]

PathLike: TypeAlias = str | os.PathLike[str]


class Codec(SoundCoding, BatchCoding):
    """Speech -> codes or a `.vq` file, and back, with one model.

    It computes on as many threads as torch is set to, and leaves that setting alone: by default one for each core,
    which is slower than a single one where other programs compute as well (`torch.set_num_threads(1)`). A process
    forked from one that has computed on several threads hangs in its first computation, as always with torch: start
    processes through `multiprocessing.get_context("spawn")`.

    Args:
        model: in evaluation mode, on the device to compute on. `Codec.load` is the usual way to get a codec.
        fingerprint: `checkpoint.fingerprint_of(model)`, if it is known.
        decodes: fingerprints of earlier models whose files this one decodes as well.
        path: of the model file, which may hold a context model.
        precision: of the model's products, "float32" or "bfloat16"; for display.
    """

    def __init__(
        self,
        model: Autoencoder,
        fingerprint: str | None = None,
        decodes: Sequence[str] = (),
        path: PathLike | None = None,
        precision: str = "float32",
    ) -> None:
        self.model = model
        self.engine = TorchEngine(model)
        self.fingerprint = fingerprint or checkpoint.fingerprint_of(model)
        """SHA-256 of what decoding depends on, as 64 hexadecimal digits; a `.vq` file holds the first 16."""
        self.decodes = tuple(decodes)
        """Fingerprints of earlier models whose files this one decodes as well."""
        self.precision = precision
        """What products with weights are computed in, "float32" or "bfloat16"."""
        self._path = path

    @classmethod
    def load(cls, name_or_path: PathLike = registry.DEFAULT, device: str = "auto", precision: str = "auto") -> Codec:
        """Load a model that ships, or one from a file.

        Args:
            name_or_path: a name in `vqcodec.models.registry.names()`, or the path of a `.safetensors` file.
            device: "cpu", "cuda", "cuda:1", ...; "auto" takes a GPU if there is one.
            precision: "float32"; "bfloat16", whose model is for coding only and cannot be saved; or "auto", which takes
                bfloat16 on processors that compute in it faster. Any of them decodes the files of any other, with
                differences some 42 dB below the sound; a code differs here and there.

        Raises:
            ModelMismatch: there is no such model.
            CorruptFile: the file is damaged, or does not hold a model.
            ConfigError: the device is unknown or absent, there is no such precision, or the model has settings unknown
                to this version.
        """
        place = checks.checked_device(device)
        chosen = arithmetic.chosen(precision, place)
        path = registry.find(name_or_path)
        info = registry.describe(path)
        model = checkpoint.load(path, place)
        if chosen == "bfloat16":
            arithmetic.reduce(model)
        return cls(model, info.fingerprint, info.decodes, path, chosen)

    @functools.cached_property
    def context(self) -> ContextCoder | None:  # type: ignore[override]
        """The model's context model, which makes the codes smaller; None if it has none."""
        return None if self._path is None else ContextCoder.load(self._path, int8.multiplier())

    def encoder(
        self,
        channels: int = 1,
        *,
        bitrate_bps: float | None = None,
        stages: int | None = None,
        quality: float | None = None,
        effort: int = DEFAULT_EFFORT,
        block_frames: int = BLOCK_FRAMES,
    ) -> StreamEncoder:
        """A stream from waveforms [channel, sample] at the codec's rate to codes; see `StreamEncoder`.

        With a quality from 0 to 10 the number of stages varies from frame to frame, and -1 stands for codes that are
        not sent.

        Raises:
            ConfigError: a setting is out of range, or two of bitrate, stages and quality are given.
        """
        plan = plan_of(self.config, None, None, Rate(bitrate_bps, stages, quality), varies=False)
        chosen = plan.stages
        if plan.target is not None:
            assert plan.target.price is not None
            settings = {"stages": chosen, "effort": effort, "block_frames": block_frames}
            return VaryingEncoder(self.model, channels, price=plan.target.price, **settings)
        return StreamEncoder(self.model, channels, stages=chosen, effort=effort, block_frames=block_frames)

    def decoder(
        self,
        channels: int = 1,
        *,
        stages: int | None = None,
        block_frames: int = BLOCK_FRAMES,
        num_samples: int | None = None,
        texture: float = 1.0,
    ) -> StreamDecoder:
        """A stream from codes to waveforms [channel, sample] at the codec's rate; see `StreamDecoder`.

        Raises:
            ConfigError: a setting is out of range.
        """
        return StreamDecoder(
            self.model, channels, stages=stages, block_frames=block_frames, num_samples=num_samples, texture=texture
        )

    def _where(self) -> str:
        return f", on {self.device}"
