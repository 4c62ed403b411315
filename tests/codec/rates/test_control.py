"""Bitrate that varies: files as large as was asked for, and bits where they are heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import synthetic
from vqcodec import Codec, Encoded, Rate
from vqcodec.errors import ConfigError
from vqcodec.payloads.plain import ABSENT

CODEC = Codec.load(Path(__file__).parents[2] / "golden" / "tiny.safetensors", "cpu")  # 4 stages, 300 bit/s each
RATE = 16_000
VARIABLE = Rate(600, mode="variable")


def counts_of(encoded: Encoded) -> NDArray[np.int64]:
    """[channel, frame]"""
    return (np.asarray(encoded.codes) != ABSENT).sum(1)


def bitrate(encoded: Encoded) -> float:
    """Bits a second of the whole file."""
    return len(encoded.to_bytes()) * 8 / encoded.duration_s


@pytest.mark.parametrize(("seconds", "wanted"), [(5.0, 400), (5.0, 900), (23.0, 600), (130.0, 900)])
def test_files_are_as_large_as_asked_for(seconds: float, wanted: float) -> None:
    encoded = CODEC.encode(synthetic.voice(seconds), rate=Rate(wanted, mode="variable"))
    assert 0.95 * wanted <= bitrate(encoded) <= wanted
    if seconds > 100:
        assert bitrate(encoded) >= 0.99 * wanted


def test_channels_share_the_bits() -> None:
    sound = np.stack([synthetic.voice(8.0), 0.01 * synthetic.voice(8.0, seed=1)])
    encoded = CODEC.encode(sound, rate=VARIABLE)
    assert 0.95 * 1200 <= bitrate(encoded) <= 1200
    loud, soft = counts_of(encoded).mean(1)
    assert loud > soft + 0.2


def test_pauses_get_fewer_stages_and_silence_none() -> None:
    speech = synthetic.voice(3.0)
    quiet = 0.003 * synthetic.noise(3.0)
    encoded = CODEC.encode(np.concatenate([speech, quiet, np.zeros(3 * RATE, np.float32)]), rate=VARIABLE)
    counts = counts_of(encoded)[0]
    parts = [counts[begin : begin + 140].mean() for begin in (5, 155, 305)]
    assert parts[0] > parts[1] + 0.5
    assert parts[2] == 0
    assert len(CODEC.encode(np.zeros(60 * RATE, np.float32), rate=VARIABLE).to_bytes()) * 8 / 60 < 100


def test_more_bits_never_take_stages_away() -> None:
    sound = synthetic.voice(6.0)
    counts = [counts_of(CODEC.encode(sound, rate=Rate(wanted, mode="variable"))) for wanted in (300, 500, 900, 4000)]
    means = [of_rate.mean() for of_rate in counts]
    assert means == sorted(means)
    assert np.median(counts[-1]) == 4  # there are no more


def test_quality_is_the_same_whatever_it_takes() -> None:
    still, busy = 0.1 * synthetic.tone(4.0), synthetic.voice(4.0)
    for worse, better in ((2, 5), (5, 8)):
        low, high = (counts_of(CODEC.encode(busy, rate=Rate(quality=quality))).mean() for quality in (worse, better))
        assert low < high
    alone = counts_of(CODEC.encode(busy, rate=Rate(quality=5)))[0, :150]
    beside = counts_of(CODEC.encode(np.concatenate([busy, still]), rate=Rate(quality=5)))[0, :150]
    assert np.array_equal(alone, beside)


def test_no_second_exceeds_the_highest_bitrate() -> None:
    sound = np.concatenate([synthetic.silence(6.0), synthetic.voice(4.0)])
    free, limited = (
        counts_of(CODEC.encode(sound, rate=Rate(400, mode="variable", max_bitrate_bps=limit)))[0]
        for limit in (None, 700)
    )
    seconds = [counts[: len(counts) // 50 * 50].reshape(-1, 50).sum(1) * 6 for counts in (free, limited)]
    assert seconds[0].max() > 800
    assert seconds[1].max() <= 700


def test_a_short_sound_is_not_lost_to_its_header() -> None:
    encoded = CODEC.encode(synthetic.voice(0.3), rate=VARIABLE)
    assert counts_of(encoded).sum() > 5
    assert np.abs(CODEC.decode(encoded)).max() > 0.01


def test_blocks_make_no_difference() -> None:
    sound = synthetic.voice(3.0)
    encoded = CODEC.encode(sound, rate=VARIABLE)
    decoder = CODEC.decoder()
    parts = [decoder.push(np.asarray(encoded.codes)[..., at : at + 7]) for at in range(0, encoded.codes.shape[-1], 7)]
    together = np.concatenate([*parts, decoder.flush(len(sound))], axis=-1)
    np.testing.assert_array_equal(together, CODEC.decode(encoded))


def test_fewer_stages_of_a_varying_sound() -> None:
    encoded = CODEC.encode(synthetic.voice(3.0), rate=VARIABLE)
    fewer = encoded.with_stages(2)
    assert counts_of(fewer).max() == 2
    np.testing.assert_array_equal(Encoded.from_bytes(fewer.to_bytes()).codes, fewer.codes)
    np.testing.assert_array_equal(CODEC.decode(fewer), CODEC.decode(encoded, stages=2))
    assert fewer.bitrate_bps < encoded.bitrate_bps < 600


def test_live_streams_at_a_quality() -> None:
    sound = np.concatenate([synthetic.voice(2.0), synthetic.silence(1.0)])[None]
    encoder, decoder = CODEC.encoder(quality=5, block_frames=1), CODEC.decoder(block_frames=1, num_samples=48_000)
    codes = [encoder.push(sound[:, at : at + 160]) for at in range(0, sound.shape[1], 160)] + [encoder.flush()]
    together = np.concatenate(codes, axis=-1)
    counts = (together != ABSENT).sum(1)[0]
    assert counts[10:90].mean() > 1
    assert counts[-40:].max() == 0
    speech = np.concatenate([*(decoder.push(part) for part in codes), decoder.flush()], axis=-1)
    assert speech.shape == sound.shape
    better = CODEC.encoder(quality=8)
    more = np.concatenate([better.push(sound), better.flush()], axis=-1)
    assert (more != ABSENT).sum() > (together != ABSENT).sum()
    with pytest.raises(ConfigError, match="not both"):
        CODEC.encoder(quality=5, stages=2)
