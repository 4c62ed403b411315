"""vqcodec itself, by the way that its users go: sound file, `.vq` file, sound file."""

from __future__ import annotations

import functools
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vqcodec import audio
from vqcodec.models import registry
from vqcodec.models.config import DEFAULT_EFFORT

from . import rates
from .base import Coded, System
from .signals import Signal, checked, fitted, read

if TYPE_CHECKING:
    from vqcodec.codec import Codec


@dataclass(frozen=True, kw_only=True)
class Vqcodec(System):
    """One model of vqcodec at one number of stages, on the CPU.

    Counts the bytes of the `.vq` file, header and all. Times are those of one thread if torch is set to one.

    Args:
        stages: codes per frame.
        effort: how widely to search for the codes, as in `Codec.encode`.
        model: a name in `vqcodec.models.registry.names()`, or the path of a `.safetensors` file.

    Raises:
        ConfigError: the model cannot be used with this many stages, or has no codes.
        ModelMismatch, CorruptFile: as `Codec.load`.
    """

    stages: int
    effort: int = DEFAULT_EFFORT
    model: str = registry.DEFAULT

    def __post_init__(self) -> None:
        _info(self.model).config.check_stages(self.stages)

    @property
    def rate_kbps(self) -> float:
        """Bitrate of the codes alone."""
        return _info(self.model).config.bitrate_of(self.stages) / 1000

    @property
    def name(self) -> str:
        """As in `System`; models other than the default one are named by their file."""
        path = _info(self.model).path
        default = registry.DEFAULT in registry.names() and path == registry.find(registry.DEFAULT)
        model = "" if default else "_" + re.sub(r"[^\w.]+", "_", path.stem)
        effort = "" if self.effort == DEFAULT_EFFORT else f"-effort{self.effort}"
        return f"vqcodec{model}-{self.rate_kbps:g}{effort}"

    @property
    def codec(self) -> str:
        effort = "" if self.effort == DEFAULT_EFFORT else f", effort {self.effort}"
        return f"vqcodec {_info(self.model).name}{effort}"

    @property
    def setting(self) -> str:
        return rates.text(self.rate_kbps)

    @property
    def version(self) -> str:
        info = _info(self.model)
        return f"{info.name} {info.fingerprint[:12]}"

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        from vqcodec.codec import Encoded

        codec = _codec(self.model)
        sound, coded, decoded = folder / "in.wav", folder / "coded.vq", folder / "out.wav"
        audio.write(sound, checked(waveform)[None], sample_rate, subtype="FLOAT")
        start = time.process_time()
        codec.encode_file(sound, coded, stages=self.stages, effort=self.effort)
        middle = time.process_time()
        codec.decode_file(coded, decoded, sample_rate="source")
        end = time.process_time()
        codes = Encoded.from_bytes(coded.read_bytes()).codes[0]  # [stage, frame]
        return Coded(
            waveform=fitted(read(decoded), 0, sample_rate, sample_rate, len(waveform)),
            bytes=coded.stat().st_size,
            encode_s=middle - start,
            decode_s=end - middle,
            codes=np.asarray(codes),
        )


@functools.cache
def _info(model: str) -> registry.ModelInfo:
    return registry.describe(registry.find(model))


@functools.cache
def _codec(model: str) -> Codec:
    from vqcodec.codec import Codec

    return Codec.load(model, device="cpu")
