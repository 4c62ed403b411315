"""Waveform to packets."""

import numpy as np
import pytest
from lives import FORMAT, codec

from synthetic import voice
from vqcodec.codec import Codec
from vqcodec.errors import AudioError, ConfigError
from vqcodec.live.payload import FramePacket, Redundancy
from vqcodec.live.rtp import parse
from vqcodec.live.sender import Sender, format_of
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig

STAGE_BPS = 400  # 8 bits, 50 times a second


def read(datagrams: list[bytes]) -> list[FramePacket]:
    return [FORMAT.unpack(header.payload_type, payload) for header, payload in map(parse, datagrams)]


def test_packets_hold_the_codes_of_the_stream() -> None:
    waveform = voice(1.0)[None]
    sender = Sender(codec(), target_bps=3 * STAGE_BPS, silence=False)
    datagrams = []
    for start in range(0, 16_000, 450):  # no whole number of frames
        datagrams += sender.push(waveform[:, start : start + 450])
    expected = codec().encoder(stages=3, effort=1, block_frames=1).push(waveform)[0]
    assert np.array_equal(np.hstack([packet.codes for packet in read(datagrams)]), expected)


@pytest.mark.parametrize("bitrate", [1.5, 2.25, 3.9])
def test_the_bitrate_is_met_in_the_mean(bitrate: float) -> None:
    sender = Sender(codec(), target_bps=bitrate * STAGE_BPS, silence=False)
    stages = [len(packet.codes) for packet in read(sender.push(voice(2.0)[None]))]
    assert np.mean(stages) == pytest.approx(bitrate, abs=0.02)
    assert set(stages) <= {int(bitrate), int(bitrate) + 1}


def test_the_bitrate_may_change_at_any_packet() -> None:
    sender = Sender(codec(), target_bps=STAGE_BPS, frames=2, silence=False)
    stages = []
    for wanted in (1, 4, 2):
        sender.target_bps = wanted * STAGE_BPS
        stages += [len(packet.codes) for packet in read(sender.push(voice(0.2)[None]))]
    assert stages == [1] * 5 + [4] * 5 + [2] * 5


def test_silence_is_hardly_sent() -> None:
    sender = Sender(codec())
    talk = read(sender.push(voice(1.0)[None]))
    pause = read(sender.push(np.zeros((1, 48_000), np.float32)))
    assert sum(packet.noise for packet in talk) < 4 and len(talk) > 30
    assert 6 <= sum(packet.noise for packet in pause) <= 10
    assert sum(not packet.noise for packet in pause) < 20


def test_flush_sends_what_waits() -> None:
    sender = Sender(codec(), frames=6, redundancy=Redundancy(1, 1), silence=False)
    sent = read(sender.push(voice(0.2)[None]))
    assert [packet.frames for packet in sent + read(sender.flush())] == [6, 4]
    assert sender.flush() == []


def test_settings_out_of_range_are_refused() -> None:
    for settings, problem in (
        ({"frames": 7}, "1 to 6 frames"),
        ({"redundancy": Redundancy(3, 1)}, "redundancy is one of"),
        ({"target_bps": 1e6}, "bit"),
    ):
        with pytest.raises(ConfigError, match=problem):
            Sender(codec(), **settings)  # type: ignore[arg-type]


def test_waveforms_of_other_shapes_are_refused() -> None:
    with pytest.raises(AudioError):
        Sender(codec()).push(np.zeros((2, 320), np.float32))
    with pytest.raises(AudioError, match="NaN"):
        Sender(codec()).push(np.full((1, 320), np.nan, np.float32))


def test_models_that_cannot_be_used_are_refused() -> None:
    sizes = {"latent_dim": 4, "encoder_width": 8, "encoder_blocks": 1, "decoder_width": 8, "decoder_blocks": 1}
    for settings, problem in (({"codebook_size": 64}, "8 bits"), ({"bottleneck": "vae"}, "codes")):
        model = Autoencoder(ModelConfig(name="other", **sizes, **settings)).eval()  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=problem):
            format_of(Codec(model))
