"""The whole waveform at each bitrate, the steps of the data path and the machine's peak, all in the same rounds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio
from vqcodec.codec import Codec

from ..flops import macs_per_s
from . import arithmetic, steps
from .measurement import Figure, figure
from .subject import Bitrate, Subject
from .timing import Place, Samples, Task, interleaved


def measure(subject: Subject, progress: Callable[[float], None]) -> list[Figure]:
    """Figures of the groups "whole", "steps" and "arithmetic"."""
    waveform, bitrate = subject.waveform, subject.bitrate
    sound = io.BytesIO()
    audio.write(sound, waveform[None], subject.codec.sample_rate, format="wav")
    wholes: dict[tuple[Place, Bitrate], Task] = {}
    files: dict[tuple[Place, str], Task] = {}
    stepped: dict[Place, Task] = {}
    products: dict[Place, Task] = {}
    for place in subject.places:
        codec = subject.codecs[place.device]
        for each in subject.bitrates:
            wholes[place, each] = Task(place, partial(there_and_back, codec, waveform, each.stages, place))
        task = partial(file_there_and_back, codec, sound.getvalue(), 1000 * bitrate.kbps, place)
        files[place, f"file of {bitrate}"] = Task(place, task)
        stepped[place] = Task(place, partial(steps.measure, codec, waveform, bitrate.stages, place))
        products[place] = Task(place, arithmetic.MatrixProducts(place, codec.precision).measure)
    tasks = [*wholes.values(), *files.values(), *stepped.values(), *products.values()]
    samples = interleaved(tasks, subject.settings.repeat, progress)

    duration_s, macs = len(waveform) / subject.codec.sample_rate, macs_per_s(subject.codec, bitrate.stages)
    found = whole_figures({key: samples[task] for key, task in wholes.items()}, duration_s)
    found += whole_figures({key: samples[task] for key, task in files.items()}, duration_s)
    found += arithmetic.count_figures(macs, bitrate)
    for place in subject.places:
        whole = samples[wholes[place, bitrate]]
        found += steps.figures(samples[stepped[place]], whole, duration_s, bitrate, place)
        found += arithmetic.peak_figures(samples[products[place]], whole, macs, duration_s, bitrate, place)
    return found


def there_and_back(codec: Codec, waveform: NDArray[np.float32], stages: int, place: Place) -> dict[str, float]:
    """Seconds of "encode" (waveform [sample] -> `.vq` file in memory) and of "decode"."""
    start = place.now()
    data = codec.encode(waveform, stages=stages).to_bytes()
    middle = place.now()
    codec.decode(data)
    return {"encode": middle - start, "decode": place.now() - middle}


def file_there_and_back(codec: Codec, sound: bytes, bitrate_bps: float, place: Place) -> dict[str, float]:
    """Seconds from the bytes of a WAV file to those of a `.vq` file as `encode_file` makes it by default, and back."""
    coded, decoded = io.BytesIO(), io.BytesIO()
    start = place.now()
    codec.encode_file(io.BytesIO(sound), coded, bitrate_bps=bitrate_bps)
    middle = place.now()
    coded.seek(0)
    codec.decode_file(coded, decoded, format="wav")
    return {"encode": middle - start, "decode": place.now() - middle}


def whole_figures(
    samples: Mapping[tuple[Place, Bitrate], Samples] | Mapping[tuple[Place, str], Samples], duration_s: float
) -> list[Figure]:
    """Times real time, by direction, bitrate and place."""
    return [
        figure("whole", direction, [duration_s / s for s in seconds[direction]], "x", "higher", bitrate, place)
        for direction in ("encode", "decode")
        for (place, bitrate), seconds in samples.items()
    ]
