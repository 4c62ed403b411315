"""Corpora as their archives unpack: names, speakers and official parts are read off the disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from vqcodec.errors import AudioError, ConfigError
from vqcodec.recipes.data.corpora import Recording, find, for_training, for_validation, hold_out, weights_of

RATE = 16_000


class Clip(NamedTuple):
    recording: Recording
    samples: int = 5 * RATE

    @property
    def speaker(self) -> str:
        return self.recording.speaker


def clip(path: str, speaker: str, samples: int = 5 * RATE) -> Clip:
    return Clip(Recording(Path(path), "corpus", speaker, None), samples)


def touch(root: Path, *names: str) -> None:
    """Empty files: what a recording is, its place says."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def facts(recordings: Sequence[Recording]) -> dict[str, tuple[str, str, str | None]]:
    """Corpus, speaker and split, by file name."""
    return {recording.path.name: (recording.corpus, recording.speaker, recording.split) for recording in recordings}


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    root = tmp_path / "LibriSpeech"
    touch(
        root,
        "train-clean-100/103/1240/103-1240-0000.flac",
        "train-clean-100/103/1241/103-1241-0007.flac",
        "train-other-500/20/205/20-205-0001.flac",
        "dev-clean/84/121123/84-121123-0001.flac",
        "test-other/1688/142285/1688-142285-0000.flac",
    )
    touch(root, "train-clean-100/103/1240/103-1240.trans.txt", "SPEAKERS.TXT")
    return root


@pytest.fixture
def common_voice(tmp_path: Path) -> Path:
    root = tmp_path / "cv-corpus-17.0-2024-03-15" / "sv-SE"
    clips = {number: f"common_voice_sv-SE_{number}.mp3" for number in range(1, 9)}
    touch(root, *(f"clips/{name}" for name in clips.values()))
    tables = {
        "train": {1: "ann", 2: "bob"},
        "dev": {3: "cyd"},
        "test": {4: "dan"},
        "validated": {1: "ann", 2: "bob", 3: "cyd", 4: "dan", 5: "ann", 6: "dan"},
        "invalidated": {7: "ann"},
    }
    for name, lines in tables.items():
        rows = [f'{client}\t{clips[number]}\tEn mening med "citat\t2\t0' for number, client in lines.items()]
        text = "\n".join(["client_id\tpath\tsentence\tup_votes\tdown_votes", *rows]) + "\n"
        (root / f"{name}.tsv").write_text(text, encoding="utf-8")
    return root


def test_librispeech(librispeech: Path) -> None:
    expected = {
        "103-1240-0000.flac": ("librispeech", "librivox/103", "train"),
        "103-1241-0007.flac": ("librispeech", "librivox/103", "train"),
        "20-205-0001.flac": ("librispeech", "librivox/20", "train"),
        "84-121123-0001.flac": ("librispeech", "librivox/84", "validation"),
        "1688-142285-0000.flac": ("librispeech", "librivox/1688", "test"),
    }
    assert facts(find([librispeech])) == expected
    assert facts(find([librispeech.parent])) == expected
    parts = sorted(path for path in librispeech.iterdir() if path.is_dir())
    assert facts(find(parts)) == expected
    assert facts(find([librispeech / "dev-clean" / "84"])) == {"84-121123-0001.flac": expected["84-121123-0001.flac"]}


def test_a_part_is_known_through_a_link_and_from_inside(librispeech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = librispeech.parent / "speech"
    link.symlink_to(librispeech / "test-other")
    assert [recording.split for recording in find([link])] == ["test"]
    monkeypatch.chdir(librispeech / "dev-clean")
    (recording,) = find([Path(".")])
    assert recording.split == "validation"
    assert recording.path.exists()


def test_files_that_are_links_have_the_names_of_the_links(tmp_path: Path) -> None:
    touch(tmp_path, "objects/XX/something.flac")
    place = tmp_path / "LibriSpeech" / "train-clean-100" / "103" / "1240"
    place.mkdir(parents=True)
    os.symlink(tmp_path / "objects" / "XX" / "something.flac", place / "103-1240-0000.flac")
    assert facts(find([tmp_path / "LibriSpeech"])) == {"103-1240-0000.flac": ("librispeech", "librivox/103", "train")}


def test_librispeech_converted_and_without_its_parts(tmp_path: Path) -> None:
    touch(tmp_path, "103/1240/103-1240-0000.opus")
    assert facts(find([tmp_path])) == {"103-1240-0000.opus": ("librispeech", "librivox/103", None)}


def test_libritts_has_the_speakers_of_librispeech(tmp_path: Path) -> None:
    touch(
        tmp_path / "LibriTTS",
        "train-clean-360/103/1240/103_1240_000001_000000.wav",
        "dev-other/116/288045/116_288045_000003_000002.wav",
        "test-clean/61/70968/61_70968_000000_000000.wav",
    )
    assert facts(find([tmp_path])) == {
        "103_1240_000001_000000.wav": ("libritts", "librivox/103", "train"),
        "116_288045_000003_000002.wav": ("libritts", "librivox/116", "validation"),
        "61_70968_000000_000000.wav": ("libritts", "librivox/61", "test"),
    }


def test_vctk(tmp_path: Path) -> None:
    new, old = tmp_path / "VCTK-Corpus-0.92", tmp_path / "VCTK-Corpus"
    touch(new, "wav48_silence_trimmed/p225/p225_001_mic1.flac", "wav48_silence_trimmed/p225/p225_001_mic2.flac")
    touch(new, "wav48_silence_trimmed/s5/s5_001_mic1.flac", "txt/p225/p225_001.txt")
    touch(old, "wav48/p226/p226_003.wav")
    expected = {
        "p225_001_mic1.flac": ("vctk", "vctk/p225", None),
        "p225_001_mic2.flac": ("vctk", "vctk/p225", None),
        "s5_001_mic1.flac": ("vctk", "vctk/s5", None),
        "p226_003.wav": ("vctk", "vctk/p226", None),
    }
    assert facts(find([tmp_path])) == facts(find([new, old])) == expected
    assert facts(find([old / "wav48" / "p226"])) == {"p226_003.wav": expected["p226_003.wav"]}


def test_ljspeech(tmp_path: Path) -> None:
    touch(tmp_path / "LJSpeech-1.1", "wavs/LJ001-0001.wav", "wavs/LJ050-0278.wav", "metadata.csv")
    assert set(facts(find([tmp_path])).values()) == {("ljspeech", "ljspeech/LJ", None)}
    assert len(find([tmp_path / "LJSpeech-1.1" / "wavs"])) == 2


def test_common_voice(common_voice: Path) -> None:
    def of(number: int, speaker: str, split: str) -> tuple[str, tuple[str, str, str]]:
        return f"common_voice_sv-SE_{number}.mp3", ("common_voice_sv-SE", f"common_voice/{speaker}", split)

    # What is validated but in no part goes where its speaker is; what is not confirmed, or in no table, is left out.
    expected = dict(
        [
            of(1, "ann", "train"),
            of(2, "bob", "train"),
            of(3, "cyd", "validation"),
            of(4, "dan", "test"),
            of(5, "ann", "train"),
            of(6, "dan", "test"),
        ]
    )
    assert facts(find([common_voice])) == expected
    assert facts(find([common_voice.parents[1]])) == expected
    assert facts(find([common_voice / "clips"])) == expected


def test_a_damaged_table_is_named(common_voice: Path) -> None:
    (common_voice / "dev.tsv").write_text("speaker\tfile\nann\tcommon_voice_sv-SE_1.mp3\n")
    with pytest.raises(AudioError, match=r"dev\.tsv: not a readable table"):
        find([common_voice])
    (common_voice / "dev.tsv").write_text("client_id\tpath\nann\n")
    with pytest.raises(AudioError, match=r"dev\.tsv: not a readable table"):
        find([common_voice])


def test_clips_without_tables_are_any_folder(tmp_path: Path) -> None:
    touch(tmp_path, "mine/clips/a.mp3")
    assert facts(find([tmp_path])) == {"a.mp3": ("mine", "mine/clips", None)}


def test_any_folder(tmp_path: Path) -> None:
    root = tmp_path / "speech"
    touch(root, "loose.wav", "anna/1.wav", "studio/ben/1.flac", "studio/set/c/2.flac", "studio/ben/.hidden.wav")
    found = [(recording.path.relative_to(root).as_posix(), recording) for recording in find([root])]
    assert {name: (recording.corpus, recording.speaker, recording.split) for name, recording in found} == {
        "anna/1.wav": ("speech", "speech/anna", None),
        "loose.wav": ("speech", "speech", None),
        "studio/ben/1.flac": ("studio", "studio/ben", None),
        "studio/set/c/2.flac": ("studio", "studio/set/c", None),
    }
    (ben,) = (recording for recording in find([root / "studio"]) if recording.speaker == "studio/ben")
    assert ben == Recording(root / "studio" / "ben" / "1.flac", "studio", "studio/ben", None)


def test_nothing_is_found_twice(librispeech: Path) -> None:
    assert len(find([librispeech, librispeech / "dev-clean"])) == len(find([librispeech])) == 5


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="missing: no such folder"):
        find([tmp_path / "missing"])
    with pytest.raises(AudioError, match="no audio files under"):
        find([tmp_path])


def test_official_parts_are_respected(librispeech: Path, common_voice: Path) -> None:
    recordings = find([librispeech, common_voice])
    kept, held = for_training(recordings), for_validation(recordings)
    assert {recording.speaker for recording in kept} == {
        "librivox/103",
        "librivox/20",
        "common_voice/ann",
        "common_voice/bob",
    }
    assert {recording.speaker for recording in held} == {"librivox/84", "common_voice/cyd"}
    assert held == for_validation(recordings[::-1])
    with pytest.raises(AudioError, match="only dev and test parts of librispeech"):
        for_training(find([librispeech / "dev-clean"]))


def test_weights_of_corpora() -> None:
    assert weights_of(["vctk", "librispeech", "vctk"], {"vctk": 0.5}) == {"librispeech": 1.0, "vctk": 0.5}
    with pytest.raises(ConfigError, match=r"data\.weights\.vtck: no such corpus.*librispeech, vctk"):
        weights_of(["vctk", "librispeech"], {"vtck": 2.0})
    with pytest.raises(ConfigError, match="nothing to train on"):
        weights_of(["vctk"], {"vctk": 0.0})


def test_held_out_speakers_are_disjoint_and_fixed() -> None:
    clips = [clip(f"corpus/{speaker:03d}/{take}.wav", f"{speaker:03d}") for speaker in range(100) for take in range(4)]
    clips += [clip(f"one_voice/{take}.wav", "one_voice") for take in range(100)]
    kept, held = hold_out(clips, 100.0, RATE)
    assert {clip.speaker for clip in kept}.isdisjoint(clip.speaker for clip in held)
    assert sum(clip.samples for clip in held) == 100 * RATE
    assert "one_voice" not in {clip.speaker for clip in held}
    assert sorted(kept + held, key=str) == sorted(clips, key=str)
    assert hold_out(clips[::-1], 100.0, RATE)[1] == held
    assert hold_out(clips, 0.0, RATE) == (clips, [])


def test_held_out_speakers_stay_the_same_for_good() -> None:
    """Scores of runs years apart are of the same files: the order is part of what a recipe means."""
    clips = [clip(f"corpus/{speaker:03d}/{take}.wav", f"{speaker:03d}") for speaker in range(100) for take in range(4)]
    assert list(dict.fromkeys(clip.speaker for clip in hold_out(clips, 60.0, RATE)[1])) == ["068", "091", "045"]


def test_a_speaker_of_many_folders_is_held_out_whole() -> None:
    clips = [clip(f"{n % 50}/{n % 3}/{n}.wav", str(n % 50)) for n in range(300)]
    kept, held = hold_out(clips, 60.0, RATE)
    assert len({clip.speaker for clip in held}) == 2
    assert {clip.speaker for clip in kept}.isdisjoint(clip.speaker for clip in held)


def test_of_few_speakers_one_is_held_out_whole() -> None:
    clips = [clip(f"{n % 12}/{n}.wav", str(n % 12)) for n in range(240)]
    kept, held = hold_out(clips, 60.0, RATE)
    assert len(held) == 20
    assert len({clip.speaker for clip in held}) == 1
    assert {clip.speaker for clip in kept}.isdisjoint(clip.speaker for clip in held)


def test_of_a_single_speaker_single_files_are_held_out() -> None:
    clips = [clip(f"all/{take}.wav", "all", RATE) for take in range(50)]
    kept, held = hold_out(clips, 3.0, RATE)
    assert (len(kept), len(held)) == (47, 3)


def test_parts_of_a_file_stay_together() -> None:
    clips = [clip(f"all/{take // 4}.wav", "all", RATE) for take in range(200)]
    kept, held = hold_out(clips, 10.0, RATE)
    assert len(held) == 12
    assert {part.recording.path for part in kept}.isdisjoint(part.recording.path for part in held)


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_names_that_are_not_utf8_are_shown_as_text(tmp_path: Path) -> None:
    strange = os.fsdecode(b"caf\xe9")
    try:
        touch(tmp_path / "voices", f"{strange}/{strange}.wav", "anna/a.wav")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    recordings = find([tmp_path / "voices"])
    assert {recording.speaker for recording in recordings} == {r"voices/caf\xe9", "voices/anna"}
    assert {recording.path.name for recording in recordings} == {f"{strange}.wav", "a.wav"}
    clips = [Clip(recording) for recording in recordings]
    training, held = hold_out(clips, 5.0, RATE)
    assert len(training) == len(held) == 1
