"""Calls: keys, sealed packets, two sides without a network, and with one on this machine."""

import threading
from collections import deque
from random import Random

import numpy as np
import pytest
from lives import codec, damaged, datagram

from synthetic import clicks, voice
from vqcodec.codec import Codec
from vqcodec.errors import ConfigError, CorruptFile, VqcodecError
from vqcodec.live.calls import network
from vqcodec.live.calls.call import Call
from vqcodec.live.calls.handshake import HELLO_AGE_S, Answerer, Caller, new_key, parse_key
from vqcodec.live.calls.network import answer, converse, dial, open_socket
from vqcodec.live.calls.secure import TAG_BYTES, Opener, Sealer
from vqcodec.live.channel import Channel, LossModel, Network
from vqcodec.live.reports import ReceiverReport, goodbye
from vqcodec.live.sender import Sender, format_of

pytest.importorskip("cryptography", reason="the live extra is not installed")

KEY = bytes(range(32))
HOP = 320
S = 0.02


def pair() -> tuple[Sealer, Opener]:
    return Sealer(KEY), Opener(KEY)


def test_keys_as_text() -> None:
    assert parse_key(new_key() + "\n") != parse_key(new_key())
    for text in ("", "abc", new_key()[:-4], "?" * 44):
        with pytest.raises(ConfigError, match="44 characters"):
            parse_key(text)


def test_sealed_packets_open_once_in_any_order() -> None:
    sealer, opener = pair()
    plain = [datagram(n, sequence=65_530 + n) for n in range(20)]
    plain += [ReceiverReport(1, 2, 0.5, 3, 4, 5).to_bytes(), goodbye(1)]
    sealed = [sealer.seal(one) for one in plain]
    assert [len(a) - len(b) for a, b in zip(sealed, plain, strict=True)] == [TAG_BYTES] * 20 + [TAG_BYTES + 4] * 2
    assert all(a[:8] == b[:8] for a, b in zip(sealed, plain, strict=True))
    order = [1, 0, 3, 2, *range(5, 22), 4]
    assert [opener.open(sealed[n]) for n in order] == [plain[n] for n in order]
    for one in sealed:
        with pytest.raises(CorruptFile, match="twice"):
            opener.open(one)
    assert (opener.counts.repeated, opener.counts.forged) == (22, 0)


def test_equal_packets_look_different() -> None:
    sealer, _ = pair()
    first, second = (sealer.seal(datagram(0, sequence=n)) for n in range(2))
    assert first[12:] != second[12:]


def test_damaged_packets_are_refused() -> None:
    random = Random(0)
    sealer, opener = pair()
    for n in range(300):
        plain = datagram(n) if n % 3 else ReceiverReport(n, 2, 0.5, 3, 4, 5).to_bytes()
        sealed = sealer.seal(plain)
        if (bad := damaged(sealed, random)) != sealed:
            with pytest.raises(CorruptFile):
                opener.open(bad)
        assert opener.open(sealed) == plain


def test_another_key_opens_nothing() -> None:
    sealed = Sealer(KEY).seal(datagram(0))
    with pytest.raises(CorruptFile, match="not sealed"):
        Opener(bytes(32)).open(sealed)


def test_a_handshake_gives_both_directions_keys_of_their_own() -> None:
    caller, answerer = Caller(KEY, "ab" * 32), Answerer(KEY, "ab" * 32)
    reply, theirs = answerer.answer(caller.hello(1000.0), 1001.0)
    ours = caller.answered(reply)
    packet = datagram(3)
    there, back = ours.sealer.seal(packet), theirs.sealer.seal(packet)
    assert there != back
    assert theirs.opener.open(there) == ours.opener.open(back) == packet
    again = caller.answered(answerer.answer(caller.hello(1000.5), 1001.0)[0])
    assert theirs.opener.open(again.sealer.seal(datagram(4))) == datagram(4)


def test_strangers_get_no_answer() -> None:
    answerer, good = Answerer(KEY, "ab" * 32), Caller(KEY, "ab" * 32).hello(1000.0)
    hellos = [Caller(bytes(32), "ab" * 32).hello(1000.0), Caller(KEY, "cd" * 32).hello(1000.0)]
    hellos += [good[:-1], good + b"x", b"", bytes(len(good))]
    for hello in hellos:
        with pytest.raises(CorruptFile):
            answerer.answer(hello, 1000.0)
    with pytest.raises(CorruptFile, match="another time"):
        answerer.answer(good, 1000.0 + HELLO_AGE_S + 1)
    answerer.answer(good, 1000.0)
    with pytest.raises(CorruptFile, match="before"):
        answerer.answer(good, 1000.0)


def test_answers_to_others_are_refused() -> None:
    first, second, answerer = Caller(KEY, "a"), Caller(KEY, "a"), Answerer(KEY, "a")
    reply, _ = answerer.answer(first.hello(0.0), 0.0)
    with pytest.raises(CorruptFile, match="another hello"):
        second.answered(reply)
    with pytest.raises(CorruptFile):
        first.answered(reply[:-1])


def sides(chosen: Codec, **settings: object) -> tuple[Call, Call]:
    made = [Call(chosen, Sender(chosen, silence=False, **settings)) for _ in range(2)]  # type: ignore[arg-type]
    return made[0], made[1]


def talked(calls: tuple[Call, Call], waveform: np.ndarray, network: Network) -> np.ndarray:
    """What the second side hears of the first, both in step, the first packets without delay."""
    channels, heard = (Channel(network, 1), Channel(network, 2)), []
    for tick in range(len(waveform) // HOP):
        now = (tick + 1) * S
        for who, call in enumerate(calls):
            block = waveform[None, tick * HOP : (tick + 1) * HOP] * (1 - who)
            for one in call.push(block.astype(np.float32), now):
                channels[who].send(one, now)
        for who, call in enumerate(calls):
            for arrived, one in channels[1 - who].receive(now + 0.004):
                call.put(one, arrived)
            if who:
                heard.append(call.pull(now + 0.004))
            else:
                call.pull(now + 0.004)
    return np.concatenate(heard, axis=1)[0]


def test_mouth_to_ear_is_within_130_ms_without_a_network() -> None:
    """A frame's time until it is full, 50 ms of the model, and what the buffer adds."""
    shipped = Codec.load(device="cpu", precision="float32")
    spoken = clicks(3.0, interval_s=0.5)
    burst = np.hanning(80).astype(np.float32)
    spoken = np.convolve(spoken, burst * np.random.default_rng(0).uniform(-1, 1, 80), "same").astype(np.float32)
    heard = talked(sides(shipped), spoken, Network())
    lag = np.argmax(np.correlate(np.abs(heard), np.abs(spoken), "full")) - (len(spoken) - 1)
    assert 0.05 <= lag / 16_000 <= 0.09
    assert lag / 16_000 + S + 0.004 <= 0.130  # the block is full, and heard a little after


def test_redundancy_follows_the_loss_that_the_other_side_reports() -> None:
    calls = sides(codec())
    talked(calls, voice(6.0), Network(loss=LossModel(0.1)))
    first, second = calls[0].figures(), calls[1].figures()
    assert first.redundancy != "none" and first.loss_share > 0.01
    assert second.received_packets + second.lost_packets > 280
    assert calls[1].receiver.jitter.counts.recovered > 5
    assert first.spoken_db > -60 and second.heard_db > -100


def test_reports_on_other_streams_are_dropped() -> None:
    call, _ = sides(codec())
    assert not call.put(ReceiverReport(1, 2, 1.0, 3, 4, 5).to_bytes(), 0.0)
    assert not call.put(ReceiverReport(1, 2, 1.0, 3, 4, 5).to_bytes()[:-1], 0.0)
    assert call.figures().dropped_packets == 2 and call.figures().redundancy == "none"


class Some:
    """A source of so many frames of speech."""

    def __init__(self, frames: int) -> None:
        some = voice(1.0)[None]
        self.blocks = deque(some[:, n % 50 * HOP : (n % 50 + 1) * HOP] for n in range(frames))

    def read(self) -> np.ndarray | None:
        return self.blocks.popleft() if self.blocks else None


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.blocks: list[np.ndarray] = []

    def write(self, block: np.ndarray) -> None:
        self.blocks.append(block)


@pytest.mark.parametrize("key", [KEY, None])
def test_two_sides_talk_over_the_loopback(key: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_LINGER_S", 0.0)
    caller, listener = sides(codec())
    caller.frame_s = listener.frame_s = 0.001  # nobody waits for a real call
    kept, ends = Kept(), []
    with open_socket("127.0.0.1", 0, listens=True) as (sock, _):

        def listens() -> None:
            line = answer(sock, key, "f", format_of(codec()))
            ends.append(converse(listener, line, Some(10_000), kept, lambda *_: None))

        thread = threading.Thread(target=listens)
        thread.start()
        with open_socket("127.0.0.1", sock.getsockname()[1], listens=False) as (other, peer):
            line = dial(other, peer, key, "f")
            ends.append(converse(caller, line, Some(50), Kept(), lambda *_: None))
        thread.join(60)
    assert ends == ["the sound has ended", "the other side has hung up"]
    assert listener.figures().received_packets >= 40
    assert all(block.shape == (1, HOP) for block in kept.blocks)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ANSWER_S", 0.05)
    monkeypatch.setattr(network, "_RETRY_S", 0.01)
    with open_socket("127.0.0.1", 0, listens=True) as (deaf, _):
        port = deaf.getsockname()[1]
        with (
            open_socket("127.0.0.1", port, listens=False) as (sock, peer),
            pytest.raises(VqcodecError, match=r"no answer from 127\.0\.0\.1"),
        ):
            dial(sock, peer, KEY, "f")
        with pytest.raises(VqcodecError, match="cannot listen"), open_socket("127.0.0.1", port, listens=True):
            pass
