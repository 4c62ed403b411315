"""`class Codec`: the public face. It composes sound files, streams, packets and a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.models import checkpoint, registry
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT, ModelConfig

from . import audio, bitstream, checks, files, pipeline
from .encoded import Encoded, write_packets
from .errors import ConfigError
from .pipeline import Counter, FileResult, Length, Progress
from .stream import BLOCK_FRAMES, StreamDecoder, StreamEncoder

__all__ = ["DEFAULT_BITRATE_BPS", "Codec", "Encoded", "FileResult"]

DEFAULT_BITRATE_BPS = 3000
"""Bitrate of the codes, per channel, where none is asked for."""

_READ_SAMPLES = 1 << 16

PathLike: TypeAlias = str | os.PathLike[str]


class Codec:
    """Speech -> codes or a `.vq` file, and back, with one model.

    Args:
        model: in evaluation mode, on the device to compute on. `Codec.load` is the usual way to get a codec.
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
            CorruptFile: the file is damaged, or does not hold a model.
            ConfigError: the device is unknown or absent, or the model has settings unknown to this version.
        """
        place = checks.checked_device(device)
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
                Only with 1 are the first stages the same as without the others.

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
            with pipeline.open_sound(audio) as sound:
                return self._encode(sound.blocks(_READ_SAMPLES), sound.sample_rate, sound.channels, chosen, effort)
        waveform = checks.checked_waveform(audio)
        source_rate = self.sample_rate if sample_rate is None else checks.checked_sample_rate(sample_rate)
        encoded = self._encode([waveform], source_rate, len(waveform), chosen, effort)
        if isinstance(audio, Tensor):
            return replace(encoded, codes=torch.as_tensor(encoded.codes).to(audio.device))
        return encoded

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
            numpy array otherwise. Of n samples at the source rate there are ceil(n * sample_rate / source rate), so
            exactly n at the source rate itself. Of bare codes there is all that the frames hold.

        Raises:
            ModelMismatch: it was encoded with another model.
            CorruptFile: the file is damaged, or the codes cannot be this model's.
            NotVqcodecFile, UnsupportedVersion: it is not a `.vq` file, or not of a version that this package reads.
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
            pipeline.check_frames(encoded.codes.shape[-1], length, self.config, name)
            codes, source_rate = encoded.codes, encoded.source_sample_rate
        else:
            codes, source_rate = encoded, None
            if codes.ndim != 3 or len(codes) == 0:
                raise ConfigError(f"codes have the shape [channel, stage, frame], not {list(codes.shape)}")
            length = pipeline.held_by(codes.shape[-1], self.config)
        output_rate = self._output_rate(sample_rate, source_rate)
        checks.check_kept(stages, codes.shape[1])
        decoder = self.decoder(codes.shape[0], stages=stages, texture=texture)
        plain = codes.cpu().numpy() if isinstance(codes, Tensor) else codes
        waveform = np.concatenate(list(pipeline.decode([plain], decoder, lambda: length, output_rate)), axis=-1)
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
        with pipeline.open_sound(source) as sound, files.open_output(target, force) as output:
            count = Counter(sound.sample_rate, progress)
            encoder = StreamEncoder(self.model, sound.channels, stages=encoder_stages, effort=effort)
            header = self.header(None, sound.sample_rate, sound.channels, encoder_stages)
            writer = bitstream.Writer(output, header)
            blocks = count.all_of(sound.blocks(_READ_SAMPLES))
            write_packets(writer, pipeline.encode(blocks, sound.sample_rate, encoder))
            checks.check_not_empty(count.samples, sound.name)
            writer.finish(count.samples)
        return FileResult(
            num_samples=count.samples,
            duration_s=count.seconds,
            channels=header.channels,
            stages=header.stages,
            bytes_in=pipeline.size_of(source),
            bytes_out=writer.bytes_written,
            bitrate_bps=writer.bytes_written * 8 / count.seconds,
        )

    def decode_file(
        self,
        source: PathLike,
        target: PathLike,
        *,
        sample_rate: int | Literal["source"] | None = None,
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
            sample_rate: of the sound in Hz, the codec's by default; "source" is that of the sound encoded.
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
            output_rate = self._output_rate(sample_rate, header.source_sample_rate)
            checks.check_kept(stages, header.stages)
            decoder = self.decoder(header.channels, stages=stages, texture=texture)
            count = Counter(output_rate, progress)
            codes = pipeline.codes_of(reader, self.config)
            parts = pipeline.decode(codes, decoder, lambda: pipeline.length_of(reader, self.config), output_rate)
            with audio.Writer(target, output_rate, header.channels, format=format, force=force) as writer:
                for part in count.all_of(parts):
                    writer.write(part)
        return FileResult(
            num_samples=count.samples,
            duration_s=count.seconds,
            channels=header.channels,
            stages=header.stages,
            bytes_in=reader.offset,
            bytes_out=pipeline.size_of(target),
            bitrate_bps=reader.offset * 8 / count.seconds if count.samples else 0.0,
            damage=None if reader.damage is None else str(reader.damage),
        )

    def header(self, num_samples: int | None, source_sample_rate: int, channels: int, stages: int) -> bitstream.Header:
        """Assemble the header of a `.vq` file of this model.

        Args:
            num_samples: samples per channel at the source rate; None while unknown.
            source_sample_rate: of the sound, in Hz.
            channels: number of channels.
            stages: codes per frame and channel.

        Raises:
            ValueError: the format cannot hold it.
        """
        return bitstream.Header(
            fingerprint=bytes.fromhex(self.fingerprint)[: registry.SHORT_FINGERPRINT_BYTES],
            sample_rate=self.sample_rate,
            source_sample_rate=source_sample_rate,
            channels=channels,
            num_samples=num_samples,
            hop_length=self.hop_length,
            stages=stages,
            bits_per_code=self.config.bits_per_code,
            kind=self.config.bottleneck,
        )

    def _encode(
        self, blocks: Iterable[NDArray[Any]], sample_rate: int, channels: int, stages: int, effort: int
    ) -> Encoded:
        checks.check_channels(channels)
        count = Counter(sample_rate)
        encoder = StreamEncoder(self.model, channels, stages=stages, effort=effort)
        codes = np.concatenate(list(pipeline.encode(count.all_of(blocks), sample_rate, encoder)), axis=-1)
        checks.check_not_empty(count.samples, "the waveform")
        return Encoded(codes=codes, header=self.header(count.samples, sample_rate, channels, stages))

    def _check_header(self, header: bitstream.Header, name: str) -> None:
        checks.check_header(header, self.config, (self.fingerprint, *self.decodes), name)

    def _stages(self, bitrate_bps: float | None, stages: int | None) -> int:
        if stages is None:
            return self.stages_for(DEFAULT_BITRATE_BPS if bitrate_bps is None else bitrate_bps)
        if bitrate_bps is not None:
            raise ConfigError("choose either a bitrate or a number of stages, not both")
        self.config.check_stages(stages)
        return stages

    def _output_rate(self, sample_rate: int | str | None, source_rate: int | None) -> int:
        if sample_rate is None:
            return self.sample_rate
        if sample_rate == "source":
            if source_rate is None:
                raise ConfigError("bare codes do not know the source's sample rate; give a number")
            return source_rate
        return checks.checked_sample_rate(sample_rate)
