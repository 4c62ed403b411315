"""Sounds that ffmpeg decodes: what libsndfile does not read."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from synthetic import voice
from vqcodec import AudioError, audio

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds in two channels at 48 kHz."""
    path = tmp_path_factory.mktemp("ffmpeg") / "voice.wav"
    audio.write(path, np.stack([voice(3.0, 48000), 0.5 * voice(3.0, 48000, seed=1)]), 48000)
    return path


def converted(source: Path, suffix: str, *options: str) -> Path:
    target = source.with_suffix(suffix)
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *options, target], capture_output=True)
    if done.returncode:
        pytest.skip(f"this ffmpeg cannot write {suffix}")
    return target


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".m4a", ".mp4", ".webm", ".mka", ".aac", ".3gp"])
def test_phone_recordings(wav: Path, suffix: str) -> None:
    options = ["-c:a", "aac"] if suffix == ".3gp" else []
    path = converted(wav, suffix, *options)
    waveform, rate = audio.read(path)
    assert rate == 48000 and len(waveform) == 2
    assert waveform.shape[1] == pytest.approx(3 * 48000, abs=5000)  # AAC adds silence at either end
    original, _ = audio.read(wav)
    loudness = [np.sqrt(np.mean(sound**2, axis=1)) for sound in (waveform, original)]
    np.testing.assert_allclose(*loudness, rtol=0.15)


@needs_ffmpeg
def test_without_loss_the_samples_are_the_same(wav: Path) -> None:
    waveform, _ = audio.read(converted(wav, ".mka", "-c:a", "flac"))
    np.testing.assert_array_equal(waveform, audio.read(wav)[0])


@needs_ffmpeg
def test_places_in_a_file(wav: Path) -> None:
    path = converted(wav, ".mka", "-c:a", "flac")
    whole, _ = audio.read(wav)
    with audio.Reader(path) as reader:
        assert reader.num_samples == whole.shape[1]
        for start in (100_000, 5, 140_000):
            np.testing.assert_array_equal(reader.read(start, 3000), whole[:, start : start + 3000])
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks(7000)), axis=1), whole)
        with pytest.raises(AudioError, match="does not exist"):
            reader.read(whole.shape[1] + 1, 1)


@needs_ffmpeg
def test_open_files_and_memory(wav: Path) -> None:
    path = converted(wav, ".m4a")
    expected, _ = audio.read(path)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(audio.read(file)[0], expected)
    np.testing.assert_array_equal(audio.read(io.BytesIO(path.read_bytes()))[0], expected)


@needs_ffmpeg
def test_what_it_cannot_read(wav: Path, tmp_path: Path) -> None:
    (tmp_path / "text.m4a").write_text("no sound at all")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nfile://{wav}\n#EXT-X-ENDLIST\n"
    (tmp_path / "playlist.m4a").write_text(playlist)  # it would have another file read
    whole = converted(wav, ".m4a").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])  # its table of contents stood at the end
    for name in ("text", "playlist", "cut"):
        with pytest.raises(AudioError, match=f"{name}.m4a is not a sound file that can be read") as caught:
            audio.read(tmp_path / f"{name}.m4a")
        assert "\n" not in str(caught.value) and "/dev/fd" not in str(caught.value)


def test_without_ffmpeg_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(100))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="install ffmpeg to read M4A, MP4"):
        audio.read(tmp_path / "a.m4a")


def test_phone_recordings_count_as_audio_in_a_folder(tmp_path: Path) -> None:
    for name in ("a.m4a", "b.AMR", "c.txt", "d.wav"):
        (tmp_path / name).touch()
    assert [path.name for path in audio.find(tmp_path)] == ["a.m4a", "b.AMR", "d.wav"]


@pytest.mark.parametrize(("name", "format"), [("a.wav", "mp3"), ("a.flac", "wav"), ("a.mp3", "flac")])
def test_a_name_that_promises_another_format(tmp_path: Path, name: str, format: str) -> None:
    with pytest.raises(AudioError, match=rf"call it .*a\.{format}, or leave the format out"):
        audio.write(tmp_path / name, np.zeros((1, 100), np.float32), 16000, format=format)
    assert list(tmp_path.iterdir()) == []


def test_names_that_fit_several_formats(tmp_path: Path) -> None:
    for name, format in {"a.ogg": "opus", "b.wav": "rf64", "c.aif": "aiff", "d.bin": "wav", "e": "flac"}.items():
        audio.write(tmp_path / name, np.zeros((1, 1000), np.float32), 16000, format=format)
        assert audio.read(tmp_path / name)[0].shape == (1, 1000)


def test_other_sound_files_are_not_written_by_name(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"'\.m4a' is not a sound format; choose one of wav"):
        audio.write(tmp_path / "a.m4a", np.zeros((1, 100), np.float32), 16000)
