"""PESQ, ViSQOL and STOI: scores of quality and intelligibility by models of hearing, from packages of their own."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from vqcodec.errors import AudioError

from .waveforms import LOWEST_RATE, RATE, Waveform, check, finite, refuse_short, refuse_silence, resampled_pair

if TYPE_CHECKING:
    from visqol import VisqolApi

PESQ_LONGEST_S = 30
"""The ITU's code has room for 50 utterances and overruns it in longer recordings."""

VISQOL_SHORTEST = 10_240
"""Samples: one patch of 20 frames behind the first 9 (80 ms frames, 20 ms apart)."""


def pesq_wb(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Wideband PESQ, MOS-LQO from 1.04 to 4.64, higher is better; ITU-T P.862.2, package `pesq`, at 16 kHz.

    Insensitive to level. Recordings of more than 30 s are scored in equal parts, and the mean is taken.
    Identical waveforms: 4.644.

    Raises:
        AudioError: the sample rate is under 16 kHz; no speech was found; the decoded waveform is silent; under 0.25 s.
    """
    if sample_rate < RATE:
        raise AudioError(f"wideband PESQ needs at least {RATE} Hz, not {sample_rate}; use narrowband PESQ")
    return _pesq(*resampled_pair(reference, decoded, sample_rate, RATE), RATE, "wb")


def pesq_nb(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Narrowband PESQ, MOS-LQO from 1.02 to 4.55, higher is better; ITU-T P.862 and P.862.1, package `pesq`, at 8 kHz.

    Judges the telephone band only. Otherwise as `pesq_wb`. Identical waveforms: 4.549.

    Raises:
        AudioError: no speech was found; the decoded waveform is silent; under 0.25 s.
    """
    return _pesq(*resampled_pair(reference, decoded, sample_rate, LOWEST_RATE), LOWEST_RATE, "nb")


def visqol(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """ViSQOL v3 in speech mode, MOS-LQO from 1 to about 4.8, higher is better; Chinen et al. 2020, at 16 kHz.

    Package `visqol-python` with the lattice model, as the C++ tool has it by default. Insensitive to level.
    Identical waveforms do not give one number, but one that depends on the recording, 3.7 to 4.8 and 4.5 on average:
    compare with what the reference itself gets.

    Raises:
        AudioError: one waveform is silent; under 0.64 s; the two have nothing in common.
    """
    x, y = resampled_pair(reference, decoded, sample_rate, RATE)
    refuse_silence("ViSQOL", "reference", x)
    refuse_silence("ViSQOL", "decoded", y)
    refuse_short("ViSQOL", x, VISQOL_SHORTEST)
    try:
        mos = _visqol().measure_from_arrays(x, y, RATE).moslqo
    except (ValueError, IndexError) as error:
        raise AudioError(f"ViSQOL cannot compare these waveforms: {error}") from None
    return finite("ViSQOL", mos)


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


def _pesq(reference: Waveform, decoded: Waveform, sample_rate: int, mode: str) -> float:
    import pesq

    parts = -(-len(reference) // (PESQ_LONGEST_S * sample_rate))
    scores = []
    for x, y in zip(np.array_split(reference, parts), np.array_split(decoded, parts), strict=True):
        if not x.any():
            continue
        refuse_silence("PESQ", "decoded", y)
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

    check(reference, decoded, sample_rate)
    refuse_silence("STOI", "reference", reference)
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
