"""Jobs: codes as those of the sounds alone, the same bytes however the work was interrupted or shared out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from synthetic import voice
from vqcodec import Codec
from vqcodec.errors import ConfigError, CorruptFile, ModelMismatch, VqcodecError
from vqcodec.recipes.tokenization import encoder, local, outputs, plan
from vqcodec.recipes.tokenization.decoder import decode_part, parts_in
from vqcodec.recipes.tokenization.encoder import Failure, TokenEncoder, Tokens
from vqcodec.recipes.tokenization.items import Item
from vqcodec.recipes.tokenization.job import Job

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"
CODEC = Codec.load(TINY, "cpu", "float32")
SETTINGS = plan.Settings(CODEC.fingerprint, "float32", 2, 1, "wds", 3.0, 4)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for seed in range(7):
        sf.write(folder / f"{seed}.wav", voice(0.5 + 0.3 * seed, seed=seed), 16_000)
    (folder / "3.wav").write_bytes(b"nothing")
    return folder


def job_in(folder: Path, corpus: Path, form: str = "wds") -> Job:
    return Job(plan.make(folder, [corpus], replace(SETTINGS, form=form)), str(TINY), "cpu")


def made(job: Job, jobs: int = 1) -> None:
    for _ in local.run(job, job.missing(), jobs, lambda done_s: None):
        pass


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for name in ("data", "failed") for path in (folder / name).rglob("*"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if path.is_file()}


def tokens_of(*items: Item) -> dict[int, Tokens]:
    found = list(TokenEncoder(CODEC, SETTINGS).encode(enumerate(items)))
    assert all(isinstance(one, Tokens) for one in found), found
    return {one.number: one for one in found if isinstance(one, Tokens)}


def reasons(*items: Item) -> list[str]:
    found = TokenEncoder(CODEC, SETTINGS).encode(enumerate(items))
    return [one.reason if isinstance(one, Failure) else "" for one in found]


@pytest.mark.parametrize("long_s", [0.0, 1.0, 30.0])
def test_codes_are_those_of_the_sound_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long_s: float) -> None:
    monkeypatch.setattr(encoder, "LONG_S", long_s)
    monkeypatch.setattr(encoder, "POOL_S", 2.0)
    monkeypatch.setattr(encoder, "_BLOCK_SAMPLES", 5000)
    sounds = [np.stack([voice(seconds, seed=1), voice(seconds, seed=2)]) for seconds in (0.001, 0.7, 1.4, 2.5)]
    items = []
    for number, sound in enumerate(sounds):
        path = tmp_path / f"{number}.wav"
        sf.write(path, sound.T, 16_000, subtype="FLOAT")
        items += [Item(str(path), "a"), Item(str(path), "b", channel=1)]
    found = tokens_of(*items)
    for number, tokens in found.items():
        sound = sounds[number // 2][number % 2 :]
        expected = CODEC.encode(sound, stages=2, effort=1)
        assert (tokens.codes == np.asarray(expected.codes)).all()
        assert tokens.num_samples == sound.shape[1]


def test_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_BLOCK_SAMPLES", 5000)
    sound, path = voice(3), tmp_path / "a.wav"
    sf.write(path, sound, 16_000, subtype="FLOAT")
    places = [(0.0, 1.0), (0.5, 1.25), (2.0, None), (2.0, 1.05)]
    found = tokens_of(*(Item(str(path), "a", start_s=start, duration_s=duration) for start, duration in places))
    for number, (start, duration) in enumerate(places):
        cut = sound[round(16_000 * start) :][: None if duration is None else round(16_000 * duration)]
        assert (found[number].codes == np.asarray(CODEC.encode(cut, stages=2, effort=1).codes)).all()


def test_what_has_no_codes_and_why(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, voice(1), 16_000, subtype="FLOAT")
    broken = tmp_path / "broken.flac"
    sf.write(broken, voice(1), 16_000)
    broken.write_bytes(broken.read_bytes()[:-3000])
    nan = tmp_path / "nan.wav"
    sf.write(nan, np.full(1000, np.nan, np.float32), 16_000, subtype="FLOAT")
    found = reasons(
        Item(str(path), "a", fault="as planned"),
        Item(str(tmp_path / "gone.wav"), "a"),
        Item(str(path), "a", start_s=0.5, duration_s=0.7),
        Item(str(path), "a", start_s=2.0),
        Item(str(path), "a", channel=1),
        Item(str(broken), "a"),
        Item(str(nan), "a"),
        Item(str(tmp_path / "gone.tar"), "a", "tar", (0, 10)),
        Item(str(path), "fine"),
    )
    wanted = [
        "as planned",
        "gone.wav",
        "is not in it",
        "is not in it",
        "no channel 1",
        "broken.flac",
        "NaN",
        "gone.tar",
    ]
    assert len(found) == len(wanted) + 1 and found[-1] == ""
    for reason, text in zip(found, wanted, strict=False):
        assert text in reason


def test_parts_are_full_by_seconds_or_by_items(tmp_path: Path) -> None:
    lines = [{"path": "a.wav", "offset": 0, "duration": duration} for duration in (2, 2, 5, 1, 1, 1, 1, 0.5)]
    lines.append({"path": "b.wav"})  # type: ignore[arg-type]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    job = plan.make(tmp_path / "out", [tmp_path / "list.jsonl"], replace(SETTINGS, part_s=3.0, part_items=3))
    assert [(part.items, part.audio_s, part.unknown) for part in job.parts] == [
        (2, 4.0, 0),
        (1, 5.0, 0),
        (3, 3.0, 0),
        (3, 1.5, 1),
    ]
    numbers = [number for part in job.parts for number, _ in job.items_of(part)]
    assert numbers == list(range(9))
    assert [item.duration_s for _, item in job.items_of(job.parts[2])] == [1.0, 1.0, 1.0]
    assert plan.read(tmp_path / "out") == job


def test_another_job_is_refused(tmp_path: Path, corpus: Path) -> None:
    out = tmp_path / "out"
    first = plan.make(out, [corpus], SETTINGS)
    assert plan.make(out, [corpus], SETTINGS) == first
    with pytest.raises(ConfigError, match="stages 2, not 1"):
        plan.make(out, [corpus], replace(SETTINGS, stages=1))
    with pytest.raises(ConfigError, match="other inputs"):
        plan.make(out, [corpus, corpus], SETTINGS)
    with pytest.raises(ConfigError, match="something other"):
        plan.make(corpus, [corpus], SETTINGS)
    (out / "plan.json").write_text('{"format": 1, "inputs": 3}')
    with pytest.raises(ConfigError, match="other inputs"):
        plan.make(out, [corpus], SETTINGS)
    with pytest.raises(VqcodecError, match="damaged"):
        plan.read(out)
    with pytest.raises(VqcodecError, match="no plan"):
        plan.read(tmp_path)


def test_a_manifest_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"path": "a.wav"}\n')
    plan.make(tmp_path / "out", [path], SETTINGS)
    path.write_text('{"path": "a.wav"}\n{"path": "b.wav"}\n')
    with pytest.raises(ConfigError, match="have changed"):
        plan.make(tmp_path / "out", [path], SETTINGS)


def test_another_model_is_refused() -> None:
    with pytest.raises(ModelMismatch):
        TokenEncoder(CODEC, replace(SETTINGS, fingerprint="0" * 64))


def test_shards_share_all_parts(tmp_path: Path, corpus: Path) -> None:
    job = job_in(tmp_path / "out", corpus)
    shards = [job.missing((index, 3)) for index in range(3)]
    assert sorted(part for shard in shards for part in shard) == list(job.plan.parts)
    assert len(job.plan.parts) >= 3


def test_processes_make_the_same_bytes(tmp_path: Path, corpus: Path) -> None:
    one, two = job_in(tmp_path / "one", corpus), job_in(tmp_path / "two", corpus)
    made(one)
    made(two, jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert two.gather_failures() == 1
    (line,) = (tmp_path / "two" / "failed.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == "000000003" and "nothing" not in line and json.loads(line)["reason"]


KILLED = """
import os, signal, sys
from pathlib import Path
from vqcodec.recipes.tokenization import encoder, local, outputs, plan
from vqcodec.recipes.tokenization.job import Job
out, corpus, model, module, name, count = sys.argv[1:]
module = {"plan": plan, "outputs": outputs, "tarfile": outputs.tarfile.TarFile, "job": Job}[module]
inner, left = getattr(module, name), int(count)
def wrapped(*arguments, **named):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(*arguments, **named)
setattr(module, name, wrapped)
SETTINGS
job = Job(plan.make(Path(out), [Path(corpus)], settings), model, "cpu")
for _ in local.run(job, job.missing(), 1, lambda done_s: None):
    pass
"""


def test_killed_at_any_moment_and_finished(tmp_path: Path, corpus: Path) -> None:
    """Killed while it plans, between the plan's files, within a part, and before a part gets its name."""
    out = tmp_path / "out"
    made(job_in(tmp_path / "whole", corpus))
    moments = [("plan", "_cut", 0), ("plan", "atomic_output", 1), ("tarfile", "addfile", 3), ("outputs", "write", 1)]
    script = KILLED.replace("SETTINGS", f"settings = plan.{SETTINGS}")
    done = []
    for module, name, count in moments:
        arguments = [str(out), str(corpus), str(TINY), module, name, str(count)]
        ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        done.append(len(list((out / "data").glob("part-*"))) if (out / "data").exists() else 0)
    assert done == [0, 0, 0, 1]
    made(job_in(out, corpus))
    assert contents(tmp_path / "whole") == {
        name: content for name, content in contents(out).items() if ".vqcodec-" not in name
    }


@pytest.fixture(params=["parquet", "wds", "npy"])
def form(request: pytest.FixtureRequest) -> str:
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return str(request.param)


def entries() -> Iterator[outputs.Entry]:
    random = np.random.default_rng(0)
    for number, shape in enumerate([(1, 2, 5), (2, 2, 0), (3, 2, 17), (2, 1, 4)]):
        facts = {
            **dict.fromkeys(("id", "path", "speaker", "fingerprint"), "ü"),
            **dict.fromkeys(("sample_rate", "source_sample_rate", "num_samples"), 16_000),
            "key": f"{number:09}",
            "text": None,
            "start_s": 0.0,
            "duration_s": 1.5,
            "channels": shape[0],
            "num_frames": shape[2],
            "bitrate_bps": 500.0,
        }
        yield facts, random.integers(0, 1 << 16, shape, np.uint16)


def test_parts_are_read_as_they_were_written(tmp_path: Path, form: str) -> None:
    outputs.write(tmp_path, "part-000007", form, list(entries()))
    found = list(outputs.read(tmp_path / f"part-000007{outputs.FORMS[form]}"))
    assert [facts for facts, _ in found] == [facts for facts, _ in entries()]
    for (_, codes), (_, expected) in zip(found, entries(), strict=True):
        assert codes.shape[:2] == expected.shape[:2] and (codes == expected).all()
    outputs.write(tmp_path, "part-000008", form, [])
    assert list(outputs.read(tmp_path / f"part-000008{outputs.FORMS[form]}")) == []


def test_damaged_parts_are_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"part-000000{outputs.FORMS[form]}"
    path.write_bytes(b'{"key": "../../x"}' * 40)
    with pytest.raises(CorruptFile, match="part-000000"):
        list(outputs.read(path))


def test_back_to_sound(tmp_path: Path, corpus: Path, form: str) -> None:
    job = job_in(tmp_path / "out", corpus, form)
    made(job)
    parts = parts_in([tmp_path / "out"])
    assert len(parts) == len(job.plan.parts)
    for part in parts:
        assert sum(decode_part(CODEC, part, tmp_path / "back", "wav")) > 0
        assert list(decode_part(CODEC, part, tmp_path / "back", "wav")) == []
    sounds = sorted((tmp_path / "back").rglob("*.wav"))
    assert [path.name for path in sounds] == [f"{number:09}-{number}.wav" for number in (0, 1, 2, 4, 5, 6)]
    source, rate = sf.read(corpus / "5.wav", dtype="float32")
    expected = np.asarray(CODEC.decode(CODEC.encode(source, stages=2, effort=1)))[0]
    found, _ = sf.read(sounds[4], dtype="float32")
    assert found.shape == source.shape and rate == 16_000
    assert np.abs(found - expected).max() < 1e-4


def test_codes_of_another_model_are_not_decoded(tmp_path: Path) -> None:
    outputs.write(tmp_path, "part-000000", "wds", list(entries()))
    with pytest.raises(ModelMismatch):
        list(decode_part(CODEC, tmp_path / "part-000000.tar", tmp_path / "back", "wav"))
    facts, codes = next(entries())
    for wrong in ({"num_samples": 10**9}, {"num_samples": None}, {}):
        entry = ({**facts, "fingerprint": CODEC.fingerprint, **wrong}, codes)
        outputs.write(tmp_path, "part-000001", "wds", [entry])
        with pytest.raises(CorruptFile):
            list(decode_part(CODEC, tmp_path / "part-000001.tar", tmp_path / "back", "wav"))


def test_datasets_reads_the_parts(tmp_path: Path, corpus: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made(job_in(tmp_path / "out", corpus, "parquet"))
    table = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert table["id"][:] == ["0", "1", "2", "4", "5", "6"]
    source, _ = sf.read(corpus / "0.wav", dtype="float32")
    expected = np.asarray(CODEC.encode(source, stages=2, effort=1).codes)[0]
    assert (np.array(table[0]["codes"]) == expected).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_webdataset_reads_the_parts(tmp_path: Path, corpus: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    made(job_in(tmp_path / "out", corpus))
    parts = [str(path) for path in parts_in([tmp_path / "out"])]
    samples = list(webdataset.WebDataset(parts, shardshuffle=False, empty_check=False).decode())
    assert [sample["json"]["id"] for sample in samples] == ["0", "1", "2", "4", "5", "6"]
    assert samples[0]["npy"].dtype == np.uint16 and samples[0]["npy"].ndim == 3
