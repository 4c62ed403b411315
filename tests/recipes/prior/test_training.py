"""What a prior learns from: the corpus, its batches, transcripts, exact resumption; and what likelihoods are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from priors import KINDS, random_codes, tiny

from vqcodec import Codec
from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.models.prior import store
from vqcodec.models.prior.base import Condition, Prior
from vqcodec.models.prior.config import PriorConfig
from vqcodec.recipes.prior import likelihood
from vqcodec.recipes.prior.batches import Batches, batch_of
from vqcodec.recipes.prior.corpus import Corpus, Recording
from vqcodec.recipes.prior.train import Settings, fit

GOLDEN = Path(__file__).parents[2] / "golden"
SETTINGS = Settings(steps=40, items=4, warmup_steps=4, learning_rate=1e-2)


class Silent:
    def message(self, text: str) -> None: ...

    def update(self, share: float, text: str) -> None: ...


def corpus_of(speakers: int, frames: int = 30, text: str = "") -> Corpus:
    """Codes that count up modulo 8 from a random one, the second stage twice the first."""
    random = np.random.default_rng(0)
    recordings = []
    for number in range(speakers):
        first = (random.integers(8) + np.arange(frames)) % 8
        codes = np.stack([first, 2 * first % 8]).astype(np.uint16)
        recordings.append(Recording(codes, f"{number}.wav", f"speaker {number}", text))
    return Corpus(recordings)


def prior_of(kind: str = "transformer", **sizes: object) -> Prior:
    torch.manual_seed(0)
    values: dict[str, object] = {"num_stages": 2, "codebook_size": 8, "context_frames": 20, "width": 32, "layers": 2}
    config = PriorConfig(kind=kind, fingerprint="0" * 64, frame_rate=50.0, **{**values, **sizes})  # type: ignore[arg-type]
    return store.build(config)


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_predicted_is_learnt(kind: str, tmp_path: Path) -> None:
    corpus = corpus_of(60)
    taught, held = corpus.divide()
    prior = prior_of(kind)
    before = likelihood.of_prior(prior, held).code
    fit(prior, taught, SETTINGS, tmp_path / "checkpoint.pt", Silent())
    bits = likelihood.of_prior(prior, held)
    order_0 = likelihood.of_counts(taught, held, 0, 50.0)
    assert before == pytest.approx(3, abs=0.1)
    assert bits.code < 1.5 < 2 < order_0.code
    assert bits.second == pytest.approx(bits.code * 100)
    assert len(bits.stages) == 2


def test_a_resumed_training_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    class Impatient(Silent):
        steps = 0

        def update(self, share: float, text: str) -> None:
            self.steps += 1
            if self.steps == 5:
                raise KeyboardInterrupt

    corpus, settings = corpus_of(4), Settings(steps=9, items=2, warmup_steps=2)
    whole, parts = prior_of(speakers=corpus.speakers), prior_of(speakers=corpus.speakers)
    fit(whole, corpus, settings, tmp_path / "whole.pt", Silent())
    with pytest.raises(KeyboardInterrupt):
        fit(parts, corpus, settings, tmp_path / "parts.pt", Impatient())
    again = prior_of(speakers=corpus.speakers)
    fit(again, corpus, settings, tmp_path / "parts.pt", Silent(), resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
        assert name == "speakers.weight" or not torch.equal(tensor, parts.state_dict()[name]) or tensor.numel() == 0


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    corpus, settings = corpus_of(4), Settings(steps=1, items=1)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(ConfigError, match="no checkpoint to resume from"):
        fit(prior_of(), corpus, settings, path, Silent(), resume=True)
    fit(prior_of(), corpus, settings, path, Silent())
    with pytest.raises(ConfigError, match="of another training"):
        fit(prior_of(), corpus, Settings(steps=2, items=1), path, Silent(), resume=True)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptFile, match="not a readable checkpoint"):
        fit(prior_of(), corpus, settings, path, Silent(), resume=True)
    with pytest.raises(ConfigError, match="too few to train on"):
        fit(prior_of(), corpus_of(1, 20), settings, path, Silent())


def test_speakers_are_held_out_whole() -> None:
    corpus = Corpus([recording for recording in corpus_of(80).recordings for _ in range(2)])
    taught, held = corpus.divide()
    assert 0 < held.frames <= 0.025 * corpus.frames
    assert not set(taught.speakers) & set(held.speakers)
    assert len(taught.recordings) + len(held.recordings) == 160


def test_recordings_are_held_out_where_there_are_few_speakers() -> None:
    taught, held = corpus_of(3).divide()
    assert len(taught.recordings) == 2 and len(held.recordings) == 1
    with pytest.raises(ConfigError, match="add others"):
        corpus_of(1).divide()


def test_batches_come_from_seed_and_step() -> None:
    corpus = corpus_of(5)
    config = prior_of().config
    batches = [Batches(config, corpus, 3, seed).at(step).codes for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2]) and not torch.equal(batches[0], batches[3])
    assert batches[0].shape == (3, 2, 20)
    gaps = [Batches(config, corpus, 3, 0).gap(step, 0.5) for step in range(200)]
    found = [gap for gap in gaps if gap is not None]
    assert 60 < len(found) < 140
    assert all(0 <= start < end <= 20 and end - start <= 10 for start, end in found)


def test_batches_tell_who_speaks_and_what_is_said() -> None:
    corpus = corpus_of(3, 12, text="hey")
    config = prior_of(speakers=corpus.speakers, characters=corpus.characters).config
    batch = batch_of(config, [(one, one.codes) for one in corpus.recordings])
    assert batch.condition.speakers is not None and batch.condition.speakers.tolist() == [1, 2, 3]
    assert batch.condition.characters is not None and batch.condition.characters.tolist() == [[2, 1, 3]] * 3
    stranger = Recording(corpus.recordings[0].codes[:, :7], "x", "nobody")
    mixed = batch_of(config, [(stranger, stranger.codes), (corpus.recordings[0], corpus.recordings[0].codes)])
    assert mixed.condition.speakers is not None and mixed.condition.speakers.tolist() == [0, 1]
    assert (mixed.codes[0, :, 7:] == -1).all() and (mixed.codes[1] >= 0).all()


def test_transcripts_beside_the_recordings(tmp_path: Path) -> None:
    (tmp_path / "103-1240.trans.txt").write_text("103-1240-0000 HE  SAID\n103-1240-0001 NO\n", "utf-8")
    (tmp_path / "other.txt").write_text("and yes\n", "utf-8")
    codes = corpus_of(1).recordings[0].codes
    names = ["103-1240-0000", "103-1240-0001", "other"]
    texts = Corpus([Recording(codes, str(tmp_path / f"{name}.flac"), "s") for name in names]).with_texts()
    assert [one.text for one in texts.recordings] == ["HE SAID", "NO", "and yes"]
    assert texts.characters == " adehinosy"
    missing = Corpus([Recording(codes, str(tmp_path / "103-1240-0002.flac"), "s")])
    with pytest.raises(ConfigError, match=r"103-1240-0002\.flac has no transcript"):
        missing.with_texts()
    (tmp_path / "broken.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="no readable transcript"):
        Corpus([Recording(codes, str(tmp_path / "broken.wav"), "s")]).with_texts()


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_of_a_long_recording(kind: str) -> None:
    prior = tiny(kind, context_frames=10)
    codes = random_codes(prior, 1, 23)[0]
    bits = likelihood.of_recording(prior, codes, Condition())
    assert bits.shape == codes.shape
    torch.testing.assert_close(bits[:, :10], prior.bits(codes[None, :, :10], Condition())[0])
    torch.testing.assert_close(bits[:, 20:], prior.bits(codes[None, :, 15:], Condition())[0, :, 5:])
    short = likelihood.of_recording(prior, codes[:, :3], Condition())
    torch.testing.assert_close(short, prior.bits(codes[None, :, :3], Condition())[0])
    assert likelihood.log_likelihood(torch.tensor([1.0, 2.0])) == pytest.approx(np.log(1 / 8))


def test_yardsticks_beside_the_prior(tmp_path: Path) -> None:
    """The context model's bits are those of the bytes that it writes."""
    codec = Codec.load(GOLDEN / "context.safetensors", "cpu", "float32")
    assert codec.context is not None
    random = np.random.default_rng(0)
    codes = [random.integers(codec.codebook_size, size=(4, 100)).astype(np.uint16) for _ in range(3)]
    taught, held = Corpus([Recording(codes[0], "a", "a")]), Corpus([Recording(one, "b", "b") for one in codes[1:]])
    prior = prior_of(num_stages=4, codebook_size=codec.codebook_size)
    found = {bits.label: bits for bits in likelihood.compared(prior, taught, held, codec)}
    assert list(found) == ["order 0", "context model", "transformer"]
    payload = codec.context.encode([(held.codes[None].astype(np.int64), np.full((1, 200), 4))])[0]
    assert found["context model"].code == pytest.approx(8 * len(payload) / 800)
    counts = np.bincount(taught.codes[0], minlength=codec.codebook_size) + 1.0
    expected = -np.log2(counts / counts.sum())[held.codes[0]].mean()
    assert found["order 0"].stages[0] == pytest.approx(expected)
    later = prior_of(num_stages=2, first_stage=2, codebook_size=codec.codebook_size)
    assert [bits.label for bits in likelihood.compared(later, taught, held, codec)] == ["order 0", "transformer"]
