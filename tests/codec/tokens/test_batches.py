"""Batches that change nothing: neighbours, padding, order and batch size make no difference to an item."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import synthetic
from vqcodec import Codec
from vqcodec.errors import AudioError, ConfigError, CorruptFile

CODEC = Codec.load(Path(__file__).parents[2] / "golden" / "tiny.safetensors", "cpu")
EXACT = Codec.load(Path(__file__).parents[2] / "golden" / "tiny.safetensors", "cpu", "float32")
LENGTHS = (1, 319, 320, 5000, 64_001, 16_000, 0, 20_000)
VOICE = synthetic.voice(5.5, seed=99)
ITEMS = [torch.from_numpy(synthetic.voice(5.0, seed=seed)[:length]) for seed, length in enumerate(LENGTHS)]


def padded(items: Sequence[Tensor], value: float, extra: int = 0) -> Tensor:
    longest = max(len(item) for item in items) + extra
    batch = torch.full((len(items), longest), value)
    for row, item in zip(batch, items, strict=True):
        row[: len(item)] = item
    return batch


@pytest.mark.parametrize("codec", [CODEC, EXACT], ids=["auto", "float32"])
def test_an_item_has_the_codes_that_it_has_alone(codec: Codec) -> None:
    batch = codec.encode_batch(ITEMS)
    decoded = codec.decode_batch(batch)
    for index, item in enumerate(ITEMS):
        frames = int(batch.num_frames[index])
        assert (batch.codes[index, ..., frames:] == -1).all()
        assert (decoded.waveforms[index, :, len(item) :] == 0).all()
        if len(item):
            alone = codec.encode(item)
            assert torch.equal(batch.codes[index, ..., :frames], alone.codes)
            assert torch.equal(decoded.waveforms[index, :, : len(item)], codec.decode(alone))
        else:
            assert frames == 0
    assert decoded.num_samples.tolist() == list(LENGTHS)


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan")])
def test_padding_makes_no_difference(value: float) -> None:
    expected = CODEC.encode_batch(ITEMS)
    found = CODEC.encode_batch(padded(ITEMS, value, extra=777), LENGTHS)
    assert torch.equal(found.codes, expected.codes)
    assert torch.equal(found.num_frames, expected.num_frames)


def test_random_batches_make_no_difference() -> None:
    random = np.random.default_rng(3)
    alone = [CODEC.encode_batch([item], stages=2) for item in ITEMS]
    for _ in range(20):
        chosen = random.integers(0, len(ITEMS), random.integers(1, 9))
        items = [ITEMS[index] for index in chosen]
        batch = CODEC.encode_batch(padded(items, float(random.normal())), [len(item) for item in items], stages=2)
        for place, index in enumerate(chosen):
            frames = int(alone[index].num_frames[0])
            assert int(batch.num_frames[place]) == frames
            assert torch.equal(batch.codes[place, ..., :frames], alone[index].codes[0])


@settings(max_examples=15)
@given(
    lengths=st.lists(st.one_of(st.integers(1, 1000), st.integers(1, 80_000)), min_size=1, max_size=6),
    value=st.floats(allow_nan=True, allow_infinity=True, width=32),
    extra=st.integers(0, 5000),
    stages=st.integers(1, 4),
)
def test_codes_are_those_of_encode_whatever_is_beside(
    lengths: list[int], value: float, extra: int, stages: int
) -> None:
    items = [torch.from_numpy(VOICE[place * 1000 :][:length]) for place, length in enumerate(lengths)]
    batch = CODEC.encode_batch(padded(items, value, extra), lengths, stages=stages)
    for index, item in enumerate(items):
        alone = CODEC.encode(item, stages=stages).codes
        assert torch.equal(batch.codes[index, ..., : alone.shape[-1]], alone)
        assert (batch.codes[index, ..., alone.shape[-1] :] == -1).all()


def test_the_mask_marks_the_frames() -> None:
    batch = CODEC.encode_batch(ITEMS)
    assert batch.mask.shape == (len(ITEMS), batch.codes.shape[-1])
    assert torch.equal(batch.mask.sum(1), batch.num_frames)
    assert ((batch.codes[:, 0, 0] >= 0) == batch.mask).all()


def test_rows_side_by_side_have_the_codes_that_they_have_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU computes them: items of several lengths in the same products."""
    expected = EXACT.encode_batch(ITEMS)
    everything = lambda model, sizes, channels: [[i for i in range(len(sizes)) if sizes[i]]]  # noqa: E731
    monkeypatch.setattr("vqcodec.tokens.items._groups", everything)
    monkeypatch.setattr("vqcodec.stream._BlockStream._rows_at_once", 16)
    found = EXACT.encode_batch(ITEMS)
    assert torch.equal(found.num_frames, expected.num_frames)
    assert (found.codes == expected.codes).float().mean() > 0.999
    waveforms = [EXACT.decode_batch(codes).waveforms for codes in (expected, found)]
    torch.testing.assert_close(waveforms[0], waveforms[1], atol=0.05, rtol=0)


def test_channels_and_rates() -> None:
    stereo = torch.stack([ITEMS[4], ITEMS[4].flip(0)])
    batch = CODEC.encode_batch(stereo[None], sample_rate=24_000)
    alone = CODEC.encode(stereo, 24_000)
    assert torch.equal(batch.codes[0], alone.codes)
    assert batch.num_samples.tolist() == [-(-len(ITEMS[4]) * 2 // 3)]


def test_arrays_will_do() -> None:
    arrays = [item.numpy() for item in ITEMS]
    assert torch.equal(CODEC.encode_batch(arrays).codes, CODEC.encode_batch(ITEMS).codes)
    codes = [CODEC.encode(item).codes for item in arrays if len(item)]
    decoded = CODEC.decode_batch(codes)
    assert decoded.waveforms.shape[:2] == (len(codes), 1)


def test_latents_are_what_is_quantized() -> None:
    waveform = ITEMS[4][: 100 * CODEC.hop_length]
    latents = EXACT.latents(waveform)
    assert latents.shape == (CODEC.config.latent_dim, 100)
    [codes] = EXACT.model.quantizer.encode(latents[None], 4, 2)
    assert torch.equal(codes, EXACT.encode(waveform).codes[0, :, :100])
    error = (EXACT.from_codes(codes) - latents).square().mean()
    assert error < (EXACT.from_codes(codes[:1]) - latents).square().mean()


def test_gradients_reach_the_waveform_when_asked_for() -> None:
    waveform = ITEMS[4][: 20 * CODEC.hop_length].clone().requires_grad_()
    assert not EXACT.latents(waveform).requires_grad
    EXACT.latents(waveform, gradient=True).square().sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match="float32"):
        Codec.load(device="cpu", precision="bfloat16").latents(waveform, gradient=True)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: CODEC.encode_batch([]), AudioError),
        (lambda: CODEC.encode_batch([ITEMS[4], ITEMS[4][None].repeat(2, 1)]), AudioError),
        (lambda: CODEC.encode_batch([ITEMS[4][None], ITEMS[4][None].repeat(2, 1)]), AudioError),
        (lambda: CODEC.encode_batch(torch.zeros(2, 400, dtype=torch.int16)), AudioError),
        (lambda: CODEC.encode_batch(torch.zeros(2, 400), [400]), AudioError),
        (lambda: CODEC.encode_batch(torch.zeros(2, 400), [400, 401]), AudioError),
        (lambda: CODEC.encode_batch(torch.zeros(2, 400), [0.5, 1.0]), AudioError),  # type: ignore[list-item]
        (lambda: CODEC.encode_batch(torch.full((2, 400), torch.nan)), AudioError),
        (lambda: CODEC.encode_batch(torch.zeros(2, 400), stages=5), ConfigError),
        (lambda: CODEC.decode_batch(torch.zeros(2, 4, 9, dtype=torch.int64)), ConfigError),
        (lambda: CODEC.decode_batch([]), ConfigError),
        (lambda: CODEC.decode_batch(torch.full((1, 1, 4, 9), 60)), CorruptFile),
        (lambda: CODEC.latents(torch.zeros(321)), AudioError),
        (lambda: CODEC.from_codes(torch.zeros(5, 9, dtype=torch.int64)), ConfigError),
        (lambda: CODEC.from_codes(torch.full((4, 9), 60)), ConfigError),
        (lambda: CODEC.from_codes(torch.zeros(4, 9)), ConfigError),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_computes_the_same() -> None:
    codec = Codec.load(Path(__file__).parents[2] / "golden" / "tiny.safetensors", "cuda")
    expected, found = EXACT.encode_batch(ITEMS), codec.encode_batch([item.cuda() for item in ITEMS])
    assert found.codes.is_cuda
    assert (found.codes.cpu() == expected.codes).float().mean() > 0.99
