"""Sounds that libsndfile cannot read, such as phone recordings, through a pipe from the program ffmpeg."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import struct
import subprocess
import tempfile

import numpy as np
import soundfile
from numpy.typing import NDArray

FORMATS = "M4A, MP4, 3GP, WebM, MKA, AAC, AMR and WMA"
SUFFIXES = frozenset({".m4a", ".mp4", ".3gp", ".webm", ".mka", ".aac", ".amr", ".wma"})
"""The suffixes (lower case) of the files that are read so."""

# No playlists and the like, which have other files read, or the network.
_DEMUXERS = "mov,matroska,aac,amr,asf"
_HEADER = struct.Struct(">4s5I")
_HEADER_NAMES = ("magic", "offset", "size", "encoding", "sample_rate", "channels")
_SAMPLE_BYTES = 4


_BEGINNINGS = re.compile(rb"....(ftyp|moov|mdat|wide|free|skip)|\x1aE\xdf\xa3|\xff[\xf0-\xf9]|#!AMR|0&\xb2u", re.DOTALL)


def may_know(head: bytes) -> bool:
    """Tell whether a file that begins so looks like one of `FORMATS`."""
    return _BEGINNINGS.match(head) is not None


def is_installed() -> bool:
    """Tell whether the program ffmpeg is there."""
    return shutil.which("ffmpeg") is not None


class FfmpegFile:
    """A sound that ffmpeg decodes, with those methods of `soundfile.SoundFile` that reading needs.

    What is read goes forward; to go back, decoding begins anew.

    Args:
        descriptor: of the file; it may be closed afterwards.

    Raises:
        SoundFileRuntimeError: it is no sound that ffmpeg can read.
    """

    format, subtype = "FFMPEG", "FLOAT"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)  # 0 would be ffmpeg's own standard input
        self._start()

    @functools.cached_property
    def frames(self) -> int:
        """Samples per channel, counted by decoding once: what such files declare is often wrong, or missing."""
        with contextlib.closing(FfmpegFile(self._descriptor)) as other:
            count = 0
            while read := len(other.read(1 << 20)):
                count += read
            return count

    def tell(self) -> int:
        """The place of the next sample."""
        return self._place

    def seek(self, place: int) -> None:
        """Go to a sample, by decoding all those before."""
        if place < self._place:
            self._stop()
            self._start()
        while self._place < place and len(self.read(min(1 << 16, place - self._place))):
            pass

    def read(self, samples: int, dtype: str = "float32", always_2d: bool = True) -> NDArray[np.float32]:
        """Read float32 [sample, channel], fewer samples only at the end.

        Raises:
            SoundFileRuntimeError: ffmpeg stopped at damage.
        """
        size = _SAMPLE_BYTES * self.channels
        data = self._output.read(samples * size)
        if len(data) < samples * size and self._process.wait() != 0:
            raise soundfile.SoundFileRuntimeError(self._complaint())
        values = np.frombuffer(data, ">f4", len(data) // size * self.channels)
        self._place += len(values) // self.channels
        return values.reshape(-1, self.channels).astype(np.float32)

    def close(self) -> None:
        """End ffmpeg, and let go of the file."""
        self._stop()
        os.close(self._descriptor)

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()
        self._errors.close()

    def _start(self) -> None:
        """Begin to decode, as an AU stream: 24 bytes say all that is to be known."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        reading = ["-format_whitelist", _DEMUXERS, "-protocol_whitelist", "file"]
        writing = ["-map", "0:a:0", "-f", "au", "-c:a", "pcm_f32be", "pipe:1"]
        self._process = subprocess.Popen(
            ["ffmpeg", "-nostdin", "-v", "error", *reading, "-i", f"file:/dev/fd/{self._descriptor}", *writing],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            pass_fds=(self._descriptor,),
        )
        assert self._process.stdout is not None
        self._output, self._place = self._process.stdout, 0
        header = self._output.read(_HEADER.size)
        if len(header) < _HEADER.size:
            self._process.wait()
            complaint = self._complaint()
            self.close()
            raise soundfile.SoundFileRuntimeError(complaint)
        facts = dict(zip(_HEADER_NAMES, _HEADER.unpack(header), strict=True))
        self.samplerate, self.channels = facts["sample_rate"], facts["channels"]
        self._output.read(facts["offset"] - _HEADER.size)

    def _complaint(self) -> str:
        """The last line that ffmpeg wrote on standard error."""
        self._errors.seek(0, os.SEEK_SET)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1].replace(f"file:/dev/fd/{self._descriptor}", "").strip(" :") if said else "no sound in it"
