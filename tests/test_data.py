"""Folders of audio become crops: any format and rate, unreadable files skipped, order free of state."""

from pathlib import Path

import numpy as np
import pytest

from synthetic import voice
from vqcodec import audio
from vqcodec.errors import AudioError
from vqcodec.recipes.data import Clip, Corpus, Crops, split

RATE = 16_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four speakers in formats and rates of their own, one of them in stereo, and two files that are no audio."""
    root = tmp_path / "speech"
    for number, (suffix, rate) in enumerate([("wav", 16_000), ("flac", 44_100), ("wav", 8_000), ("ogg", 24_000)]):
        speaker = root / f"speaker_{number}"
        speaker.mkdir(parents=True)
        for take in range(3):
            waveform = voice(1.0 + 0.1 * take, rate, seed=10 * number + take)[None]
            if number == 0:
                waveform = np.concatenate([waveform, -0.5 * waveform])
            audio.write(speaker / f"{take}.{suffix}", waveform, rate)
    (root / "broken.wav").write_bytes(b"RIFF, or so it says")
    (root / "notes.txt").write_text("not audio by its name")
    return root


def build(folder: Path, cache: Path) -> tuple[Corpus, list[str]]:
    messages: list[str] = []
    return Corpus.build([folder], RATE, cache, messages.append), messages


def test_any_format_and_rate_and_the_unreadable_are_counted(folder: Path, tmp_path: Path) -> None:
    corpus, messages = build(folder, tmp_path / "cache")
    assert len(corpus.clips) == 12
    assert sorted({clip.samples for clip in corpus.clips}) == pytest.approx([16_000, 17_600, 19_200], abs=1)
    assert any("broken.wav" in message for message in messages)
    assert any("12 files" in message and "1 unreadable" in message for message in messages)


def test_clips_hold_what_the_files_hold(folder: Path, tmp_path: Path) -> None:
    corpus, _ = build(folder, tmp_path / "cache")
    for clip in corpus.clips:
        waveform, _ = audio.read(clip.path, RATE)
        assert np.abs(corpus.read(clip) - waveform.mean(0)).max() < 1e-3
    clip = corpus.clips[0]
    assert np.array_equal(corpus.read(clip, 100, 50), corpus.read(clip)[100:150])
    assert np.array_equal(corpus.read(clip, clip.samples - 10, 30)[10:], np.zeros(20))


def test_decoding_is_done_once(folder: Path, tmp_path: Path) -> None:
    build(folder, tmp_path / "cache")
    _, messages = build(folder, tmp_path / "cache")
    assert messages == []
    audio.write(folder / "more.wav", voice(1.0, RATE, seed=99)[None], RATE)
    corpus, messages = build(folder, tmp_path / "cache")
    assert len(corpus.clips) == 13
    assert messages


def test_crops_depend_on_seed_and_index_alone(folder: Path, tmp_path: Path) -> None:
    corpus, _ = build(folder, tmp_path / "cache")
    crops, again, other = (Crops(corpus, corpus.clips, 4000, (-12.0, 6.0), seed) for seed in (1, 1, 2))
    backwards = [crops[index].waveform for index in reversed(range(20))][::-1]
    assert all(a.equal(again[index].waveform) for index, a in enumerate(backwards))
    assert not any(a.equal(other[index].waveform) for index, a in enumerate(backwards))
    assert len({tuple(crop[0, :8].tolist()) for crop in backwards}) == 20
    assert all(crop.shape == (1, 4000) and crop.abs().max() <= 1 for crop in backwards)


def test_gain_is_applied_in_range(folder: Path, tmp_path: Path) -> None:
    corpus, _ = build(folder, tmp_path / "cache")
    plain = Crops(corpus, corpus.clips, 4000, (0.0, 0.0), 1)
    quiet = Crops(corpus, corpus.clips, 4000, (-6.0, -6.0), 1)
    for index in range(5):
        assert np.allclose(quiet[index].waveform, plain[index].waveform * 10 ** (-6 / 20), atol=1e-6)


def test_split_is_disjoint_by_folder_and_fixed() -> None:
    clips = [Clip(f"corpus/{speaker:03d}/{take}.wav", 0, 5 * RATE) for speaker in range(100) for take in range(4)] + [
        Clip(f"one_voice/{take}.wav", 0, 5 * RATE) for take in range(100)
    ]
    kept, held = split(clips, 100.0, RATE)
    assert {clip.group for clip in kept}.isdisjoint(clip.group for clip in held)
    assert sum(clip.samples for clip in held) == 100 * RATE
    assert "one_voice" not in {clip.group for clip in held}
    assert sorted(kept + held, key=str) == sorted(clips, key=str)
    assert split(clips[::-1], 100.0, RATE)[1] == held
    assert split(clips, 0.0, RATE) == (clips, [])


def test_a_single_folder_holds_out_single_files() -> None:
    clips = [Clip(f"all/{take}.wav", 0, RATE) for take in range(50)]
    kept, held = split(clips, 3.0, RATE)
    assert (len(kept), len(held)) == (47, 3)


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such folder"):
        Corpus.build([tmp_path / "missing"], RATE, tmp_path / "cache", print)
    with pytest.raises(AudioError, match="no audio files"):
        Corpus.build([tmp_path], RATE, tmp_path / "cache", print)
    (tmp_path / "a.wav").write_text("text")
    with pytest.raises(AudioError, match="none of the 1 audio files"):
        Corpus.build([tmp_path], RATE, tmp_path / "cache", print)
