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
from vqcodec.errors import ConfigError
from vqcodec.models import registry
from vqcodec.models.config import DEFAULT_EFFORT
from vqcodec.rates.plan import Rate, plan_of
from vqcodec.rates.target import Packing

from . import rates
from .base import Coded, System
from .signals import Signal, checked, fitted, read

if TYPE_CHECKING:
    from vqcodec.codec import Codec


@dataclass(frozen=True, kw_only=True)
class Vqcodec(System):
    """One model of vqcodec at one bitrate, on the CPU: constant, or variable.

    Counts the bytes of the `.vq` file, header and all. Times are those of one thread if torch is set to one.

    Args:
        stages: codes per frame, at a constant bitrate.
        kbps: instead of that, the mean bitrate of the whole file, in kbit/s; it varies from frame to frame.
        packing: "plain" or "context", as in `vqcodec.Rate`; the usual one for the model if None.
        effort: how widely to search for the codes, as in `Codec.encode`.
        model: a name in `vqcodec.models.registry.names()`, or the path of a `.safetensors` file.

    Raises:
        ConfigError: the model cannot be used at such a bitrate, or has no codes.
        ModelMismatch, CorruptFile: as `Codec.load`.
    """

    stages: int | None = None
    kbps: float | None = None
    packing: Packing | None = None
    effort: int = DEFAULT_EFFORT
    model: str = registry.DEFAULT

    def __post_init__(self) -> None:
        plan_of(info_of(self.model).config, None, None, self._rate, varies=True)

    @property
    def rate_kbps(self) -> float:
        """Nominal bitrate: of the codes alone if it is constant, else of the whole file."""
        if self.stages is None:
            assert self.kbps is not None
            return self.kbps
        return info_of(self.model).config.bitrate_of(self.stages) / 1000

    @property
    def name(self) -> str:
        """As in `System`; models other than the default one are named by their file."""
        return "-".join(
            [f"vqcodec{label_of(self.model)}", f"{self.rate_kbps:g}", *(word.replace(" ", "") for word in self._manner)]
        )

    @property
    def codec(self) -> str:
        return ", ".join([f"vqcodec {info_of(self.model).name}", *self._manner])

    @property
    def _manner(self) -> list[str]:
        """What is not as usual for a constant bitrate, in words."""
        words = [] if self.kbps is None else ["variable"]
        words += [] if self.packing is None else [self.packing]
        return words + ([] if self.effort == DEFAULT_EFFORT else [f"effort {self.effort}"])

    @property
    def _rate(self) -> Rate:
        if (self.stages is None) == (self.kbps is None):
            raise ConfigError("choose either stages or a bitrate in kbit/s")
        if self.kbps is None:
            return Rate(stages=self.stages, packing=self.packing)
        return Rate(bitrate_bps=1000 * self.kbps, mode="variable", packing=self.packing)

    @property
    def setting(self) -> str:
        return rates.text(self.rate_kbps)

    @property
    def version(self) -> str:
        info = info_of(self.model)
        return f"{info.name} {info.fingerprint[:12]}"

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        from vqcodec.codec import Encoded

        codec = codec_of(self.model)
        sound, coded, decoded = folder / "in.wav", folder / "coded.vq", folder / "out.wav"
        audio.write(sound, checked(waveform)[None], sample_rate, subtype="FLOAT")
        start = time.process_time()
        codec.encode_file(sound, coded, rate=self._rate, effort=self.effort)
        middle = time.process_time()
        codec.decode_file(coded, decoded, sample_rate="source")
        end = time.process_time()
        codes = Encoded.from_bytes(coded.read_bytes(), coder=codec.context).codes[0]  # [stage, frame]
        return Coded(
            waveform=fitted(read(decoded), 0, sample_rate, sample_rate, len(waveform)),
            bytes=coded.stat().st_size,
            encode_s=middle - start,
            decode_s=end - middle,
            codes=np.asarray(codes),
        )


@functools.cache
def info_of(model: str) -> registry.ModelInfo:
    """Describe a model, by its name or path."""
    return registry.describe(registry.find(model))


@functools.cache
def codec_of(model: str) -> Codec:
    """Load a model, once in a process."""
    from vqcodec.codec import Codec

    return Codec.load(model, device="cpu")


def label_of(model: str) -> str:
    """What a model adds to the name of a system: nothing if it is the default one, else its file's name."""
    path = info_of(model).path
    default = registry.DEFAULT in registry.names() and path == registry.find(registry.DEFAULT)
    return "" if default else "_" + re.sub(r"[^\w.]+", "_", path.stem)
