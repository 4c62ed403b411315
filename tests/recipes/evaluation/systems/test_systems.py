"""What an evaluation compares: the way to write it, the programs behind it, and the systems that need none."""

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from synthetic import chirp, noise, voice
from vqcodec import Codec, Encoded, audio
from vqcodec.errors import AudioError, ConfigError, CorruptFile, ModelMismatch, VqcodecError
from vqcodec.models import registry
from vqcodec.recipes.evaluation.systems import NAMES, System, Unavailable, Vqcodec, ogg, parse, programs, signals

MODEL = str(Path(__file__).parents[3] / "golden" / "tiny.safetensors")


def everything() -> list[System]:
    """Every family at its usual settings, whether its programs are installed or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.which", lambda program: program)
        patch.setattr(programs, "says", lambda *command: "libvo_amrwbenc")
        return [Vqcodec(model=MODEL, stages=1), *(system for name in NAMES for system in parse(name))]


def fake(folder: Path, program: str, script: str) -> None:
    """An executable that runs a shell script."""
    path = folder / program
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


# How systems are written.


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("reference", ["reference"]),
        ("band:4,8", ["band-4", "band-8"]),
        ("band: 3.4", ["band-3.4"]),
        ("opus:6,9,12", ["opus-6", "opus-9", "opus-12"]),
        ("opus-wb:9,9.0", ["opus_wb-9"]),
        ("speex:3.95", ["speex-3.95"]),
        ("codec2:3.2,0.7", ["codec2-3.2", "codec2-0.7"]),
        ("amrwb:12.65", ["amrwb-12.65"]),
        ("lc3:16", ["lc3-16"]),
    ],
)
def test_parse(spec: str, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: program)
    monkeypatch.setattr(programs, "says", lambda *command: "libvo_amrwbenc")
    assert [system.name for system in parse(spec)] == names


def test_systems_have_names_that_differ_and_suit_files() -> None:
    systems = everything()
    names = [system.name for system in systems]
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_") for name in names)
    assert len({(system.codec, system.setting) for system in systems}) == len(systems)
    assert {system.codec for system in systems} >= {"Reference", "Opus", "Opus wideband", "Codec 2", "LC3", "AMR-WB"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("opuss:6", "unknown codec 'opuss'; did you mean opus?"),
        ("Speex", "did you mean speex?"),
        ("", "choose from reference, band, opus, opus-wb"),
        ("reference:3", "has no settings"),
        ("opus:", "'' should be numbers"),
        ("opus:6,,9", "'6,,9' should be numbers"),
        ("opus:fast", "'fast' should be numbers"),
        ("opus:5", "from 6 to 256 kbit/s, not 5 kbit/s"),
        ("opus:nan", "not nan"),
        ("opus-wb:1e9", "from 6 to 256"),
        ("speex:8", "no bitrate of 8 kbit/s; choose from 3.95, 5.75, 7.75"),
        ("codec2:1", "no bitrate of 1 kbit/s; choose from 0.7, 1.2, 1.3, 1.4, 1.6, 2.4, 3.2"),
        ("amrwb:12", "no bitrate of 12 kbit/s; choose from 6.6, 8.85, 12.65"),
        ("lc3:8", "from 16 to 320"),
        ("band:100", "between 0.5 and 24 kHz"),
        ("dac", "name the folder of the weights, as in dac:FOLDER@1.5,3"),
        ("mimi:@1.1", "name the folder"),
        ("encodec:weights@fast", "'fast' should be numbers"),
    ],
)
def test_what_cannot_be_parsed_is_explained(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        parse(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("opus", "Opus needs the program opusenc: Debian package opus-tools"),
        ("opus-wb", "Opus needs the program opusenc: Debian package opus-tools"),
        ("speex", "Speex needs the program speexenc: Debian package speex"),
        ("codec2", "Codec 2 needs the program c2enc: Debian package codec2"),
        ("amrwb", "AMR-WB needs the program ffmpeg: Debian package ffmpeg"),
        ("lc3", "LC3 needs the program elc3: Debian package liblc3-tools"),
    ],
)
def test_missing_programs(name: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable) as caught:
        parse(name)
    assert str(caught.value) == message
    (system, *_) = [system for system in everything() if system.name.startswith(f"{name.replace('-', '_')}-")]
    with pytest.raises(Unavailable, match="cannot be started"):
        system.run(voice(0.1), 16_000, tmp_path)


def test_an_ffmpeg_without_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: program)
    monkeypatch.setattr(programs, "says", lambda *command: "Encoders: aac, flac")
    with pytest.raises(Unavailable, match="libvo_amrwbenc: Debian package libavcodec-extra"):
        parse("amrwb")


def test_systems_can_be_sent_to_other_processes() -> None:
    for system in everything():
        assert pickle.loads(pickle.dumps(system)) == system


def test_importing_the_systems_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, vqcodec.recipes.evaluation.systems as systems; systems.parse('band:4')\n"
        "heavy = {'torch', 'torchaudio', 'librosa', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


# Programs.


def test_the_cpu_seconds_of_a_program_are_its_own(tmp_path: Path) -> None:
    idle_s = programs.run([sys.executable, "-c", "import time; time.sleep(0.3)"])
    busy_s = programs.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"])
    assert 0 < idle_s < 0.3
    assert 0.5 <= busy_s < 2
    assert programs.run(["true"]) < idle_s


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (r"printf '10%%\r20%%\rno such bitrate\n\n' >&2; exit 3", "sh failed (exit code 3): no such bitrate"),
        (r"printf '\377\n' >&2; exit 1", "sh failed (exit code 1): \ufffd"),
        ("exit 1", "sh failed (exit code 1): without a word"),
        ("kill -SEGV $$", "sh failed (signal 11): without a word"),
    ],
)
def test_a_program_that_fails(script: str, message: str) -> None:
    with pytest.raises(VqcodecError) as caught:
        programs.run(["sh", "-c", script])
    assert str(caught.value) == message


def test_a_program_that_says_more_than_a_pipe_holds() -> None:
    assert programs.run(["sh", "-c", "head -c 1000000 /dev/zero >&2"]) >= 0


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs.version("opusenc", r"opus-tools (\S+)", "opusenc opus-tools 0.2 (using)") == "opusenc 0.2"
    assert programs.version("opusenc", r"opus-tools (\S+)", "") == "opusenc ?"
    assert programs.says("a program that does not exist") == ""
    monkeypatch.setattr(programs, "says", lambda *command: "1.0.5-1")
    assert programs.debian_version("c2enc", "codec2") == "c2enc 1.0.5-1"


def test_a_codec_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, "opusenc", "echo 'ERROR: the disk is full' >&2; exit 1")
    fake(tmp_path, "opusdec", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (system,) = parse("opus:9")
    with pytest.raises(VqcodecError, match=r"^opusenc failed \(exit code 1\): ERROR: the disk is full$"):
        system.run(voice(0.5), 16_000, tmp_path)


# Ogg.


def page(lacing: list[int], body: bytes) -> bytes:
    return b"OggS" + bytes(22) + bytes([len(lacing), *lacing]) + body


def test_ogg_packets() -> None:
    long = bytes(range(256)) * 3
    stream = page([4], b"head") + page([3, 255, 255], b"tag" + long[:510]) + page([255, 3, 0], long[510:])
    assert ogg.packets(stream) == [b"head", b"tag", long, b""]
    assert len(list(ogg.pages(stream))) == 3
    assert ogg.packets(page([255, 0], bytes(255))) == [bytes(255)]
    assert ogg.packets(b"") == []


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"RIFF" + bytes(40), "no Ogg page begins at byte 0"),
        (page([1], b"a") + b"Ogg", "no Ogg page begins at byte 29"),
        (page([5], b"a"), "the Ogg page at byte 0 is cut short"),
        (page([5, 5], b"")[:-1], "the Ogg page at byte 0 is cut short"),
        (page([255], bytes(255)), "the last Ogg packet does not end"),
    ],
)
def test_damaged_ogg(stream: bytes, message: str) -> None:
    with pytest.raises(CorruptFile) as caught:
        ogg.packets(stream)
    assert str(caught.value) == message


# Signals.


def test_signals_keep_length_and_place() -> None:
    sound = chirp(0.5, 44_100, 100, 3000)
    for rate in (8000, 16_000, 48_000):
        delayed = np.concatenate([np.full(77, 0.5, np.float32), signals.resample(sound, 44_100, rate)])
        back = signals.fitted(delayed, 77, rate, 44_100, len(sound))
        assert back.shape == sound.shape
        assert back.dtype == np.float32
        assert np.abs(back - sound)[500:-500].max() < 1e-3


def test_padding() -> None:
    assert len(signals.padded(np.ones(1, np.float32), 0, 160)) == 160
    assert len(signals.padded(np.ones(160, np.float32), 0, 160)) == 160
    assert signals.padded(np.ones(2, np.float32), 1).tolist() == [1, 1, 0]


def test_a_decoder_that_returns_too_little() -> None:
    assert signals.fitted(noise(0.95), 0, 16_000, 16_000, 16_000)[-1] == 0
    with pytest.raises(AudioError, match="the decoder returned 1600 of 16000 samples"):
        signals.fitted(noise(0.1), 0, 16_000, 16_000, 16_000)
    assert not signals.fitted(noise(0.01), 200, 16_000, 16_000, 80).any()


@pytest.mark.parametrize("sound", [np.zeros(0), np.zeros((1, 100)), np.full(100, np.nan), np.full(100, np.inf)])
@pytest.mark.parametrize("name", ["vqcodec_tiny", "reference", "band-4", "codec2-0.7"])
def test_what_is_no_waveform(name: str, sound: np.ndarray, tmp_path: Path) -> None:
    system = next(system for system in everything() if system.name.startswith(name))
    with pytest.raises(AudioError):
        system.run(sound.astype(np.float32), 16_000, tmp_path)


# Ceilings.


def test_the_reference_is_untouched(tmp_path: Path) -> None:
    sound = voice(0.5)
    (system,) = parse("reference")
    coded = system.run(sound, 16_000, tmp_path)
    np.testing.assert_array_equal(coded.waveform, sound)
    assert (coded.bytes, coded.encode_s, coded.decode_s) == (2 * len(sound), 0, 0)
    assert coded.codes is None


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
@pytest.mark.parametrize("bandwidth", [2.0, 3.4, 7.0])
def test_a_band_limit(bandwidth: float, rate: int, tmp_path: Path) -> None:
    sound = noise(2.0, rate)
    (system,) = parse(f"band:{bandwidth}")
    coded = system.run(sound, rate, tmp_path)
    assert coded.bytes == 2 * 2 * round(2000 * bandwidth)  # two seconds, two bytes
    assert coded.waveform.shape == sound.shape
    frequencies = np.fft.rfftfreq(len(sound), 1 / rate)
    gain = np.abs(np.fft.rfft(coded.waveform)) / np.abs(np.fft.rfft(sound))
    assert np.median(np.abs(gain - 1)[frequencies < 850 * bandwidth]) < 0.01
    assert np.median(gain[frequencies > 1050 * bandwidth]) < 0.01
    # Zero delay: what is kept has kept its phase.
    turn = np.angle(np.fft.rfft(coded.waveform) / np.fft.rfft(sound))
    assert np.median(np.abs(turn[frequencies < 850 * bandwidth])) < 0.01


def test_a_band_limit_beyond_what_there_is(tmp_path: Path) -> None:
    sound = noise(0.5, 16_000)
    for spec in ("band:8", "band:20"):
        coded = parse(spec)[0].run(sound, 16_000, tmp_path)
        np.testing.assert_array_equal(coded.waveform, sound)
        assert coded.bytes == 2 * len(sound)


# vqcodec itself.


@pytest.mark.parametrize(("samples", "rate"), [(1, 16_000), (160, 16_000), (4411, 44_100), (12_345, 8000)])
def test_vqcodec_goes_through_files(samples: int, rate: int, tmp_path: Path) -> None:
    sound = noise(1.0, rate)[:samples]
    coded = Vqcodec(model=MODEL, stages=1).run(sound, rate, tmp_path)
    assert coded.waveform.shape == sound.shape
    assert coded.waveform.dtype == np.float32
    assert coded.bytes == (tmp_path / "coded.vq").stat().st_size
    assert coded.codes is not None
    np.testing.assert_array_equal(coded.codes, Encoded.load(tmp_path / "coded.vq").codes[0])
    assert coded.codes.shape[0] == 1
    assert min(coded.encode_s, coded.decode_s) >= 0


def test_vqcodec_is_the_codec(tmp_path: Path) -> None:
    codec = Codec.load(MODEL, device="cpu")
    system = Vqcodec(model=MODEL, stages=codec.num_stages, effort=3)
    sound = voice(1.0)
    coded = system.run(sound, 16_000, tmp_path)
    encoded = codec.encode(sound, stages=codec.num_stages, effort=3)
    np.testing.assert_array_equal(coded.codes, encoded.codes[0])
    assert coded.bytes == len(encoded.to_bytes())
    np.testing.assert_allclose(coded.waveform, codec.decode(encoded)[0], atol=1 / 32_768)
    kbps = codec.bitrates[-1] / 1000
    assert system.name == f"vqcodec_tiny-{kbps:g}-effort3"
    assert system.setting == f"{kbps:g} kbit/s"
    assert system.codec == f"vqcodec {codec.name}, effort 3"
    assert system.version == f"{codec.name} {codec.fingerprint[:12]}"


def test_variable_bitrates(tmp_path: Path) -> None:
    sound = voice(6.0)
    for packing, name in ((None, "vqcodec_tiny-0.6-variable"), ("plain", "vqcodec_tiny-0.6-variable-plain")):
        system = Vqcodec(model=MODEL, kbps=0.6, packing=packing)  # type: ignore[arg-type]
        assert system.name == name
        assert system.setting == "0.6 kbit/s"
        folder = tmp_path / name
        folder.mkdir()
        coded = system.run(sound, 16_000, folder)
        assert 0.95 * 600 <= coded.bytes * 8 / 6 <= 600
        assert coded.codes is not None
        assert coded.codes.min() == -1
    with pytest.raises(ConfigError, match="no context model"):
        Vqcodec(model=MODEL, stages=2, packing="context").run(sound, 16_000, tmp_path)
    for settings in ({}, {"stages": 2, "kbps": 0.6}):
        with pytest.raises(ConfigError, match="either stages or a bitrate"):
            Vqcodec(model=MODEL, **settings)  # type: ignore[arg-type]


def test_the_default_model_by_name_and_by_path() -> None:
    if registry.DEFAULT not in registry.names():
        pytest.skip("no trained weights in this build")
    assert Vqcodec(stages=3).name == "vqcodec-1.5"
    assert Vqcodec(stages=3, model=str(registry.find(registry.DEFAULT))).name == "vqcodec-1.5"


def test_wrong_models_and_stages() -> None:
    with pytest.raises(ConfigError, match="stages, not 99"):
        Vqcodec(model=MODEL, stages=99)
    with pytest.raises(ConfigError, match="stages, not 0"):
        Vqcodec(model=MODEL, stages=0)
    with pytest.raises(ModelMismatch):
        Vqcodec(model="no such model", stages=1)


def test_a_second_of_sound_is_read_back_from_the_file(tmp_path: Path) -> None:
    """The decoded sound is what lies on the disk, at the rate of the input."""
    sound = voice(1.0, 8000)
    coded = Vqcodec(model=MODEL, stages=1).run(sound, 8000, tmp_path)
    on_disk, rate = audio.read(tmp_path / "out.wav")
    assert rate == 8000
    np.testing.assert_array_equal(coded.waveform, on_disk[0])
