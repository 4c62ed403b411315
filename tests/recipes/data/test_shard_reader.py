"""Shards as a source: the same crops whenever and wherever asked for, in bounded memory; damage is passed over."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from synthetic import noise, voice
from vqcodec import audio
from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.recipes import loading
from vqcodec.recipes.config import Recipe
from vqcodec.recipes.data import prepare, shard_format
from vqcodec.recipes.data.batches import Example, crop_samples
from vqcodec.recipes.data.cleaning import CleaningSettings
from vqcodec.recipes.data.folders import Folders
from vqcodec.recipes.data.shard_format import Facts
from vqcodec.recipes.data.shard_reader import Shards, mixed, open_source
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training.train import train

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # more workers than CPUs

RATE = 16_000
ALONE = World()
SPEAKERS = 60
TAKES = 2
STRIDE = 128
"""Samples between two values of a coded recording."""


def coded(number: int, samples: int) -> np.ndarray:
    """A recording whose samples say which one it is and where in it they are."""
    return (number * 256 + (np.arange(samples) // STRIDE) % 256).astype(np.int16)


def write_corpus(
    folder: Path, per_shard: int = 10, split: str | None = None, corpora: Sequence[str] = ("one",)
) -> Path:
    """Shards of coded recordings between 1 and 1.75 s, of two takes by each of sixty speakers."""
    folder.mkdir(parents=True)
    recordings = []
    for number in range(SPEAKERS * TAKES):
        pcm = coded(number, RATE + 100 * number)
        speaker, take = divmod(number, TAKES)
        corpus = corpora[number % len(corpora)]
        path = f"{corpus}/speaker_{speaker}/{take}.wav"
        facts = Facts(path, 0.0, corpus, f"{corpus}/{speaker}", split, RATE, len(pcm), -20.0, -3.0)
        recordings.append((facts, audio.to_flac(pcm, RATE)))
    parts = [recordings[first : first + per_shard] for first in range(0, len(recordings), per_shard)]
    shards = [shard_format.write_shard(folder, number, part, []) for number, part in enumerate(parts)]
    shard_format.write_index(folder, shards, RATE)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "shards")


def recipe(*overrides: str) -> Recipe:
    settings = ["data.batch_size=4", "data.crop_s=0.25", "data.gain_db=[0.0, 0.0]", "data.workers=0"]
    settings += ["data.validation_s=0.0", "data.buffer_mb=0.2", "augment.noise=0", "augment.reverb=0"]
    return loading.load("speech_16k", [*settings, *overrides])


def opened(folder: Path, *overrides: str, messages: list[str] | None = None) -> Shards:
    report = [].append if messages is None else messages.append
    return Shards(recipe(*overrides), [folder], folder / "cache", report)


def batches(shards: Shards, steps: range, world: World = ALONE, seed: int = 3) -> list[Example]:
    return list(shards.batches(steps, world, seed))


def places(batch: Example) -> list[tuple[int, int]]:
    """The recording and the place in it that each crop of a batch begins at."""
    first = (batch.waveform[:, 0, 0] * 32_768).round().int().tolist()
    return [(value // 256, value % 256) for value in first]


def same(one: Example, other: Example) -> bool:
    return one.waveform.equal(other.waveform) and one.target.equal(other.target)


def epoch_steps(shards: Shards) -> int:
    return int(shards.shares.sum() / crop_samples(shards.recipe) / shards.recipe.data.batch_size)


def test_crops_are_stretches_of_recordings(folder: Path) -> None:
    shards = opened(folder)
    (batch,) = batches(shards, range(1))
    assert batch.waveform.shape == (4, 1, crop_samples(shards.recipe))
    assert batch.waveform.equal(batch.target)
    for crop in (batch.waveform[:, 0] * 32_768).round().int():
        assert len(set((crop // 256).tolist())) == 1  # of one recording...
        assert set(torch.diff(crop % 256).tolist()) <= {0, 1}  # ...without a jump


def test_the_same_whenever_asked_for_across_epochs(folder: Path) -> None:
    shards = opened(folder)
    steps = epoch_steps(shards)
    whole = batches(shards, range(2 * steps))
    for start in (1, steps // 2, steps - 1, steps + 1):
        stop = min(2 * steps, start + 30)
        resumed = batches(opened(folder), range(start, stop))
        assert len(resumed) == stop - start
        assert all(map(same, resumed, whole[start:stop])), start
    other = batches(shards, range(steps), seed=4)
    assert not any(map(same, other, whole))
    assert [places(batch) for batch in whole[:steps]] != [places(batch) for batch in whole[steps:]]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_with_any_number_of_workers(folder: Path, workers: int) -> None:
    alone = batches(opened(folder), range(5, 15))
    helped = batches(opened(folder, f"data.workers={workers}"), range(5, 15))
    assert len(helped) == 10
    assert all(map(same, helped, alone))


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_share_the_batch_of_one_process(folder: Path, size: int) -> None:
    alone = batches(opened(folder), range(20))
    ranks = [batches(opened(folder), range(20), World(rank, size)) for rank in range(size)]
    for step, batch in enumerate(alone):
        assert torch.cat([rank[step].waveform for rank in ranks]).equal(batch.waveform)


def test_an_epoch_hears_everything_once(folder: Path) -> None:
    shards = opened(folder)
    epoch = [place for batch in batches(shards, range(epoch_steps(shards))) for place in places(batch)]
    assert len(set(epoch)) == len(epoch)
    crops = np.bincount([number for number, _ in epoch], minlength=SPEAKERS * TAKES)
    length = np.array([RATE + 100 * number for number in range(SPEAKERS * TAKES)])
    assert np.abs(crops - length / length.sum() * len(epoch)).max() < 2  # as often as it is long


def test_ranks_read_disjoint_audio(folder: Path) -> None:
    steps = range(epoch_steps(opened(folder)))
    heard = [
        {place for batch in batches(opened(folder), steps, World(rank, 2)) for place in places(batch)}
        for rank in range(2)
    ]
    assert heard[0].isdisjoint(heard[1])
    recordings = [{number for number, _ in places} for places in heard]
    assert len(recordings[0] & recordings[1]) <= 2  # those that lie across a border between lanes


def test_the_order_is_mixed_but_not_beyond_the_buffer() -> None:
    order = mixed(1000, 50, np.random.default_rng(1))
    assert sorted(order) == list(range(1000))
    moved = np.abs(order - np.arange(1000))
    assert moved.mean() > 10 and moved.max() <= 50
    assert mixed(5, 0, np.random.default_rng(1)).tolist() == [0, 1, 2, 3, 4]


def test_memory_stays_bounded_on_a_corpus_larger_than_it(tmp_path: Path) -> None:
    """60 MB of decoded audio through a buffer of 4 MB."""
    folder = tmp_path / "shards"
    folder.mkdir()
    flac = audio.to_flac(coded(1, 30 * RATE), RATE)
    facts = [Facts(f"a/{n}.wav", 0.0, "a", f"a/{n}", None, RATE, 30 * RATE, -20.0, -3.0) for n in range(64)]
    shards = [
        shard_format.write_shard(folder, n, [(one, flac) for one in facts[16 * n : 16 * n + 16]], []) for n in range(4)
    ]
    shard_format.write_index(folder, shards, RATE)
    program = f"""
import resource, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}
from pathlib import Path
import test_shard_reader
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
shards = test_shard_reader.opened(Path({str(folder)!r}), "data.buffer_mb=4.0", "data.crop_s=1.0")
steps = range(test_shard_reader.epoch_steps(shards))
reading = shards.batches(steps, test_shard_reader.World(), 1)
first, before = next(reading), peak()
assert sum(1 for _ in reading) == len(steps) - 1
print(len(steps) * first.waveform.numel() * 2 / 1e6, peak() - before)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    read_mb, grown_mb = map(float, run.stdout.split())
    assert read_mb > 55
    assert grown_mb < 25


def test_damaged_recordings_are_named_and_passed_over(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "shards")
    tar = folder / "shard-000003.tar"
    entry = shard_format.read_shard(tar).entries[4]
    data = bytearray(tar.read_bytes())
    data[entry.offset + entry.bytes // 2] ^= 1
    tar.write_bytes(data)
    for workers in (0, 2):
        messages: list[str] = []
        shards = opened(folder, f"data.workers={workers}", messages=messages)
        heard = batches(shards, range(epoch_steps(shards)))
        assert 34 not in {number for batch in heard for number, _ in places(batch)}
        assert messages == [f"skipped: {tar}: the recording at byte {entry.offset} is damaged"]
        middle = epoch_steps(shards) // 2
        assert same(batches(shards, range(middle, middle + 1))[0], heard[middle])


def test_a_corpus_without_a_readable_recording_is_an_error(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "shards")
    for tar in folder.glob("*.tar"):
        tar.write_bytes(bytes(tar.stat().st_size))
    with pytest.raises(CorruptFile, match=r"no recording in .* is readable"):
        batches(opened(folder), range(1))


def test_whole_speakers_are_held_out(folder: Path) -> None:
    messages: list[str] = []
    shards = opened(folder, "data.validation_s=4.0", messages=messages)
    held = {int(one.waveform[0, 0] * 32_768) // 256 for one in shards.held_out}
    assert len(held) in (TAKES, 2 * TAKES)
    assert {number // TAKES * TAKES for number in held} <= held  # all takes of a speaker or none
    heard = {number for batch in batches(shards, range(epoch_steps(shards))) for number, _ in places(batch)}
    assert heard == set(range(SPEAKERS * TAKES)) - held
    assert f"{len(held)} recordings held out" in shards.describe()
    number = int(shards.held_out[0].waveform[0, 0] * 32_768) // 256
    assert shards.held_out[0].waveform.shape == (1, RATE + 100 * number)
    assert messages == []


def test_damaged_held_out_recordings_are_named_and_left_out(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "shards")
    whole = opened(folder, "data.validation_s=4.0")
    number = int(whole.held_out[0].waveform[0, 0] * 32_768) // 256
    tar = folder / f"shard-{number // 10:06}.tar"
    data = bytearray(tar.read_bytes())
    data[shard_format.read_shard(tar).entries[number % 10].offset + 20] ^= 1
    tar.write_bytes(data)
    messages: list[str] = []
    assert len(opened(folder, "data.validation_s=4.0", messages=messages).held_out) == len(whole.held_out) - 1
    assert len(messages) == 1 and str(tar) in messages[0]


def test_official_parts_are_validated_on_and_never_trained_on(tmp_path: Path) -> None:
    training = write_corpus(tmp_path / "train", split="train")
    validation = write_corpus(tmp_path / "validation", split="validation")
    testing = write_corpus(tmp_path / "test", split="test")
    for folder in (validation, testing):  # they read as silence in what is heard
        for tar in folder.glob("*.tar"):
            shard = shard_format.read_shard(tar)
            quiet = [
                (entry.facts, audio.to_flac(np.zeros(entry.facts.samples, np.int16), RATE)) for entry in shard.entries
            ]
            shard_format.write_shard(folder, int(tar.stem[-6:]), quiet, [])
        shard_format.write_index(folder, [shard_format.read_shard(tar) for tar in sorted(folder.glob("*.tar"))], RATE)
    settings = recipe("data.validation_s=4.0")
    shards = Shards(settings, [training, validation, testing], tmp_path / "cache", [].append)
    assert all(not one.waveform.any() for one in shards.held_out)
    seconds = sum(one.waveform.shape[-1] for one in shards.held_out) / RATE
    assert 4 <= seconds < 8
    assert all(batch.waveform[1:].any() for batch in batches(shards, range(epoch_steps(shards))))
    assert shards.shares.sum() == opened(training).shares.sum()


def test_weights_by_corpus(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "shards", corpora=("a", "b", "c", "d"))
    shards = opened(folder, "data.weights={a = 0.0, b = 3.0}")
    counts = np.zeros(4)
    for batch in batches(shards, range(2 * epoch_steps(shards))):
        for number, _ in places(batch):
            counts[number % 4] += 1
    assert counts[0] == 0
    assert counts[1] / counts[2] == pytest.approx(3, rel=0.1)
    with pytest.raises(ConfigError, match=r"data\.weights\.e: .* there are a, b, c, d"):
        opened(folder, "data.weights={e = 1.0}")


def test_gain_and_effects_are_applied(folder: Path) -> None:
    plain = batches(opened(folder), range(3))
    quiet = batches(opened(folder, "data.gain_db=[-6.0, -6.0]"), range(3))
    for one, other in zip(plain, quiet, strict=True):
        assert torch.allclose(other.waveform, one.waveform * 10 ** (-6 / 20), atol=1e-6)
    noisy = ["augment.noise=1.0", "augment.denoise=true"]
    alone = batches(opened(folder, *noisy), range(3))
    again = batches(opened(folder, *noisy, "data.workers=2"), range(3))
    assert all(map(same, alone, again))
    assert not any(batch.waveform.equal(batch.target) for batch in alone)


def test_a_corpus_smaller_than_a_batch(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    facts = Facts("a/b.wav", 0.0, "a", "a/b", None, RATE, 1000, -20.0, -3.0)
    shard = shard_format.write_shard(folder, 0, [(facts, audio.to_flac(coded(5, 1000), RATE))], [])
    shard_format.write_index(folder, [shard], RATE)
    for batch in batches(opened(folder), range(3)):
        assert places(batch) == [(5, 0)] * 4
        assert not batch.waveform[..., 1000:].any()


def test_faults_of_a_folder_of_shards(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="16000 Hz, the model has 24000; prepare them with --sample-rate 24000"):
        opened(folder, "model.sample_rate=24000")
    with pytest.raises(ConfigError, match=r"holds shards and .* does not"):
        open_source(recipe(), [folder, tmp_path], tmp_path / "cache", print)
    broken = write_corpus(tmp_path / "broken")
    tar = broken / "shard-000001.tar"
    tar.write_bytes(tar.read_bytes()[:-1000])
    with pytest.raises(CorruptFile, match=r"shard-000001\.tar has \d+ bytes, not \d+"):
        opened(broken)
    tar.unlink()
    with pytest.raises(CorruptFile, match=r"shard-000001\.tar is missing"):
        opened(broken)
    (broken / "index.json").write_text('{"format": 99}')
    with pytest.raises(CorruptFile, match="has the format 99"):
        opened(broken)
    (broken / "index.json").write_text("[")
    with pytest.raises(CorruptFile, match="cannot be read"):
        opened(broken)
    (broken / "shard-000000.json").write_text("{}")
    with pytest.raises(CorruptFile, match="not the list of a shard"):
        shard_format.read_shard(broken / "shard-000000.tar")


class Notes:
    """A display that remembers its messages and the losses of steps."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.losses: list[float] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def update(self, step: int, steps: int, metrics: dict[str, float], perplexities: Sequence[float]) -> None:
        self.losses.append(metrics["loss"])

    def validation(self, step: int, metrics: dict[str, float]) -> None:
        pass


def test_training_reads_prepared_folders(tmp_path: Path) -> None:
    for speaker in range(12):
        (tmp_path / "speech" / str(speaker)).mkdir(parents=True)
        sound = voice(2.0, RATE, seed=speaker) + 0.01 * noise(2.0, RATE, seed=speaker)
        audio.write(tmp_path / "speech" / str(speaker) / "a.wav", sound[None], RATE)
    plan = prepare.plan([tmp_path / "speech"], tmp_path / "shards", CleaningSettings())
    prepare.run(plan, [].append, lambda done, text: None)
    sizes = ["model.latent_dim=8", "model.num_stages=2", "model.codebook_size=8", "model.encoder_width=16"]
    more = ["model.encoder_blocks=1", "model.decoder_width=16", "model.decoder_blocks=1", "run.tensorboard=false"]
    settings = recipe(*sizes, *more, "data.validation_s=2.0", "run.steps=4", "run.log_every=1", "data.workers=1")
    notes = Notes()
    assert train(settings, [tmp_path / "shards"], tmp_path / "run", display=notes, device="cpu")
    assert any("1 shards (speech" in message for message in notes.messages)
    assert len(notes.losses) == 4 and np.isfinite(notes.losses).all()
    source = open_source(settings, [tmp_path / "speech"], tmp_path / "cache", [].append)
    assert isinstance(source, Folders)
    held = [one.waveform for one in source.held_out]
    prepared = [one.waveform for one in Shards(settings, [tmp_path / "shards"], tmp_path, [].append).held_out]
    assert len(held) == len(prepared)  # the same speakers are held out
    for one, other in zip(held, prepared, strict=True):
        samples = min(one.shape[-1], other.shape[-1])
        assert any(
            torch.allclose(one[:, shift : shift + 4000], other[:, :4000], atol=1e-3)
            for shift in range(0, one.shape[-1] - samples + 1)
        )


def test_reading_stops_when_nobody_asks_for_more(folder: Path) -> None:
    reading = opened(folder, "data.workers=2").batches(range(10**9), World(), 1)
    assert len(list(islice(reading, 3))) == 3
    reading.close()  # type: ignore[attr-defined]
