"""The code of docs/streaming.md runs, in order, and does what the page says."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vqcodec.models import registry

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "streaming.md"

pytestmark = [
    pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests"),
    pytest.mark.skipif(registry.DEFAULT not in registry.names(), reason="no trained weights in this build"),
]


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """All that the code of the page defines."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for block in blocks():
            exec(block, names)
    return names


def test_the_live_connection_gives_the_sound_of_a_file(names: dict[str, Any]) -> None:
    codec, waveform = names["codec"], names["waveform"]
    encoded = codec.encode(waveform, bitrate_bps=3000)
    whole = codec.decode(encoded)
    error = np.square(whole - names["speech"]).sum() / np.square(whole).sum()
    assert error < 0.05  # blocks may round differently and change a code now and then


def test_figures_of_the_page(names: dict[str, Any]) -> None:
    codec = names["codec"]
    message = names["pack"](np.zeros((1, codec.stages_for(3000), 1), np.int64), names["bits"])
    assert len(message) == 8
    assert names["decoder"].texture == 0.5


def test_texture_is_the_same_live_and_whole() -> None:
    """What the page promises of a decoder that samples, with an untrained model that does."""
    from vqcodec import Codec
    from vqcodec.models.autoencoder import Autoencoder
    from vqcodec.models.config import ModelConfig

    torch.manual_seed(0)
    sizes = {"latent_dim": 4, "num_stages": 2, "codebook_size": 8, "decoder_width": 12, "decoder_blocks": 2}
    codec = Codec(Autoencoder(ModelConfig(**sizes, encoder_blocks=1, encoder_width=8, decoder_stochastic=True)).eval())
    codes = np.random.default_rng(0).integers(0, 8, (1, 2, 30))
    decoder = codec.decoder(block_frames=1, texture=0.5)
    live = [decoder.push(codes[..., i : i + 1]) for i in range(30)]
    np.testing.assert_allclose(np.concatenate(live, 1), codec.decode(codes, texture=0.5), atol=1e-5)
