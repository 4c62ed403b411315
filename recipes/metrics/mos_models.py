"""Networks that predict listeners' mean opinion scores from a waveform alone: of `speechmos` and of `distillmos`.

Each takes a waveform `[sample]` at 16 kHz, nominally in [-1, 1], of any length but 0. The arithmetic around the
networks is that of their authors' scripts. Each is loaded once per process and keeps to one thread.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from torch import nn

RATE = 16_000

DNSMOS_WINDOW_S = 9.01
DNSMOS_POLYNOMIAL = (-0.06766283, 1.11546468, 0.04602535)
"""From the network's overall quality to MOS, highest power first; as published with the model."""

P808_WINDOW, P808_HOP, P808_BANDS = 321, 160, 120

DISTILL_MOS_WINDOW = 122_880
"""Samples; a shorter recording is followed by silence."""

PLCMOS_WINDOW, PLCMOS_HOP = 512, 256
PLCMOS_RATERS = 15
"""Random listeners, of 64 normal numbers each, over whom the published script takes the mean."""


def dnsmos_overall(waveform: NDArray[np.float32]) -> float:
    """MOS of the overall quality, from about 1 to 5; Reddy et al. 2022, "DNSMOS P.835"."""
    network = _network("dnsmos_models/sig_bak_ovr.onnx")
    raw = [network.run(None, {"input_1": window[None]})[0][0, 2] for window in _windows(waveform)]
    return float(np.polyval(DNSMOS_POLYNOMIAL, np.asarray(raw, np.float64)).mean())


def dnsmos_p808(waveform: NDArray[np.float32]) -> float:
    """MOS of an absolute category rating, from about 1 to 5; Reddy et al. 2021, "DNSMOS"."""
    network = _network("dnsmos_models/model_v8.onnx")
    scores = [network.run(None, {"input_1": _p808_features(window)})[0][0, 0] for window in _windows(waveform)]
    return float(np.mean(scores))


def plcmos(waveform: NDArray[np.float32]) -> float:
    """MOS from about 1 to 5; Diener et al. 2023, "PLCMOS", version 2. The random listeners are always the same."""
    network = _network("plcmos_models/plcmos_v2.onnx")
    features = _plcmos_features(waveform)
    raters = np.random.default_rng(0).standard_normal((PLCMOS_RATERS, 1, 64)).astype(np.float32)
    return float(np.mean([network.run(None, {"degraded_audio": features, "rater_embed": one})[0] for one in raters]))


def distill_mos(waveform: NDArray[np.float32]) -> float:
    """MOS from 1 to 5; Stahl and Gamper 2025, "Distill-MOS". Windows of 7.68 s at even distances of at most 1 s."""
    import torch

    rest = max(0, len(waveform) - DISTILL_MOS_WINDOW)
    firsts = np.linspace(0, rest, math.ceil(rest / RATE) + 1).astype(int)
    windows = [waveform[first : first + DISTILL_MOS_WINDOW] for first in firsts]
    network = _distilled()
    with torch.inference_mode():  # window by window: together, those of a long recording would fill the memory
        scores = [network(torch.from_numpy(np.ascontiguousarray(window))[None]) for window in windows]
    return float(torch.stack(scores).mean())


def _windows(waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Windows of 9.01 s, one a second; a shorter recording is repeated."""
    size = int(DNSMOS_WINDOW_S * RATE)
    while len(waveform) < size:
        waveform = np.concatenate([waveform, waveform])
    for first in range(int(len(waveform) // RATE - DNSMOS_WINDOW_S) + 1):
        window = waveform[first * RATE : int((first + DNSMOS_WINDOW_S) * RATE)]
        if len(window) == size:  # the published script leaves out those that rounding makes a sample short
            yield window


def _p808_features(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mel spectrum in dB below its peak, 1 for the peak and 0 at -40 dB: [1, frame, band]."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=window[:-P808_HOP], sr=RATE, n_fft=P808_WINDOW, hop_length=P808_HOP, n_mels=P808_BANDS
    )
    features: NDArray[np.float32] = (librosa.power_to_db(mel, ref=np.max).T[None] + 40) / 40
    return features.astype(np.float32)


def _plcmos_features(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log power spectrum over 20, bins without any power 120 dB below the weakest: [1, 1, frame, bin]."""
    frames = math.ceil((PLCMOS_HOP + len(waveform)) / PLCMOS_HOP)
    padded = np.zeros((frames - 1) * PLCMOS_HOP + PLCMOS_WINDOW)
    padded[PLCMOS_HOP : PLCMOS_HOP + len(waveform)] = waveform
    windows = np.lib.stride_tricks.sliding_window_view(padded, PLCMOS_WINDOW)[::PLCMOS_HOP]
    power = np.abs(np.fft.rfft(windows * np.hamming(PLCMOS_WINDOW + 1)[:-1])) ** 2
    weakest = power[power > 0].min() * 10**-12.0 if power.any() else 10**-8.0
    features: NDArray[np.float64] = np.log(np.where(power > 0, power, weakest)) / 20
    return features[None, None].astype(np.float32)


@functools.cache
def _network(name: str) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # PLCMOS's file gives its output another shape than it has
    with as_file(files("speechmos") / name) as path:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@functools.cache
def _distilled() -> nn.Module:
    from distillmos import ConvTransformerSQAModel

    with contextlib.redirect_stdout(io.StringIO()):  # it tells where its weights lie
        network: nn.Module = ConvTransformerSQAModel()
    return network.eval()
