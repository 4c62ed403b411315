"""The lattice and the flatness on sounds of which it is known how much of either they have."""

import numpy as np
import pytest
import scipy.signal

from synthetic import Sound, noise, silence, voice
from vqcodec.errors import AudioError
from vqcodec.recipes.metrics import flatness_db, lattice_db

RATE = 16_000
HOP = 160


def patterned(sound: Sound, frame: int, depth_db: float, seed: int = 0) -> Sound:
    """With a gain that repeats every `frame` samples, as a decoder's habit would have it."""
    steps = np.random.default_rng(seed).uniform(-depth_db, depth_db, frame // 16)
    gain = 10 ** (np.repeat(steps, 16) / 20)
    return (sound * np.tile(gain, len(sound) // frame + 1)[: len(sound)]).astype(np.float32)


def with_signs(sound: Sound, period: int) -> Sound:
    """Magnitudes of the MDCT kept, their signs above 1.5 kHz those of a pattern that repeats every `period` frames."""
    n = np.arange(2 * HOP)[:, None]
    k = np.arange(HOP)[None]
    basis = (
        np.sqrt(2 / HOP) * np.sin(np.pi * (n + 0.5) / (2 * HOP)) * np.cos(np.pi / HOP * (n + 0.5 + HOP / 2) * (k + 0.5))
    )
    padded = np.pad(sound, (HOP, 2 * HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP)[::HOP]
    coefficients = frames @ basis  # [frame, coefficient]
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (period, HOP))
    repeated = np.tile(signs, (len(frames) // period + 1, 1))[: len(frames)]
    high = k[0] >= 1500 * 2 * HOP / RATE
    parts = np.where(high, np.abs(coefficients) * repeated, coefficients) @ basis.T
    output = np.zeros(len(padded) + 2 * HOP)
    for place, part in enumerate(parts):
        output[place * HOP : (place + 2) * HOP] += part
    return output[HOP : HOP + len(sound)].astype(np.float32)


def test_signs_that_repeat_make_a_lattice() -> None:
    """Two MDCT frames of 10 ms to a frame of the codec; signs that never repeat make none."""
    sound = voice(6.0, seed=1, pitch_hz=170.0)
    assert lattice_db(sound, with_signs(sound, 2)) > 5
    assert abs(lattice_db(sound, with_signs(sound, 10_000))) < 1.5


@pytest.mark.parametrize("make", [voice, noise])
def test_a_gain_that_repeats_makes_a_lattice(make: type[voice]) -> None:
    sound = make(6.0, seed=1)
    scores = [lattice_db(sound, patterned(sound, 320, depth_db)) for depth_db in (1, 3, 9)]
    assert 0.3 < scores[0] < scores[1] < scores[2]
    assert scores[1] > 3
    assert scores[2] > 7
    assert abs(lattice_db(sound, patterned(sound, 368, 3.0))) < 1.5  # 43.5 Hz, whose multiples are others


def test_the_lattice_is_looked_for_at_the_frame_rate() -> None:
    sound = noise(6.0, seed=1)
    for frame in (640, 368):
        decoded = patterned(sound, frame, 6.0)
        assert lattice_db(sound, decoded, RATE, RATE / frame) > 5


def test_other_noise_has_no_lattice() -> None:
    scores = [lattice_db(noise(6.0, seed=0), noise(6.0, seed=seed)) for seed in range(1, 7)]
    assert np.abs(scores).max() < 1.5
    assert abs(np.mean(scores)) < 0.5


def test_a_pitch_at_the_frame_rate_is_the_reference_s_own() -> None:
    """Only what the decoder adds counts: a voice at a steady 100 Hz has the line itself."""
    time = np.arange(6 * RATE) / RATE
    pulses = np.zeros(len(time))
    pulses[:: RATE // 100] = 1
    sound = (pulses + 0.02 * noise(6.0)).astype(np.float32)
    assert abs(lattice_db(sound, (sound + 0.002 * noise(6.0, seed=1)).astype(np.float32))) < 1
    assert lattice_db(noise(6.0), sound) > 15


@pytest.mark.parametrize("gain", [-1.0, 1e-4, 30.0])
def test_neither_depends_on_the_level(gain: float) -> None:
    sound = voice(4.0, seed=1)
    decoded = patterned((sound + 0.05 * noise(4.0)).astype(np.float32), 320, 3.0)
    other = (gain * decoded).astype(np.float32)
    assert lattice_db(sound, other) == pytest.approx(lattice_db(sound, decoded), abs=0.01)
    assert flatness_db(sound, other) == pytest.approx(flatness_db(sound, decoded), abs=0.01)


def test_flatness_of_spectra_that_are_known() -> None:
    """Half of every band has 10 dB more: 5 in the mean of the decibels, 7.4 in the mean power; windows smear it."""
    hiss = np.random.default_rng(0).standard_normal(10 * RATE).astype(np.float32)
    hz = np.fft.rfftfreq(len(hiss), 1 / RATE)
    gain = np.where(hz % 500 < 250, 10**0.5, 1.0)
    steps = np.fft.irfft(np.fft.rfft(hiss) * gain, len(hiss)).astype(np.float32)
    exact = 5 - 10 * np.log10(5.5)
    assert exact < flatness_db(hiss, steps) < 0.7 * exact
    assert flatness_db(steps, hiss) == pytest.approx(-flatness_db(hiss, steps))


def harmonics(level: float) -> Sound:
    """200 Hz apart, with noise between them."""
    time = np.arange(4 * RATE) / RATE
    voiced = sum(np.sin(2 * np.pi * 200 * k * time + k * k) for k in range(1, 40))
    hiss = np.random.default_rng(0).standard_normal(len(time))
    return (0.02 * (voiced + level * hiss)).astype(np.float32)


def test_filling_the_gaps_between_harmonics_is_flatter() -> None:
    """In decibels the bins between the harmonics, two thirds of all, rise by up to 10 for ten times the noise power."""
    less, more = (flatness_db(harmonics(0.3), harmonics(level)) for level in (0.3 * 10**0.5, 3.0))
    assert 3 < less < 10
    assert less + 3 < more < 20
    assert flatness_db(harmonics(3.0), harmonics(0.3)) == pytest.approx(-more, abs=1e-6)


def test_bands_without_sound_are_no_flatter() -> None:
    """A codec of telephone band leaves nothing but rounding errors above 4 kHz, which are as flat as can be."""
    sound = harmonics(0.1)
    band = scipy.signal.butter(20, 3900, fs=RATE, output="sos")
    narrow = scipy.signal.sosfiltfilt(band, sound).astype(np.float32)
    narrow += 1e-7 * noise(4.0)
    assert flatness_db(sound, narrow) < 0.1


@pytest.mark.parametrize("score", [lattice_db, flatness_db])
def test_silence_is_refused(score: type[lattice_db]) -> None:
    sound = voice(2.0)
    for reference, decoded in ((sound, silence(2.0)), (silence(2.0), sound), (silence(2.0), silence(2.0))):
        with pytest.raises(AudioError, match=r"there is nothing to compare above 1\.5 kHz"):
            score(reference, decoded)
