"""What the tests of live speech share: a small model whose codes have 8 bits, packets, damage."""

from __future__ import annotations

import functools
from random import Random

import numpy as np
import torch

from vqcodec.codec import Codec
from vqcodec.live.jitter import JitterBuffer
from vqcodec.live.payload import FramePacket, PayloadFormat, Redundancy
from vqcodec.live.receiver import Receiver
from vqcodec.live.rtp import RtpHeader
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig

FORMAT = PayloadFormat(num_stages=4, codebook_size=250)
HOP, FRAME_RATE = 320, 50.0


@functools.cache
def model(conceals: bool = False) -> Autoencoder:
    """A model that is as small as can be."""
    torch.manual_seed(0)
    sizes = {"latent_dim": 4, "encoder_width": 8, "encoder_blocks": 1, "decoder_width": 8, "decoder_blocks": 1}
    config = ModelConfig(name="live", num_stages=4, codebook_size=250, decoder_conceals=conceals, **sizes)
    made = Autoencoder(config).eval()
    for book in made.quantizer.books:
        book.vectors.data.normal_(0, 0.3)
    return made


def codec(conceals: bool = False) -> Codec:
    """A codec with that model."""
    return Codec(model(conceals))


def receiver() -> Receiver:
    """A receiver of such packets."""
    return Receiver(FORMAT, HOP, FRAME_RATE, JitterBuffer(1 / FRAME_RATE))


def codes(seed: int, stages: int = 3, frames: int = 1) -> np.ndarray:
    """Random codes [stage, frame]."""
    return np.random.default_rng(seed).integers(0, FORMAT.codebook_size, (stages, frames))


def datagram(
    number: int, packet: FramePacket | None = None, *, ssrc: int = 7, sequence: int | None = None, marker: bool = False
) -> bytes:
    """A packet that begins with a frame; random codes of a single frame by default."""
    payload_type, payload = FORMAT.pack(packet or FramePacket(codes(number)))
    order = number if sequence is None else sequence
    return RtpHeader(payload_type, marker, order % (1 << 16), number * HOP % (1 << 32), ssrc).to_bytes() + payload


def redundant(seed: int, redundancy: Redundancy, frames: int = 1) -> FramePacket:
    """A packet that repeats random codes of others."""
    return FramePacket(codes(seed, 3, frames), codes(seed + 1, redundancy.stages, frames), redundancy)


def damaged(data: bytes, random: Random) -> bytes:
    """A packet with bytes changed, cut, added or made up."""
    kind = random.randrange(5)
    if kind == 0 or not data:
        return random.randbytes(random.randrange(60))
    if kind == 1:
        return data[: random.randrange(len(data))]
    if kind == 2:
        return data + random.randbytes(random.randrange(1, 9))
    changed = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)
