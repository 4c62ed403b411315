"""Steady lines of known level in noise and in a voice."""

import numpy as np
import pytest

from synthetic import noise, silence, tone, voice
from vqcodec.errors import AudioError
from vqcodec.recipes.metrics import whistle_db

RATE = 16_000


@pytest.mark.parametrize("level", [0.002, 0.01, 0.05])
def test_a_tone_in_noise_stands_out_by_its_level(level: float) -> None:
    hiss, pure = 0.05 * noise(4.0, seed=1), level * tone(4.0, frequency_hz=3500.0)
    window = np.hanning(1025)[:-1]
    line, around = (pure.max() * window.sum() / 2) ** 2, np.var(hiss) * (window**2).sum()
    whistling = hiss + pure
    assert whistle_db(hiss, whistling) == pytest.approx(10 * np.log10((line + around) / (around * np.log(2))), abs=2.5)
    assert whistle_db(whistling, hiss) < 3.5
    assert whistle_db(whistling, whistling) == 0


def test_what_the_recording_has_is_no_fault() -> None:
    humming = voice(4.0, seed=2) + 0.01 * tone(4.0, frequency_hz=4000.0)
    other = humming + 0.001 * noise(4.0, seed=3)
    assert whistle_db(humming, other) < 3
    assert whistle_db(voice(4.0, seed=2) + 0.001 * noise(4.0, seed=3), other) > 10


def test_a_tone_that_moves_is_no_whistle() -> None:
    hiss = (0.02 * noise(4.0, seed=4)).astype(np.float32)
    seconds = np.arange(len(hiss)) / RATE
    glide = (0.05 * np.sin(2 * np.pi * (2000 * seconds + 500 * seconds**2))).astype(np.float32)
    assert whistle_db(hiss, hiss + glide) < 4
    assert whistle_db(hiss, hiss + 0.05 * tone(4.0, frequency_hz=3000.0)) > 15


def test_level_does_not_matter() -> None:
    sound = voice(3.0, seed=5)
    decoded = sound + 0.002 * tone(3.0, frequency_hz=5000.0)
    assert whistle_db(0.1 * sound, decoded) == pytest.approx(whistle_db(sound, decoded), abs=0.01)


def test_silence_has_none() -> None:
    with pytest.raises(AudioError, match="silent"):
        whistle_db(silence(1.0), voice(1.0))
    with pytest.raises(AudioError, match="silent"):
        whistle_db(voice(1.0), silence(1.0))
