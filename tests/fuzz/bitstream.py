"""`.vq` files through everything that reads them: `inspect`, the decoder of a tiny model, salvage, peeling."""

from __future__ import annotations

import binascii
import contextlib
import functools
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch

from vqcodec import Codec, Encoded, VqcodecError, bitstream, peeling, pipeline, summary
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig
from vqcodec.payloads import codings

GOLDEN = Path(__file__).parents[1] / "golden"

_HEADER_BYTES, _HEAD_BYTES = 32, 10
_STAGES, _CODES = 4, 60
_MOST_FRAMES = 30
"""Of all channels together: a file of many decodes as any other, and takes its time."""


@functools.cache
def codec() -> Codec:
    """A model that is as small as can be, with a context model."""
    torch.manual_seed(0)
    sizes = {"latent_dim": 4, "mdct_hop": 4, "encoder_width": 4, "encoder_blocks": 1, "decoder_width": 4}
    config = ModelConfig(name="fuzz", num_stages=_STAGES, codebook_size=_CODES, decoder_blocks=1, **sizes)
    return Codec(Autoencoder(config).eval(), path=GOLDEN / "context.safetensors")


def seeds() -> list[bytes]:
    """Small files of every payload coding, of one or two channels and of several rates and lengths."""
    files = []
    shapes = ((1, 16_000, 1), (3, 8_000, 0), (1, 44_100, 150), (2, 16_000, 77))
    for coding in codings.NAMES:
        for channels, rate, samples in shapes[:1] if coding == codings.CONTEXT else shapes:  # which is slow
            header = codec().header(samples, rate, channels, _STAGES, coding)
            frames = codec().config.num_frames(header.codec_samples(samples))
            files.append(_file(header, frames, seed=len(files)))
    unknown = bytearray(files[3])
    unknown[25:30] = b"\xff" * 5
    return [*files, _sealed_header(bytes(unknown[:_HEADER_BYTES])) + unknown[_HEADER_BYTES:]]


def _file(header: bitstream.Header, frames: int, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    codes = random.integers(0, _CODES, (header.channels, _STAGES, frames))
    if header.payload_coding != codings.PLAIN:
        counts = random.integers(0, _STAGES + 1, (header.channels, frames))
        codes[np.arange(_STAGES)[:, None] >= counts[:, None]] = codings.ABSENT
    return Encoded(codes=codes, header=header).to_bytes(codec().context)


def check(data: bytes) -> None:
    """Describe; then decode, salvage or peel."""
    try:
        found = summary.inspect(io.BytesIO(data))
    except VqcodecError as error:
        assert "\n" not in str(error)
        return
    assert (found.damage is None) == (found.num_samples is not None and found.bytes == len(data))
    if found.frames * found.header.channels > _MOST_FRAMES:
        return
    for use in _USES[zlib.crc32(data) % len(_USES)]:
        with contextlib.suppress(VqcodecError):
            use(data)


def _decode(data: bytes) -> None:
    encoded = Encoded.from_bytes(data, coder=codec().context)
    waveform = codec().decode(encoded, sample_rate="source")
    assert waveform.shape == (encoded.channels, encoded.num_samples)
    assert np.isfinite(waveform).all() and abs(waveform).max(initial=0) <= 1


def _salvage(data: bytes) -> None:
    reader = bitstream.Reader(io.BytesIO(data), salvage=True)
    header, config = reader.header, codec().config
    codec()._check_header(header, "fuzz")
    codes = pipeline.codes_of(reader, codings.of_header(header, codec().context), config)
    decoder = codec().decoder(header.channels)
    for part in pipeline.decode(codes, decoder, lambda: pipeline.length_of(reader, config), config.sample_rate):
        assert len(part) == header.channels


def _peel(data: bytes) -> None:
    reader, output = bitstream.Reader(io.BytesIO(data)), io.BytesIO()
    peeling.peel(reader, output, max(1, reader.header.stages - 1), codec().context)
    assert summary.inspect(io.BytesIO(output.getvalue())).damage is None


_USES = ((_decode,), (_decode,), (_salvage,), (_peel,))
"""What is done with an input, by its checksum: to do all takes too long."""


def mutate(data: bytes, random: Random, change: Callable[[bytes], bytes]) -> bytes:
    """Damage the header or a packet, and make lengths and checksums right again."""
    header, packets = _parts(data)
    place = random.randrange(-1, len(packets))
    if place < 0:
        header = change(header)[:_HEADER_BYTES].ljust(_HEADER_BYTES, b"\0")
    else:
        packets[place] = change(packets[place])
    if packets and random.random() < 0.1:
        packets.insert(random.randrange(len(packets)), random.choice(packets))
    return _sealed_header(header) + b"".join(_sealed_packet(packet) for packet in packets)


def frames_of(data: bytes) -> int:
    """Count the frames that a file claims to have, of all channels together."""
    return data[6] * sum(int.from_bytes(packet[:2], "little") for packet in _parts(data)[1])


def _parts(data: bytes) -> tuple[bytes, list[bytes]]:
    """The header, and of each packet the number of frames and the payload."""
    packets, place = [], _HEADER_BYTES
    while place + _HEAD_BYTES <= len(data):
        end = place + _HEAD_BYTES + int.from_bytes(data[place + 2 : place + 6], "little")
        packets.append(data[place : place + 2] + data[place + _HEAD_BYTES : end])
        place = end
    return data[:_HEADER_BYTES].ljust(_HEADER_BYTES, b"\0"), packets


def _sealed_header(header: bytes) -> bytes:
    return header[:30] + struct.pack("<H", binascii.crc_hqx(header[:30], 0xFFFF))


def _sealed_packet(packet: bytes) -> bytes:
    frames, payload = packet[:2].ljust(2, b"\0"), packet[2:]
    head = frames + struct.pack("<I", len(payload))
    return head + struct.pack("<I", zlib.crc32(head + payload)) + payload
