"""Training on codes: what is drawn, what is learnt, and going on after an interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from synthetic import voice
from vqcodec import Codec
from vqcodec.errors import AudioError, ConfigError, CorruptFile
from vqcodec.recipes.context import codes as collection
from vqcodec.recipes.context.codes import Codes, allotted
from vqcodec.recipes.context.train import Settings, fit, measure, start

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"
SETTINGS = Settings(steps=60, items=4, frames=40, warmup_steps=5)


class Silent:
    def __init__(self) -> None:
        self.shares: list[float] = []

    def message(self, text: str) -> None: ...

    def update(self, share: float, text: str) -> None:
        self.shares.append(share)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(TINY, "cpu")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    for seed in range(4):
        (folder / f"speaker{seed}").mkdir()
        sf.write(folder / f"speaker{seed}" / "a.wav", voice(2, seed=seed), 16_000)
    return folder


def patterned(frames: int, seed: int = 0) -> Codes:
    """Codes that follow from those before: stage 0 counts up, stage 1 repeats it, the others are random."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 60, (4, frames)).astype(np.uint16)
    codes[0] = np.arange(frames) % 7
    codes[1] = codes[0]
    errors = np.cumsum(random.uniform(0.1, 1, (5, frames)), axis=0)[::-1]
    weights = random.uniform(0.1, 1, frames)
    return Codes(codes=codes, errors=errors.astype(np.float16), weights=weights.astype(np.float32))


def vectors_of(codec: Codec) -> np.ndarray:
    return np.stack([book.vectors.half().numpy() for book in codec.model.quantizer.books])


def test_codes_are_those_of_the_codec(codec: Codec) -> None:
    waveform = voice(1.5)
    found = collection.encode(codec, waveform)
    expected = codec.encode(waveform, stages=4, effort=collection.EFFORT).codes[0]
    assert (found.codes == expected).all()
    assert found.errors.shape == (5, found.frames) and found.weights.shape == (found.frames,)
    assert (found.errors[0] > found.errors[4]).mean() > 0.9


def test_weights_follow_the_loudness_of_neighbours() -> None:
    samples = np.zeros((6, 320), np.float32)
    samples[2] = 0.5
    weights = collection._weights(samples)
    quiet, loud = 1e-7**0.15, 0.25**0.15
    np.testing.assert_allclose(weights, [quiet, quiet, loud, loud, loud, quiet], rtol=1e-5)  # a frame late


def test_allotted_counts_meet_the_mean_at_the_least_error() -> None:
    part = patterned(500)
    for mean in (0.5, 1, 2.5, 4):
        counts = allotted(part, mean)
        assert counts.mean() == pytest.approx(mean, abs=0.05)
        rows = part.errors.astype(np.float32) * part.weights
        error = rows[counts, np.arange(500)].sum()
        shuffled = np.random.default_rng(0).permutation(counts)
        assert mean == 4 or error < rows[shuffled, np.arange(500)].sum()


def test_speakers_are_held_out(speech: Path) -> None:
    taught, held = collection.find([speech])
    assert len(held) == 1 and len(taught) == 3
    with pytest.raises(AudioError, match="add others"):
        collection.find([speech / "speaker0"])


def test_codes_are_computed_once(codec: Codec, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = collection.find([speech])[0]
    monkeypatch.setattr(collection, "_RECORDINGS_AT_ONCE", 2)
    first, notes = collection.collect(codec, recordings, tmp_path, lambda share: None)
    assert notes == [] and first.frames >= 300
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:100])  # damaged: computed anew
    shares: list[float] = []
    monkeypatch.setattr(collection, "_encode_all", lambda *a: [collection.encode(codec, voice(0.5))] * 4)
    second, _ = collection.collect(codec, recordings, tmp_path, shares.append)
    assert shares[-1] == 1 and second.frames != first.frames
    third, _ = collection.collect(codec, recordings, tmp_path, shares.append)
    assert (third.codes == second.codes).all() and (third.weights == second.weights).all()


def test_it_learns_what_can_be_predicted(codec: Codec, tmp_path: Path) -> None:
    taught, held, display = patterned(3000), patterned(1000, 1), Silent()
    network = start(taught, vectors_of(codec), 0)
    before = {bits.label: bits for bits in measure(network, held)}["4 stages"]
    fit(network, taught, SETTINGS, tmp_path / "checkpoint.pt", display)
    assert network.whole and display.shares[-1] == 1
    after = {bits.label: bits for bits in measure(network, held)}["4 stages"]
    assert before.stages[0] > 2.5 and after.stages[0] < 1.5
    assert after.stages[1] < 1
    assert after.stages[2] > 5.8  # random: log2(60) is 5.9
    assert after.share < before.share


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(codec: Codec, tmp_path: Path) -> None:
    taught, settings = patterned(1000), Settings(steps=8, items=2, frames=20)
    whole = start(taught, vectors_of(codec), 0)
    fit(whole, taught, settings, tmp_path / "whole.pt", Silent())

    class Interrupting(Silent):
        def update(self, share: float, text: str) -> None:
            if share == 0.5:
                raise KeyboardInterrupt

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(start(taught, vectors_of(codec), 0), taught, settings, path, Interrupting())
    resumed = start(taught, vectors_of(codec), 5)
    fit(resumed, taught, settings, path, Silent(), resume=True)
    assert all((a == b).all() for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_checkpoints_that_do_not_fit(codec: Codec, tmp_path: Path) -> None:
    taught, settings = patterned(200), Settings(steps=2, items=1, frames=20)
    path = tmp_path / "checkpoint.pt"
    network = start(taught, vectors_of(codec), 0)
    with pytest.raises(ConfigError, match="no checkpoint"):
        fit(network, taught, settings, path, Silent(), resume=True)
    fit(network, taught, settings, path, Silent())
    with pytest.raises(ConfigError, match="other settings"):
        fit(network, taught, Settings(steps=3, items=1, frames=20), path, Silent(), resume=True)
    path.write_bytes(b"nothing")
    with pytest.raises(CorruptFile, match="checkpoint"):
        fit(network, taught, settings, path, Silent(), resume=True)
    with pytest.raises(ConfigError, match="too few"):
        fit(network, taught.part(0, 20), settings, path, Silent())


def test_the_learning_rate_and_the_rounding() -> None:
    settings = Settings(steps=1000, warmup_steps=100, learning_rate=1.0)
    assert settings.rate(0) == pytest.approx(0.01)
    assert settings.rate(99) == pytest.approx(0.976, abs=0.001)
    assert settings.rate(1000) == pytest.approx(0.02)
    assert [settings.is_whole(step) for step in (0, 949, 950, 999)] == [False, False, True, True]
