"""`class Codec`: the public face. It composes sound files, streams, packets and a model."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.models import checkpoint, registry
from vqcodec.models import precision as arithmetic
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT
from vqcodec.models.context import int8

from . import audio, bitstream, checks, encoding, pipeline
from .audio import Place
from .encoded import Encoded
from .errors import ConfigError
from .payloads import codings
from .payloads.context import ContextCoder
from .pipeline import Counter, DecodedSound, FileResult, Length, Progress
from .rates.candidates import VaryingEncoder
from .rates.plan import DEFAULT_BITRATE_BPS, Plan, Rate, plan_of
from .stream import BLOCK_FRAMES, StreamDecoder, StreamEncoder
from .tokens.batches import BatchCoding

__all__ = ["DEFAULT_BITRATE_BPS", "Codec", "Encoded", "FileResult", "Rate"]

_READ_SAMPLES = 1 << 16

PathLike: TypeAlias = str | os.PathLike[str]


class Codec(BatchCoding):
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
    def context(self) -> ContextCoder | None:
        """The model's context model, which makes the codes smaller; None if it has none."""
        return None if self._path is None else ContextCoder.load(self._path, int8.multiplier())

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
        if isinstance(audio, Tensor):
            return replace(encoded, codes=torch.as_tensor(encoded.codes).to(audio.device))
        return encoded

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
            decoder = pipeline.decoder_of(self.model, header.channels, stages, texture)
            codes = pipeline.codes_of(reader, codings.of_header(header, self._coder(header), name), self.config)
            blocks = pipeline.decode(codes, decoder, lambda: pipeline.length_of(reader, self.config), output_rate)
            yield DecodedSound(reader, output_rate, blocks)

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
