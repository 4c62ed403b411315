"""docs/FORMAT.md says how decoding noise is made, and how stages that vary are coded.

Its other bytes are tested in tests/codec/test_bitstream.py.
"""

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vqcodec.bitstream import Header
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig
from vqcodec.models.layers import Stream, expand
from vqcodec.models.texture import draws, partial_table
from vqcodec.payloads import codings
from vqcodec.payloads import counts as count_coding
from vqcodec.stream import soft_limit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "FORMAT.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


@pytest.fixture(scope="module")
def section() -> str:
    return PAGE.read_text("utf-8").split("\n## Decoding noise\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def code(section: str) -> dict[str, Any]:
    """What the code of the page defines."""
    [source] = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    return names


def test_the_code_makes_the_same_noise(code: dict[str, Any]) -> None:
    noise: Callable[..., float] = code["noise"]
    assert code["TABLE"] == (partial_table() * 2**14).tolist()
    for key, first in ((0, 0), (0, 123_456), (0, 2**32 - 2), (77, 5)):
        drawn = draws(partial_table(), torch.tensor([key]), first, 4, 130)[0]
        expected = [[noise((first + frame) % 2**32, k, key) for frame in range(4)] for k in range(130)]
        assert drawn.tolist() == expected


def test_examples(section: str, code: dict[str, Any]) -> None:
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\| \d.*\|$", section, re.M)]
    assert len(rows) == 7
    for row in rows:
        frame, k, of_frame, of_coefficient, index, value = (int(cell, 0) for cell in row[:6])
        assert code["mix"](frame) == of_frame
        assert code["mix"]((of_frame + k * 0x9E3779B9) % 2**32) == of_coefficient
        assert of_coefficient >> 20 == index
        assert code["TABLE"][index] == value
        assert value / 2**14 == float(row[6]) == draws(partial_table(), torch.tensor([0]), frame, 1, k + 1)[0, k, 0]


def test_sum_of_the_table(section: str, code: dict[str, Any]) -> None:
    packed = struct.pack("<4096h", *code["TABLE"])
    assert f"its CRC-32 is 0x{zlib.crc32(packed):08X}." in section


def test_decoding_follows_the_page(code: dict[str, Any]) -> None:
    """Where the noise goes, and from which frame and coefficient it counts."""
    torch.manual_seed(0)
    sizes = {"latent_dim": 4, "num_stages": 2, "codebook_size": 8, "decoder_width": 12, "decoder_blocks": 2}
    config = ModelConfig(**sizes, encoder_width=8, encoder_blocks=1, decoder_stochastic=True)
    decoder = Autoencoder(config).eval().decoder
    decoder.texture_scale.uniform_(0.2, 1)
    latents = torch.randn(1, 4, 6)
    with torch.no_grad():
        decoded = decoder(latents, Stream(), 0.7)
        mean, spread = decoder.coefficients(latents, Stream())
        assert spread is not None
        first = round(config.decoder_spread_from_hz * 2 * config.mdct_hop / config.sample_rate)
        assert first == 30
        for frame in range(mean.shape[-1]):
            for k in range(160 - first):
                scale = 0.7 * decoder.texture_scale[k]
                mean[0, first + k, frame] += scale * spread[0, k, frame] * code["noise"](frame, k)
        expected = decoder.inverse_mdct(expand(mean, config.power), Stream())
    torch.testing.assert_close(decoded, expected, atol=1e-5, rtol=1e-4)


def test_limiter_of_the_page() -> None:
    x = torch.linspace(-3, 3, 601)
    limited = x.sign() * (0.95 + 0.05 * ((x.abs() - 0.95) / 0.05).tanh())
    torch.testing.assert_close(soft_limit(x), torch.where(x.abs() > 0.95, limited, x))


def test_the_example_of_varying_stages() -> None:
    header = Header(
        fingerprint=bytes(8),
        sample_rate=16_000,
        source_sample_rate=16_000,
        channels=1,
        num_samples=None,
        hop_length=320,
        stages=3,
        bits_per_code=10,
        payload_coding=1,
    )
    codes = np.array([[[1, -1, 3, 1023], [2, -1, -1, 512], [-1, -1, -1, 700]]])
    [payload] = codings.of_header(header).encode([codes])
    assert f"make the payload `{payload.hex(' ')}`" in PAGE.read_text("utf-8")


def test_the_weights_of_counts_as_the_page_says() -> None:
    """Counts decoded with nothing but the rules of the two pages: shares, state and words."""
    stages, counts = 5, [5, 4, 4, 0, 1, 5, 5, 3] * 60
    data = count_coding.encode(np.array([counts]), stages)
    data = b"\0" * (len(data) % 2) + data
    words = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    state = 0
    weights = [[1 + 24 // (1 + abs(b - c)) for c in range(stages + 1)] for b in range(stages + 1)]
    for _ in range(3):
        state = state << 16 | words.pop(0) if words and state < 1 << 32 else state
    before = stages
    for count in counts:
        w = weights[before]
        first, end = (sum(w[:c]) * 65536 // sum(w) for c in (count, count + 1))
        assert first <= state % 65536 < end
        state = (end - first) * (state // 65536) + state % 65536 - first
        if state < 1 << 32 and words:
            state = state << 16 | words.pop(0)
        w[count] += 24
        if sum(w) > 8192:
            w[:] = [(x + 1) // 2 for x in w]
        before = count
    assert not words
    assert state == 256
