"""`class Codec`: the public face. It composes sound files, streams, packets and a model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.models import checkpoint, registry
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT, ModelConfig

from . import audio, bitstream, files
from .encoded import Encoded, Length, read_packets, write_packets
from .errors import AudioError, ConfigError, CorruptFile, ModelMismatch
from .stream import BLOCK_FRAMES, StreamDecoder, StreamEncoder

__all__ = ["DEFAULT_BITRATE_BPS", "Codec", "Encoded", "FileResult"]

DEFAULT_BITRATE_BPS = 3000
"""Bitrate of the codes, per channel, where none is asked for."""

MAX_CHANNELS = 255

_RATES = range(1, 1 << 24)  # in Hz, as far as a header goes
_READ_SAMPLES = 1 << 16
_FINGERPRINT_DIGITS = 2 * registry.SHORT_FINGERPRINT_BYTES

PathLike: TypeAlias = str | os.PathLike[str]
Progress: TypeAlias = Callable[[float], None]
"""Called now and then with the seconds of audio that are done."""


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """What `Codec.encode_file` or `Codec.decode_file` did."""

    num_samples: int
    """Samples per channel of the sound file read or written."""
    duration_s: float
    channels: int
    stages: int
    """Codes per frame and channel in the `.vq` file."""
    bytes_in: int
    """Size of the source; 0 if it is a sound from a pipe."""
    bytes_out: int
    """Size of the target; 0 if it is a sound to a pipe."""
    bitrate_bps: float
    """Bits of the whole `.vq` file per second of audio, all channels together; 0 without audio."""
    damage: str | None = None
    """Why a salvaged file is not complete."""


class Codec:
    """Speech -> codes or a `.vq` file, and back, with one model.

    Args:
        model: in evaluation mode, on the device to compute on. `Codec.load` is the usual way to one.
        fingerprint: `checkpoint.fingerprint_of(model)`, if it is known.
    """

    def __init__(self, model: Autoencoder, fingerprint: str | None = None, decodes: Sequence[str] = ()) -> None:
        self.model = model
        self.fingerprint = fingerprint or checkpoint.fingerprint_of(model)
        """SHA-256 of what decoding depends on, as 64 hexadecimal digits; a `.vq` file holds the first 16."""
        self.decodes = tuple(decodes)
        """Fingerprints of earlier models whose files this one decodes as well."""

    @classmethod
    def load(cls, name_or_path: PathLike = registry.DEFAULT, device: str = "auto") -> Codec:
        """Load a model that ships, or one from a file.

        Args:
            name_or_path: a name in `vqcodec.models.registry.names()`, or the path of a `.safetensors` file.
            device: "cpu", "cuda", "cuda:1", ...; "auto" takes a GPU if there is one.

        Raises:
            ModelMismatch: there is no such model.
            CorruptFile: the file is damaged, or no model.
            ConfigError: the device is unknown or absent, or the model has settings unknown to this version.
        """
        place = _device(device)
        path = registry.find(name_or_path)
        info = registry.describe(path)
        return cls(checkpoint.load(path, place), info.fingerprint, info.decodes)

    @property
    def config(self) -> ModelConfig:
        """The sizes of the model."""
        return self.model.config

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.config.name

    @property
    def sample_rate(self) -> int:
        """Samples a second that the model works at, in Hz."""
        return self.config.sample_rate

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.config.frame_rate

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.config.hop_length

    @property
    def num_stages(self) -> int:
        """Codes per frame at the highest bitrate (of no meaning for a model without codes)."""
        return self.config.num_stages

    @property
    def codebook_size(self) -> int:
        """Number of values that a code can take."""
        return self.config.codebook_size

    @property
    def bitrates(self) -> tuple[int, ...]:
        """Bits a second and channel of the codes with each possible number of stages, in ascending order."""
        return self.config.bitrates_bps

    @property
    def latency(self) -> float:
        """Algorithmic latency of a live stream (`block_frames` = 1) in seconds."""
        return self.config.latency_s

    def stages_for(self, bitrate_bps: float) -> int:
        """The number of stages whose bitrate is nearest.

        Raises:
            ConfigError: the bitrate is not a positive number, or the model has no codes.
        """
        return self.config.stages_for(bitrate_bps)

    def encode(
        self,
        audio: NDArray[Any] | Tensor | PathLike,
        sample_rate: int | None = None,
        *,
        bitrate_bps: float | None = None,
        stages: int | None = None,
        effort: int = DEFAULT_EFFORT,
    ) -> Encoded:
        """Encode a waveform or a sound file.

        Args:
            audio: floats [sample] or [channel, sample] in [-1, 1] (what lies beyond is clipped), numpy or torch; or
                the path of a file in any format, rate and number of channels ("-" is standard input).
            sample_rate: of the waveform in Hz, if it is not the codec's; it is resampled then.
            bitrate_bps: bits a second and channel; the nearest possible is used. 3000 by default.
            stages: codes per frame, instead of a bitrate.
            effort: 1 takes the nearest code at every stage; up to 16 searches wider and slower, for a better sound.
                With 1 alone the first stages are those that would be found without the others.

        Returns:
            The codes as a torch tensor on the waveform's device if a tensor was given, as a numpy array otherwise.

        Raises:
            AudioError: the sound is empty, holds NaN or infinity, has more than 255 channels or cannot be read.
            ConfigError: a setting is out of range, both bitrate and stages are given, or the model has no codes.
        """
        chosen = self._stages(bitrate_bps, stages)
        if isinstance(audio, str | os.PathLike):
            if sample_rate is not None:
                raise ConfigError("a sample rate goes with a waveform; a file has its own")
            with _open_sound(audio) as sound:
                return self._encode(sound.blocks(_READ_SAMPLES), sound.sample_rate, sound.channels, chosen, effort)
        waveform = _checked_waveform(audio)
        rate = self.sample_rate if sample_rate is None else _checked_rate(sample_rate)
        encoded = self._encode([waveform], rate, len(waveform), chosen, effort)
        return _with_tensor(encoded, audio.device) if isinstance(audio, Tensor) else encoded

    def decode(
        self,
        encoded: Encoded | bytes | PathLike | NDArray[Any] | Tensor,
        *,
        stages: int | None = None,
        sample_rate: int | Literal["source"] | None = None,
        texture: float = 1.0,
    ) -> Any:
        """Decode to a waveform.

        Args:
            encoded: what `encode` returned, a `.vq` file as bytes or by its path, or bare codes [channel, stage,
                frame].
            stages: use only the first so many of the stages there are.
            sample_rate: of the result in Hz, the codec's by default; "source" is that of the sound encoded.
            texture: share of the noise that a model which samples draws with, 0 to 1; see `StreamDecoder`.

        Returns:
            float32 [channel, sample] in about [-1, 1]: a torch tensor on the device of the codes if they are one, a
            numpy array otherwise. Of n samples at the source rate there are ceil(n * rate / source rate), so exactly n
            at the source rate itself. Of bare codes there is all that the frames hold.

        Raises:
            ModelMismatch: it was encoded with another model.
            CorruptFile: the file is damaged, or the codes cannot be this model's.
            NotVqcodecFile, UnsupportedVersion: it is no `.vq` file that this version reads.
            ConfigError: a setting is out of range.
        """
        name = "the encoded sound"
        if isinstance(encoded, bytes):
            encoded = Encoded.from_bytes(encoded, name)
        elif isinstance(encoded, str | os.PathLike):
            name = os.fspath(encoded)
            encoded = Encoded.load(name)
        if isinstance(encoded, Encoded):
            self._check_header(encoded.header, name)
            length = Length(encoded.num_samples, encoded.source_sample_rate)
            self._check_frames(encoded.codes.shape[-1], length, name)
            codes, source_rate = encoded.codes, encoded.source_sample_rate
        else:
            codes, source_rate = encoded, None
            if codes.ndim != 3 or len(codes) == 0:
                raise ConfigError(f"codes have the shape [channel, stage, frame], not {list(codes.shape)}")
            length = self._held(codes.shape[-1])
        rate = self._output_rate(sample_rate, source_rate)
        decoder = self.decoder(codes.shape[0], stages=_kept(stages, codes.shape[1]), texture=texture)
        plain = codes.cpu().numpy() if isinstance(codes, Tensor) else codes
        waveform = np.concatenate(list(self._decode([plain], decoder, lambda: length, rate)), axis=-1)
        return torch.from_numpy(waveform).to(codes.device) if isinstance(codes, Tensor) else waveform

    def encoder(
        self,
        channels: int = 1,
        *,
        bitrate_bps: float | None = None,
        stages: int | None = None,
        effort: int = DEFAULT_EFFORT,
        block_frames: int = BLOCK_FRAMES,
    ) -> StreamEncoder:
        """A stream from waveforms [channel, sample] at the codec's rate to codes; see `StreamEncoder`.

        Raises:
            ConfigError: a setting is out of range, or both bitrate and stages are given.
        """
        chosen = self._stages(bitrate_bps, stages)
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

    def encode_file(
        self,
        source: PathLike,
        target: PathLike,
        *,
        bitrate_bps: float | None = None,
        stages: int | None = None,
        effort: int = DEFAULT_EFFORT,
        force: bool = False,
        progress: Progress | None = None,
    ) -> FileResult:
        """Sound file -> `.vq` file, in bounded memory; either appears whole or not at all.

        Args:
            source: in any format that soundfile reads; "-" is standard input.
            target: "-" is standard output.
            bitrate_bps, stages, effort: as in `encode`.
            force: overwrite an existing file.
            progress: called with the seconds that are done.

        Raises:
            AudioError, ConfigError: as `encode`.
            VqcodecError: the target exists already or cannot be written.
        """
        encoder_stages = self._stages(bitrate_bps, stages)
        with _open_sound(source) as sound, files.open_output(target, force) as output:
            count = _Counter(sound.sample_rate, progress)
            encoder = StreamEncoder(self.model, sound.channels, stages=encoder_stages, effort=effort)
            header = self._header(None, sound.sample_rate, sound.channels, encoder_stages)
            writer = bitstream.Writer(output, header)
            blocks = count.all_of(sound.blocks(_READ_SAMPLES))
            write_packets(writer, self._codes(blocks, sound.sample_rate, encoder))
            _check_not_empty(count.samples, sound.name)
            writer.finish(count.samples)
        return FileResult(
            num_samples=count.samples,
            duration_s=count.seconds,
            channels=header.channels,
            stages=header.stages,
            bytes_in=_size(source),
            bytes_out=writer.bytes_written,
            bitrate_bps=writer.bytes_written * 8 / count.seconds,
        )

    def decode_file(
        self,
        source: PathLike,
        target: PathLike,
        *,
        rate: int | Literal["source"] | None = None,
        stages: int | None = None,
        texture: float = 1.0,
        salvage: bool = False,
        force: bool = False,
        format: str | None = None,
        progress: Progress | None = None,
    ) -> FileResult:
        """`.vq` file -> sound file, in bounded memory; either appears whole or not at all.

        Args:
            source: "-" is standard input.
            target: "-" is standard output.
            rate: of the sound in Hz, the codec's by default; "source" is that of the sound encoded.
            stages: use only the first so many of the stages there are.
            texture: share of the noise that a model which samples draws with, 0 to 1; see `StreamDecoder`.
            salvage: of a damaged file, decode the whole packets before the damage.
            force: overwrite an existing file.
            format: of the sound, by default that of the target's suffix; one of `vqcodec.audio.FORMATS`.
            progress: called with the seconds that are done.

        Raises:
            AudioError: the format cannot be written, or cannot hold such a sound.
            VqcodecError: as `decode`; the source cannot be read; the target exists already or cannot be written.
        """
        with files.open_input(source) as (file, name):
            reader = bitstream.Reader(file, name, salvage=salvage)
            header = reader.header
            self._check_header(header, name)
            output_rate = self._output_rate(rate, header.source_sample_rate)
            decoder = self.decoder(header.channels, stages=_kept(stages, header.stages), texture=texture)
            count = _Counter(output_rate, progress)
            parts = self._decode(self._parts(reader), decoder, lambda: self._length(reader), output_rate)
            with audio.Writer(target, output_rate, header.channels, format=format, force=force) as writer:
                for part in count.all_of(parts):
                    writer.write(part)
        return FileResult(
            num_samples=count.samples,
            duration_s=count.seconds,
            channels=header.channels,
            stages=header.stages,
            bytes_in=reader.offset,
            bytes_out=_size(target),
            bitrate_bps=reader.offset * 8 / count.seconds if count.samples else 0.0,
            damage=None if reader.damage is None else str(reader.damage),
        )

    def _encode(self, blocks: Iterable[NDArray[Any]], rate: int, channels: int, stages: int, effort: int) -> Encoded:
        _check_channels(channels)
        count = _Counter(rate)
        encoder = StreamEncoder(self.model, channels, stages=stages, effort=effort)
        codes = np.concatenate(list(self._codes(count.all_of(blocks), rate, encoder)), axis=-1)
        _check_not_empty(count.samples, "the waveform")
        return Encoded(
            codes=codes,
            num_samples=count.samples,
            source_sample_rate=rate,
            sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            bits_per_code=self.config.bits_per_code,
            fingerprint=self.fingerprint[:_FINGERPRINT_DIGITS],
            kind=self.config.bottleneck,
        )

    def _codes(self, blocks: Iterable[NDArray[Any]], rate: int, encoder: StreamEncoder) -> Iterator[NDArray[np.int64]]:
        """Waveforms [channel, sample] at `rate` -> codes [channel, stage, frame]."""
        resampler = audio.Resampler(rate, self.sample_rate, encoder.channels)
        for block in blocks:
            yield encoder.push(resampler.push(block))
        yield encoder.push(resampler.flush())
        yield encoder.flush()

    def _decode(
        self,
        parts: Iterable[NDArray[np.int64]],
        decoder: StreamDecoder,
        length: Callable[[], Length],
        rate: int,
    ) -> Iterator[NDArray[np.float32]]:
        """Codes [channel, stage, frame] -> waveforms [channel, sample] at `rate`, cut to the `length`.

        The length is asked for once all parts were taken. What exceeds it lies within the last frame, so a part is
        decoded only after another one was found to follow.
        """
        resampler = audio.Resampler(self.sample_rate, rate, decoder.channels)
        given, held = 0, None
        for part in _pieces(parts, decoder.block_frames):
            if held is not None:
                waveform = resampler.push(decoder.push(held))
                given += waveform.shape[-1]
                yield waveform
            held = part
        end = length()
        decoder.num_samples = end.at(self.sample_rate)
        rest = [] if held is None else [resampler.push(decoder.push(held))]
        rest += [resampler.push(decoder.flush()), resampler.flush()]
        yield np.concatenate(rest, axis=-1)[:, : end.at(rate) - given]

    def _parts(self, reader: bitstream.Reader) -> Iterator[NDArray[np.int64]]:
        """The codes of each packet, which must be this model's."""
        for codes in read_packets(reader):
            if codes.max() >= self.codebook_size:
                problem = f"code {codes.max()} before byte {reader.offset}"
                raise CorruptFile(f"{reader.name}: {problem}, but the codebooks have {self.codebook_size} entries")
            yield codes

    def _length(self, reader: bitstream.Reader) -> Length:
        """How long the sound of a file is that was read to its end, or to where it is damaged."""
        source_rate = reader.header.source_sample_rate
        if reader.damage is None:
            assert reader.num_samples is not None
            length = Length(reader.num_samples, source_rate)
            self._check_frames(reader.frames, length, reader.name)
            return length
        held = self._held(reader.frames)
        if held.num_samples == 0:
            raise CorruptFile(f"{reader.damage}; nothing can be saved")
        if reader.header.num_samples is None:
            return held
        whole = Length(reader.header.num_samples, source_rate)
        return whole if whole.at(self.sample_rate) <= held.num_samples else held

    def _held(self, frames: int) -> Length:
        """What so many frames hold whole."""
        return Length(max(0, frames * self.hop_length - self.config.delay), self.sample_rate)

    def _header(self, num_samples: int | None, rate: int, channels: int, stages: int) -> bitstream.Header:
        return bitstream.Header(
            fingerprint=bytes.fromhex(self.fingerprint[:_FINGERPRINT_DIGITS]),
            sample_rate=self.sample_rate,
            source_sample_rate=rate,
            channels=channels,
            num_samples=num_samples,
            hop_length=self.hop_length,
            stages=stages,
            bits_per_code=self.config.bits_per_code,
            kind=self.config.bottleneck,
        )

    def _check_header(self, header: bitstream.Header, name: str) -> None:
        """Refuse what another model encoded, or cannot have been encoded."""
        wanted = header.fingerprint
        if not any(bytes.fromhex(known).startswith(wanted) for known in (self.fingerprint, *self.decodes)):
            this = f"{self.name} ({self.fingerprint[:_FINGERPRINT_DIGITS]})"
            raise ModelMismatch(f"{name} was encoded with another model than {this}: {registry.whereabouts(wanted)}")
        c = self.config
        if header.kind != c.bottleneck:
            raise CorruptFile(f"{name}: codes of kind {header.kind}, but those of its model are of kind {c.bottleneck}")
        if header.stages not in c.stage_choices:
            raise CorruptFile(f"{name}: {header.stages} stages, but the model has {c.num_stages}")
        found = (header.sample_rate, header.hop_length, header.bits_per_code)
        if found != (c.sample_rate, c.hop_length, c.bits_per_code):
            raise CorruptFile(f"{name}: sample rate, hop length or bits per code {found} are not those of its model")

    def _check_frames(self, frames: int, length: Length, name: str) -> None:
        samples = length.at(self.sample_rate)
        expected = self.config.num_frames(samples)
        if frames != expected and (samples or frames):  # no samples may take no frames at all
            raise CorruptFile(f"{name}: {length.num_samples} samples take {expected} frames, but there are {frames}")

    def _stages(self, bitrate_bps: float | None, stages: int | None) -> int:
        if stages is None:
            return self.stages_for(DEFAULT_BITRATE_BPS if bitrate_bps is None else bitrate_bps)
        if bitrate_bps is not None:
            raise ConfigError("choose either a bitrate or a number of stages, not both")
        self.config.check_stages(stages)
        return stages

    def _output_rate(self, rate: int | str | None, source_rate: int | None) -> int:
        if rate is None:
            return self.sample_rate
        if rate == "source":
            if source_rate is None:
                raise ConfigError("bare codes do not know the source's sample rate; give a number")
            return source_rate
        return _checked_rate(rate)


class _Counter:
    """Counts the samples of waveforms as they pass, and reports the progress."""

    def __init__(self, sample_rate: int, progress: Progress | None = None) -> None:
        self.samples = 0
        self._sample_rate = sample_rate
        self._progress = progress

    @property
    def seconds(self) -> float:
        return self.samples / self._sample_rate

    def all_of(self, waveforms: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        for waveform in waveforms:
            yield waveform
            self.samples += waveform.shape[-1]
            if self._progress is not None:
                self._progress(self.seconds)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the device {name!r} cannot be used; choose auto, cpu or cuda ({reason})") from error
    return device


def _checked_waveform(waveform: NDArray[Any] | Tensor) -> NDArray[np.float32]:
    """[sample] or [channel, sample] of any floats -> float32 [channel, sample] in [-1, 1], finite."""
    values = waveform.detach().cpu().numpy() if isinstance(waveform, Tensor) else np.asarray(waveform)
    if values.dtype.kind != "f":
        raise AudioError(f"a waveform is made of floats in [-1, 1], not {values.dtype}")
    if values.ndim not in (1, 2):
        raise AudioError(f"a waveform has the shape [sample] or [channel, sample], not {list(values.shape)}")
    values = np.atleast_2d(values)
    finite = np.isfinite(values).all(axis=0)
    if not finite.all():
        raise AudioError(f"sample {int(np.argmin(finite))} of the waveform is NaN or infinite")
    clipped: NDArray[np.float32] = np.clip(values, -1.0, 1.0).astype(np.float32)
    return clipped


def _checked_rate(rate: object) -> int:
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or rate not in _RATES:
        raise ConfigError(f"a sample rate is a whole number of Hz from {_RATES[0]} to {_RATES[-1]}, not {rate!r}")
    return int(rate)


def _check_channels(channels: int) -> None:
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"a file holds 1 to {MAX_CHANNELS} channels, not {channels}")


def _check_not_empty(samples: int, name: str) -> None:
    if samples == 0:
        raise AudioError(f"{name} holds no samples")


def _kept(stages: int | None, available: int) -> int | None:
    if stages is not None and not 1 <= stages <= available:
        raise ConfigError(f"there are 1 to {available} stages to decode, not {stages}")
    return stages


def _with_tensor(encoded: Encoded, device: torch.device) -> Encoded:
    return replace(encoded, codes=torch.as_tensor(encoded.codes).to(device))


def _pieces(parts: Iterable[NDArray[np.int64]], size: int) -> Iterator[NDArray[np.int64]]:
    """Parts of at most `size` frames, so that a long packet takes no more memory than a short one."""
    for part in parts:
        for start in range(0, part.shape[-1], size):
            yield part[..., start : start + size]


@contextlib.contextmanager
def _open_sound(source: PathLike) -> Iterator[audio.Reader]:
    with audio.Reader(source) as sound:
        _check_channels(sound.channels)
        yield sound


def _size(path: PathLike) -> int:
    return 0 if os.fspath(path) == files.STANDARD_STREAM else Path(path).stat().st_size
