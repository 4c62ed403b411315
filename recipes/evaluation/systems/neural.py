"""EnCodec, DAC and Mimi by the package transformers, with weights that lie in a folder of this machine.

The folders are those that `save_pretrained` writes: config.json and safetensors. Nothing is fetched from anywhere.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vqcodec.errors import ConfigError

from . import rates
from .base import Coded, System, Unavailable
from .signals import Signal, fitted, resample

_TOLERANCE = 0.01  # of a bitrate, which is rarely a round number
_SCALE_BITS = 32  # of the loudness that EnCodec sends with each chunk where its configuration says "normalize"


@dataclass(frozen=True)
class Neural(System, ABC):
    """A neural codec at one bitrate, on the CPU. Times are those of one thread if torch is set to one.

    Counts codes x log2(codebook size) bits, rounded up to bytes: there is no header and no container.

    Args:
        folder: with the weights.
        rate_kbps: to within 1 % of a bitrate that the model has.

    Raises:
        Unavailable: transformers is not installed, or the folder holds no such model.
        ConfigError: the model has no such bitrate.
    """

    folder: Path
    rate_kbps: float

    codec: ClassVar[str]
    family: ClassVar[str]
    """Type of the model in transformers."""

    def __post_init__(self) -> None:
        possible = self._possible
        if not abs(possible[self._index] - self.rate_kbps) <= _TOLERANCE * possible[self._index]:
            choice = ", ".join(f"{rate:.3g}" for rate in possible)
            wanted = rates.text(self.rate_kbps)
            raise ConfigError(f"{self.codec} in {self.folder} has no bitrate of {wanted}; choose from {choice}")

    @classmethod
    def possible_kbps(cls, folder: Path) -> tuple[float, ...]:
        """The bitrates of the model in a folder, lowest first.

        Raises:
            Unavailable: as the class.
        """
        return cls._rates(_config(cls.family, folder))

    @classmethod
    @abstractmethod
    def default_kbps(cls, folder: Path) -> tuple[float, ...]:
        """The bitrates to compare where none are named.

        Raises:
            Unavailable: as the class.
        """

    @property
    def name(self) -> str:
        """As in `System`; the folder's name is part of it."""
        folder = re.sub(r"[^\w.]+", "_", self.folder.resolve().name)
        start = folder if folder.startswith(self.family) else f"{self.family}_{folder}"
        return f"{start}-{self._exact_kbps:.3g}"

    @property
    def setting(self) -> str:
        return f"{self._exact_kbps:.3g} kbit/s"

    @property
    def version(self) -> str:
        """As in `System`: the rate in the configuration, and the first 12 digits of the weights' SHA-256."""
        rate = _config(self.family, self.folder).sampling_rate
        library = _transformers(self.codec).__version__
        return f"{self.family} {rate} Hz {_fingerprint(self.folder)[:12]} (transformers {library})"

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        """As `System.run`. No files are used."""
        import torch

        model = _model(self.family, self.folder)
        rate = int(model.config.sampling_rate)
        signal = resample(waveform, sample_rate, rate)
        channels = getattr(model.config, "audio_channels", 1)
        batch = torch.from_numpy(signal).expand(1, channels, -1)
        with torch.inference_mode():
            start = time.process_time()
            codes, bits = self._encode(model, batch)
            middle = time.process_time()
            decoded = self._decode(model, codes)
            end = time.process_time()
        mono = decoded.reshape(channels, -1).mean(dim=0).numpy().astype(np.float32)
        return Coded(
            waveform=fitted(mono, 0, rate, sample_rate, len(waveform)),
            bytes=math.ceil(bits / 8),
            encode_s=middle - start,
            decode_s=end - middle,
        )

    @property
    def _possible(self) -> tuple[float, ...]:
        return self.possible_kbps(self.folder)

    @property
    def _index(self) -> int:
        """Which of the possible bitrates is meant."""
        return int(np.argmin(np.abs(np.subtract(self._possible, self.rate_kbps))))

    @property
    def _exact_kbps(self) -> float:
        return self._possible[self._index]

    @staticmethod
    @abstractmethod
    def _rates(config: Any) -> tuple[float, ...]:
        """All bitrates, lowest first."""

    @abstractmethod
    def _encode(self, model: Any, batch: Any) -> tuple[Any, float]:
        """[1, channel, sample] -> what `_decode` takes, and the bits that this is."""

    @abstractmethod
    def _decode(self, model: Any, codes: Any) -> Any:
        """The inverse: [1, channel, sample], or [1, sample] of a model with one channel."""


class Encodec(Neural):
    """EnCodec: Défossez et al. 2022, "High Fidelity Neural Audio Compression"."""

    codec = "EnCodec"
    family = "encodec"

    @classmethod
    def default_kbps(cls, folder: Path) -> tuple[float, ...]:
        """As in `Neural`: those of 12 kbit/s and less."""
        possible = cls.possible_kbps(folder)
        return tuple(rate for rate in possible if rate <= 12) or possible[:1]

    @staticmethod
    def _rates(config: Any) -> tuple[float, ...]:
        return tuple(sorted(float(rate) for rate in config.target_bandwidths))

    def _encode(self, model: Any, batch: Any) -> tuple[Any, float]:
        coded = model.encode(batch, bandwidth=self._exact_kbps)
        chunks, _, quantizers, frames = coded.audio_codes.shape  # the last chunk is filled up to the others' length
        codes = quantizers * (chunks * frames - coded.last_frame_pad_length)
        scales = sum(scale is not None for scale in coded.audio_scales)
        return coded, codes * math.log2(model.config.codebook_size) + scales * _SCALE_BITS

    def _decode(self, model: Any, codes: Any) -> Any:
        padding = codes.last_frame_pad_length
        return model.decode(codes.audio_codes, codes.audio_scales, last_frame_pad_length=padding).audio_values


class _Residual(Neural):
    """A codec whose bitrate is its number of quantizers, as many as are wanted."""

    @classmethod
    def default_kbps(cls, folder: Path) -> tuple[float, ...]:
        """As in `Neural`: a quarter, half and all of the quantizers."""
        possible = cls.possible_kbps(folder)
        counts = sorted({max(1, len(possible) // share) for share in (4, 2, 1)})
        return tuple(possible[count - 1] for count in counts)

    def _decode(self, model: Any, codes: Any) -> Any:
        return model.decode(audio_codes=codes).audio_values


class Dac(_Residual):
    """DAC: Kumar et al. 2023, "High-Fidelity Audio Compression with Improved RVQGAN"."""

    codec = "DAC"
    family = "dac"

    @staticmethod
    def _rates(config: Any) -> tuple[float, ...]:
        frame_rate = config.sampling_rate / config.hop_length
        return _rates_of(config.codebook_size, frame_rate, range(1, config.n_codebooks + 1))

    def _encode(self, model: Any, batch: Any) -> tuple[Any, float]:
        import torch

        whole_frames = torch.nn.functional.pad(batch, (0, -batch.shape[-1] % model.config.hop_length))
        codes = model.encode(whole_frames, n_quantizers=self._index + 1).audio_codes  # [1, stage, frame]
        return codes, codes.numel() * math.log2(model.config.codebook_size)


class Mimi(_Residual):
    """Mimi: Défossez et al. 2024, "Moshi: a speech-text foundation model for real-time dialogue"."""

    codec = "Mimi"
    family = "mimi"

    @staticmethod
    def _rates(config: Any) -> tuple[float, ...]:
        counts = range(config.num_semantic_quantizers, config.num_quantizers + 1)
        return _rates_of(config.codebook_size, config.frame_rate, counts)

    def _encode(self, model: Any, batch: Any) -> tuple[Any, float]:
        quantizers = self._index + model.config.num_semantic_quantizers
        codes = model.encode(batch, num_quantizers=quantizers).audio_codes  # [1, stage, frame]
        return codes, codes.numel() * math.log2(model.config.codebook_size)


FAMILIES: dict[str, type[Neural]] = {kind.family: kind for kind in (Encodec, Dac, Mimi)}


def systems(family: str, folder: Path, rates_kbps: Sequence[float] = ()) -> list[Neural]:
    """The model in a folder at some bitrates, by default at sensible ones; errors are those of `Neural`."""
    kind = FAMILIES[family]
    return [kind(folder, rate) for rate in rates_kbps or kind.default_kbps(folder)]


def _rates_of(codebook_size: int, frame_rate: float, counts: range) -> tuple[float, ...]:
    """Bitrates in kbit/s of these numbers of quantizers."""
    return tuple(count * math.log2(codebook_size) * frame_rate / 1000 for count in counts)


def _transformers(codec: str) -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError:
        raise Unavailable(f"{codec} needs the package transformers: pip install 'vqcodec[neural]'") from None


@functools.cache
def _config(family: str, folder: Path) -> Any:
    codec = FAMILIES[family].codec
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise Unavailable(f"{codec} needs a folder with its weights and a config.json; {path}: {error}") from None
    if found != family:
        raise Unavailable(f"{folder} holds a model of the type {found!r}, not {family!r}")
    transformers = _transformers(codec)
    try:
        return getattr(transformers, f"{family.capitalize()}Config").from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of many kinds, some of them known to no other package
        raise Unavailable(f"the configuration of {codec} in {folder} cannot be used: {_reason(error)}") from error


@functools.cache
def _model(family: str, folder: Path) -> Any:
    import torch

    codec = FAMILIES[family].codec
    transformers = _transformers(codec)
    _quiet(transformers)
    try:
        model, report = getattr(transformers, f"{family.capitalize()}Model").from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:
        raise Unavailable(f"the weights of {codec} in {folder} cannot be loaded: {_reason(error)}") from error
    if report["missing_keys"]:
        first = min(report["missing_keys"])
        raise Unavailable(f"the weights of {codec} in {folder} are incomplete: {first} is missing")
    return model.eval()


def _quiet(transformers: Any) -> None:
    """No progress bars and no warnings: what is wrong with weights becomes an error here."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


@functools.cache
def _fingerprint(folder: Path) -> str:
    """SHA-256 of the weights, all files in alphabetical order."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
