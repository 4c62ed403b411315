"""Speech or background."""

import numpy as np

from synthetic import noise, voice
from vqcodec.live.activity import HANGOVER_S, ActivityDetector

HOP = 320


def active(waveform: np.ndarray) -> np.ndarray:
    detector = ActivityDetector(HOP / 16_000)
    blocks = waveform[: len(waveform) // HOP * HOP].reshape(-1, 1, HOP)
    return np.array([detector.push(block) for block in blocks])


def test_digital_silence_is_silence_after_the_hangover() -> None:
    found = active(np.zeros(16_000 * 2, np.float32))
    assert found.sum() == round(HANGOVER_S * 50) - 1


def test_steady_noise_is_background_whatever_its_level() -> None:
    for level in (0.001, 0.01, 0.1):
        found = active(level * noise(4.0))
        assert not found[50:].any()


def test_speech_stands_out_of_noise() -> None:
    talk = np.concatenate([np.zeros(32_000, np.float32), voice(2.0), np.zeros(32_000, np.float32)])
    loud = np.abs(talk.reshape(-1, HOP)).max(axis=1) > 0.1
    for background in (0.0, 0.003):
        found = active(talk + background * noise(6.0))
        assert found[loud].all()
        assert not found[50:99].any() and not found[230:].any()
