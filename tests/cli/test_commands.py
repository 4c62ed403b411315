"""The command line: what each command does, what it says, and with which exit code it ends."""

import dataclasses
import json
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from synthetic import silence, voice
from vqcodec import Encoded, audio
from vqcodec.cli.main import app
from vqcodec.models import checkpoint, registry
from vqcodec.models.autoencoder import Autoencoder

MODEL = str(Path(__file__).parents[1] / "golden" / "tiny.safetensors")

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def run() -> Run:
    """Run the command line; `code` is the exit code that is expected."""

    def run(*arguments: object, code: int = 0, input: bytes | None = None) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=input, prog_name="vqcodec")
        assert result.exit_code == code, (result.output, result.exception)
        assert isinstance(result.exception, SystemExit | None)
        return result

    return run


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """One second at 16 kHz."""
    return sound(tmp_path / "speech.wav")


@pytest.fixture
def encoded(run: Run, speech: Path) -> Path:
    run("encode", speech, "--model", MODEL, "--quiet")
    return speech.with_suffix(".vq")


def sound(path: Path, duration_s: float = 1.0, rate: int = 16000, channels: int = 1, format: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    waves = [voice(duration_s, rate, seed=channel) for channel in range(channels)]
    soundfile.write(path, np.stack(waves, axis=1), rate, format=format)
    return path


def stages_of(path: Path, run: Run) -> int:
    return int(json.loads(run("info", path, "--json").stdout)["stages"])


def one_error(result: Result) -> str:
    """The only line of standard error, which is an error."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("vqcodec: error: ")
    assert result.stdout == ""
    return lines[0]


def model_facts() -> registry.ModelInfo:
    return registry.describe(MODEL)


# What it says of itself.


def test_help_names_every_command(run: Run) -> None:
    text = run("--help").stdout
    for command in (
        "encode",
        "decode",
        "info",
        "peel",
        "models",
        "prepare",
        "train",
        "export",
        "eval",
        "bench",
        "quantizers",
    ):
        assert command in text
        assert f"Usage: vqcodec {command}" in run(command, "--help").stdout


def test_version(run: Run) -> None:
    assert run("--version").stdout.startswith("vqcodec 0.")


def test_without_a_command_it_shows_the_help(run: Run) -> None:
    assert "Usage: vqcodec" in run(code=2).output


def test_models(run: Run) -> None:
    if not registry.names():
        pytest.skip("no model ships yet")
    text = run("models").stdout
    lines = [json.loads(line) for line in run("models", "--json").stdout.splitlines()]
    assert [facts["name"] for facts in lines] == list(registry.names())
    assert sum(facts["default"] for facts in lines) == 1
    for facts in lines:
        assert facts["name"] in text and facts["fingerprint"] in text
        assert facts["bytes"] == Path(facts["path"]).stat().st_size


# Files.


def test_there_and_back(run: Run, speech: Path, tmp_path: Path) -> None:
    result = run("encode", speech, tmp_path / "a.vq", "--model", MODEL)
    assert result.stdout == ""
    assert "1.0 s" in result.stderr and "kbit/s" in result.stderr and "x real time" in result.stderr
    result = run("decode", tmp_path / "a.vq", tmp_path / "back.wav", "--model", MODEL)
    assert result.stdout == ""
    info = soundfile.info(tmp_path / "back.wav")
    assert (info.frames, info.samplerate, info.channels) == (16000, 16000, 1)


def test_default_targets(run: Run, encoded: Path, speech: Path) -> None:
    assert encoded.is_file()
    speech.unlink()
    run("decode", encoded, "--model", MODEL)
    assert soundfile.info(speech).frames == 16000
    run("decode", encoded, "--model", MODEL, "--format", "flac")
    assert soundfile.info(speech.with_suffix(".flac")).format == "FLAC"


def test_quiet_says_nothing(run: Run, speech: Path, tmp_path: Path) -> None:
    assert run("encode", speech, "--model", MODEL, "--quiet", "--bitrate", 4).output == ""
    assert run("decode", speech.with_suffix(".vq"), tmp_path / "b.wav", "--model", MODEL, "-q").output == ""


@pytest.mark.parametrize(("suffix", "format"), [(".flac", "FLAC"), (".ogg", "OGG"), (".mp3", "MP3")])
def test_format_by_suffix(run: Run, encoded: Path, tmp_path: Path, suffix: str, format: str) -> None:
    run("decode", encoded, tmp_path / f"b{suffix}", "--model", MODEL)
    assert soundfile.info(tmp_path / f"b{suffix}").format == format


def test_rates_and_channels(run: Run, tmp_path: Path) -> None:
    source = sound(tmp_path / "stereo.flac", 0.7, 44100, 2)
    run("encode", source, "--model", MODEL)
    lengths = {}
    for name, options in {"model": [], "source": ["--rate", "source"], "other": ["--rate", 24000]}.items():
        target = tmp_path / f"{name}.wav"
        run("decode", tmp_path / "stereo.vq", target, *options, "--model", MODEL)
        info = soundfile.info(target)
        assert info.channels == 2
        lengths[info.samplerate] = info.frames
    assert lengths == {16000: 11200, 44100: 30870, 24000: 16800}


def test_force_overwrites(run: Run, encoded: Path, speech: Path) -> None:
    before = encoded.read_bytes()
    run("encode", speech, "--stages", 1, "--model", MODEL, "--force")
    assert len(encoded.read_bytes()) < len(before)


def test_streams(run: Run, speech: Path) -> None:
    coded = run("encode", "-", "-", "--model", MODEL, input=speech.read_bytes()).stdout_bytes
    assert coded.startswith(b"VQC")
    assert json.loads(run("info", "-", "--json", input=coded).stdout)["num_samples"] == 16000
    back = run("decode", "-", "-", "--model", MODEL, input=coded).stdout_bytes
    assert back.startswith(b"RIFF")
    flac = run("decode", "-", "-", "--format", "flac", "--model", MODEL, input=coded).stdout_bytes
    assert flac.startswith(b"fLaC")


def test_empty_names_are_refused(run: Run, speech: Path, tmp_path: Path) -> None:
    for arguments in (("", tmp_path / "out"), (speech, "")):
        assert "empty" in run("encode", *arguments, "--model", MODEL, code=2).stderr
    assert "''" in one_error(run("encode", speech, tmp_path / "a.vq", "--model", "", code=1))
    assert not (tmp_path / "out").exists()


# Bitrates.


def test_a_cut_sound(run: Run, speech: Path, tmp_path: Path) -> None:
    speech.write_bytes(speech.read_bytes()[:-16_000])
    noted = run("encode", speech, "--model", MODEL, "--quiet").stderr
    assert "speech.wav is damaged; 0.5 s of audio were saved" in noted
    assert "the last 0.500 s are missing" in noted
    refused = run("encode", speech, tmp_path / "strict.vq", "--model", MODEL, "--strict", code=1)
    assert "speech.wav is cut short: the last 0.500 s are missing" in one_error(refused)
    assert not (tmp_path / "strict.vq").exists()


def test_a_folder_that_is_made(run: Run, speech: Path, tmp_path: Path) -> None:
    made = tmp_path / "new" / "deep"
    run("encode", speech, f"{made}/", "--model", MODEL)
    run("decode", made / "speech.vq", f"{made}/", "--model", MODEL)
    assert sorted(path.name for path in made.iterdir()) == ["speech.vq", "speech.wav"]
    run("encode", tmp_path / "none.wav", f"{tmp_path}/never/", code=1)
    run("encode", "-", f"{tmp_path}/never/", code=2)
    assert not (tmp_path / "never").exists()


def test_a_possible_bitrate_is_taken_as_it_is(run: Run, speech: Path) -> None:
    rate = model_facts().config.bitrates_bps[0] / 1000
    result = run("encode", speech, "--bitrate", rate, "--rate-mode", "constant", "--model", MODEL)
    assert "nearest" not in result.stderr
    assert stages_of(speech.with_suffix(".vq"), run) == 1


@pytest.mark.parametrize(("kbps", "stage"), [(0.1, 0), (4, -1)])
def test_an_impossible_bitrate_becomes_the_nearest(run: Run, speech: Path, kbps: float, stage: int) -> None:
    config = model_facts().config
    result = run("encode", speech, "--bitrate", kbps, "--rate-mode", "constant", "--model", MODEL)
    assert f"the nearest, {config.bitrates_bps[stage] / 1000:g} kbit/s" in result.stderr
    assert stages_of(speech.with_suffix(".vq"), run) == range(1, config.num_stages + 1)[stage]


def test_a_bitrate_is_that_of_the_whole_file(run: Run, tmp_path: Path) -> None:
    speech = tmp_path / "long.wav"
    audio.write(speech, voice(6.0)[None], 16_000)
    run("encode", speech, "--bitrate", 0.9, "--model", MODEL)
    facts = json.loads(run("info", speech.with_suffix(".vq"), "--json").output)
    assert facts["payload_coding"] == "varying"
    assert 0.95 * 900 <= facts["bitrate_bps"] <= 900
    assert 0 < facts["stages_mean"] < 4
    assert sum(facts["stage_shares"]) == pytest.approx(facts["stages_mean"])
    assert facts["peak_bps"] == max(facts["bps"])
    text = run("info", speech.with_suffix(".vq")).output
    assert "kbit/s in a second" in text
    assert "if packed plainly" in text


def test_a_highest_bitrate_and_a_quality(run: Run, speech: Path) -> None:
    sizes = []
    for quality in (1, 5, 9):
        run("encode", speech, "--quality", quality, "--force", "--model", MODEL)
        sizes.append(speech.with_suffix(".vq").stat().st_size)
    assert sizes == sorted(set(sizes))
    run("encode", speech, "--quality", 9, "--max-bitrate", 0.5, "--force", "--model", MODEL)
    assert json.loads(run("info", speech.with_suffix(".vq"), "--json").output)["peak_bps"] < 600


@pytest.mark.parametrize("bitrate", ["0", "-1", "nan", "inf", "fast"])
def test_a_senseless_bitrate_is_wrong_usage(run: Run, speech: Path, bitrate: str) -> None:
    assert "--bitrate" in run("encode", speech, f"--bitrate={bitrate}", "--model", MODEL, code=2).stderr
    assert not speech.with_suffix(".vq").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--effort", 0],
        ["--effort", 17],
        ["--stages", 0],
        ["--stages", 1, "--bitrate", 1],
        ["--unheard-of"],
        ["x", "y"],
        ["--quality", 1, "--bitrate", 1],
        ["--quality", 11],
        ["--rate-mode", "average"],
        ["--max-bitrate", 0],
    ],
)
def test_wrong_usage_of_encode(run: Run, speech: Path, options: list[object]) -> None:
    run("encode", speech, *options, "--model", MODEL, code=2)
    assert not speech.with_suffix(".vq").exists()


@pytest.mark.parametrize("options", [["--rate", 0], ["--rate", "fast"], ["--rate", "-16000"], ["--bitrate", "nan"]])
def test_wrong_usage_of_decode(run: Run, encoded: Path, tmp_path: Path, options: list[object]) -> None:
    run("decode", encoded, tmp_path / "back.wav", *options, "--model", MODEL, code=2)
    assert not (tmp_path / "back.wav").exists()


def test_effort_changes_the_codes_and_nothing_else(run: Run, speech: Path, tmp_path: Path) -> None:
    greedy, best = tmp_path / "1.vq", tmp_path / "16.vq"
    run("encode", speech, greedy, "--model", MODEL)
    run("encode", speech, best, "--effort", 16, "--model", MODEL)
    assert len(greedy.read_bytes()) == len(best.read_bytes())
    assert greedy.read_bytes()[:32] == best.read_bytes()[:32]


def test_decoding_a_part_of_the_stages(run: Run, encoded: Path, tmp_path: Path) -> None:
    rate = model_facts().config.bitrates_bps[0] / 1000
    for name, options in {"all": [], "stages": ["--stages", 1], "bitrate": ["--bitrate", rate]}.items():
        run("decode", encoded, tmp_path / f"{name}.wav", *options, "--model", MODEL)
    all_stages, one, by_rate = ((tmp_path / f"{name}.wav").read_bytes() for name in ("all", "stages", "bitrate"))
    assert one == by_rate != all_stages
    result = run("decode", encoded, tmp_path / "more.wav", "--bitrate", 1000, "--model", MODEL)
    assert "nearest" in result.stderr
    assert (tmp_path / "more.wav").read_bytes() == all_stages
    error = one_error(run("decode", encoded, tmp_path / "b.wav", "--stages", 255, "--model", MODEL, code=1))
    assert "255" in error


# Folders.


def test_a_folder_there_and_back(run: Run, tmp_path: Path) -> None:
    sound(tmp_path / "in/a.wav", 0.5)
    sound(tmp_path / "in/deep/er/b.flac", 0.5, 8000)
    (tmp_path / "in/notes.txt").write_text("not audio, and not meant to be")
    result = run("encode", tmp_path / "in", tmp_path / "coded", "--model", MODEL)
    assert result.stderr.startswith("2 files: 1.0 s")
    names = {path.relative_to(tmp_path / "coded").as_posix() for path in (tmp_path / "coded").rglob("*.*")}
    assert names == {"a.vq", "deep/er/b.vq"}

    result = run("decode", tmp_path / "coded", tmp_path / "out", "--format", "flac", "--model", MODEL)
    assert result.stderr.startswith("2 files: 1.0 s")
    assert soundfile.info(tmp_path / "out/a.flac").frames == 8000
    assert soundfile.info(tmp_path / "out/deep/er/b.flac").frames == 8000


def test_one_bad_file_does_not_stop_a_folder(run: Run, tmp_path: Path) -> None:
    sound(tmp_path / "in/a.wav", 0.2)
    (tmp_path / "in/b.wav").write_text("no sound at all")
    sound(tmp_path / "in/c.wav", 0.2)
    result = run("encode", tmp_path / "in", tmp_path / "coded", "--model", MODEL, code=1)
    problem, summary = result.stderr.splitlines()
    assert problem.startswith("vqcodec: error: ") and "b.wav" in problem
    assert summary.startswith("2 files (1 failed): 0.4 s")
    assert sorted(path.name for path in (tmp_path / "coded").iterdir()) == ["a.vq", "c.vq"]

    (tmp_path / "coded/a.vq").write_bytes((tmp_path / "coded/a.vq").read_bytes()[:-3])
    result = run("decode", tmp_path / "coded", tmp_path / "out", "--model", MODEL, code=1)
    assert "a.vq" in result.stderr and "(1 failed)" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["c.wav"]


def test_two_sources_for_one_target(run: Run, tmp_path: Path) -> None:
    sound(tmp_path / "in/a.wav", 0.1)
    sound(tmp_path / "in/a.flac", 0.1)
    error = one_error(run("encode", tmp_path / "in", tmp_path / "coded", "--model", MODEL, code=1))
    assert "a.wav" in error and "a.flac" in error
    assert not (tmp_path / "coded").exists()


def test_a_folder_whose_outputs_exist(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        sound(tmp_path / f"in/{name}.wav", 0.1)
    (tmp_path / "coded").mkdir()
    (tmp_path / "coded/b.vq").write_text("precious")
    error = one_error(run("encode", tmp_path / "in", tmp_path / "coded", "--model", MODEL, code=1))
    assert "1 of 2" in error and "b.vq" in error and "--force" in error
    assert [path.name for path in (tmp_path / "coded").iterdir()] == ["b.vq"]
    run("encode", tmp_path / "in", tmp_path / "coded", "--model", MODEL, "--force")
    assert (tmp_path / "coded/b.vq").read_bytes().startswith(b"VQC")


def test_folders_of_another_kind(run: Run, speech: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in one_error(run("encode", tmp_path / "empty", tmp_path / "out", "--model", MODEL, code=1))
    assert "a file" in one_error(run("encode", tmp_path, speech, "--model", MODEL, code=1))
    assert "name a folder" in run("encode", tmp_path, "--model", MODEL, code=2).stderr
    assert "name a folder" in run("encode", tmp_path, "-", "--model", MODEL, code=2).stderr


# Info.


def test_info(run: Run, encoded: Path) -> None:
    text = run("info", encoded).stdout
    assert "16000 samples" in text and "kbit/s" in text and "fingerprint" in text
    facts = json.loads(run("info", encoded, "--json").stdout)
    assert facts["file"] == str(encoded)
    assert facts["bytes"] == encoded.stat().st_size
    assert facts["bitrate_bps"] == pytest.approx(8 * facts["bytes"])
    assert facts["fingerprint"] == model_facts().fingerprint[:16]
    assert facts["damage"] is None
    assert 0 < facts["overhead_bytes"] < facts["bytes"]


def test_info_names_the_kind_of_codes(run: Run, encoded: Path) -> None:
    assert json.loads(run("info", encoded, "--json").stdout)["kind"] == "rvq"
    before = Encoded.load(encoded)
    header = dataclasses.replace(before.header, kind="product")
    dataclasses.replace(before, header=header).save(encoded, force=True)
    assert json.loads(run("info", encoded, "--json").stdout)["kind"] == "product"
    assert "product" in run("info", encoded).stdout
    assert "codes of kind product" in one_error(run("decode", encoded, "-", "--model", MODEL, code=1))


def test_encoding_without_codes_is_refused(run: Run, speech: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(registry.describe(MODEL).config, bottleneck="vae")
    checkpoint.save(tmp_path / "vae.safetensors", Autoencoder(config))
    for quality in ([], ["--stages", 1], ["--bitrate", 1]):
        error = one_error(run("encode", speech, "--model", tmp_path / "vae.safetensors", *quality, code=1))
        assert "has no codes: its bottleneck is 'vae'; it cannot write .vq files" in error
    assert not speech.with_suffix(".vq").exists()


def test_info_of_many(run: Run, encoded: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/copy.vq").write_bytes(encoded.read_bytes())
    lines = run("info", encoded, tmp_path / "folder", "--json").stdout.splitlines()
    assert [Path(json.loads(line)["file"]).name for line in lines] == ["speech.vq", "copy.vq"]


def test_info_goes_on_after_a_bad_file(run: Run, encoded: Path, speech: Path) -> None:
    result = run("info", speech, "missing.vq", encoded, "--json", code=1)
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(encoded)]
    foreign, missing = result.stderr.splitlines()
    assert "speech.wav" in foreign and "missing.vq" in missing


def test_info_describes_a_damaged_file(run: Run, encoded: Path) -> None:
    encoded.write_bytes(encoded.read_bytes()[:-1])
    result = run("info", encoded, "--json", code=1)
    assert "cut short" in json.loads(result.stdout)["damage"]
    assert len(result.stderr.splitlines()) == 1 and "cut short" in result.stderr


# Bad input: one clear line each, exit code 1, nothing written.


def write_text(path: Path) -> None:
    path.write_text("Once upon a time there was a text file.\n" * 20)


def write_nan(path: Path) -> None:
    samples = voice(0.5)
    samples[1000] = np.nan
    soundfile.write(path, samples, 16000, subtype="FLOAT")


def write_no_samples(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "no such file"),
        (write_text, "not a sound file"),
        (write_nan, "NaN"),
        (write_no_samples, "no samples"),
        (lambda path: path.write_bytes(b""), "empty"),
    ],
    ids=["missing", "text", "nan", "no samples", "empty"],
)
def test_encoding_bad_input(run: Run, tmp_path: Path, write: Callable[[Path], object], words: str) -> None:
    source = tmp_path / "bad.wav"
    write(source)
    before = sorted(tmp_path.iterdir())
    error = one_error(run("encode", source, "--model", MODEL, code=1))
    assert words in error and "bad.wav" in error
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "empty"),
        (lambda data: b"RIFF" + data, "not a .vq file"),
        (lambda data: data[:20], "cut short"),
        (lambda data: data[:-1], "cut short"),
        (lambda data: data[:10] + b"\0" + data[11:], "damaged header"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "damaged packet"),
        (lambda data: data[:3] + b"\x09" + data[4:], "version"),
        (lambda data: data + b"?", "stray data"),
    ],
    ids=["empty", "foreign", "header cut", "cut", "header", "packet", "version", "longer"],
)
def test_decoding_bad_input(
    run: Run, encoded: Path, tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    encoded.write_bytes(damage(encoded.read_bytes()))
    before = sorted(tmp_path.iterdir())
    error = one_error(run("decode", encoded, tmp_path / "back.wav", "--model", MODEL, code=1))
    assert words in error and encoded.name in error
    assert sorted(tmp_path.iterdir()) == before


def test_salvage(run: Run, tmp_path: Path) -> None:
    source = sound(tmp_path / "long.wav", 30.0)
    run("encode", source, "--model", MODEL)
    coded = source.with_suffix(".vq")
    coded.write_bytes(coded.read_bytes()[: coded.stat().st_size * 3 // 4])
    assert "--salvage" in one_error(run("decode", coded, tmp_path / "b.wav", "--model", MODEL, code=1))
    result = run("decode", coded, tmp_path / "b.wav", "--salvage", "--model", MODEL)
    assert "is damaged" in result.stderr
    assert 0 < soundfile.info(tmp_path / "b.wav").frames < 30 * 16000


def test_existing_output(run: Run, speech: Path, encoded: Path) -> None:
    before = encoded.read_bytes()
    error = one_error(run("encode", speech, "--model", MODEL, code=1))
    assert "exists already" in error and "--force" in error
    assert encoded.read_bytes() == before
    assert "exists already" in one_error(run("decode", encoded, "--model", MODEL, code=1))


def test_the_input_as_output(run: Run, speech: Path, tmp_path: Path) -> None:
    before = speech.read_bytes()
    link = tmp_path / "link.wav"
    link.symlink_to(speech)
    for target in (speech, link):
        error = one_error(run("encode", speech, target, "--force", "--model", MODEL, code=1))
        assert "both the input and the output" in error
    assert speech.read_bytes() == before


def test_impossible_targets(run: Run, speech: Path, encoded: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    for target, words in {"folder": "is a folder", "nowhere/a.vq": "nowhere is not a folder"}.items():
        assert words in one_error(run("encode", speech, tmp_path / target, "--model", MODEL, code=1))
    for name in ("back", "back.docx"):
        assert "choose one of" in one_error(run("decode", encoded, tmp_path / name, "--model", MODEL, code=1))
    assert "unknown format 'docx'" in one_error(
        run("decode", encoded, tmp_path / "back", "--format", "docx", "--model", MODEL, code=1)
    )
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("model", ["nonesuch", "speech.wav"], ids=["unknown", "no model"])
def test_bad_models(run: Run, speech: Path, model: str) -> None:
    name = speech if model == speech.name else model
    assert model in one_error(run("encode", speech, "--model", name, code=1))
    assert not speech.with_suffix(".vq").exists()


def test_the_wrong_model(run: Run, encoded: Path, tmp_path: Path) -> None:
    error = one_error(run("decode", encoded, tmp_path / "back.wav", code=1))
    assert model_facts().fingerprint[:16] in error and "--model" in error
    if registry.DEFAULT in registry.names():
        one_error(run("decode", encoded, tmp_path / "back.wav", "--model", registry.DEFAULT, code=1))
    assert not (tmp_path / "back.wav").exists()


@pytest.mark.parametrize("device", ["cuda", "abacus"])
def test_bad_devices(run: Run, speech: Path, device: str) -> None:
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    error = one_error(run("encode", speech, "--model", MODEL, "--device", device, code=1))
    assert "device" in error.lower()


def test_more_stages_than_the_model_has(run: Run, speech: Path) -> None:
    assert "255" in one_error(run("encode", speech, "--stages", 255, "--model", MODEL, code=1))


def test_the_default_model(run: Run, speech: Path, tmp_path: Path) -> None:
    if registry.DEFAULT not in registry.names():
        pytest.skip(f"the weights of {registry.DEFAULT} are not there")
    run("encode", speech, "--bitrate", 1.5)
    run("decode", speech.with_suffix(".vq"), tmp_path / "back.wav")
    assert soundfile.info(tmp_path / "back.wav").frames == 16000
    assert json.loads(run("info", speech.with_suffix(".vq"), "--json").stdout)["model"] == registry.DEFAULT


def test_silence(run: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", silence(0.5), 16000)
    run("encode", tmp_path / "silence.wav", "--model", MODEL)
    run("decode", tmp_path / "silence.vq", tmp_path / "back.flac", "--model", MODEL)
    assert soundfile.info(tmp_path / "back.flac").frames == 8000


# Training.


def test_wrong_usage_of_train(run: Run, tmp_path: Path) -> None:
    run("train", code=2)
    assert "--data" in run("train", "speech_16k", "--out", tmp_path / "run", code=2).stderr
    assert "--out" in run("train", "speech_16k", "--data", tmp_path, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonesuch"], "no such recipe"),
        (["speech_16k", "--set", "run.stepps=3"], "run.steps"),
        (["speech_16k", "--set", "run.steps=many"], "run.steps"),
        (["speech_16k", "--set", "steps"], "section.key=value"),
        (["speech_16k", "--resume"], "checkpoint"),
        (["speech_16k", "--device", "abacus"], "device"),
    ],
)
def test_bad_training(run: Run, tmp_path: Path, arguments: list[str], words: str) -> None:
    sound(tmp_path / "data/a.wav")
    result = run("train", *arguments, "--data", tmp_path / "data", "--out", tmp_path / "run", code=1)
    assert words in one_error(result)


def test_export_of_no_run(run: Run, tmp_path: Path) -> None:
    one_error(run("export", tmp_path / "nothing", tmp_path / "w.safetensors", code=1))
    (tmp_path / "w.safetensors").write_text("precious")
    assert "--force" in one_error(run("export", tmp_path, tmp_path / "w.safetensors", code=1))


TINY = (
    *("model.name=tiny", "model.latent_dim=8", "model.num_stages=2", "model.codebook_size=16"),
    *("model.encoder_width=16", "model.encoder_blocks=1", "model.decoder_width=16", "model.decoder_blocks=1"),
    *("data.batch_size=2", "data.crop_s=0.25", "data.workers=0", "data.validation_s=1.0"),
    *("quantizer.start_step=2", "quantizer.kmeans_batches=4", "loss.schedule_start=4", "loss.schedule_steps=2"),
    *("run.steps=8", "run.log_every=2", "run.validate_every=4"),
)


def test_train_export_encode(run: Run, tmp_path: Path) -> None:
    for name in ("one/a.wav", "one/b.wav", "two/c.flac", "two/d.wav"):
        sound(tmp_path / name, 2.0)
    settings = [part for setting in TINY for part in ("--set", setting)]
    folders = ["--data", tmp_path / "one", tmp_path / "two"]
    result = run("train", "speech_16k", *folders, "--out", tmp_path / "run", *settings, "--device", "cpu")
    assert result.stdout == ""
    assert "step 8/8" in result.stderr and "s of audio per s" in result.stderr and "perplexity" in result.stderr
    assert "held-out" in result.stderr and "--model" in result.stderr
    assert "--resume" in one_error(run("train", "speech_16k", *folders, "--out", tmp_path / "run", *settings, code=1))

    weights = tmp_path / "mine.safetensors"
    run("export", tmp_path / "run", weights)
    run("encode", tmp_path / "one/a.wav", "--model", weights)
    run("decode", tmp_path / "one/a.vq", tmp_path / "back.wav", "--model", weights)
    assert soundfile.info(tmp_path / "back.wav").frames == 32000


def test_texture_of_a_model_that_samples(run: Run, speech: Path, tmp_path: Path) -> None:
    run("encode", speech, tmp_path / "a.vq")
    decoded = {}
    for texture in ("0", "0.5", "1"):
        run("decode", tmp_path / "a.vq", tmp_path / f"{texture}.wav", "--texture", texture)
        decoded[texture] = soundfile.read(tmp_path / f"{texture}.wav")[0]
    run("decode", tmp_path / "a.vq", tmp_path / "default.wav")
    assert np.array_equal(soundfile.read(tmp_path / "default.wav")[0], decoded["1"])
    none, half, whole = (decoded[texture] for texture in ("0", "0.5", "1"))
    assert 0 < np.square(half - none).sum() < np.square(whole - none).sum()
    for wrong in ("-0.1", "1.5", "much"):
        run("decode", tmp_path / "a.vq", tmp_path / "b.wav", "--texture", wrong, code=2)
    assert not (tmp_path / "b.wav").exists()
