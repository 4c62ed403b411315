"""Changing the sample rate, of whole waveforms or of streams of them."""

from __future__ import annotations

import numpy as np
import soxr

from ..errors import AudioError
from .waveform import Waveform, checked


def resampled_length(samples: int, source_rate: int, target_rate: int) -> int:
    """Return the length at `target_rate` of so many samples at `source_rate`: the quotient, rounded up."""
    return -(-samples * target_rate // source_rate)


class Resampler:
    """Changes the sample rate of a stream of waveforms, whatever its blocks, without delay.

    What all calls of `push` and the `flush` return, put together, has exactly
    `resampled_length(n, source_rate, target_rate)` samples; sample 0 stays at time 0. The filter is soxr's
    high quality one (about 20 bits). With equal rates the samples pass through unchanged.

    Args:
        source_rate: samples a second that go in.
        target_rate: samples a second that come out.
        channels: number of channels.

    Raises:
        AudioError: a rate is not positive; or a waveform pushed has another number of channels.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        if min(source_rate, target_rate) < 1:
            raise AudioError(f"cannot resample from {source_rate} to {target_rate} Hz; both must be positive")
        self.source_rate = source_rate
        self.target_rate = target_rate
        self.channels = channels
        self._start()

    def push(self, waveform: Waveform) -> Waveform:
        """Take `[channel, sample]` at the source rate; return what is ready, `[channel, sample]`, if any."""
        checked(waveform, self.channels)
        if self.source_rate == self.target_rate:
            return waveform
        self._taken += waveform.shape[1]
        resampled = self._resample(waveform)
        self._given += resampled.shape[1]
        return resampled

    def flush(self) -> Waveform:
        """Return the rest, `[channel, sample]`. Afterwards the next `push` begins a new stream."""
        if self.source_rate == self.target_rate:
            return np.zeros((self.channels, 0), np.float32)
        # Some silence after the end, so that there is always enough to cut at the exact length.
        silence = np.zeros((self.channels, self.source_rate // self.target_rate + 2), np.float32)
        missing = resampled_length(self._taken, self.source_rate, self.target_rate) - self._given
        rest = self._resample(silence, last=True)[:, :missing]
        self._start()
        return rest

    def _start(self) -> None:
        rates = (self.source_rate, self.target_rate)
        self._stream = soxr.ResampleStream(*rates, self.channels, dtype="float32", quality="HQ")
        self._taken = 0
        self._given = 0

    def _resample(self, waveform: Waveform, last: bool = False) -> Waveform:
        interleaved = np.ascontiguousarray(waveform.T, dtype=np.float32)
        return np.ascontiguousarray(self._stream.resample_chunk(interleaved, last=last).T)


def resample(waveform: Waveform, source_rate: int, target_rate: int) -> Waveform:
    """Resample a whole waveform `[channel, sample]` to another rate in Hz, as `Resampler` does."""
    resampler = Resampler(source_rate, target_rate, len(waveform))
    return np.concatenate([resampler.push(waveform), resampler.flush()], axis=1)
