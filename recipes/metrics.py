"""Pure scores of a decoded waveform against its reference, and the table of them.

Each takes (reference, decoded, sample_rate): two float waveforms [sample] of one length, aligned in time, nominally in
[-1, 1], at any rate from 8 kHz up, and resamples them to the rate that its definition wants. Its docstring says what
identical waveforms get. Where a score is undefined it raises AudioError; none is ever NaN. All of them raise it for
waveforms that are empty, differ in length or hold NaN.

PESQ, STOI, ViSQOL, DNSMOS and PLCMOS need the `eval` extra (`pip install 'vqcodec[eval]'`). Models are loaded once a
process and keep to one thread; ViSQOL may be called from one thread at a time only.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio
from vqcodec.errors import AudioError

from . import mos_models, texture_scores

if TYPE_CHECKING:
    from visqol import VisqolApi

Waveform = NDArray[np.floating]

RATE = 16_000
"""The rate in Hz of every score but SI-SDR, STOI (10 kHz) and PESQ-NB (8 kHz)."""
LOWEST_RATE = 8000

SI_SDR_LIMIT_DB = 100.0

PESQ_LONGEST_S = 30
"""The ITU's code has room for 50 utterances and overruns it in longer recordings."""

VISQOL_SHORTEST = 10_240
"""Samples: one patch of 20 frames behind the first 9 (80 ms frames, 20 ms apart)."""

FRAME_RATE_HZ = 50.0
"""Latents a second of the codec whose lattice is looked for, where nothing else is said."""
LATTICE_SHORTEST = 8000
"""Samples: one piece of an envelope."""

MEL_BANDS = {32: 5, 64: 10, 128: 20, 256: 40, 512: 80, 1024: 160, 2048: 320}
"""Mel bands for each window in samples."""
MEL_FLOOR = 1e-5

FRAME = 512
"""Window in samples of the log-spectral and the cepstral distance: 32 ms, every 8 ms."""
POWER_FLOOR_DB = -100.0
"""Of the log-spectral distance, per bin, against a sine of full scale."""
CEPSTRAL_COEFFICIENTS = 24


def p808(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """DNSMOS P.808 quality, MOS from about 1 to 5, higher is better; Reddy et al. 2021, at 16 kHz.

    What listeners would say on the scale of ITU-T P.808. Judges the decoded waveform alone, so compare with what the
    reference itself gets. The model is that of the package `speechmos`, another network than that of `dnsmos_ovrl`;
    mean over the same windows.
    """
    _, waveform = _pair(reference, decoded, sample_rate, RATE)
    return _finite("P.808", mos_models.dnsmos_p808(waveform))


def plcmos(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """PLCMOS version 2, MOS from about 1 to 5, higher is better; Diener et al. 2023, at 16 kHz.

    Trained on listeners' opinions of speech with gaps that were filled in, it is sensitive to what sounds synthetic.
    Judges the decoded waveform alone, so compare with what the reference itself gets; level matters. The model is that
    of the package `speechmos`; mean over 15 random listeners, who are the same every time.
    """
    _, waveform = _pair(reference, decoded, sample_rate, RATE)
    return _finite("PLCMOS", mos_models.plcmos(waveform))


def dnsmos_ovrl(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """DNSMOS P.835 overall quality, MOS from about 1 to 5, higher is better; Reddy et al. 2022, at 16 kHz.

    Judges the decoded waveform alone, so compare with what the reference itself gets; level matters. The model is that
    of the package `speechmos`, and the windows are those of its authors' script: 9.01 s each, one a second, mean over
    them; a shorter recording is repeated.
    """
    _, waveform = _pair(reference, decoded, sample_rate, RATE)
    return _finite("DNSMOS", mos_models.dnsmos_overall(waveform))


def lattice_db(
    reference: Waveform, decoded: Waveform, sample_rate: int = RATE, frame_rate_hz: float = FRAME_RATE_HZ
) -> float:
    """Lattice: how much a codec's frame rate is heard as a buzz, in dB over the reference; lower is better, at 16 kHz.

    A decoder that repeats a pattern in every frame puts lines at multiples of the frame rate into the envelopes of its
    bands. The score is the power of the first four of them over that of their surroundings, in the mean spectrum of the
    envelopes of six bands from 1.5 to 7.5 kHz (Hilbert envelopes, power 0.3, their slow course divided out, where the
    reference is active), in dB more than in the reference, whose voice may be at such a pitch. No published measure.
    Insensitive to level. Identical waveforms: 0; without a lattice within 1 dB or so of that.

    Args:
        frame_rate_hz: latents a second, 20 to 125; of another codec it finds what happens to be at this rate.

    Raises:
        AudioError: one waveform is silent, or the reference never active for long above 1.5 kHz; under 0.5 s.
    """
    x, y = _pair(reference, decoded, sample_rate, RATE)
    _refuse_short("the lattice", x, LATTICE_SHORTEST)
    return _defined("the lattice", texture_scores.lattice_over_reference(x, y, frame_rate_hz))


def flatness_db(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Spectral flatness in dB over the reference, lower is better; Gray & Markel 1974, at 16 kHz.

    How much the gaps between harmonics and other peaks are filled up: geometric over arithmetic mean of the power in
    bands of 500 Hz from 1.5 to 7.5 kHz, in dB, mean over bands and frames (32 ms Hann windows, 8 ms apart) that
    are not empty, less that of the reference. Below 0 there is more structure than there was. Insensitive to level.
    Identical waveforms: 0.

    Raises:
        AudioError: one waveform is silent; under 32 ms.
    """
    x, y = _pair(reference, decoded, sample_rate, RATE)
    _refuse_short("the spectral flatness", x, FRAME)
    return _defined("the spectral flatness", texture_scores.flatness_over_reference(x, y))


def pesq_wb(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Wideband PESQ, MOS-LQO from 1.04 to 4.64, higher is better; ITU-T P.862.2, package `pesq`, at 16 kHz.

    Insensitive to level. Recordings of more than 30 s are scored in equal parts, and the mean is taken.
    Identical waveforms: 4.644.

    Raises:
        AudioError: the sample rate is under 16 kHz; no speech was found; the decoded waveform is silent; under 0.25 s.
    """
    if sample_rate < RATE:
        raise AudioError(f"wideband PESQ needs at least {RATE} Hz, not {sample_rate}; use narrowband PESQ")
    return _pesq(*_pair(reference, decoded, sample_rate, RATE), RATE, "wb")


def pesq_nb(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Narrowband PESQ, MOS-LQO from 1.02 to 4.55, higher is better; ITU-T P.862 and P.862.1, package `pesq`, at 8 kHz.

    Judges the telephone band only. Otherwise as `pesq_wb`. Identical waveforms: 4.549.

    Raises:
        AudioError: no speech was found; the decoded waveform is silent; under 0.25 s.
    """
    return _pesq(*_pair(reference, decoded, sample_rate, LOWEST_RATE), LOWEST_RATE, "nb")


def visqol(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """ViSQOL v3 in speech mode, MOS-LQO from 1 to about 4.8, higher is better; Chinen et al. 2020, at 16 kHz.

    Package `visqol-python` with the lattice model, as the C++ tool has it by default. Insensitive to level.
    Identical waveforms do not give one number, but one that depends on the recording, 3.7 to 4.8 and 4.5 on average:
    compare with what the reference itself gets.

    Raises:
        AudioError: one waveform is silent; under 0.64 s; the two have nothing in common.
    """
    x, y = _pair(reference, decoded, sample_rate, RATE)
    _refuse_silence("ViSQOL", "reference", x)
    _refuse_silence("ViSQOL", "decoded", y)
    _refuse_short("ViSQOL", x, VISQOL_SHORTEST)
    try:
        mos = _visqol().measure_from_arrays(x, y, RATE).moslqo
    except (ValueError, IndexError) as error:
        raise AudioError(f"ViSQOL cannot compare these waveforms: {error}") from None
    return _finite("ViSQOL", mos)


def stoi(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Short-time objective intelligibility, about 0 to 1, higher is better; Taal et al. 2011, at 10 kHz.

    Package `pystoi`. Insensitive to level. Identical waveforms: 1.

    Raises:
        AudioError: the reference is silent, or holds less than 0.4 s of speech.
    """
    return _stoi(reference, decoded, sample_rate, extended=False)


def estoi(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Extended STOI, about 0 to 1, higher is better; Jensen & Taal 2016, at 10 kHz.

    Package `pystoi`. Stricter than STOI: it compares whole spectra, not band by band. Identical waveforms: 1.

    Raises:
        AudioError: the reference is silent, or holds less than 0.4 s of speech.
    """
    return _stoi(reference, decoded, sample_rate, extended=True)


def mel_distance(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Multi-scale log-mel distance, 0 and up, lower is better; as in DAC (Kumar et al. 2023), at 16 kHz.

    Mean absolute difference of log10(max(mel magnitude, 1e-5)), summed over seven Hann windows of 32, 64, ... 2048
    samples with a hop of a quarter and 5, 10, ... 320 Slaney mel bands from 0 to 8 kHz. A gain of g dB alone costs
    7 g / 20. Identical waveforms: 0.

    Raises:
        AudioError: under 128 ms.
    """
    x, y = _pair(reference, decoded, sample_rate, RATE)
    _refuse_short("the mel distance", x, max(MEL_BANDS))
    distances = [np.abs(np.log10(_mel(x, window)) - np.log10(_mel(y, window))).mean() for window in MEL_BANDS]
    return float(sum(distances))


def lsd(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Log-spectral distance in dB, 0 and up, lower is better; Gray & Markel 1976, at 16 kHz.

    Root mean square over the bins of the difference of power spectra in dB, mean over the frames: 32 ms Hann windows,
    8 ms apart, floored at 100 dB below a sine of full scale. A gain of g dB alone costs g. Identical waveforms: 0.

    Raises:
        AudioError: under 32 ms.
    """
    x, y = _pair(reference, decoded, sample_rate, RATE)
    _refuse_short("the log-spectral distance", x, FRAME)
    difference = _power_db(x) - _power_db(y)  # [bin, frame]
    return float(np.sqrt(np.square(difference).mean(axis=0)).mean())


def mcd(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Mel-cepstral distortion in dB, 0 and up, lower is better; Kubichek 1993, at 16 kHz.

    10 / ln 10 * sqrt(2 * sum of (c_m - c'_m)^2 over m = 1 to 24), mean over the frames, which are not realigned; c_0,
    the level, is left out. ln(mel magnitude) = c_0 + sum of c_m cos(pi m (band + 1/2) / 80), over 80 mel bands of
    32 ms Hann windows, 8 ms apart, floored like the mel distance. Identical waveforms: 0.

    Raises:
        AudioError: under 32 ms.
    """
    x, y = _pair(reference, decoded, sample_rate, RATE)
    _refuse_short("the mel-cepstral distortion", x, FRAME)
    difference = _cepstrum(x) - _cepstrum(y)  # [coefficient, frame]
    return float(10 / math.log(10) * np.sqrt(2 * np.square(difference).sum(axis=0)).mean())


def si_sdr(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, higher is better; -100 to 100, at the given rate.

    Le Roux et al. 2019, "SDR - half-baked or well done?". Identical waveforms: 100; a silent decoded one: -100.

    Raises:
        AudioError: the reference is silent.
    """
    _check(reference, decoded, sample_rate)
    _refuse_silence("SI-SDR", "reference", reference)
    x, y = (np.asarray(signal, np.float64) for signal in (reference, decoded))
    target = x * (x @ y) / (x @ x)
    error = y - target
    signal, distortion = float(target @ target), float(error @ error)
    least = 10 ** (-SI_SDR_LIMIT_DB / 10)
    if signal <= least * distortion:  # both are 0 for a silent decoded waveform
        return -SI_SDR_LIMIT_DB
    if distortion <= least * signal:
        return SI_SDR_LIMIT_DB
    return 10 * math.log10(signal / distortion)


@dataclass(frozen=True)
class Metric:
    """A score, and what a table needs to know about it."""

    name: str
    """Column and JSON key."""
    label: str
    """What a reader sees."""
    unit: str
    """MOS or dB; empty for a bare number."""
    higher_is_better: bool
    function: Callable[..., float]
    """(reference [sample], decoded [sample], sample rate in Hz) -> score; raises AudioError where it is undefined."""
    periodic: bool = False
    """The function takes the codec's frame rate in Hz as a fourth argument."""
    requires: tuple[str, ...] = ()
    """Importable packages beyond those that vqcodec always has."""


_SPEECHMOS = ("speechmos", "onnxruntime")

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("p808", "P.808", "MOS", True, p808, requires=_SPEECHMOS),
        Metric("plcmos", "PLCMOS", "MOS", True, plcmos, requires=_SPEECHMOS),
        Metric("dnsmos_ovrl", "DNSMOS OVRL", "MOS", True, dnsmos_ovrl, requires=_SPEECHMOS),
        Metric("lattice_db", "Lattice", "dB", False, lattice_db, periodic=True),
        Metric("flatness_db", "Flatness", "dB", False, flatness_db),
        Metric("pesq_wb", "PESQ-WB", "MOS", True, pesq_wb, requires=("pesq",)),
        Metric("pesq_nb", "PESQ-NB", "MOS", True, pesq_nb, requires=("pesq",)),
        Metric("visqol", "ViSQOL", "MOS", True, visqol, requires=("visqol", "ai_edge_litert")),
        Metric("stoi", "STOI", "", True, stoi, requires=("pystoi",)),
        Metric("estoi", "ESTOI", "", True, estoi, requires=("pystoi",)),
        Metric("mel_distance", "Mel distance", "", False, mel_distance),
        Metric("lsd", "LSD", "dB", False, lsd),
        Metric("mcd", "MCD", "dB", False, mcd),
        Metric("si_sdr", "SI-SDR", "dB", True, si_sdr),
    )
}
"""Every score by its name, in the order in which a table shows them."""

_DISTRIBUTIONS = {"visqol": "visqol-python", "ai_edge_litert": "ai-edge-litert"}
"""What to install for an import, where the names differ."""


def missing(metric: Metric) -> str | None:
    """Say in one line which packages a score lacks here and how to get them; None where it can be had."""
    absent = [_DISTRIBUTIONS.get(name, name) for name in metric.requires if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    packages = f"the package{'s' if len(absent) > 1 else ''} {' and '.join(absent)}"
    return f"{metric.label} needs {packages}: pip install 'vqcodec[eval]'"


# What goes in.


def _check(reference: Waveform, decoded: Waveform, sample_rate: int) -> None:
    for name, waveform in (("reference", reference), ("decoded", decoded)):
        if waveform.ndim != 1 or waveform.size == 0:
            raise AudioError(f"the {name} waveform must have the shape [sample], not {list(waveform.shape)}")
        if not np.isfinite(waveform).all():
            raise AudioError(f"the {name} waveform holds NaN or infinity")
    if len(reference) != len(decoded):
        raise AudioError(f"the waveforms must be equally long, not {len(reference)} and {len(decoded)} samples")
    if sample_rate < LOWEST_RATE:
        raise AudioError(f"scores need at least {LOWEST_RATE} Hz, not {sample_rate}")


def _pair(
    reference: Waveform, decoded: Waveform, sample_rate: int, target_rate: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both waveforms [sample], checked, and resampled to the target rate."""
    _check(reference, decoded, sample_rate)
    return _resampled(reference, sample_rate, target_rate), _resampled(decoded, sample_rate, target_rate)


def _resampled(waveform: Waveform, source_rate: int, target_rate: int) -> NDArray[np.float32]:
    block = np.asarray(waveform, np.float32)[None]  # [channel, sample]
    resampled: NDArray[np.float32] = audio.resample(block, source_rate, target_rate)[0]
    return resampled


def _refuse_silence(score: str, name: str, waveform: Waveform) -> None:
    if not waveform.any():
        raise AudioError(f"{score} is undefined: the {name} waveform is silent")


def _refuse_short(score: str, waveform: Waveform, samples: int) -> None:
    if len(waveform) < samples:
        raise AudioError(f"{score} needs at least {samples / RATE:.3f} s, not {len(waveform) / RATE:.3f} s")


def _defined(score: str, value: float | None) -> float:
    if value is None:
        raise AudioError(f"{score} is undefined: there is nothing to compare above 1.5 kHz")
    return value


def _finite(score: str, value: float) -> float:
    if not math.isfinite(value):
        raise AudioError(f"{score} is undefined for these waveforms")
    return float(value)


# What the packages need.


def _pesq(reference: Waveform, decoded: Waveform, sample_rate: int, mode: str) -> float:
    import pesq

    parts = -(-len(reference) // (PESQ_LONGEST_S * sample_rate))
    scores = []
    for x, y in zip(np.array_split(reference, parts), np.array_split(decoded, parts), strict=True):
        if not x.any():
            continue
        _refuse_silence("PESQ", "decoded", y)
        try:
            scores.append(float(pesq.pesq(sample_rate, x, y, mode)))
        except pesq.NoUtterancesError:
            continue
        except pesq.BufferTooShortError:
            raise AudioError(f"PESQ needs at least 0.25 s, not {len(x) / sample_rate:.3f} s") from None
        except ValueError:  # NaN: in float32 one waveform's power against the other's is 0
            raise AudioError("PESQ is undefined: the levels of the waveforms are too far apart") from None
    if not scores:
        raise AudioError("PESQ found no speech in the reference")
    return float(np.mean(scores))


def _stoi(reference: Waveform, decoded: Waveform, sample_rate: int, extended: bool) -> float:
    import pystoi

    _check(reference, decoded, sample_rate)
    _refuse_silence("STOI", "reference", reference)
    with warnings.catch_warnings(), _fixed_numpy_seed():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(reference, decoded, sample_rate, extended=extended))
        except (RuntimeWarning, np.exceptions.AxisError):  # too few frames, or none
            raise AudioError("STOI needs at least 0.4 s of speech in the reference") from None


@functools.cache
def _visqol() -> VisqolApi:
    import numba
    from visqol import VisqolApi

    numba.set_num_threads(1)
    api = VisqolApi()
    with _quiet_native_code():
        api.create(mode="speech", use_lattice_model=True)
    return api


@contextlib.contextmanager
def _fixed_numpy_seed() -> Iterator[None]:
    """`pystoi` adds noise from numpy's global generator, which would decide where a decoded band is silent."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


@contextlib.contextmanager
def _quiet_native_code() -> Iterator[None]:
    """Lose what C++ libraries tell the process's standard error while they start."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# Spectra at `RATE`, all [band or bin, frame], with reflected ends and a hop of a quarter of the window.


def _magnitude(waveform: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Of the unnormalised Hann STFT."""
    import librosa

    spectrum = librosa.stft(waveform, n_fft=window, hop_length=window // 4, window="hann", pad_mode="reflect")
    magnitude: NDArray[np.float32] = np.abs(spectrum)
    return magnitude


def _power_db(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power in dB against a sine of full scale, floored."""
    relative = _magnitude(waveform, FRAME) / (FRAME / 4)
    power_db: NDArray[np.float32] = 20 * np.log10(np.maximum(relative, 10 ** (POWER_FLOOR_DB / 20)))
    return power_db


def _mel(waveform: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Mel magnitudes, floored."""
    mel: NDArray[np.float32] = np.maximum(_mel_filters(window) @ _magnitude(waveform, window), MEL_FLOOR)
    return mel


@functools.cache
def _mel_filters(window: int) -> NDArray[np.float32]:
    """Slaney's triangles of equal area [band, bin]."""
    import librosa

    filters: NDArray[np.float32] = librosa.filters.mel(sr=RATE, n_fft=window, n_mels=MEL_BANDS[window])
    return filters


def _cepstrum(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mel cepstrum without c_0 [coefficient, frame]."""
    bands = MEL_BANDS[FRAME]
    order = np.arange(1, CEPSTRAL_COEFFICIENTS + 1)
    cosines = np.cos(np.pi / bands * np.outer(order, np.arange(bands) + 0.5))  # [coefficient, band]
    return 2 / bands * cosines @ np.log(_mel(waveform, FRAME))
