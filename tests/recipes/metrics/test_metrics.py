"""Every score against an independent implementation, a closed form or a published value, and at its edges."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from numpy.typing import NDArray

from synthetic import Sound, clicks, dc, noise, silence, square, tone, voice
from vqcodec.errors import AudioError
from vqcodec.recipes import metrics
from vqcodec.recipes.metrics import METRICS, missing, mos_models

RATE = 16_000
DURATION_S = 4.6
"""Twice this is one window of DNSMOS, which takes 0.4 s."""

Score = Callable[[Sound, Sound, int], float]

ALL = list(METRICS)
ALONE = ["distill_mos", "p808", "plcmos", "dnsmos_ovrl"]
"""They judge the decoded waveform without the reference."""
WITH_REFERENCE = [name for name in ALL if name not in ALONE]


def torchaudio_functions() -> Any:
    """The functions of torchaudio; without a build that fits torch's, the test is skipped."""
    try:
        import torchaudio
    except (ImportError, OSError) as reason:
        pytest.skip(f"torchaudio cannot be loaded: {reason}")
    return torchaudio.functional


def function(name: str) -> Score:
    """The score of that name; without its packages the test is skipped."""
    if explanation := missing(METRICS[name]):
        pytest.skip(explanation)
    return METRICS[name].function


def mnru(sound: Sound, ratio_db: float, seed: int = 0) -> Sound:
    """Noise as loud as the speech at every moment, `ratio_db` below it: ITU-T P.810."""
    hiss = np.random.default_rng(seed).standard_normal(len(sound))
    return (sound * (1 + 10 ** (-ratio_db / 20) * hiss)).astype(np.float32)


@pytest.fixture(scope="module")
def speech() -> Sound:
    return voice(DURATION_S, seed=2)


@pytest.fixture(scope="module")
def degraded(speech: Sound) -> Sound:
    return mnru(speech, 15.0)


# The table.


def test_the_table() -> None:
    assert list(METRICS) == [metric.name for metric in METRICS.values()]
    assert ALL[:7] == ["distill_mos", "p808", "plcmos", "dnsmos_ovrl", "lattice_db", "flatness_db", "whistle_db"]
    assert ALL[7:12] == ["pesq_wb", "pesq_nb", "visqol", "stoi", "estoi"]
    assert ALL[12:] == ["mel_distance", "lsd", "mcd", "si_sdr"]
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
    for metric in METRICS.values():
        assert metric.name.isidentifier()
        assert metric.unit in ("MOS", "dB", "")
        assert metric.function.__name__ == metric.name
        assert metric.function.__doc__ is not None
        direction = "higher is better" if metric.higher_is_better else "lower is better"
        assert direction in metric.function.__doc__


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let `find_spec` find everything but these packages."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else object())


def test_missing_packages_are_named_as_pip_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", ModuleType("torchaudio"))
    hide(monkeypatch)
    assert {missing(metric) for metric in METRICS.values()} == {None}
    hide(monkeypatch, "visqol", "pystoi")
    assert missing(METRICS["visqol"]) == "ViSQOL needs the package visqol-python: pip install 'vqcodec[eval]'"
    assert missing(METRICS["estoi"]) == "ESTOI needs the package pystoi: pip install 'vqcodec[eval]'"
    assert missing(METRICS["pesq_wb"]) is None
    hide(monkeypatch, "visqol", "ai_edge_litert", "distillmos", "speechmos", "onnxruntime", "pesq", "pystoi")
    assert "the packages visqol-python and ai-edge-litert: pip" in str(missing(METRICS["visqol"]))
    had = [name for name in METRICS if missing(METRICS[name]) is None]
    assert had == ["lattice_db", "flatness_db", "whistle_db", "mel_distance", "lsd", "mcd", "si_sdr"]


def test_a_torchaudio_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch)
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    reason = "Distill-MOS needs a torchaudio that fits the installed torch"
    assert [missing(metric) for metric in METRICS.values() if missing(metric)] == [reason]


# What all scores have in common.


def mos_lqo(raw: float, slope: float, offset: float) -> float:
    """From raw PESQ to MOS-LQO, as P.862.1 and P.862.2 have it."""
    return 0.999 + 4 / (1 + math.exp(slope * raw + offset))


CEILINGS = {
    "lattice_db": 0.0,
    "flatness_db": 0.0,
    "whistle_db": 0.0,
    "pesq_wb": mos_lqo(4.5, -1.3669, 3.8224),  # 4.644
    "pesq_nb": mos_lqo(4.5, -1.4945, 4.6607),  # 4.549
    "stoi": 1.0,
    "estoi": 1.0,
    "mel_distance": 0.0,
    "lsd": 0.0,
    "mcd": 0.0,
    "si_sdr": 100.0,
}


@pytest.mark.parametrize("name", CEILINGS)
def test_identical_waveforms_get_the_ceiling(name: str, speech: Sound) -> None:
    score = function(name)
    assert score(speech, speech.copy(), RATE) == pytest.approx(CEILINGS[name], abs=1e-4)
    assert score(speech, speech.copy(), RATE) == score(speech, speech, RATE)


def test_visqol_of_identical_waveforms_depends_on_the_recording() -> None:
    score = function("visqol")
    for seed in (1, 2, 3):
        sound = voice(2.0, seed=seed)
        assert 3.7 < score(sound, sound, RATE) < 4.8


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("lattice_db", "plcmos", "distill_mos")])
def test_more_noise_is_worse(name: str, speech: Sound) -> None:
    score = function(name)
    values = [score(speech, mnru(speech, ratio_db), RATE) for ratio_db in (30, 20, 10, 0)]
    steps = np.diff(values) if METRICS[name].higher_is_better else -np.diff(values)
    assert (steps < 0).all(), values


@pytest.mark.parametrize(
    "name", ["lattice_db", "flatness_db", "pesq_wb", "pesq_nb", "visqol", "stoi", "estoi", "mcd", "si_sdr"]
)
def test_level_does_not_count(name: str, speech: Sound, degraded: Sound) -> None:
    score = function(name)
    # The lattice of ViSQOL magnifies rounding errors; the floor of the mel magnitudes does not move with the level.
    tolerance = {"visqol": 0.1, "mcd": 0.1}.get(name, 1e-3)
    assert score(speech, 0.3 * degraded, RATE) == pytest.approx(score(speech, degraded, RATE), abs=tolerance)


@pytest.mark.parametrize("name", [name for name in ALL if name != "si_sdr"])
def test_other_sample_rates_are_resampled(name: str) -> None:
    score = function(name)
    high = voice(DURATION_S, 3 * RATE, seed=2), mnru(voice(DURATION_S, 3 * RATE, seed=2), 15.0)
    tensors = [torch.from_numpy(sound) for sound in high]
    low = [
        torchaudio_functions().resample(sound, 3 * RATE, RATE, lowpass_filter_width=128, rolloff=0.96).numpy()
        for sound in tensors
    ]
    # Where the two resamplers' filters end, only the log-spectral distance and PLCMOS look closely.
    tolerance = {"lsd": 0.1, "plcmos": 0.2, "distill_mos": 0.2}.get(name, 0.01)
    assert score(*high, 3 * RATE) == pytest.approx(score(low[0], low[1], RATE), abs=tolerance)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("pesq_wb", "lattice_db")])
def test_telephone_rate(name: str) -> None:
    score, sound = function(name), voice(DURATION_S, 8000, seed=2)
    values = [score(sound, mnru(sound, ratio_db), 8000) for ratio_db in (20, 0)]
    assert (values[0] > values[1]) is METRICS[name].higher_is_better


def test_wideband_pesq_wants_a_wide_band() -> None:
    sound = voice(1.0, 8000)
    with pytest.raises(AudioError, match=r"wideband PESQ needs at least 16000 Hz, not 8000; use narrowband PESQ"):
        function("pesq_wb")(sound, sound, 8000)


BAD_INPUT: dict[str, tuple[NDArray[np.floating], NDArray[np.floating], int, str]] = {
    "lengths": (noise(1.0), noise(1.1), RATE, "must be equally long, not 16000 and 17600 samples"),
    "empty": (noise(0.0), noise(0.0), RATE, r"the reference waveform must have the shape \[sample\], not \[0\]"),
    "channels": (noise(1.0), noise(1.0)[None], RATE, r"the decoded waveform must .* not \[1, 16000\]"),
    "nan": (noise(1.0), np.append(noise(1.0)[1:], np.nan), RATE, "the decoded waveform holds NaN"),
    "infinity": (np.append(noise(1.0)[1:], np.inf), noise(1.0), RATE, "the reference waveform holds NaN or infinity"),
    "rate": (noise(1.0), noise(1.0), 4000, "at least (8000|16000) Hz, not 4000"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
@pytest.mark.parametrize("name", ALL)
def test_bad_input(name: str, case: str) -> None:
    reference, decoded, sample_rate, message = BAD_INPUT[case]
    with pytest.raises(AudioError, match=message):
        function(name)(reference, decoded, sample_rate)


SHORTEST_S = {
    "lattice_db": 0.5,
    "flatness_db": 0.032,
    "pesq_wb": 0.25,
    "pesq_nb": 0.25,
    "visqol": 0.64,
    "mel_distance": 0.128,
    "lsd": 0.032,
    "mcd": 0.032,
}


@pytest.mark.parametrize("name", SHORTEST_S)
def test_the_shortest_input(name: str) -> None:
    score, samples = function(name), round(SHORTEST_S[name] * RATE)
    sound = voice(1.0)[-samples - 16 :]
    assert math.isfinite(score(sound[16:], mnru(sound[16:], 10), RATE))
    with pytest.raises(AudioError, match=rf"needs at least {SHORTEST_S[name]}\d* s, not 0\.\d+ s"):
        score(sound[32:], sound[32:], RATE)


@pytest.mark.parametrize("name", ["stoi", "estoi"])
def test_intelligibility_needs_some_speech(name: str) -> None:
    score = function(name)
    click = clicks(2.0, interval_s=2.0)
    for sound in (click, voice(0.3), voice(0.01)):
        with pytest.raises(AudioError, match=r"STOI needs at least 0\.4 s of speech in the reference"):
            score(sound, sound, RATE)


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_a_silent_reference(name: str, speech: Sound) -> None:
    score, quiet = function(name), silence(DURATION_S)
    if name in ("mel_distance", "lsd", "mcd"):  # floored, hence defined
        assert score(quiet, quiet, RATE) == 0.0
        assert score(quiet, speech, RATE) > 1.0
        return
    for decoded in (speech, quiet):
        with pytest.raises(
            AudioError, match=r"no speech in the reference|the reference waveform is silent|nothing to compare"
        ):
            score(quiet, decoded, RATE)


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_a_silent_output(name: str, speech: Sound) -> None:
    score, quiet = function(name), silence(DURATION_S)
    if name in ("pesq_wb", "pesq_nb", "visqol"):
        with pytest.raises(AudioError, match="is undefined: the decoded waveform is silent"):
            score(speech, quiet, RATE)
    elif name in ("lattice_db", "flatness_db", "whistle_db"):
        with pytest.raises(AudioError, match="is undefined: there is nothing to compare"):
            score(speech, quiet, RATE)
    elif name in ("stoi", "estoi"):
        assert score(speech, quiet, RATE) == pytest.approx(0.0, abs=0.01)
    elif name == "si_sdr":
        assert score(speech, quiet, RATE) == -100.0
    else:
        assert score(speech, quiet, RATE) > score(speech, mnru(speech, 0), RATE)


ODD = {
    "constant": dc(1.2),
    "quiet": (1e-6 * voice(1.2)).astype(np.float32),
    "beyond 1": (20 * voice(1.2)).astype(np.float32),
    "square": square(1.2),
    "tone": tone(1.2),
    "vanishing": (1e-25 * voice(1.2)).astype(np.float32),
    "click": clicks(1.2, interval_s=1.2),
    "faint": np.full(round(1.2 * RATE), 1 / 32768, np.float32),
}


@pytest.mark.parametrize("name", ALL)
def test_never_nan_nor_another_error(name: str) -> None:
    score = function(name)
    sounds = list(ODD.values())[: 3 if name in ALONE else None]  # which take seconds
    for reference, decoded in zip(sounds, [*sounds[1:], sounds[0]], strict=True):
        for other in (decoded, reference)[: 1 if name in ALONE else None]:
            try:
                assert math.isfinite(score(reference, other, RATE))
            except AudioError as error:
                assert "\n" not in str(error)


IN_ANOTHER_PROCESS = """
import json, sys
sys.path[:0] = sys.argv[2:]
from test_metrics import DURATION_S, METRICS, RATE, missing, mnru, voice
speech = voice(DURATION_S, seed=2)
degraded = mnru(speech, 15.0)
scores = {name: metric.function(speech, degraded, RATE) for name, metric in METRICS.items() if not missing(metric)}
numba = sys.modules.get("numba")
with open(sys.argv[1], "w") as file:
    json.dump({"scores": scores, "threads": numba.get_num_threads() if "visqol" in scores else 1}, file)
"""


def test_a_process_of_its_own(speech: Sound, degraded: Sound, tmp_path: Path) -> None:
    """It hears what the libraries say when they are first loaded: nothing. The numbers repeat, on one thread."""
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path / "report.json"), *folders]
    many = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(command, env=many, capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["threads"] == 1
    assert {name for name in ALL if not missing(METRICS[name])} == report["scores"].keys()
    for name, score in report["scores"].items():
        assert METRICS[name].function(speech, degraded, RATE) == pytest.approx(score, abs=1e-6)


# SI-SDR.


@pytest.mark.parametrize("ratio_db", [-30.0, 0.0, 12.5, 60.0])
def test_si_sdr_of_orthogonal_noise(ratio_db: float) -> None:
    signal, hiss = tone(1.0, frequency_hz=400.0).astype(np.float64), tone(1.0, frequency_hz=600.0).astype(np.float64)
    decoded = -3.0 * (signal + 10 ** (-ratio_db / 20) * hiss)
    assert metrics.si_sdr(signal, decoded) == pytest.approx(ratio_db, abs=1e-4)


def test_si_sdr_follows_from_the_correlation(speech: Sound, degraded: Sound) -> None:
    """cos^2 / (1 - cos^2) is the same quantity by way of the angle between the waveforms."""
    x, y = speech.astype(np.float64), degraded.astype(np.float64)
    cosine2 = (x @ y) ** 2 / ((x @ x) * (y @ y))
    assert metrics.si_sdr(speech, degraded) == pytest.approx(10 * math.log10(cosine2 / (1 - cosine2)), abs=1e-9)


# PESQ.


def test_pesq_is_that_of_the_package(speech: Sound, degraded: Sound) -> None:
    wideband, narrowband = function("pesq_wb"), function("pesq_nb")
    import pesq

    assert wideband(speech, degraded, RATE) == pesq.pesq(RATE, speech, degraded, "wb")
    x, y = speech[::2].copy(), degraded[::2].copy()
    assert narrowband(x, y, 8000) == pesq.pesq(8000, x, y, "nb")


def test_long_recordings_are_scored_in_parts() -> None:
    """The package overruns its memory beyond 50 utterances."""
    score = function("pesq_wb")
    import pesq

    utterance = np.concatenate([voice(0.5), silence(0.3)])
    sound = np.tile(utterance, 75)  # 60 s: two parts
    decoded = mnru(sound, 15.0)
    parts = zip(np.split(sound, 2), np.split(decoded, 2), strict=True)
    wanted = np.mean([pesq.pesq(RATE, x, y, "wb") for x, y in parts])
    assert score(sound, decoded, RATE) == pytest.approx(wanted, abs=1e-6)

    silent_part = silence(30.0)
    pair = [np.concatenate([waveform, silent_part]) for waveform in (sound, decoded)]
    assert score(pair[0], pair[1], RATE) == pytest.approx(wanted, abs=1e-6)


# STOI.


def independent_stoi(reference: Sound, decoded: Sound, extended: bool) -> float:
    """Taal et al. 2011 and Jensen & Taal 2016, at 10 kHz, written from the papers."""
    window = torch.hann_window(258, periodic=False, dtype=torch.float64)[1:-1]
    x, y = (torch.from_numpy(sound).double().unfold(0, 256, 128) * window for sound in (reference, decoded))
    loud = x.square().sum(1) > x.square().sum(1).max() * 1e-4  # [frame]: within 40 dB of the loudest

    def third_octaves(frames: torch.Tensor) -> torch.Tensor:
        kept = frames[loud]
        size = 128 * (len(kept) - 1) + 256
        joined = torch.nn.functional.fold(kept.T[None], (1, size), (1, 256), stride=(1, 128))[0, 0, 0]
        power = torch.fft.rfft(joined.unfold(0, 256, 128) * window, n=512).abs().square()  # [frame, bin]
        edges = [150 * 2 ** ((2 * band + side) / 6) for band in range(15) for side in (-1, 1)]
        bins = [round(edge / (10_000 / 512)) for edge in edges]
        bands = [power[:, low:high].sum(1).sqrt() for low, high in zip(bins[::2], bins[1::2], strict=True)]
        return torch.stack(bands).unfold(1, 30, 1).transpose(0, 1)  # [segment, band, frame]

    def normalised(values: torch.Tensor, axis: int) -> torch.Tensor:
        centred = values - values.mean(axis, keepdim=True)
        return centred / centred.norm(dim=axis, keepdim=True)

    a, b = third_octaves(x), third_octaves(y)
    if extended:
        a, b = (normalised(normalised(values, 2), 1) for values in (a, b))
        return float((a * b).sum(1).mean())
    b = b * a.norm(dim=2, keepdim=True) / b.norm(dim=2, keepdim=True)
    b = torch.minimum(b, a * (1 + 10 ** (15 / 20)))
    return float((normalised(a, 2) * normalised(b, 2)).sum(2).mean())


@pytest.mark.parametrize("ratio_db", [20.0, 5.0, -5.0])
@pytest.mark.parametrize("name", ["stoi", "estoi"])
def test_stoi_as_the_papers_have_it(name: str, ratio_db: float) -> None:
    score = function(name)
    # Steady noise: a band without any sound has no correlation. The package leaves out a last frame that just fits.
    sound = voice(3.0, 10_000, seed=1)[: 128 * 230 + 256 + 1] + 1e-3 * noise(3.0, 10_000)[: 128 * 230 + 256 + 1]
    decoded = mnru(sound, ratio_db)
    wanted = independent_stoi(sound, decoded, extended=name == "estoi")
    assert score(sound, decoded, 10_000) == pytest.approx(wanted, abs=1e-3)


def test_estoi_repeats_and_leaves_the_random_generator_alone(speech: Sound) -> None:
    score = function("estoi")
    gaps = speech.copy()
    gaps[len(gaps) // 2 :] = 0.0
    np.random.seed(1)
    first = score(speech, gaps, RATE)
    drawn = np.random.random()
    np.random.seed(1)
    assert np.random.random() == drawn
    assert score(speech, gaps, RATE) == first


# ViSQOL.


def test_visqol_is_that_of_the_package_with_the_lattice(speech: Sound, degraded: Sound) -> None:
    score = function("visqol")
    from visqol import VisqolApi

    lattice, polynomial = VisqolApi(), VisqolApi()
    lattice.create(mode="speech", use_lattice_model=True)
    polynomial.create(mode="speech", use_lattice_model=False)
    got = score(speech, degraded, RATE)
    assert got == pytest.approx(lattice.measure_from_arrays(speech, degraded, RATE).moslqo, abs=1e-6)
    assert abs(got - polynomial.measure_from_arrays(speech, degraded, RATE).moslqo) > 0.1


def test_visqol_finds_nothing_in_common(speech: Sound) -> None:
    """The bottom of the scale, which the tool gives below a similarity of 0.15."""
    assert function("visqol")(speech, noise(DURATION_S), RATE) == 1.0


def test_models_are_loaded_once_and_keep_to_one_thread(
    monkeypatch: pytest.MonkeyPatch, speech: Sound, degraded: Sound
) -> None:
    scores = [function("visqol"), *(function(name) for name in ALONE)]
    import onnxruntime
    import visqol

    first = [score(speech, degraded, RATE) for score in scores]
    for name in ("dnsmos_models/sig_bak_ovr.onnx", "dnsmos_models/model_v8.onnx", "plcmos_models/plcmos_v2.onnx"):
        options = mos_models._network(name).get_session_options()
        assert options.intra_op_num_threads == options.inter_op_num_threads == 1
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    monkeypatch.delattr(visqol, "VisqolApi")
    assert [score(speech, degraded, RATE) for score in scores] == first


# DNSMOS and PLCMOS.


@pytest.mark.parametrize("duration_s", [2.7, 17.2])
def test_dnsmos_is_that_of_its_authors(duration_s: float) -> None:
    """Repeated when short; one window a second when long, less the last here, which rounding makes too short."""
    overall, rated = function("dnsmos_ovrl"), function("p808")
    for package in ("requests", "librosa"):
        pytest.importorskip(package, reason="speechmos needs it for its own script")
    from speechmos import dnsmos

    sound = mnru(voice(duration_s, seed=3), 10.0)
    wanted = dnsmos.run(sound.clip(-1, 1), RATE)
    assert overall(sound, sound.clip(-1, 1), RATE) == pytest.approx(wanted["ovrl_mos"], abs=1e-4)
    assert rated(sound, sound.clip(-1, 1), RATE) == pytest.approx(wanted["p808_mos"], abs=1e-4)


@pytest.mark.parametrize("sound", [voice(2.7, seed=3), np.append(silence(1.0), voice(1.0)), silence(1.0)])
def test_plcmos_hears_what_its_authors_let_it_hear(sound: Sound) -> None:
    function("plcmos")
    from speechmos import plcmos

    wanted = plcmos.PLCMOS.stft_transform(plcmos.PLCMOS.__new__(plcmos.PLCMOS), sound)
    assert mos_models._plcmos_features(sound)[0, 0] == pytest.approx(wanted, abs=1e-5)


def test_plcmos_hears_gaps_and_noise(speech: Sound) -> None:
    score, gaps = function("plcmos"), speech.copy()
    for start in range(0, len(gaps), 1600):
        gaps[start : start + 480] = 0
    assert score(speech, speech, RATE) > score(speech, gaps, RATE) + 0.2
    assert score(speech, speech, RATE) > score(speech, mnru(speech, 10), RATE) + 0.2


@pytest.mark.parametrize("duration_s", [2.0, 7.68, 9.3])
def test_distill_mos_is_that_of_its_authors(duration_s: float) -> None:
    score = function("distill_mos")
    import torch

    sound = mnru(voice(duration_s, seed=3), 10.0)
    with torch.no_grad():
        wanted = float(mos_models._distilled()(torch.from_numpy(sound)[None]))
    assert score(sound, sound, RATE) == pytest.approx(wanted, abs=1e-4)


def test_distill_mos_hears_noise(speech: Sound) -> None:
    score = function("distill_mos")
    assert score(speech, speech, RATE) > score(speech, mnru(speech, 10), RATE) + 0.2


def test_plcmos_has_the_same_listeners_every_time(speech: Sound, degraded: Sound) -> None:
    score = function("plcmos")
    np.random.seed(1)
    first = score(speech, degraded, RATE)
    np.random.seed(2)
    assert score(speech, degraded, RATE) == first
    assert 1 < first < 5


@pytest.mark.parametrize("name", ALONE)
def test_some_need_no_reference(name: str, speech: Sound, degraded: Sound) -> None:
    score = function(name)
    assert score(speech, degraded, RATE) == score(silence(DURATION_S), degraded, RATE)


# Distances of spectra.


def magnitudes(sound: Sound, window: int) -> torch.Tensor:
    """Of the Hann STFT [bin, frame]."""
    hann = torch.hann_window(window, dtype=torch.float64)
    return torch.stft(torch.from_numpy(sound).double(), window, window // 4, window=hann, return_complex=True).abs()


def mels(sound: Sound, window: int, bands: int) -> torch.Tensor:
    """Floored mel magnitudes [band, frame], with the filters of torchaudio."""
    filters = torchaudio_functions().melscale_fbanks(
        window // 2 + 1, 0.0, RATE / 2, bands, RATE, norm="slaney", mel_scale="slaney"
    )
    return (filters.T.double() @ magnitudes(sound, window)).clamp_min(1e-5)


def test_mel_distance_with_torch(speech: Sound, degraded: Sound) -> None:
    wanted = 0.0
    for bands, window in ((5, 32), (10, 64), (20, 128), (40, 256), (80, 512), (160, 1024), (320, 2048)):
        difference = mels(speech, window, bands).log10() - mels(degraded, window, bands).log10()
        wanted += float(difference.abs().mean())
    assert metrics.mel_distance(speech, degraded, RATE) == pytest.approx(wanted, rel=1e-3)


def test_lsd_with_torch(speech: Sound, degraded: Sound) -> None:
    x, y = ((magnitudes(sound, 512) / 128).clamp_min(1e-5).log10() * 20 for sound in (speech, degraded))
    wanted = float((x - y).square().mean(0).sqrt().mean())
    assert metrics.lsd(speech, degraded, RATE) == pytest.approx(wanted, rel=1e-3)


def test_the_floor_of_the_lsd_is_100_db_under_a_sine_of_full_scale() -> None:
    full_scale = 2 * tone(1.0, frequency_hz=1000.0)
    assert float(magnitudes(full_scale, 512)[:, 20].max()) / 128 == pytest.approx(1.0, abs=1e-3)
    inaudible = tone(1.0, frequency_hz=1000.0) * np.float32(1e-5)
    assert metrics.lsd(inaudible, silence(1.0), RATE) == 0.0
    assert metrics.lsd(10 * inaudible, silence(1.0), RATE) > 0.5


def test_mcd_with_a_discrete_cosine_transform(speech: Sound, degraded: Sound) -> None:
    cepstra = []
    for sound in (speech, degraded):
        orthonormal = scipy.fft.dct(mels(sound, 512, 80).log().numpy(), axis=0, norm="ortho")
        cepstra.append(np.sqrt(2 / 80) * orthonormal[1:25])
    wanted = np.mean(10 / np.log(10) * np.sqrt(2 * ((cepstra[0] - cepstra[1]) ** 2).sum(axis=0)))
    assert metrics.mcd(speech, degraded, RATE) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("gain_db", [-6.0, 3.0])
def test_distances_of_a_gain(gain_db: float) -> None:
    hiss = noise(1.0)
    louder = (hiss * 10 ** (gain_db / 20)).astype(np.float32)
    assert metrics.mel_distance(hiss, louder, RATE) == pytest.approx(7 * abs(gain_db) / 20, rel=1e-4)
    assert metrics.lsd(hiss, louder, RATE) == pytest.approx(abs(gain_db), rel=1e-3)
    assert metrics.mcd(hiss, louder, RATE) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_mcd_of_one_cepstral_coefficient(order: int) -> None:
    """A filter whose log gain is one cosine over the mel axis moves one coefficient by its amplitude."""
    amplitude, hiss = 0.2, noise(4.0)
    hz = np.fft.rfftfreq(len(hiss), 1 / RATE)
    mel = np.where(hz < 1000, hz / (200 / 3), 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))  # Slaney
    band = 81 * mel / mel[-1] - 1
    gain = np.exp(amplitude * np.cos(np.pi * order * (band + 0.5) / 80))
    filtered = np.fft.irfft(np.fft.rfft(hiss) * gain, len(hiss)).astype(np.float32)
    assert metrics.mcd(hiss, filtered, RATE) == pytest.approx(10 / math.log(10) * math.sqrt(2) * amplitude, rel=0.02)
