"""Codecs over a network that loses packets."""

from pathlib import Path

import numpy as np
import pytest
from lives import model

from synthetic import voice
from vqcodec.errors import ConfigError
from vqcodec.live.payload import Redundancy
from vqcodec.models import checkpoint
from vqcodec.recipes.evaluation.systems import Unavailable
from vqcodec.recipes.evaluation.systems.lossy import LiveOpus, LiveVqcodec, check, parse_losses, read_trace
from vqcodec.recipes.evaluation.under_loss import LossPlan, others_under_loss, ours_under_loss, parse_redundancies


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("lossy") / "small.safetensors"
    checkpoint.save(path, model(), {"steps": 1}, ["00" * 32], ["pesq_wb"])
    return str(path)


def needs_libopus() -> None:
    try:
        check()
    except Unavailable as reason:
        pytest.skip(str(reason))


def trace_file(folder: Path, text: str) -> Path:
    path = folder / "trace.txt"
    path.write_text(text)
    return path


def test_losses_as_they_are_written() -> None:
    first, second = parse_losses("10, 5:60")
    assert (first.slug, str(first), first.share) == ("loss10", "10 % lost", 0.1)
    assert (second.slug, str(second)) == ("loss5x60ms", "5 % lost in gaps of 60 ms")
    assert second.model is not None and second.model.burst == 3.0
    for text in ("", "x", "5:", "100", "5:10"):
        with pytest.raises(ConfigError):
            parse_losses(text)


def test_every_codec_loses_the_same_packets_of_a_waveform() -> None:
    [loss] = parse_losses("10")
    one, other = voice(4.0, seed=1), voice(4.0, seed=2)
    assert np.array_equal(loss.trace(one, 200), loss.trace(one, 201)[:200])
    assert not np.array_equal(loss.trace(one, 200), loss.trace(other, 200))


def test_traces_are_repeated(tmp_path: Path) -> None:
    loss = read_trace(trace_file(tmp_path, "0 0 1\n1"))
    assert loss.trace(voice(1.0), 10).tolist() == [False, False, True, True] * 2 + [False, False]
    assert loss.share == 0.5
    for text in ("", "012", "a", "é"):
        with pytest.raises(ConfigError, match="trace"):
            read_trace(trace_file(tmp_path, text))
    with pytest.raises(ConfigError, match="trace"):
        read_trace(tmp_path / "missing")


def test_without_loss_the_sound_is_that_of_the_streams(small: str, tmp_path: Path) -> None:
    from vqcodec.codec import Codec

    waveform = voice(1.01)
    coded = LiveVqcodec(kbps=1.2, loss=parse_losses("0")[0], model=small).run(waveform, 16_000, tmp_path)
    codec = Codec.load(small, device="cpu")
    encoder = codec.encoder(stages=3, effort=1, block_frames=1)
    codes = np.concatenate([encoder.push(waveform[None]), encoder.flush()], axis=-1)
    assert len(coded.waveform) == len(waveform)
    decoder = codec.decoder(block_frames=1, texture=0.0)
    assert coded.bytes == codes.shape[-1] * 3
    expected = decoder.push(codes)[0]
    length = min(len(expected), len(waveform))
    assert np.corrcoef(coded.waveform[:length], expected[:length])[0, 1] > 0.5


def test_redundancy_is_counted_and_helps(small: str, tmp_path: Path) -> None:
    waveform = voice(2.0)
    loss = read_trace(trace_file(tmp_path, "00001"))
    clean, bare, repeated = (
        LiveVqcodec(kbps=0.4, loss=one, redundancy=redundancy, model=small).run(waveform, 16_000, tmp_path)
        for one, redundancy in (
            (parse_losses("0")[0], Redundancy(1, 1)),
            (loss, Redundancy(0, 0)),
            (loss, Redundancy(1, 1)),
        )
    )
    assert repeated.bytes == 2 * bare.bytes - 1  # the first packet has nothing to repeat
    assert np.array_equal(repeated.waveform, clean.waveform)  # a single stage: all of it rides along
    assert not np.array_equal(bare.waveform, clean.waveform)


def test_names_tell_settings_apart(small: str) -> None:
    plan = LossPlan(losses=parse_losses("5,10:60"), redundancies=parse_redundancies("none,1x1,1x3"))
    systems = ours_under_loss(small, [400, 1200], plan)
    assert len({system.name for system in systems}) == len({system.codec + system.setting for system in systems}) == 12
    assert systems[1].name == "live_small-0.4-loss5-red1x1"
    with pytest.raises(ConfigError, match="redundancy is one of"):
        parse_redundancies("3x3")


def test_opus_with_its_redundancy_survives_a_loss(tmp_path: Path) -> None:
    needs_libopus()
    waveform = voice(2.0)
    loss = read_trace(trace_file(tmp_path, "0" * 9 + "1"))
    clean = LiveOpus(16.0, parse_losses("0")[0]).run(waveform, 16_000, tmp_path)
    torn = LiveOpus(16.0, loss).run(waveform, 16_000, tmp_path)
    assert len(clean.waveform) == len(torn.waveform) == len(waveform)
    assert 8 * clean.bytes / 2.0 == pytest.approx(16_000, rel=0.4)
    assert np.corrcoef(clean.waveform, waveform)[0, 1] > 0.9
    assert np.corrcoef(torn.waveform, waveform)[0, 1] > 0.6
    assert not np.array_equal(clean.waveform, torn.waveform)


def test_other_codecs_are_left_out() -> None:
    plan = LossPlan(losses=parse_losses("5"))
    found, notes = others_under_loss(["speex"], plan)
    assert found == [] and "only opus" in notes[0]
    needs_libopus()
    found, _ = others_under_loss(["opus:9,12"], plan)
    assert [system.name for system in found] == ["opus_fec-9-loss5", "opus_fec-12-loss5"]
