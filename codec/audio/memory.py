"""Sound files in memory: FLAC for shards, and a lossy format there and back."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from ..errors import AudioError
from .formats import FORMATS, check_format, reason_of
from .waveform import Pcm, Waveform, checked

# Lowest and highest bitrate of one channel in libsndfile, from a sample rate in Hz upwards.
_LOSSY_BITRATES = {
    "mp3": ((32_000, (32_000, 320_000)), (16_000, (8_000, 160_000)), (0, (8_000, 64_000))),
    "opus": ((0, (6_000, 256_000)),),
}
_MP3_DELAY = 576 + 529  # samples: of LAME's encoder, and of every decoder


def through_lossy(waveform: Waveform, sample_rate: int, format: str, bitrate_bps: float) -> Waveform:
    """Encode a waveform `[channel, sample]` as MP3 or Opus and decode it: as many samples, each at its time.

    Args:
        waveform: one or two channels; values beyond [-1, 1] are clipped.
        sample_rate: samples a second; `FORMATS` has the rates of a format.
        format: "mp3" or "opus".
        bitrate_bps: of one channel in bits a second, or else the nearest that the format has.

    Raises:
        AudioError: there is no such format, it cannot hold the rate or the channels, or this libsndfile lacks it.
    """
    if format not in _LOSSY_BITRATES:
        raise AudioError(f"unknown lossy format {format!r}; choose one of {', '.join(_LOSSY_BITRATES)}")
    container = FORMATS[format]
    check_format(container, sample_rate, len(checked(waveform)), f"{format} in memory")
    lowest, highest = next(range_ for rate, range_ in _LOSSY_BITRATES[format] if sample_rate >= rate)
    level = min(max((highest - bitrate_bps) / (highest - lowest), 0.0), 0.999)  # libsndfile refuses 1 for MP3
    samples, file = waveform.shape[1], io.BytesIO()
    settings = {"format": container.container, "compression_level": level}
    if format == "mp3":
        settings["bitrate_mode"] = "CONSTANT"
    try:
        soundfile.write(file, np.clip(waveform.T, -1.0, 1.0), sample_rate, container.subtype, **settings)
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32", always_2d=True)  # [sample, channel]
    except (soundfile.SoundFileError, ValueError) as error:
        raise AudioError(f"cannot make {format} in memory: {reason_of(error)}") from error
    # The frames of a slow MP3 are too small for the note of its delay, which then comes out with the sound.
    start = _MP3_DELAY if len(decoded) > samples else 0
    return np.ascontiguousarray(decoded[start : start + samples].clip(-1, 1).T)


def to_flac(pcm: Pcm, sample_rate: int) -> bytes:
    """Encode samples of one channel `[sample]` as a FLAC file in memory, without loss.

    Raises:
        AudioError: FLAC cannot hold the rate.
    """
    file = io.BytesIO()
    try:
        soundfile.write(file, pcm, sample_rate, format="FLAC", subtype="PCM_16")
    except soundfile.SoundFileError as error:
        raise AudioError(f"FLAC cannot hold {sample_rate} samples a second ({reason_of(error)})") from error
    return file.getvalue()


def from_flac(data: bytes, name: str, samples: int) -> Pcm:
    """Decode what `to_flac` made, `[sample]`; nothing is decoded that says that it is of another length.

    Raises:
        AudioError: the data, called `name`, is damaged, cut short, or not a FLAC file of one channel of this length.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if (file.channels, file.frames) != (1, samples):
                found = f"{file.channels} channels of {file.frames} samples"
                raise AudioError(f"{name} has {found}; it should have one of {samples}")
            pcm: Pcm = file.read(dtype="int16")
    except (soundfile.SoundFileError, TypeError) as error:
        raise AudioError(f"{name} is damaged or no FLAC file ({reason_of(error)})") from error
    if len(pcm) != samples:
        raise AudioError(f"{name} is cut short: {len(pcm)} of {samples} samples")
    return pcm
