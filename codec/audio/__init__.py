"""Sound files <-> float32 waveforms `[channel, sample]` in [-1, 1], and resampling.

The only package that touches soundfile, soxr, sounddevice and ffmpeg. Everything works block by block, in bounded
memory.
"""

from .formats import AUDIO_SUFFIXES, FORMATS, Place, find, format_of, is_file_name, name_of
from .memory import from_flac, through_lossy, to_flac
from .reader import Reader, read
from .resample import Resampler, resample, resampled_length
from .waveform import Pcm, Waveform, from_pcm, to_pcm
from .writer import Writer, write

__all__ = [
    "AUDIO_SUFFIXES",
    "FORMATS",
    "Pcm",
    "Place",
    "Reader",
    "Resampler",
    "Waveform",
    "Writer",
    "find",
    "format_of",
    "from_flac",
    "from_pcm",
    "is_file_name",
    "name_of",
    "read",
    "resample",
    "resampled_length",
    "through_lossy",
    "to_flac",
    "to_pcm",
    "write",
]
