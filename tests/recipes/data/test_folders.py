"""Folders of audio become crops: any format and rate, unreadable files skipped, order free of state."""

import pickle
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from synthetic import noise, tone, voice
from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError
from vqcodec.recipes import loading
from vqcodec.recipes.config import AugmentConfig, Recipe
from vqcodec.recipes.data import corpora
from vqcodec.recipes.data.augment import Augment
from vqcodec.recipes.data.batches import Noise, worker_settings
from vqcodec.recipes.data.folders import Crops, Folders
from vqcodec.recipes.data.pcm_cache import CachedClip, PcmCache
from vqcodec.recipes.distributed import World

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


def build(folder: Path, cache: Path) -> tuple[PcmCache, list[str]]:
    messages: list[str] = []
    return PcmCache.build(corpora.find([folder]), RATE, cache, messages.append), messages


def crops_of(corpus: PcmCache, seed: int, gain_db: tuple[float, float] = (-12.0, 6.0)) -> Crops:
    return Crops(corpus, corpus.clips, 4000, Augment(AugmentConfig(), gain_db, RATE), seed)


def recipe(*overrides: str) -> Recipe:
    settings = ("data.batch_size=6", "data.crop_s=0.25", "data.workers=0", "augment.noise=0", "augment.reverb=0")
    return loading.load("speech_16k", [*settings, *overrides])


def folders(folder: Path, tmp_path: Path, *overrides: str, background: Sequence[Path] = ()) -> Folders:
    return Folders(recipe(*overrides), [folder], tmp_path / "cache", lambda text: None, background)


def held_clips(source: Folders) -> list[CachedClip]:
    return [reader.args[0] for reader in source.held_out.readers]


def record(root: Path, *names: str, duration_s: float = 1.0) -> None:
    """A sound of its own for every file."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(root / name, noise(duration_s, RATE, seed=zlib.crc32(name.encode()))[None], RATE)


def test_any_format_and_rate_and_the_unreadable_are_counted(folder: Path, tmp_path: Path) -> None:
    corpus, messages = build(folder, tmp_path / "cache")
    assert len(corpus.clips) == 12
    assert sorted({clip.samples for clip in corpus.clips}) == pytest.approx([16_000, 17_600, 19_200], abs=1)
    assert any("broken.wav" in message for message in messages)
    assert any("12 files" in message and "1 unreadable" in message for message in messages)


def test_clips_hold_what_the_files_hold(folder: Path, tmp_path: Path) -> None:
    corpus, _ = build(folder, tmp_path / "cache")
    for clip in corpus.clips:
        waveform, _ = audio.read(clip.recording.path, RATE)
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
    crops, again, other = (crops_of(corpus, seed) for seed in (1, 1, 2))
    backwards = [crops[index].waveform for index in reversed(range(20))][::-1]
    assert all(a.equal(again[index].waveform) for index, a in enumerate(backwards))
    assert not any(a.equal(other[index].waveform) for index, a in enumerate(backwards))
    assert len({tuple(crop[0, :8].tolist()) for crop in backwards}) == 20
    assert all(crop.shape == (1, 4000) and crop.abs().max() <= 1 for crop in backwards)


def test_gain_is_applied_in_range(folder: Path, tmp_path: Path) -> None:
    corpus, _ = build(folder, tmp_path / "cache")
    plain, quiet = crops_of(corpus, 1, (0.0, 0.0)), crops_of(corpus, 1, (-6.0, -6.0))
    for index in range(5):
        assert np.allclose(quiet[index].waveform, plain[index].waveform * 10 ** (-6 / 20), atol=1e-6)


def test_batches_are_the_same_for_any_workers_start_and_processes(folder: Path, tmp_path: Path) -> None:
    effects = ("augment.noise=0.5", "augment.reverb=0.5", "augment.denoise=true")
    alone = list(folders(folder, tmp_path, *effects).batches(range(5), World(), 3))
    assert all(batch.waveform.shape == batch.target.shape == (6, 1, batch.target.shape[-1]) for batch in alone)
    assert not any(batch.waveform.equal(batch.target) for batch in alone)
    resumed = list(folders(folder, tmp_path, *effects, "data.workers=1").batches(range(2, 5), World(), 3))
    for rank in range(3):
        share = list(folders(folder, tmp_path, *effects).batches(range(5), World(rank, 3), 3))
        for whole, part in zip(alone, share, strict=True):
            assert part.waveform.equal(whole.waveform[2 * rank : 2 * rank + 2])
            assert part.target.equal(whole.target[2 * rank : 2 * rank + 2])
    for before, after in zip(alone[2:], resumed, strict=True):
        assert before.waveform.equal(after.waveform)
        assert before.target.equal(after.target)


def test_weights_change_how_often_a_corpus_is_heard(tmp_path: Path) -> None:
    root = tmp_path / "speech"
    record(root, *(f"{corpus}/{speaker}/a.wav" for corpus in "ab" for speaker in range(4)), "c/0/a.wav")

    def shares(*overrides: str) -> dict[str, float]:
        source = folders(root, tmp_path, *overrides)
        crops = Crops(source.corpus, source.clips, 400, source.augment, 0, source.weights)
        drawn = Counter(crops.clips[crops.draw(np.random.default_rng(n))].recording.corpus for n in range(900))
        return {name: count / 900 for name, count in drawn.items()}

    assert shares("data.validation_s=0") == pytest.approx({"a": 4 / 9, "b": 4 / 9, "c": 1 / 9}, abs=0.05)
    assert shares("data.weights={a=0.25, c=4}", "data.validation_s=0") == pytest.approx(
        {"a": 1 / 9, "b": 4 / 9, "c": 4 / 9}, abs=0.05
    )
    assert shares("data.weights={a=0, b=0}") == {"c": 1.0}
    assert shares("data.weights={a=0, b=0}", "data.validation_s=2") == {"c": 1.0}
    with pytest.raises(ConfigError, match=r"data\.weights\.d: no such corpus in the data; there are a, b, c"):
        shares("data.weights={d=2}")


def test_official_parts_are_validated_on_and_never_trained_on(tmp_path: Path) -> None:
    root = tmp_path / "LibriSpeech"
    record(root, *(f"train-clean-100/{speaker}/1/{speaker}-1-0000.flac" for speaker in range(10, 14)))
    record(root, *(f"dev-clean/{speaker}/1/{speaker}-1-{take:04d}.flac" for speaker in (1, 2) for take in range(3)))
    record(root, "test-clean/3/1/3-1-0000.flac")
    source = folders(root, tmp_path, "data.validation_s=3.5")
    assert {clip.recording.speaker for clip in source.clips} == {f"librivox/{speaker}" for speaker in range(10, 14)}
    held = held_clips(source)
    assert len(held) == len(source.held_out) == 4  # as many files as there have to be, not the whole part
    assert {clip.recording.speaker for clip in held} == {"librivox/1", "librivox/2"}
    for example, clip in zip(source.held_out, held, strict=True):
        assert np.abs(example.target[0].numpy() - audio.read(clip.recording.path)[0][0]).max() < 1e-3
    with pytest.raises(AudioError, match="only dev and test parts"):
        folders(root / "test-clean", tmp_path)


def test_corpora_without_official_parts_have_speakers_held_out(tmp_path: Path) -> None:
    record(tmp_path / "all", *(f"LibriSpeech/train-clean-100/{n}/1/{n}-1-0000.flac" for n in range(10, 14)))
    record(tmp_path / "all", *(f"LibriSpeech/dev-clean/{n}/1/{n}-1-0000.flac" for n in range(1, 9)))
    record(tmp_path / "all", *(f"mine/speaker_{n}/a.wav" for n in range(60)))
    source = folders(tmp_path / "all", tmp_path, "data.validation_s=8")
    held = Counter(clip.recording.corpus for clip in held_clips(source))
    assert held == {"librispeech": 4, "mine": 4}
    trained = {clip.recording.speaker for clip in source.clips}
    assert len(trained) == 60
    assert trained.isdisjoint(clip.recording.speaker for clip in held_clips(source))
    assert {f"librivox/{n}" for n in range(10, 14)} < trained


def test_a_speaker_of_two_corpora_is_not_held_out_of_one(tmp_path: Path) -> None:
    record(tmp_path / "all", *(f"LibriSpeech/train-clean-100/{n}/1/{n}-1-0000.flac" for n in range(10, 70)))
    record(tmp_path / "all", "LibriSpeech/dev-clean/1/1/1-1-0000.flac")
    record(tmp_path / "all", *(f"LibriTTS/train-clean-100/{n}/1/{n}_1_000000_000000.wav" for n in range(30, 75)))
    source = folders(tmp_path / "all", tmp_path, "data.validation_s=6")
    held = {clip.recording.speaker for clip in held_clips(source)}
    assert "librivox/1" in held
    assert len(held) == 2
    assert held.isdisjoint(clip.recording.speaker for clip in source.clips)


def test_recorded_noise(folder: Path, tmp_path: Path) -> None:
    street = tmp_path / "street"
    street.mkdir()
    audio.write(street / "hum.wav", tone(0.1, RATE, 440.0)[None], RATE)
    settings = ("augment.noise=1", "augment.snr_db=[0, 0]", "data.gain_db=[-20, -20]", "augment.denoise=true")
    source = folders(folder, tmp_path, *settings, background=[street])
    (batch,) = source.batches(range(1), World(), 0)
    hum = (batch.waveform - batch.target)[:, 0].numpy()
    assert np.allclose((hum**2).mean(-1), (batch.target[:, 0].numpy() ** 2).mean(-1), rtol=0.01)
    spectrum = np.abs(np.fft.rfft(hum)) ** 2
    near = np.abs(np.fft.rfftfreq(hum.shape[-1], 1 / RATE) - 440) < 60
    assert (spectrum[:, near].sum(-1) > 0.9 * spectrum.sum(-1)).all()
    assert not {clip.recording.path for clip in source.clips} & {street / "hum.wav"}
    with pytest.raises(ConfigError, match=r"augment\.noise is 0"):
        folders(folder, tmp_path, background=[street])
    with pytest.raises(AudioError, match="no such folder"):
        folders(folder, tmp_path, "augment.noise=1", background=[tmp_path / "missing"])


def test_noise_is_as_long_as_it_has_to_be(tmp_path: Path) -> None:
    record(tmp_path / "noise", "short.wav", duration_s=0.1)
    corpus, _ = build(tmp_path / "noise", tmp_path / "cache")
    crop = Noise(corpus).crop(4000, np.random.default_rng(0))
    assert np.array_equal(crop[:1600], corpus.read(corpus.clips[0]))
    assert np.array_equal(crop[1600:3200], crop[:1600])


def test_held_out_recordings_are_degraded_only_for_an_enhancer(folder: Path, tmp_path: Path) -> None:
    settings = ("augment.noise=1", "data.validation_s=2")
    codec = folders(folder, tmp_path, *settings).held_out[0]
    assert codec.waveform.equal(codec.target)
    enhancer = folders(folder, tmp_path, *settings, "augment.denoise=true").held_out
    assert enhancer[0].waveform.equal(enhancer[0].waveform)
    assert not enhancer[0].waveform.equal(enhancer[0].target)
    scale = enhancer[0].target.abs().max() / codec.target.abs().max()
    assert enhancer[0].target.allclose(scale * codec.target, atol=1e-6)


def test_the_source_says_what_it_has(tmp_path: Path) -> None:
    record(tmp_path / "all", *(f"{corpus}/{speaker}/a.wav" for corpus in ("a", "b") for speaker in range(9)))
    source = folders(tmp_path / "all", tmp_path, "data.validation_s=1")
    assert source.describe().startswith("17 clips (")
    assert source.describe().endswith("1 held out")
    assert "a 0.00" in source.describe() and "b 0.00" in source.describe()


def test_nothing_to_train_on(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("text")
    with pytest.raises(AudioError, match="none of the 1 audio files"):
        build(tmp_path, tmp_path / "cache")


def test_a_recording_of_sixteen_bits_is_cached_as_it_is(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(-32_768, 32_768, 5000).astype(np.int16)
    (tmp_path / "speech").mkdir()
    audio.write(tmp_path / "speech" / "noise.wav", audio.from_pcm(levels)[None], RATE)
    corpus, _ = build(tmp_path / "speech", tmp_path / "cache")
    assert np.array_equal(audio.to_pcm(corpus.read(corpus.clips[0])), levels)


def test_workers_map_the_corpus_instead_of_being_sent_it(folder: Path, tmp_path: Path) -> None:
    corpus = folders(folder, tmp_path).corpus
    data = pickle.dumps(corpus)
    assert len(data) < corpus.file.stat().st_size / 10
    again = pickle.loads(data)
    clip = corpus.clips[-1]
    np.testing.assert_array_equal(again.read(again.clips[-1]), corpus.read(clip))


def test_no_process_is_forked() -> None:
    assert worker_settings(0) == {"num_workers": 0}
    assert worker_settings(2)["multiprocessing_context"] == "spawn"
