"""Waveforms -> the loudspeaker, through sounddevice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import AudioError
from .formats import reason_of
from .waveform import Waveform


def play(blocks: Iterable[Waveform], sample_rate: int, channels: int) -> None:
    """Play a sound block by block, and return when it has been heard.

    Args:
        blocks: the sound in parts `[channel, sample]`, asked for while it plays.
        sample_rate: samples a second.
        channels: number of channels.

    Raises:
        AudioError: sounddevice is not installed, or no device takes the sound.
    """
    sounddevice = load_sounddevice()
    try:
        with sounddevice.OutputStream(samplerate=sample_rate, channels=channels, dtype="float32") as stream:
            for block in blocks:
                stream.write(np.ascontiguousarray(block.T))
            stream.stop()  # once all of it has been heard
    except sounddevice.PortAudioError as error:
        problem = f"cannot play {channels} channels at {sample_rate} Hz ({reason_of(error)})"
        raise AudioError(f"{problem}; is there a sound device? `vqcodec decode` writes a file instead") from error


def load_sounddevice() -> Any:
    """Import sounddevice.

    Raises:
        AudioError: it is not installed, or PortAudio is not.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise AudioError("sounds are played by sounddevice, which is missing: pip install 'vqcodec[play]'") from error
    except OSError as error:
        problem = f"sounds are played by PortAudio, which is missing ({reason_of(error)})"
        raise AudioError(f"{problem}; on Debian: apt install libportaudio2") from error
    return sounddevice
