"""Effects on crops: each does what its name says, none moves the sound in time, and all of it follows from the seed."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from synthetic import clicks, noise, silence, tone, voice
from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError
from vqcodec.recipes.config import AugmentConfig
from vqcodec.recipes.data.augment import Augment, PinkNoise, low_pass, room_response

RATE = 16_000
EVERYTHING = AugmentConfig(reverb=0.5, noise=0.5, band_limit=0.5, lossy=0.5)

needs_lossy_formats = pytest.mark.skipif(
    not all(soundfile.check_format(*audio.FORMATS[name][:2]) for name in ("mp3", "opus")),
    reason="this libsndfile has no MP3 or no Opus",
)


class Hiss:
    """A background of unit power, white."""

    def crop(self, samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return rng.standard_normal(samples).astype(np.float32)


def augment(config: AugmentConfig, background: Hiss | None = None) -> Augment:
    return Augment(config, (0.0, 0.0), RATE, background)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def lag(sound: NDArray[np.float32], reference: NDArray[np.float32]) -> int:
    """Samples by which a sound comes later than another."""
    size = 2 * len(reference)
    correlation = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(reference, size).conj(), size)
    return (int(np.argmax(correlation)) + len(reference)) % size - len(reference)


def power_db(sound: NDArray[np.float32], low_hz: float, high_hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    frequency = np.fft.rfftfreq(len(sound), 1 / RATE)
    return float(10 * np.log10(spectrum[(frequency >= low_hz) & (frequency < high_hz)].mean() + 1e-20))


def test_nothing_but_the_gain_by_default() -> None:
    crop = voice(0.5)
    pair = Augment(AugmentConfig(), (-6.0, -6.0), RATE)(crop, rng())
    assert np.allclose(pair.waveform, crop * 10 ** (-6 / 20), atol=1e-6)
    assert pair.target is pair.waveform
    gains = [float(np.abs(Augment(AugmentConfig(), (-12.0, 0.0), RATE)(crop, rng(n))[0]).max()) for n in range(50)]
    assert 0.7 * 10 ** (-12 / 20) <= min(gains) < 0.25 < 0.5 < max(gains) <= 0.7
    loud = Augment(AugmentConfig(), (20.0, 20.0), RATE)(crop, rng()).waveform
    assert np.allclose(loud, crop / np.abs(crop).max(), atol=1e-6)  # louder, but not clipped


@needs_lossy_formats
def test_the_same_seed_the_same_crop() -> None:
    crop, effects = voice(1.0), augment(EVERYTHING)
    for seed in range(8):
        once, twice = effects(crop, rng(seed)), effects(crop, rng(seed))
        assert np.array_equal(once.waveform, twice.waveform)
        assert once.waveform.dtype == once.target.dtype == np.float32
        assert once.waveform.shape == once.target.shape == crop.shape
    assert len({effects(crop, rng(seed)).waveform.tobytes() for seed in range(8)}) > 6


@needs_lossy_formats
def test_effects_come_to_their_share_of_the_crops() -> None:
    crop = voice(0.2)
    for share in (0.0, 0.3, 1.0):
        effects = augment(AugmentConfig(noise=share))
        changed = sum(not np.array_equal(effects(crop, rng(seed)).waveform, crop) for seed in range(200))
        assert changed / 200 == pytest.approx(share, abs=0.1)


@needs_lossy_formats
@pytest.mark.parametrize("effect", ["reverb", "noise", "band_limit", "lossy"])
def test_no_effect_moves_the_sound_and_the_target_is_clean(effect: str) -> None:
    crop = voice(1.0)
    effects = augment(AugmentConfig.model_validate({effect: 1.0, "denoise": True}))
    for seed in range(8):
        heard, target = effects(crop, rng(seed))
        assert abs(lag(heard, target)) <= 2
        assert not np.array_equal(heard, target)
        scale = np.abs(target).max() / np.abs(crop).max()
        assert np.allclose(target, scale * crop, atol=1e-6)
        assert 0.1 < scale <= 1
        same = augment(AugmentConfig.model_validate({effect: 1.0}))(crop, rng(seed))
        assert np.array_equal(same.target, same.waveform)
        assert np.array_equal(same.waveform, heard)


@pytest.mark.parametrize("snr_db", [0.0, 12.0])
def test_noise_has_the_ratio_that_is_asked_for(snr_db: float) -> None:
    crop = 0.3 * voice(1.0)
    for background in (Hiss(), None):
        heard, _ = augment(AugmentConfig(noise=1.0, snr_db=(snr_db, snr_db)), background)(crop, rng())
        measured = 10 * np.log10(np.mean(crop**2) / np.mean((heard - crop) ** 2))
        assert measured == pytest.approx(snr_db, abs=0.05)


@needs_lossy_formats
def test_silence_stays_finite_and_silent() -> None:
    for seed in range(16):
        heard, target = augment(EVERYTHING)(silence(0.3), rng(seed))
        assert np.isfinite(heard).all()
        assert np.abs(heard).max() < 1e-3
        assert np.abs(target).max() < 1e-3


def test_what_gets_too_loud_is_scaled_together_with_its_target() -> None:
    crop = tone(0.5) * 2  # of full scale
    heard, target = augment(AugmentConfig(noise=1.0, snr_db=(0.0, 0.0), denoise=True))(crop, rng())
    assert np.abs(heard).max() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(target).max() < 0.7
    assert 10 * np.log10(np.mean(target**2) / np.mean((heard - target) ** 2)) == pytest.approx(0.0, abs=0.05)


def test_pink_noise_loses_three_decibels_an_octave() -> None:
    sound = PinkNoise().crop(10 * RATE, rng())
    octaves = [power_db(sound, low, 2 * low) for low in (100, 200, 400, 800, 1600, 3200)]
    assert np.diff(octaves) == pytest.approx(np.full(5, -3.0), abs=0.5)
    assert np.mean(sound**2) == pytest.approx(1.0, rel=0.01)
    assert PinkNoise().crop(1, rng()).shape == (1,)


def test_a_band_is_limited() -> None:
    crop = noise(1.0)
    cutoffs = []
    for seed in range(20):
        heard, _ = augment(AugmentConfig(band_limit=1.0))(crop, rng(seed))
        edges = np.arange(200, 8000, 100)
        attenuation = np.array([power_db(heard, e, e + 100) - power_db(crop, e, e + 100) for e in edges])
        assert np.abs(attenuation[edges < 1700]).max() < 0.5
        cutoffs.append(int(edges[np.argmax(attenuation < -3)]) if (attenuation < -3).any() else 8000)
    assert min(cutoffs) < 3000
    assert max(cutoffs) > 5000


def test_the_low_pass_filter_passes_and_stops() -> None:
    response = low_pass(RATE, 3400)
    assert np.array_equal(response, response[::-1])
    gain = np.abs(np.fft.rfft(response, RATE))  # one bin a Hz
    assert np.abs(gain[:3200] - 1).max() < 0.02
    assert gain[3700:].max() < 0.02


def test_a_room_decays_as_said() -> None:
    response = room_response(RATE, decay_s=0.4, direct_to_reverberant_db=5.0, predelay_s=0.01, rng=rng())
    assert response[0] == 1.0
    assert np.array_equal(response[1:161], np.zeros(160))
    tail = response[161:]
    assert len(tail) == 0.4 * RATE
    assert 10 * np.log10(np.sum(tail**2)) == pytest.approx(-5.0, abs=0.01)
    early, late = (np.mean(tail[start : start + 800] ** 2) for start in (0, 3200))
    assert 10 * np.log10(early / late) == pytest.approx(30.0, abs=1.5)  # half of 60 dB in half the time


def test_reverberation_fills_the_time_between_clicks() -> None:
    dry = clicks(0.5)
    heard, _ = augment(AugmentConfig(reverb=1.0))(dry, rng())
    assert np.mean(heard[dry == 0] ** 2) > 1e-6
    assert np.argmax(np.abs(heard)) in np.flatnonzero(dry)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"augment\.denoise has nothing to take away"):
        augment(AugmentConfig(denoise=True))
    with pytest.raises(ConfigError, match=r"augment\.lossy: neither MP3 nor Opus has a sample rate of 96000 Hz"):
        Augment(AugmentConfig(lossy=0.1), (0.0, 0.0), 96_000)


# MP3 and Opus in memory


@needs_lossy_formats
@pytest.mark.parametrize("name", ["mp3", "opus"])
@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_lossy_formats_keep_time_and_length(name: str, rate: int) -> None:
    sound = voice(0.5, rate)
    quality = []
    for bitrate_bps in (8_000, 16_000, 32_000, 64_000):
        lossy = audio.through_lossy(sound[None], rate, name, bitrate_bps)[0]
        assert lossy.shape == sound.shape
        assert abs(lag(lossy, sound)) <= 3
        quality.append(-10 * np.log10(np.mean((lossy - sound) ** 2) / np.mean(sound**2)))
    assert quality[0] < quality[-1]
    assert quality[-1] > 10


@needs_lossy_formats
@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_lossy_formats_take_very_short_and_stereo_sound(name: str) -> None:
    for samples in (1, 160, 1000):
        assert audio.through_lossy(silence(1.0)[None, :samples], RATE, name, 16_000).shape == (1, samples)
    stereo = np.stack([voice(0.5), tone(0.5)])
    assert audio.through_lossy(stereo, RATE, name, 64_000).shape == stereo.shape


def test_lossy_formats_refuse_what_they_cannot_hold() -> None:
    with pytest.raises(AudioError, match="unknown lossy format 'flac'; choose one of mp3, opus"):
        audio.through_lossy(voice(0.1)[None], RATE, "flac", 16_000)
    with pytest.raises(AudioError, match="no rate of 44100 Hz"):
        audio.through_lossy(voice(0.1)[None], 44_100, "opus", 16_000)


def test_speed_changes_pitch_and_length_is_kept() -> None:
    crop = tone(1.1, RATE, 1000.0)
    changed = Augment(AugmentConfig(speed=1.0), (0.0, 0.0), RATE, samples=RATE)
    pitches = []
    for seed in range(20):
        pair = changed(crop, rng(seed))
        assert len(pair.waveform) == RATE
        assert pair.target is pair.waveform
        assert np.abs(pair.waveform[-100:]).max() > 0.01  # nothing is missing at the end
        pitches.append(float(np.argmax(np.abs(np.fft.rfft(pair.waveform)))))
    assert 900 <= min(pitches) < 960
    assert 1040 < max(pitches) <= 1100
    plain = Augment(AugmentConfig(speed=0.0), (0.0, 0.0), RATE, samples=RATE)(crop, rng())
    assert np.array_equal(plain.waveform, crop[:RATE])


def test_the_equaliser_colours_without_a_lag() -> None:
    sound = noise(1.0, RATE)
    coloured = [augment(AugmentConfig(equalise=1.0))(sound, rng(seed)) for seed in range(10)]
    for pair in coloured:
        assert pair.target is pair.waveform
        assert lag(pair.waveform, sound) == 0
    bands = [(100, 400), (400, 1600), (1600, 6400)]
    gains = np.array([[power_db(pair.waveform, *b) - power_db(sound, *b) for b in bands] for pair in coloured])
    assert np.abs(gains - gains.mean(1, keepdims=True)).max() > 2  # some band is louder against the others
    assert gains.max() < 6.5
    assert not np.allclose(gains[0], gains[1], atol=0.5)
