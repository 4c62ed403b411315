"""Frames as they arrive, or do not, to sound."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from lives import codec

from synthetic import noise, voice
from vqcodec import audio
from vqcodec.codec import Codec
from vqcodec.live.concealment import FADE_FRAMES, TRAINED_FRAMES, FrameDecoder
from vqcodec.live.jitter import Kind, Slot

HELLO = Path(__file__).parents[3] / "examples" / "hello.wav"


@pytest.fixture(scope="module")
def shipped() -> Codec:
    return Codec.load(device="cpu", precision="float32")


def encoded(codec: Codec, waveform: np.ndarray) -> np.ndarray:
    return codec.encoder(bitrate_bps=3000, block_frames=1).push(waveform)[0] if len(waveform) else waveform


def play(decoder: FrameDecoder, codes: np.ndarray, lost: set[int] = frozenset()) -> np.ndarray:  # type: ignore[assignment]
    slots = [Slot(Kind.LOST) if n in lost else Slot(Kind.SPEECH, codes[:, n]) for n in range(codes.shape[1])]
    return np.concatenate([decoder.push(slot) for slot in slots], axis=1)[0]


def frame_levels(waveform: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.mean(waveform.reshape(-1, 320) ** 2, axis=1) + 1e-10)


def test_without_loss_it_is_the_stream_decoder() -> None:
    codes = codec().encoder(stages=4, block_frames=1).push(voice(1.0)[None])
    stream = codec().decoder(block_frames=1).push(codes)[0]
    played = play(FrameDecoder(codec()), codes[0])
    assert np.array_equal(played[codec().config.delay :], stream)


@pytest.mark.parametrize("gap", [1, 3, 10, 50])
def test_gaps_neither_click_nor_run_away(shipped: Codec, gap: int) -> None:
    waveform = audio.read(HELLO, 16_000)[0][:, :48_000]
    codes = encoded(shipped, waveform)
    whole = play(FrameDecoder(shipped), codes)
    steps, loudest = np.abs(np.diff(whole)).max(), frame_levels(whole).max()
    for start in range(5, codes.shape[1] - gap, 12):
        torn = play(FrameDecoder(shipped), codes[:, : start + gap + 3], set(range(start, start + gap)))
        assert np.abs(np.diff(torn)).max() < 1.5 * steps
        assert frame_levels(torn).max() < loudest + 6
        if gap > 10:
            assert frame_levels(torn)[start + FADE_FRAMES + 5 : start + gap].max() < loudest - 25


def test_after_a_gap_the_sound_is_the_same_again(shipped: Codec) -> None:
    codes = encoded(shipped, audio.read(HELLO, 16_000)[0][:, :48_000])
    whole, torn = play(FrameDecoder(shipped), codes), play(FrameDecoder(shipped), codes, {40, 41, 42})
    differs = np.flatnonzero(whole != torn) // 320
    assert differs.min() >= 39 and differs.max() < 100
    assert np.abs(whole - torn)[60 * 320 :].max() < 0.05


def test_a_decoder_that_conceals_does_so_for_as_long_as_it_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = codec(conceals=True)
    with torch.no_grad():
        chosen.model.decoder.lost.fill_(0.5)  # type: ignore[union-attr]
    decoder, seen = FrameDecoder(chosen), []
    forward = chosen.model.decoder.forward
    monkeypatch.setattr(
        chosen.model.decoder,
        "forward",
        lambda latent, *more: (seen.append(latent[0, 0, 0].item()), forward(latent, *more))[1],
    )
    for _ in range(TRAINED_FRAMES + 3):
        decoder.push(Slot(Kind.LOST))
    assert [value == 0.5 for value in seen] == [True] * TRAINED_FRAMES + [False] * 3


def test_a_frame_whose_next_one_is_there_lies_between_its_neighbours() -> None:
    chosen = codec()
    codes = np.random.default_rng(0).integers(0, 250, (4, 3))
    decoder = FrameDecoder(chosen)
    decoder.push(Slot(Kind.SPEECH, codes[:, 0]))
    latent = decoder._latent(Slot(Kind.LOST, following=codes[:, 2]))
    ends = chosen.model.quantizer.decode(torch.from_numpy(codes[:, [0, 2]])[None])
    assert torch.allclose(latent[..., 0], ends.mean(-1))


def test_comfort_noise_is_like_the_background(shipped: Codec) -> None:
    """Levels of octaves of the noise that is made up, against those of the background itself."""
    waveform = np.concatenate([voice(1.0), np.zeros(64_000, np.float32)])
    background = np.convolve(noise(5.0), [0.02, 0.018, 0.015, 0.01, 0.005], "same").astype(np.float32)
    codes = encoded(shipped, (waveform + background)[None])
    decoder = FrameDecoder(shipped)
    played = []
    for n in range(codes.shape[1]):
        if n < 70:
            slot = Slot(Kind.SPEECH, codes[:, n])
        elif n in (70, 71) or (n - 70) % 20 == 0:
            slot = Slot(Kind.NOISE, codes[:3, n])
        else:
            slot = Slot(Kind.SILENCE)
        played.append(decoder.push(slot)[0])
    made_up = octaves(np.concatenate(played[90:]))
    real = octaves(play(FrameDecoder(shipped), codes)[90 * 320 :])
    assert np.abs(made_up - real).max() < 4


def octaves(waveform: np.ndarray) -> np.ndarray:
    """Levels in dB of 250 to 500 Hz, ..., 4 to 8 kHz."""
    spectrum = np.abs(np.fft.rfft(waveform)) ** 2
    frequency = np.fft.rfftfreq(len(waveform), 1 / 16_000)
    edges = [250 * 2**n for n in range(6)]
    bands = [spectrum[(frequency >= low) & (frequency < high)].mean() for low, high in itertools.pairwise(edges)]
    return 10 * np.log10(np.array(bands))


def test_silence_before_anything_is_silent(shipped: Codec) -> None:
    decoder = FrameDecoder(shipped)
    played = np.concatenate([decoder.push(Slot(Kind.SILENCE)) for _ in range(50)], axis=1)[0]
    assert frame_levels(played)[10:].max() < -60
