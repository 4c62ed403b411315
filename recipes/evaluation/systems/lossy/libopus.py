"""libopus through ctypes: packets one by one, and decoding with some of them missing."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import VqcodecError

from ..base import Unavailable

RATE = 16_000
FRAME_SAMPLES = 320
_VOIP = 2048
_SET_BITRATE, _SET_INBAND_FEC, _SET_PACKET_LOSS, _GET_LOOKAHEAD = 4002, 4012, 4014, 4027
_MOST_BYTES = 1500

_Samples = ctypes.POINTER(ctypes.c_float)


@functools.cache
def library() -> ctypes.CDLL:
    """Load libopus.

    Raises:
        Unavailable: it is not installed.
    """
    name = ctypes.util.find_library("opus") or "libopus.so.0"
    try:
        opus = ctypes.CDLL(name)
    except OSError as error:
        raise Unavailable("Opus under loss needs libopus: Debian package libopus0") from error
    opus.opus_get_version_string.restype = ctypes.c_char_p
    for create in (opus.opus_encoder_create, opus.opus_decoder_create):
        create.restype = ctypes.c_void_p
    opus.opus_encode_float.argtypes = (ctypes.c_void_p, _Samples, ctypes.c_int, ctypes.c_char_p, ctypes.c_int32)
    opus.opus_decode_float.argtypes = (
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, _Samples, ctypes.c_int, ctypes.c_int
    )  # fmt: skip
    for destroy in (opus.opus_encoder_destroy, opus.opus_decoder_destroy):
        destroy.argtypes, destroy.restype = (ctypes.c_void_p,), None
    return opus


def version() -> str:
    """Version of the library."""
    said: bytes = library().opus_get_version_string()
    return said.decode()


def encode(waveform: NDArray[np.float32], bitrate_bps: int, loss_percent: int) -> tuple[list[bytes], int]:
    """Encode [sample] at 16 kHz with in-band redundancy, in packets of 20 ms; also returns the delay in samples."""
    opus, error = library(), ctypes.c_int()
    encoder = opus.opus_encoder_create(RATE, 1, _VOIP, ctypes.byref(error))
    _check("create an encoder", error.value)
    handle, packets, buffer = ctypes.c_void_p(encoder), [], ctypes.create_string_buffer(_MOST_BYTES)
    try:
        for request, value in ((_SET_BITRATE, bitrate_bps), (_SET_INBAND_FEC, 1), (_SET_PACKET_LOSS, loss_percent)):
            _check("set", opus.opus_encoder_ctl(handle, request, ctypes.c_int(value)))
        delay = ctypes.c_int32()
        _check("ask for the delay", opus.opus_encoder_ctl(handle, _GET_LOOKAHEAD, ctypes.byref(delay)))
        padded = np.pad(waveform, (0, -len(waveform) % FRAME_SAMPLES + FRAME_SAMPLES)).astype(np.float32)
        for frame in padded.reshape(-1, FRAME_SAMPLES):
            length = opus.opus_encode_float(handle, _pointer(frame), FRAME_SAMPLES, buffer, _MOST_BYTES)
            _check("encode", length)
            packets.append(buffer.raw[:length])
    finally:
        opus.opus_encoder_destroy(handle)
    return packets, delay.value


def decode(packets: Sequence[bytes], lost: Sequence[bool]) -> NDArray[np.float32]:
    """Decode [sample] at 16 kHz. A lost packet is taken from the next one's redundancy, or concealed by the decoder."""
    opus, error = library(), ctypes.c_int()
    decoder = ctypes.c_void_p(opus.opus_decoder_create(RATE, 1, ctypes.byref(error)))
    _check("create a decoder", error.value)
    decoded = np.zeros((len(packets), FRAME_SAMPLES), np.float32)
    try:
        for number, frame in enumerate(decoded):
            redundant = lost[number] and number + 1 < len(packets) and not lost[number + 1]
            data = None if lost[number] and not redundant else packets[number + redundant]
            length = 0 if data is None else len(data)
            done = opus.opus_decode_float(decoder, data, length, _pointer(frame), FRAME_SAMPLES, int(redundant))
            _check("decode", done)
    finally:
        opus.opus_decoder_destroy(decoder)
    return decoded.reshape(-1)


def _pointer(samples: NDArray[np.float32]) -> object:
    return samples.ctypes.data_as(_Samples)


def _check(what: str, code: int) -> None:
    if code < 0:
        raise VqcodecError(f"libopus cannot {what}: error {code}")
