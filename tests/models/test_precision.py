"""Coding in bfloat16: close to float32, the same in any blocks, and chosen where it is known to be fast."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import synthetic
from vqcodec import Codec
from vqcodec.errors import ConfigError
from vqcodec.models import precision
from vqcodec.models.layers import CausalConv1d, Stream

CPU = torch.device("cpu")
VOICE = synthetic.voice(3.0)


@pytest.fixture(scope="module")
def exact() -> Codec:
    return Codec.load(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def reduced() -> Codec:
    return Codec.load(device="cpu", precision="bfloat16")


def ratio_db(signal: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.square(signal).sum() / np.square(signal - other).sum()))


def test_decoded_sound_is_that_of_float32_but_for_little(exact: Codec, reduced: Codec) -> None:
    encoded = exact.encode(VOICE)
    assert ratio_db(exact.decode(encoded), reduced.decode(encoded)) > 30


def test_nearly_all_codes_of_the_first_stage_are_those_of_float32(exact: Codec, reduced: Codec) -> None:
    codes = [np.asarray(codec.encode(VOICE, stages=1).codes) for codec in (exact, reduced)]
    assert 0.9 < (codes[0] == codes[1]).mean() <= 1


def test_both_kinds_of_frame_wise_layers_compute_in_it(reduced: Codec) -> None:
    layers = [*reduced.model.encoder.modules(), *reduced.model.decoder.modules()]
    assert not [layer for layer in layers if isinstance(layer, nn.Linear | CausalConv1d)]
    assert reduced.precision == "bfloat16"


def test_files_pass_between_precisions(exact: Codec, reduced: Codec) -> None:
    assert exact.fingerprint == reduced.fingerprint
    for first, second in ((exact, reduced), (reduced, exact)):
        assert second.decode(first.encode(VOICE)).shape == (1, len(VOICE))


def test_blocks_change_little(reduced: Codec) -> None:
    latents = torch.randn(1, reduced.config.latent_dim, 40)
    whole = reduced.model.decoder(latents, Stream())
    stream = Stream()
    parts = torch.cat([reduced.model.decoder(part, stream) for part in latents.split(1, dim=-1)], dim=-1)
    assert ratio_db(whole.numpy(), parts.numpy()) > 30


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"avx512_bf16": True}, "bfloat16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"avx512_f": True, "avx512_bf16": False}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_asks_the_processor(monkeypatch: pytest.MonkeyPatch, known: Mapping[str, bool], expected: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert precision.chosen("auto", CPU) == expected


def test_auto_is_float32_on_a_gpu() -> None:
    assert precision.chosen("auto", torch.device("cuda")) == "float32"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="float64"):
        Codec.load(device="cpu", precision="float64")
