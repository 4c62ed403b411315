"""`class Codec`: the public face. It composes sound files, streams, packets and a model."""

from __future__ import annotations

import functools
import io
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
from vqcodec.models.config import DEFAULT_EFFORT

from . import audio, bitstream, checks, encoding, files, pipeline
from .encoded import Encoded, read_file
from .errors import ConfigError
from .facts import ModelFacts
from .payloads import codings
from .payloads.context import ContextCoder
from .payloads.plain import PLAIN
from .pipeline import Counter, FileResult, Length, Progress
from .rates.candidates import VaryingEncoder
from .rates.plan import DEFAULT_BITRATE_BPS, Plan, Rate, plan_of
from .stream import BLOCK_FRAMES, StreamDecoder, StreamEncoder

__all__ = ["DEFAULT_BITRATE_BPS", "Codec", "Encoded", "FileResult", "Rate"]

_READ_SAMPLES = 1 << 16

PathLike: TypeAlias = str | os.PathLike[str]


class Codec(ModelFacts):
    """Speech -> codes or a `.vq` file, and back, with one model.

    Args:
        model: in evaluation mode, on the device to compute on. `Codec.load` is the usual way to get a codec.
        fingerprint: `checkpoint.fingerprint_of(model)`, if it is known.
        decodes: fingerprints of earlier models whose files this one decodes as well.
        path: of the model file, which may hold a context model.
    """

    def __init__(
        self,
        model: Autoencoder,
        fingerprint: str | None = None,
        decodes: Sequence[str] = (),
        path: PathLike | None = None,
    ) -> None:
        self.model = model
        self.fingerprint = fingerprint or checkpoint.fingerprint_of(model)
        """SHA-256 of what decoding depends on, as 64 hexadecimal digits; a `.vq` file holds the first 16."""
        self.decodes = tuple(decodes)
        """Fingerprints of earlier models whose files this one decodes as well."""
        self._path = path

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
        return cls(checkpoint.load(path, place), info.fingerprint, info.decodes, path)

    @functools.cached_property
    def context(self) -> ContextCoder | None:
        """The model's context model, which makes the codes smaller; None if it has none."""
        return None if self._path is None else ContextCoder.load(self._path)

    def encode(
        self,
        audio: NDArray[Any] | Tensor | PathLike,
        sample_rate: int | None = None,
        *,
        bitrate_bps: float | None = None,
        stages: int | None = None,
        rate: Rate | None = None,
        effort: int = DEFAULT_EFFORT,
    ) -> Encoded:
        """Encode a waveform or a sound file.

        Args:
            audio: floats [sample] or [channel, sample] in [-1, 1] (what lies beyond is clipped), numpy or torch; or
                the path of a file in any format, rate and number of channels ("-" is standard input).
            sample_rate: of the waveform in Hz, if it is not the codec's; it is resampled then.
            bitrate_bps: bits a second and channel of the codes; the nearest possible is used. 3000 by default.
            stages: codes per frame, instead of a bitrate.
            rate: instead of either, all that can be said about the bitrate, such as that it may vary.
            effort: 1 takes the nearest code at every stage; up to 16 searches wider and slower, for a better sound.
                Only with 1 are the first stages the same as without the others.

        Returns:
            The codes as a torch tensor on the waveform's device if a tensor was given, as a numpy array otherwise.
            If the bitrate varies, -1 stands in the last stages of frames that have fewer.

        Raises:
            AudioError: the sound is empty, holds NaN or infinity, has more than 255 channels or cannot be read.
            ConfigError: a setting is out of range, settings contradict each other, or the model has no codes.
        """
        plan = plan_of(self.config, bitrate_bps, stages, rate, varies=False)
        if isinstance(audio, str | os.PathLike):
            if sample_rate is not None:
                raise ConfigError("a sample rate goes with a waveform; a file has its own")
            with pipeline.open_sound(audio) as sound:
                return self._encode(sound.blocks(_READ_SAMPLES), sound.sample_rate, sound.channels, plan, effort)
        waveform = checks.checked_waveform(audio)
        source_rate = self.sample_rate if sample_rate is None else checks.checked_sample_rate(sample_rate)
        encoded = self._encode([waveform], source_rate, len(waveform), plan, effort)
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
            encoded = self._read(encoded, name)
        elif isinstance(encoded, str | os.PathLike):
            name = os.fspath(encoded)
            encoded = self._read(read_file(name), name)
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
        decoder = pipeline.decoder_of(self.model, codes.shape[0], stages, texture)
        plain = codes.cpu().numpy() if isinstance(codes, Tensor) else codes
        waveform = np.concatenate(list(pipeline.decode([plain], decoder, lambda: length, output_rate)), axis=-1)
        return torch.from_numpy(waveform).to(codes.device) if isinstance(codes, Tensor) else waveform

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

    def encode_file(
        self,
        source: PathLike,
        target: PathLike,
        *,
        bitrate_bps: float | None = None,
        stages: int | None = None,
        rate: Rate | None = None,
        effort: int = DEFAULT_EFFORT,
        strict: bool = False,
        force: bool = False,
        progress: Progress | None = None,
    ) -> FileResult:
        """Sound file -> `.vq` file, in bounded memory; either appears whole or not at all.

        Args:
            source: in any format that soundfile reads; "-" is standard input.
            target: "-" is standard output.
            bitrate_bps: bits a second and channel of the whole file in the mean, 3000 by default. It varies from frame
                to frame, with models that can do so.
            stages, rate, effort: as in `encode`; a number of stages makes the bitrate constant.
            strict: refuse a sound that is shorter than its file promises, instead of saying so in the result.
            force: overwrite an existing file.
            progress: called with the seconds that are done.

        Raises:
            AudioError, ConfigError: as `encode`; or the sound is cut short, with `strict`.
            VqcodecError: the target exists already or cannot be written.
        """
        plan = plan_of(self.config, bitrate_bps, stages, rate, varies=True)
        with pipeline.open_sound(source) as sound, files.open_output(target, force) as output:
            count = Counter(sound.sample_rate, progress)
            blocks = sound.blocks(_READ_SAMPLES)
            header = self._header(plan, sound.sample_rate, sound.channels)
            packets = encoding.packets(count, blocks, self.model, header, self._coder(header), plan, effort)
            writer = bitstream.Writer(output, header)
            for packet, _ in packets:
                writer.write(packet)
            checks.check_not_empty(count.samples, sound.name)
            missing = pipeline.check_whole(sound, strict)
            writer.finish(count.samples)
        written = writer.bytes_written
        return pipeline.result_of(count, header, pipeline.size_of(source), written, written, missing)

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
            salvage: of a damaged file, decode what comes before the damage, even of a packet that was cut.
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
            decoder = pipeline.decoder_of(self.model, header.channels, stages, texture)
            count = Counter(output_rate, progress)
            codes = pipeline.codes_of(reader, codings.of_header(header, self._coder(header), name), self.config)
            parts = pipeline.decode(codes, decoder, lambda: pipeline.length_of(reader, self.config), output_rate)
            with audio.Writer(target, output_rate, header.channels, format=format, force=force) as writer:
                for part in count.all_of(parts):
                    writer.write(part)
        damage = None if reader.damage is None else str(reader.damage)
        return pipeline.result_of(count, header, reader.offset, pipeline.size_of(target), reader.offset, damage)

    def header(
        self,
        num_samples: int | None,
        source_sample_rate: int,
        channels: int,
        stages: int,
        payload_coding: int = PLAIN,
    ) -> bitstream.Header:
        """Assemble the header of a `.vq` file of this model.

        Args:
            num_samples: samples per channel at the source rate; None while unknown.
            source_sample_rate: of the sound, in Hz.
            channels: number of channels.
            stages: codes per frame and channel, at most.
            payload_coding: a number of `codings.NAMES`.

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
            payload_coding=payload_coding,
            kind=self.config.bottleneck,
        )

    def _encode(
        self, blocks: Iterable[NDArray[Any]], sample_rate: int, channels: int, plan: Plan, effort: int
    ) -> Encoded:
        checks.check_channels(channels, sample_rate)
        count = Counter(sample_rate)
        header = self._header(plan, sample_rate, channels)
        packets = encoding.packets(count, blocks, self.model, header, self._coder(header), plan, effort)
        codes = encoding.joined(packets, header)
        checks.check_not_empty(count.samples, "the waveform")
        return Encoded(codes=codes, header=replace(header, num_samples=count.samples))

    def _header(self, plan: Plan, sample_rate: int, channels: int) -> bitstream.Header:
        coding = plan.payload_coding(plan.wants_context and self.context is not None)
        return self.header(None, sample_rate, channels, plan.stages, coding)

    def _read(self, data: bytes, name: str) -> Encoded:
        reader = bitstream.Reader(io.BytesIO(data), name)
        self._check_header(reader.header, name)
        return Encoded.from_reader(reader, self._coder(reader.header))

    def _coder(self, header: bitstream.Header) -> ContextCoder | None:
        """The context model if the header asks for one: to load it takes time that other files can save."""
        return self.context if header.payload_coding == codings.CONTEXT else None

    def _check_header(self, header: bitstream.Header, name: str) -> None:
        checks.check_header(header, self.config, (self.fingerprint, *self.decodes), name)

    def _output_rate(self, sample_rate: int | str | None, source_rate: int | None) -> int:
        if sample_rate is None:
            return self.sample_rate
        if sample_rate == "source":
            if source_rate is None:
                raise ConfigError("bare codes do not know the source's sample rate; give a number")
            return source_rate
        return checks.checked_sample_rate(sample_rate)
