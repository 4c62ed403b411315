"""Block by block gives what the whole gives, whatever the blocks are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import synthetic
from vqcodec.errors import AudioError, ConfigError, CorruptFile
from vqcodec.models import checkpoint
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT
from vqcodec.models.layers import Stream
from vqcodec.stream import StreamDecoder, StreamEncoder, soft_limit

MODEL = checkpoint.load(Path(__file__).parents[1] / "golden" / "tiny.safetensors")
HOP = MODEL.config.hop_length
VOICE = synthetic.voice(5.0)[None]


def pieces(x: NDArray[Any], chunks: int | list[int]) -> Iterator[NDArray[Any]]:
    """x cut along the last axis into chunks of one length, or of the lengths given and the rest."""
    ends = range(chunks, x.shape[-1], chunks) if isinstance(chunks, int) else np.cumsum(chunks)
    yield from np.split(x, ends, axis=-1)


def encode(waveform: NDArray[Any], chunks: int | list[int] = 10**9, **settings: Any) -> NDArray[Any]:
    encoder = StreamEncoder(MODEL, len(waveform), **settings)
    parts = [encoder.push(part) for part in pieces(waveform, chunks)]
    return np.concatenate([*parts, encoder.flush()], axis=-1)


def decode(
    codes: NDArray[Any], num_samples: int | None = None, chunks: int | list[int] = 10**9, **settings: Any
) -> NDArray[Any]:
    decoder = StreamDecoder(MODEL, len(codes), num_samples=num_samples, **settings)
    parts = [decoder.push(part) for part in pieces(codes, chunks)]
    return np.concatenate([*parts, decoder.flush()], axis=-1)


WHOLE_CODES = encode(VOICE)
WHOLE = decode(WHOLE_CODES, VOICE.shape[1])


@pytest.mark.parametrize("chunk", [1, 7, 160, 319, 320, 321, 16_000, 63_999, 64_000, 64_001])
def test_codes_are_bit_equal_for_every_chunk(chunk: int) -> None:
    assert np.array_equal(encode(VOICE, chunk), WHOLE_CODES)


@pytest.mark.parametrize("block_frames", [1, 3, 100])
@pytest.mark.parametrize("chunk", [7, 320, 16_000])
def test_codes_are_bit_equal_for_every_chunk_in_other_blocks(chunk: int, block_frames: int) -> None:
    sound = VOICE[:, :20_000]
    expected = encode(sound, block_frames=block_frames)
    assert np.array_equal(encode(sound, chunk, block_frames=block_frames), expected)


@pytest.mark.parametrize("chunk", [1, 2, 7, 99, 100, 101, 199, 200, 201])
def test_waveform_is_the_same_for_every_chunk(chunk: int) -> None:
    again = decode(WHOLE_CODES, VOICE.shape[1], chunk)
    assert again.shape == VOICE.shape
    np.testing.assert_allclose(again, WHOLE, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(chunks=st.lists(st.integers(0, 70_000), max_size=6), frames=st.lists(st.integers(0, 250), max_size=6))
def test_random_chunks(chunks: list[int], frames: list[int]) -> None:
    codes = encode(VOICE, chunks)
    assert np.array_equal(codes, WHOLE_CODES)
    np.testing.assert_allclose(decode(codes, VOICE.shape[1], frames), WHOLE, rtol=0, atol=1e-5)


@pytest.mark.parametrize("block_frames", [1, 7, 1000])
def test_waveform_hardly_depends_on_the_block(block_frames: int) -> None:
    again = decode(WHOLE_CODES, VOICE.shape[1], block_frames=block_frames)
    np.testing.assert_allclose(again, WHOLE, rtol=0, atol=1e-5)


def test_the_same_as_the_model_at_once() -> None:
    samples = MODEL.config.num_frames(VOICE.shape[1]) * HOP
    padded = torch.zeros(1, 1, samples)
    padded[0, 0, : VOICE.shape[1]] = torch.from_numpy(VOICE[0])
    latents = MODEL.encoder(padded, Stream())
    assert np.mean(MODEL.quantizer.encode(latents, effort=DEFAULT_EFFORT).numpy() == WHOLE_CODES) > 0.99
    waveform = MODEL.decoder(MODEL.quantizer.decode(torch.from_numpy(WHOLE_CODES)), Stream())[0]
    delay = MODEL.config.delay
    np.testing.assert_allclose(waveform[:, delay : delay + VOICE.shape[1]].numpy(), WHOLE, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "samples", [1, 2, HOP - 1, HOP, HOP + 1, 2 * HOP, 16_000, 200 * HOP - 1, 200 * HOP, 200 * HOP + 1]
)
@pytest.mark.parametrize("block_frames", [1, 200])
def test_length_is_exact(samples: int, block_frames: int) -> None:
    codes = encode(VOICE[:, :samples], block_frames=block_frames)
    assert codes.shape == (1, 4, MODEL.config.num_frames(samples))
    assert codes.dtype == np.int64
    waveform = decode(codes, samples, block_frames=block_frames)
    assert waveform.shape == (1, samples)
    assert waveform.dtype == np.float32


def test_without_a_length_there_is_all_that_the_frames_hold() -> None:
    codes = encode(VOICE[:, :1000])
    assert decode(codes).shape == (1, codes.shape[-1] * HOP - MODEL.config.delay)


def test_a_length_known_only_at_the_end() -> None:
    decoder = StreamDecoder(MODEL)
    parts = [decoder.push(WHOLE_CODES), decoder.flush(VOICE.shape[1])]
    assert sum(part.shape[1] for part in parts) == VOICE.shape[1]


def test_nothing_gives_nothing() -> None:
    assert encode(np.zeros((2, 0), np.float32)).shape == (2, 4, 0)
    assert StreamEncoder(MODEL, 3, stages=2).flush().shape == (3, 2, 0)
    assert StreamDecoder(MODEL, 3).flush().shape == (3, 0)
    assert StreamDecoder(MODEL).flush(100).shape == (1, 0)


def test_a_live_stream_lags_by_no_more_than_the_latency() -> None:
    encoder, decoder = StreamEncoder(MODEL, block_frames=1), StreamDecoder(MODEL, block_frames=1)
    taken = given = 0
    for part in pieces(VOICE[:, :16_000], HOP):
        taken += part.shape[1]
        given += decoder.push(encoder.push(part)).shape[1]
        assert taken - given <= round(MODEL.config.latency_s * MODEL.config.sample_rate) - HOP


def test_channels_are_coded_one_by_one() -> None:
    both = np.concatenate([VOICE, synthetic.chirp(5.0)[None]])
    codes = encode(both, 5000)
    assert np.array_equal(codes[:1], WHOLE_CODES)
    assert np.array_equal(codes[1:], encode(both[1:]))
    waveform = decode(codes, VOICE.shape[1])
    assert np.array_equal(waveform[:1], WHOLE)


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_fewer_stages_are_a_prefix(stages: int) -> None:
    codes, whole = encode(VOICE, stages=stages, effort=1), encode(VOICE, effort=1)
    assert np.array_equal(codes, whole[:, :stages])
    assert np.array_equal(decode(whole, stages=stages), decode(codes))


def test_more_effort_finds_nearer_codes() -> None:
    latents = MODEL.encoder(torch.from_numpy(VOICE)[:, None], Stream())
    errors = []
    for effort in (1, 4, 16):
        codes = torch.from_numpy(encode(VOICE, 1000, effort=effort))
        error = (MODEL.quantizer.decode(codes)[..., : latents.shape[-1]] - latents).square().mean()
        errors.append(float(error))
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize(
    "sound", [synthetic.silence(1.0), synthetic.square(1.0), synthetic.dc(1.0), synthetic.clicks(1.0)]
)
def test_hard_sounds(sound: NDArray[Any]) -> None:
    waveform = decode(encode(sound[None], 1000), len(sound))
    assert waveform.shape == (1, len(sound))
    assert np.isfinite(waveform).all()
    assert np.abs(waveform).max() <= 1


def test_beyond_full_scale_is_clipped() -> None:
    assert np.array_equal(encode(VOICE * 100), encode(np.clip(VOICE * 100, -1, 1)))


def test_torch_in_torch_out_without_gradients() -> None:
    encoder, decoder = StreamEncoder(MODEL), StreamDecoder(MODEL, num_samples=VOICE.shape[1])
    waveform = torch.from_numpy(VOICE).double().requires_grad_()
    codes = torch.cat([encoder.push(waveform), encoder.flush()], dim=-1)
    assert codes.dtype == torch.int64
    assert np.array_equal(codes.numpy(), WHOLE_CODES)
    decoded = torch.cat([decoder.push(codes.int()), decoder.flush()], dim=-1)
    assert not decoded.requires_grad
    assert np.array_equal(decoded.numpy(), WHOLE)
    scale = torch.ones((), requires_grad=True)
    (scale * decoded).square().mean().backward()  # no tensor of the inference mode


@pytest.mark.parametrize("kind", [">f4", "f8", "f2"])
def test_any_floats(kind: str) -> None:
    sound = VOICE.astype("f2")
    assert np.array_equal(encode(sound.astype(kind)), encode(sound))


def test_views_of_any_layout() -> None:
    sound = np.stack([VOICE[0], VOICE[0]], axis=1)[::-1].T  # strides that torch cannot take
    sound.flags.writeable = False
    assert np.array_equal(encode(sound), encode(sound.copy()))


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(10, np.float32), r"\[channel, sample\] with 1 channels, not the shape \[10\]"),
        (np.zeros((2, 10), np.float32), r"not the shape \[2, 10\]"),
        (np.zeros((1, 10), np.int16), "floats in .*int16"),
        (np.array([["a"]]), "expected numbers"),
        (np.array([[0.0, np.nan]]), "sample 1 "),
        (torch.tensor([[0.0, 0.0, torch.inf]]), "sample 2 "),
    ],
)
def test_what_is_no_waveform(waveform: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        StreamEncoder(MODEL).push(waveform)


def test_the_place_of_a_nan_is_counted_from_the_start() -> None:
    encoder = StreamEncoder(MODEL)
    encoder.push(VOICE[:, :16_000])
    with pytest.raises(AudioError, match=r"sample 16001 \(1\.000063 s\)"):
        encoder.push(np.array([[0.0, np.nan]]))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((4, 10), np.int64), "not the shape"),
        (np.zeros((2, 4, 10), np.int64), "not the shape"),
        (np.zeros((1, 5, 10), np.int64), "1 to 4 stages"),
        (np.zeros((1, 0, 10), np.int64), "1 to 4 stages"),
        (np.zeros((1, 4, 10)), "integers"),
        (np.full((1, 4, 10), 60), "60 entries"),
        (np.full((1, 4, 10), -2), "from -2"),
        (np.array([[[3], [-1], [2], [-1]]]), "after an absent one"),
        (np.full((1, 4, 10), 2**64 - 1, np.uint64), "60 entries"),
    ],
)
def test_what_are_no_codes(codes: Any, message: str) -> None:
    with pytest.raises(CorruptFile, match=message):
        StreamDecoder(MODEL).push(codes)


def test_stages_may_not_change_on_the_way() -> None:
    decoder = StreamDecoder(MODEL)
    decoder.push(WHOLE_CODES)
    with pytest.raises(CorruptFile, match="2 stages after codes of 4"):
        decoder.push(WHOLE_CODES[:, :2])
    with pytest.raises(CorruptFile, match="3 to 4 stages"):
        StreamDecoder(MODEL, stages=3).push(WHOLE_CODES[:, :2])


@pytest.mark.parametrize(
    "arguments",
    [{"channels": 0}, {"stages": 0}, {"stages": 5}, {"block_frames": 0}, {"effort": 0}, {"effort": 17}],
)
def test_arguments_out_of_range(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        StreamEncoder(MODEL, **{"channels": 1} | arguments)  # type: ignore[arg-type]


def test_a_flushed_stream_takes_no_more() -> None:
    for stream, what in ((StreamEncoder(MODEL), VOICE), (StreamDecoder(MODEL), WHOLE_CODES)):
        stream.push(what)
        stream.flush()
        for call in (lambda s=stream, w=what: s.push(w), stream.flush):
            with pytest.raises(RuntimeError, match="flushed"):
                call()


def test_what_is_held_stays_small() -> None:
    """Neither the waveform nor the codes pushed are kept."""
    encoder = StreamEncoder(MODEL)
    for _ in range(3):
        encoder.push(VOICE)
    assert encoder._waiting is not None
    assert encoder._waiting.untyped_storage().nbytes() < 4 * encoder.block_frames * HOP


def test_the_model_is_left_as_it_was() -> None:
    model: Autoencoder = MODEL
    before = checkpoint.fingerprint_of(model)
    decode(encode(VOICE))
    assert checkpoint.fingerprint_of(model) == before


def test_the_limiter_touches_nothing_below_its_threshold() -> None:
    x = torch.linspace(-0.95, 0.95, 10_001)
    assert torch.equal(soft_limit(x), x)


def test_the_limiter_keeps_peaks_within_full_scale_and_in_order() -> None:
    x = torch.linspace(0.95, 8.0, 5001, dtype=torch.float64)
    limited = soft_limit(x)
    assert limited.max() <= 1
    assert (limited.diff() >= 0).all() and (limited[:200].diff() > 0).all()
    assert torch.equal(soft_limit(-x), -limited)
    slope = limited.diff()[0] / x.diff()[0]
    assert slope > 0.98  # no corner at the threshold
