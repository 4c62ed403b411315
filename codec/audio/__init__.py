"""Sound files <-> float32 waveforms `[channel, sample]` in [-1, 1], and resampling.

The only package that touches soundfile and soxr. Everything works block by block, in bounded memory.
"""

from .reader import (
    AUDIO_SUFFIXES,
    FORMATS,
    Place,
    Reader,
    Resampler,
    Waveform,
    Writer,
    find,
    from_flac,
    read,
    resample,
    resampled_length,
    through_lossy,
    to_flac,
    write,
)

__all__ = [
    "AUDIO_SUFFIXES",
    "FORMATS",
    "Place",
    "Reader",
    "Resampler",
    "Waveform",
    "Writer",
    "find",
    "from_flac",
    "read",
    "resample",
    "resampled_length",
    "through_lossy",
    "to_flac",
    "write",
]
