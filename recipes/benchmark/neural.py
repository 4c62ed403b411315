"""Other neural codecs beside this one: their published architectures as `transformers` has them, with random weights.

Speed does not depend on the weights, so nothing is downloaded. Défossez et al. 2022, "High Fidelity Neural Audio
Compression" (EnCodec); Kumar et al. 2023, "High-Fidelity Audio Compression with Improved RVQGAN" (DAC); Défossez et al.
2024, "Moshi: a speech-text foundation model for real-time dialogue" (Mimi).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vqcodec.codec import Codec

from .measurement import Figure, figure
from .speed import there_and_back
from .subject import Subject, voice
from .timing import Place, Samples, Skipped, Task, interleaved

LONGEST_S = 5.0
"""Seconds of audio to code: some of the codecs are slow."""

PLACE = Place("cpu", threads=1)


@dataclass(frozen=True)
class Other:
    """A codec with random weights, set to a bitrate."""

    name: str
    sample_rate: int
    kbps: float
    encode: Callable[[Tensor], Tensor]
    """Waveform [1, 1, sample] -> codes."""
    decode: Callable[[Tensor], object]

    def __str__(self) -> str:
        return f"{self.name}, {self.sample_rate / 1000:g} kHz, {self.kbps:.3g} kbit/s"


def measure(subject: Subject, progress: Callable[[float], None]) -> list[Figure]:
    """Figures of the group "neural": times real time of each codec on one thread, and our speed over its speed."""
    bitrate = subject.bitrate
    codec = Codec.load(subject.model, PLACE.device)
    others = build(bitrate.kbps * 1000)
    duration_s = min(LONGEST_S, subject.settings.seconds)
    ours = Task(PLACE, partial(there_and_back, codec, voice(duration_s, codec.sample_rate), bitrate.stages, PLACE))
    theirs = {str(other): Task(PLACE, partial(run, other, duration_s)) for other in others}
    samples = interleaved([ours, *theirs.values()], subject.settings.repeat, progress)
    own = _speeds(f"vqcodec {codec.name}, {codec.sample_rate / 1000:g} kHz, {bitrate}", samples[ours], duration_s)
    found = list(own.values())
    for name, task in theirs.items():
        speeds = _speeds(name, samples[task], duration_s)
        found += [*speeds.values(), *(_ratio(own[direction], speeds[direction]) for direction in own)]
    return found


def build(bitrate_bps: float) -> list[Other]:
    """The other codecs at the bitrates nearest to this one.

    Raises:
        Skipped: `transformers` is missing, or too old to have them.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise Skipped("they need the package transformers: pip install 'vqcodec[neural]'") from error
    try:
        from transformers import DacConfig, DacModel, EncodecConfig, EncodecModel, MimiConfig, MimiModel
    except ImportError as error:
        raise Skipped(
            "this version of transformers does not have them all; pip install -U 'vqcodec[neural]'"
        ) from error
    return [
        _encodec(EncodecModel(EncodecConfig()), bitrate_bps),
        _dac(DacModel(DacConfig()), bitrate_bps),
        _mimi(MimiModel(MimiConfig()), bitrate_bps),
    ]


@torch.inference_mode()
def run(other: Other, duration_s: float) -> dict[str, float]:
    """Seconds of "encode" (waveform -> codes) and of "decode"."""
    waveform = torch.from_numpy(voice(duration_s, other.sample_rate))[None, None]
    start = PLACE.now()
    codes = other.encode(waveform)
    middle = PLACE.now()
    other.decode(codes)
    return {"encode": middle - start, "decode": PLACE.now() - middle}


def _encodec(model: Any, bitrate_bps: float) -> Other:
    model.eval()
    kbps = min(model.config.target_bandwidths, key=lambda possible: abs(possible - bitrate_bps / 1000))
    return Other(
        name="EnCodec",
        sample_rate=model.config.sampling_rate,
        kbps=kbps,
        encode=lambda waveform: model.encode(waveform, bandwidth=kbps).audio_codes,
        decode=lambda codes: model.decode(codes, [None]),
    )


def _dac(model: Any, bitrate_bps: float) -> Other:
    c = model.eval().config
    stage_bps = c.sampling_rate / c.hop_length * math.log2(c.codebook_size)
    stages = _stages(bitrate_bps / stage_bps, c.n_codebooks)
    return Other(
        name="DAC",
        sample_rate=c.sampling_rate,
        kbps=stages * stage_bps / 1000,
        encode=lambda waveform: model.encode(waveform, n_quantizers=stages).audio_codes,
        decode=lambda codes: model.decode(audio_codes=codes),
    )


def _mimi(model: Any, bitrate_bps: float) -> Other:
    c = model.eval().config
    stage_bps = c.frame_rate * math.log2(c.codebook_size)
    stages = _stages(bitrate_bps / stage_bps, c.num_quantizers)
    return Other(
        name="Mimi",
        sample_rate=c.sampling_rate,
        kbps=stages * stage_bps / 1000,
        encode=lambda waveform: model.encode(waveform, num_quantizers=stages).audio_codes,
        decode=lambda codes: model.decode(codes),
    )


def _stages(wanted: float, most: int) -> int:
    return min(max(1, round(wanted)), most)


def _speeds(name: str, samples: Samples, duration_s: float) -> dict[str, Figure]:
    """Times real time, by direction."""
    return {
        direction: figure("neural", direction, [duration_s / s for s in seconds], "x", "higher", name, PLACE)
        for direction, seconds in samples.items()
    }


def _ratio(ours: Figure, theirs: Figure) -> Figure:
    """Ratio of our speed to theirs."""
    return Figure(
        group="neural",
        name=f"{ours.name}, vqcodec over it",
        setting=theirs.setting,
        place=theirs.place,
        unit="times",
        better="higher",
        best=ours.best / theirs.best,
        median=ours.median / theirs.median,
        count=ours.count,
    )
