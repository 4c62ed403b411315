"""Sounds and files <-> codes by a model, whatever computes it. Imports no torch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from vqcodec.models.config import DEFAULT_EFFORT, ModelConfig

from .. import audio, bitstream, checks, encoding, pipeline
from ..audio import Place
from ..encoded import Encoded
from ..errors import ConfigError
from ..facts import ModelFacts
from ..payloads import codings
from ..payloads.context import ContextCoder
from ..pipeline import Counter, DecodedSound, FileResult, Length, Progress
from ..rates.plan import Plan, Rate, plan_of
from .engine import Engine

if TYPE_CHECKING:
    from torch import Tensor

_READ_SAMPLES = 1 << 16


class SoundCoding(ModelFacts):
    """The methods of a codec for whole sounds and for files."""

    engine: Engine
    """What computes the networks."""
    decodes: tuple[str, ...]
    """Fingerprints of earlier models whose files this one decodes as well."""
    context: ContextCoder | None
    """The model's context model, which makes the codes smaller; None if it has none."""

    @property
    def config(self) -> ModelConfig:
        """The sizes of the model."""
        return self.engine.config

    def encode(
        self,
        audio: NDArray[Any] | Tensor | Place,
        sample_rate: int | None = None,
        *,
        bitrate_bps: float | None = None,
        stages: int | None = None,
        rate: Rate | None = None,
        effort: int = DEFAULT_EFFORT,
    ) -> Encoded:
        """Encode a waveform or a sound file.

        Args:
            audio: floats [sample] or [channel, sample] in [-1, 1] (what lies beyond is clipped) or int16, numpy or
                torch; or a file in any format, rate and number of channels: its path ("-" is standard input), or
                open for reading bytes.
            sample_rate: of the waveform in Hz, if it is not the codec's; it is resampled then.
            bitrate_bps: bits a second and channel of the codes; the nearest possible is used. 3000 by default. Less
                than a quarter of the lowest, or more than four times the highest, is refused.
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
            TypeError: it is no sound at all.
        """
        plan = plan_of(self.config, bitrate_bps, stages, rate, varies=False)
        if pipeline.is_place(audio):
            if sample_rate is not None:
                raise ConfigError("a sample rate goes with a waveform; a file has its own")
            with pipeline.open_sound(audio) as sound:
                return self._encode(sound.blocks(_READ_SAMPLES), sound.sample_rate, sound.channels, plan, effort)
        waveform = checks.checked_waveform(audio)
        source_rate = self.sample_rate if sample_rate is None else checks.checked_sample_rate(sample_rate)
        encoded = self._encode([waveform], source_rate, len(waveform), plan, effort)
        return replace(encoded, codes=self._like(audio, checks.as_array(encoded.codes)))

    def decode(
        self,
        encoded: Encoded | bytes | Place | NDArray[Any] | Tensor,
        *,
        stages: int | None = None,
        sample_rate: int | Literal["source"] | None = None,
        texture: float = 1.0,
    ) -> Any:
        """Decode to a waveform.

        Args:
            encoded: what `encode` returned; a `.vq` file as bytes, by its path, or open for reading bytes; or bare
                codes [channel, stage, frame].
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
            TypeError: it is nothing that can be decoded.
        """
        name = "the encoded sound"
        if isinstance(encoded, bytes | bytearray | memoryview):
            encoded = self._read(io.BytesIO(encoded), name)
        elif pipeline.is_place(encoded):
            with pipeline.open_vq_input(encoded) as (file, name):
                encoded = self._read(file, name)
        if isinstance(encoded, Encoded):
            self._check_header(encoded.header, name)
            length = Length(encoded.num_samples, encoded.source_sample_rate)
            pipeline.check_frames(encoded.codes.shape[-1], length, self.config, name)
            codes, source_rate = encoded.codes, encoded.source_sample_rate
        else:
            codes, source_rate = checks.checked_codes(encoded), None
            if codes.ndim != 3 or len(codes) == 0:
                raise ConfigError(f"codes have the shape [channel, stage, frame], not {list(codes.shape)}")
            length = pipeline.held_by(codes.shape[-1], self.config)
        output_rate = self._output_rate(sample_rate, source_rate)
        checks.check_kept(stages, codes.shape[1])
        decoder = pipeline.decoder_of(self.engine, codes.shape[0], stages, texture)
        plain = checks.as_array(codes)
        waveform = np.concatenate(list(pipeline.decode([plain], decoder, lambda: length, output_rate)), axis=-1)
        return self._like(codes, waveform)

    def encode_file(
        self,
        source: Place,
        target: Place,
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
            source: in any format; a path, "-" for standard input, or a file open for reading bytes.
            target: a path, "-" for standard output, or a file open for writing bytes.
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
        with pipeline.open_sound(source) as sound, pipeline.open_vq_output(target, force) as output:
            count = Counter(sound.sample_rate, progress)
            blocks = sound.blocks(_READ_SAMPLES)
            header = self._header(plan, sound.sample_rate, sound.channels)
            packets = encoding.packets(count, blocks, self.engine, header, self._coder(header), plan, effort)
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
        source: Place,
        target: Place,
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
            source: a path, "-" for standard input, or a file open for reading bytes.
            target: a path, "-" for standard output, or a file open for writing bytes.
            sample_rate, stages, texture, salvage: as in `open_file`.
            force: overwrite an existing file.
            format: of the sound, by default that of the target's suffix; one of `vqcodec.audio.FORMATS`.
            progress: called with the seconds that are done.

        Raises:
            AudioError: the format cannot be written, or cannot hold such a sound.
            VqcodecError: as `decode`; the source cannot be read; the target exists already or cannot be written.
        """
        opened = self.open_file(source, sample_rate=sample_rate, stages=stages, texture=texture, salvage=salvage)
        with opened as sound:
            count = Counter(sound.sample_rate, progress)
            with audio.Writer(target, sound.sample_rate, sound.channels, format=format, force=force) as writer:
                for block in count.all_of(sound.blocks):
                    writer.write(block)
        size, written = sound.reader.offset, pipeline.size_of(target)
        return pipeline.result_of(count, sound.reader.header, size, written, size, sound.damage)

    @contextlib.contextmanager
    def open_file(
        self,
        source: Place,
        *,
        sample_rate: int | Literal["source"] | None = None,
        stages: int | None = None,
        texture: float = 1.0,
        salvage: bool = False,
    ) -> Iterator[DecodedSound]:
        """Open a `.vq` file to decode it block by block, as a context manager.

        Args:
            source: a path, "-" for standard input, or a file open for reading bytes.
            sample_rate: of the sound in Hz, the codec's by default; "source" is that of the sound encoded.
            stages: use only the first so many of the stages there are.
            texture: share of the noise that a model which samples draws with, 0 to 1; see `StreamDecoder`.
            salvage: of a damaged file, decode what comes before the damage, even of a packet that was cut.

        Raises:
            VqcodecError: as `decode`; the source cannot be read. Damage is found as the blocks are decoded.
        """
        with pipeline.open_vq_input(source) as (file, name):
            reader = bitstream.Reader(file, name, salvage=salvage)
            header = reader.header
            self._check_header(header, name)
            output_rate = self._output_rate(sample_rate, header.source_sample_rate)
            checks.check_kept(stages, header.stages)
            decoder = pipeline.decoder_of(self.engine, header.channels, stages, texture)
            codes = pipeline.codes_of(reader, codings.of_header(header, self._coder(header), name), self.config)
            blocks = pipeline.decode(codes, decoder, lambda: pipeline.length_of(reader, self.config), output_rate)
            yield DecodedSound(reader, output_rate, blocks)

    def _encode(
        self, blocks: Iterable[NDArray[Any]], sample_rate: int, channels: int, plan: Plan, effort: int
    ) -> Encoded:
        checks.check_channels(channels, sample_rate)
        count = Counter(sample_rate)
        header = self._header(plan, sample_rate, channels)
        packets = encoding.packets(count, blocks, self.engine, header, self._coder(header), plan, effort)
        codes = encoding.joined(packets, header)
        checks.check_not_empty(count.samples, "the waveform")
        return Encoded(codes=codes, header=replace(header, num_samples=count.samples))

    def _header(self, plan: Plan, sample_rate: int, channels: int) -> bitstream.Header:
        coding = plan.payload_coding(plan.wants_context and self.context is not None)
        return self.header(None, sample_rate, channels, plan.stages, coding)

    def _read(self, file: BinaryIO, name: str) -> Encoded:
        reader = bitstream.Reader(file, name)
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

    def _like(self, given: object, result: NDArray[Any]) -> Any:
        """The result as what the caller gave: a tensor on the same device, if that was a tensor."""
        if not checks.is_tensor(given):
            return result
        import torch

        return torch.from_numpy(result).to(given.device)
