"""Where speech comes from and goes to."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthetic import tone
from vqcodec import audio
from vqcodec.errors import AudioError
from vqcodec.live.calls.sounds import (
    DEVICE,
    NOTHING,
    DeviceSink,
    DeviceSource,
    PipeSink,
    PipeSource,
    open_sink,
    open_source,
)

HOP = 320


def test_a_file_of_another_rate_and_two_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([tone(0.5, 48_000)] * 2, axis=1), 48_000)
    with open_source(str(path), 16_000, HOP) as source:
        blocks = []
        while (block := source.read()) is not None:
            blocks.append(block)
    assert all(block.shape == (1, HOP) for block in blocks)
    assert len(blocks) == 25
    played = np.concatenate(blocks, axis=1)[0]
    assert np.abs(played - tone(0.5))[400:-400].max() < 0.01


def test_a_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with open_sink(str(path), 16_000, HOP) as sink:
        sink.write(tone(0.02)[None])
    assert np.abs(audio.read(path)[0][0] - tone(0.02)).max() < 1e-4


def test_nothing(tmp_path: Path) -> None:
    with open_source(NOTHING, 16_000, HOP) as source, open_sink(NOTHING, 16_000, HOP) as sink:
        block = source.read()
        assert block is not None and not block.any()
        sink.write(block)


def test_pipes_carry_bare_samples() -> None:
    out, into = os.pipe()
    sink, source = PipeSink(into), PipeSource(out, HOP)
    sent = tone(0.05)
    empty = source.read()
    assert empty is not None and not empty.any()
    for start in range(0, 800, HOP):
        sink.write(sent[None, start : start + HOP])
    first, second, third = (source.read() for _ in range(3))
    assert third is not None and not third.any()  # half a frame waits for its other half
    os.close(into)
    rest = source.read()
    assert first is not None and second is not None and rest is not None
    assert np.abs(np.concatenate([first, second, rest], axis=1)[0, :800] - sent).max() < 1e-4
    assert source.read() is None
    os.close(out)


def test_a_device_that_is_behind_loses_the_oldest() -> None:
    sink, source = DeviceSink(), DeviceSource(HOP)
    for n in range(8):
        sink.write(np.full((1, HOP), n, np.float32))
        source.heard(np.full((HOP, 1), n, np.float32))
    block = np.ones((HOP, 1), np.float32)
    sink.wanted(block)
    assert (block == 3).all()
    got = [source.read() for _ in range(6)]
    assert [int(one[0, 0]) for one in got if one is not None] == [3, 4, 5, 6, 7, 0]


def test_without_a_device_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", None)
    with pytest.raises(AudioError, match="sounddevice"), open_source(DEVICE, 16_000, HOP):
        pass
