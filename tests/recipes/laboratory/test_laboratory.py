"""The laboratory: who is fitted on, what is measured, what is kept, and what its page says."""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from chromium import chromium
from synthetic import voice
from vqcodec.codec import Codec
from vqcodec.errors import AudioError, ConfigError, CorruptFile
from vqcodec.models.quantizers import KINDS
from vqcodec.models.quantizers.base import distortion
from vqcodec.recipes import laboratory, parallel
from vqcodec.recipes.laboratory import candidates, latents, tables
from vqcodec.recipes.laboratory.analysis import best_by_budget, expectations
from vqcodec.recipes.laboratory.candidates import Candidate
from vqcodec.recipes.laboratory.latents import Latents, LatentSet
from vqcodec.recipes.laboratory.measure import QuantizerJob, measure
from vqcodec.recipes.laboratory.report import write_page
from vqcodec.recipes.laboratory.results import Findings, QuantizerFailure, QuantizerResult, Unquantized
from vqcodec.recipes.laboratory.split import divide
from vqcodec.recipes.laboratory.store import LaboratoryStore

MODEL = str(Path(__file__).parents[2] / "golden" / "tiny.safetensors")
SPEAKERS = ("ann", "bob", "cid", "dora")


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(MODEL, "cpu", "float32")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four speakers of two recordings each, and a file that is none."""
    folder = tmp_path_factory.mktemp("corpus")
    for number, speaker in enumerate(SPEAKERS):
        (folder / speaker).mkdir()
        for take in range(2):
            sound = voice(1.5, 16000, seed=2 * number + take, pitch_hz=100 + 20 * number)
            soundfile.write(folder / speaker / f"{take}.wav", sound, 16000)
    (folder / "ann" / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    return folder


def speakers_of(parts: Any) -> tuple[set[str], set[str]]:
    return {one.speaker for one in parts.fit}, {one.speaker for one in parts.test}


# Who is fitted on, and who is measured on.


def test_no_speaker_is_in_both_parts(corpus: Path) -> None:
    parts = divide([corpus], [])
    fit, test = speakers_of(parts)
    assert len(fit) == 3
    assert len(test) == 1
    assert not fit & test
    assert {one.path for one in (*parts.fit, *parts.test)} == {path for path in corpus.rglob("*") if path.is_file()}
    assert divide([corpus], []) == parts


def test_any_beginning_of_a_part_has_many_speakers(corpus: Path) -> None:
    assert len({one.speaker for one in divide([corpus], []).fit[:3]}) == 3


def test_a_folder_to_fit_on_lends_only_other_speakers(corpus: Path, tmp_path: Path) -> None:
    data = tmp_path / corpus.name / "ann"  # the same speaker, by the names of the folders
    data.mkdir(parents=True)
    soundfile.write(data / "new.wav", voice(0.5), 16000)
    parts = divide([data.parent], [corpus])
    fit, test = speakers_of(parts)
    assert test == {f"{corpus.name}/ann"}
    assert fit == {f"{corpus.name}/{name}" for name in SPEAKERS[1:]}
    assert parts.notes == ("3 recordings were not fitted on: their speakers are measured on.",)
    with pytest.raises(AudioError, match="every recording to fit on is of a speaker who is measured on"):
        divide([corpus], [corpus])


def test_files_of_unknown_speakers_are_divided(tmp_path: Path) -> None:
    for number in range(5):
        soundfile.write(tmp_path / f"{number}.wav", voice(0.1), 16000)
    parts = divide([tmp_path], [])
    assert (len(parts.fit), len(parts.test)) == (3, 2)
    assert "Who speaks is not known" in parts.notes[0]


def test_one_speaker_is_divided_by_files_and_said_so(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    for number in range(4):
        soundfile.write(tmp_path / "ann" / f"{number}.wav", voice(0.1), 16000)
    parts = divide([tmp_path], [])
    assert (len(parts.fit), len(parts.test)) == (3, 1)
    assert "one speaker" in parts.notes[0]


def test_one_recording_is_not_enough(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", voice(0.1), 16000)
    with pytest.raises(AudioError, match="one recording cannot be fitted on and measured on"):
        divide([tmp_path], [])


# Latents.


def test_latents_are_those_that_are_coded(codec: Codec) -> None:
    sound = voice(5.0, codec.sample_rate)  # more than a block
    found = latents.encode(codec, sound)
    codes = codec.model.quantizer.encode(found.T[None])
    coded = codec.encode(sound, stages=codec.num_stages, effort=1)
    assert torch.equal(codes, torch.as_tensor(coded.codes))
    decoded = latents.decode(codec, codec.model.quantizer.decode(codes)[0].T, len(sound))
    np.testing.assert_allclose(decoded, codec.decode(coded)[0], atol=1e-6)


def test_collecting_stops_in_time_and_names_what_cannot_be_read(corpus: Path, codec: Codec) -> None:
    recordings = sorted(divide([corpus], []).fit + divide([corpus], []).test, key=lambda one: one.path.suffix)
    part, notes = latents.collect(codec, recordings, 2.0, lambda done: None)
    assert len(part.files) == 2
    assert part.seconds == pytest.approx(3.0)
    assert len(part.labels) == len(part.vectors) == sum(part.frames)
    assert ["broken.flac is left out" in note for note in notes] == [True]
    with pytest.raises(AudioError, match=r"none of the recordings can be read; of one, .*broken\.flac"):
        latents.collect(codec, recordings[:1], 2.0, lambda done: None)


def test_labels_are_the_speakers() -> None:
    part = LatentSet(
        vectors=torch.zeros(6, 2), frames=(2, 1, 3), files=("a", "b", "c"), speakers=("y", "x", "y"), seconds=1
    )
    assert part.labels.tolist() == [1, 1, 0, 1, 1, 1]


def test_latents_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    latents.save(path, gaussian(), {"model": "test"})
    found, facts = latents.load(path)
    assert facts == {"model": "test"}
    assert torch.equal(found.fit.vectors, gaussian().fit.vectors)
    assert dataclasses.replace(found.test, vectors=gaussian().test.vectors) == gaussian().test
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CorruptFile, match="holds no latents"):
        latents.load(path)


# Which quantizers.


@pytest.mark.parametrize("bits", [10, 20, 40, 80, 120])
def test_every_member_spends_exactly_its_bits(bits: int) -> None:
    found, _ = candidates.family([bits], [], dim=64, speakers=2)
    assert {one.name for one in found} >= {one.name for one in candidates.VARIANTS if one.settings(bits)}
    for member in found:
        if member.kind not in ("scalar", "lattice"):  # which do by definition, once fitted
            assert KINDS[member.kind](**member.settings).bits_per_vector == bits, member


@pytest.mark.parametrize("bits", [1, 5, 7, 13, 17, 23, 31])
def test_bits_that_no_tables_fit_are_not_exceeded(bits: int) -> None:
    for member in candidates.family([bits], ["product", "residual", "additive"], dim=64, speakers=2)[0]:
        assert bits - 10 < KINDS[member.kind](**member.settings).bits_per_vector <= bits


def test_what_is_left_out_is_said() -> None:
    found, notes = candidates.family([20], ["kmeans", "product", "lvq", "lattice"], dim=6, speakers=0)
    assert [one.name for one in found] == ["product", "lattice-z"]
    assert notes == [
        "lattice D4 at 20 bits is left out: 6 dimensions are not a multiple of 4.",
        "lattice E8 at 20 bits is left out: 6 dimensions are not a multiple of 8.",
        "k-means; learning VQ: left out at 20 bits, as there are too few vectors to learn 2^20 codes from.",
    ]
    assert "two known speakers" in candidates.family([4], ["lvq"], dim=6, speakers=1)[1][0]
    assert "17 speakers need a code each" in candidates.family([4], ["lvq"], dim=6, speakers=17)[1][0]
    assert "12 parts of 6 dimensions" in candidates.family([120], ["product"], dim=6, speakers=1)[1][0]


def test_smaller_codebooks_are_said() -> None:
    (slow,) = candidates.family([80], ["additive"], dim=64, speakers=1)[0]
    assert slow.settings == {"num_books": 10, "codes_per_book": 256}
    assert slow.note == "codebooks of 256 codes: larger ones are too slow"
    (quick,) = candidates.family([40], ["additive"], dim=64, speakers=1)[0]
    assert (quick.settings["codes_per_book"], quick.note) == (1024, "")


def test_the_trained_one_spends_at_most_its_bits() -> None:
    found = candidates.trained([4, 10, 25], [], {1: 5.0, 2: 10.0, 3: 15.0})
    assert [(one.name, one.budget, one.settings["stages"]) for one in found] == [
        ("trained-greedy", 10, 2),
        ("trained-greedy", 25, 3),
        ("trained-beam", 10, 2),
        ("trained-beam", 25, 3),
    ]
    assert candidates.trained([10], ["scalar"], {1: 5.0}) == []


# What is measured.


@functools.cache
def gaussian(dim: int = 8, count: int = 8000) -> Latents:
    """Correlated Gaussian vectors in both parts, of two speakers."""
    random = torch.Generator().manual_seed(1)
    mixing = torch.randn(dim, dim, generator=random) / math.sqrt(dim) + torch.eye(dim)

    def part(count: int) -> LatentSet:
        half = count // 2
        vectors = torch.randn(count, dim, generator=random) @ mixing + 3
        return LatentSet(
            vectors=vectors, frames=(half, count - half), files=("a", "b"), speakers=("x", "y"), seconds=1.0
        )

    return Latents(fit=part(count), test=part(count // 2))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("latents") / "latents.safetensors"
    latents.save(path, gaussian(), {})
    return path


def measured(kept: Path, member: Candidate) -> QuantizerResult:
    result = measure(QuantizerJob(member=member, latents=kept, model=MODEL, scored_files=0))
    assert isinstance(result, QuantizerResult), result
    return result


def test_measures_of_kmeans(kept: Path) -> None:
    (member,) = candidates.family([5], ["kmeans"], dim=8, speakers=2)[0]
    result = measured(kept, member)
    quantizer = KINDS["kmeans"](num_codes=32).fit(gaussian().fit.vectors)
    x = gaussian().test.vectors
    codes = quantizer.encode(x)
    assert result.mse == pytest.approx(distortion(x, quantizer.decode(codes)))
    assert result.snr_db == pytest.approx(10 * math.log10(float((x - x.mean(0)).square().mean()) / result.mse))
    shares = np.bincount(codes[:, 0], minlength=32) / len(codes)
    assert result.entropy_bits == pytest.approx(float(-(shares * np.log2(shares)).sum()))
    assert result.entropy_bias_bits == pytest.approx(31 / (2 * len(x) * math.log(2)))
    assert (result.bits, result.used_share, result.table_bytes) == (5.0, 1.0, 4 * 32 * 8)
    assert result.fit_s is not None
    assert result.fit_s > 0
    assert (result.vectors, result.scores) == (len(x), {})


def test_codes_that_are_not_used_are_counted(tmp_path: Path) -> None:
    def part(values: Sequence[float]) -> LatentSet:
        vectors = torch.tensor([[value] for value in values])
        return LatentSet(vectors=vectors, frames=(len(vectors),), files=("a",), speakers=("x",), seconds=1.0)

    path = tmp_path / "latents.safetensors"
    latents.save(path, Latents(fit=part([0.0, 1.0, 2.0, 3.0] * 8), test=part([0.1, 0.1, 2.1, 1.9])), {})
    member = Candidate(name="kmeans", title="k-means", kind="kmeans", budget=2, settings={"num_codes": 4})
    result = measured(path, member)
    assert result.mse == pytest.approx(0.01, rel=1e-4)
    assert (result.entropy_bits, result.used_share) == (pytest.approx(1.0), 0.5)


@pytest.mark.parametrize("kind", [kind for kind in candidates.KINDS if kind not in (candidates.TRAINED, "lvq")])
def test_nothing_beats_the_bound_of_gaussian_vectors(kept: Path, kind: str) -> None:
    found, _ = candidates.family([3, 14], [kind], dim=8, speakers=2)
    results = [measured(kept, member) for member in found]
    findings = Findings(facts={}, results=results, variances=variances())
    assert results
    for one in results:
        assert findings.gap_db(one) > -0.05, one  # as the covariance is that of a sample


def variances() -> list[float]:
    x = gaussian().test.vectors.double()
    return torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0).tolist()


def test_the_bound_is_six_decibels_a_bit_and_dimension() -> None:
    findings = Findings(facts={}, results=[], variances=[2.0] * 4)
    assert findings.bound_db(0.0) == pytest.approx(0.0)
    assert findings.bound_db(12.0) == pytest.approx(60 * math.log10(2))


def test_lattices_pay_what_they_say(kept: Path) -> None:
    (member,) = candidates.family([16], ["lattice"], dim=8, speakers=2)[0][-1:]
    result = measured(kept, member)
    assert result.entropy_bits == pytest.approx(16, rel=0.05)
    assert result.used_share is None


def test_a_tree_is_one_table(kept: Path) -> None:
    for member in candidates.family([6], ["tree"], dim=8, speakers=2)[0]:
        result = measured(kept, member)
        assert result.entropy_bits < 6
        assert result.entropy_bias_bits < 63.5 / (2 * result.vectors * math.log(2))


def test_failures_are_told(kept: Path) -> None:
    member = Candidate(name="kmeans", title="k-means", kind="kmeans", budget=14, settings={"num_codes": 1 << 14})
    failure = measure(QuantizerJob(member=member, latents=kept, model=MODEL, scored_files=0))
    assert isinstance(failure, QuantizerFailure)
    assert "8000 vectors are too few" in failure.reason


def test_the_trained_one_is_the_models_own(codec: Codec, tmp_path: Path) -> None:
    vectors = latents.encode(codec, voice(1.0, codec.sample_rate))
    part = LatentSet(vectors=vectors, frames=(len(vectors),), files=("a",), speakers=("x",), seconds=1.0)
    path = tmp_path / "latents.safetensors"
    latents.save(path, Latents(fit=dataclasses.replace(part, vectors=vectors.clone()), test=part), {})
    greedy, beam = (measured(path, member) for member in candidates.trained([100], [], {codec.num_stages: 100.0}))
    codes = codec.model.quantizer.encode(vectors.T[None])
    expected = distortion(vectors, codec.model.quantizer.decode(codes)[0].T.contiguous())
    assert greedy.mse == pytest.approx(expected)
    assert greedy.bits == codec.num_stages * math.log2(codec.codebook_size)
    assert greedy.fit_s is None
    assert greedy.table_bytes == 4 * codec.config.code_vectors
    assert beam.mse < greedy.mse


# The whole of it.


def run(corpus: Path, out: Path, **changes: Any) -> Findings:
    settings: dict[str, Any] = {"model": MODEL, "bits": [6], "kinds": ["trained", "scalar", "kmeans"], "jobs": 1}
    return laboratory.run([corpus], out, **(settings | {"minutes": 0.2, "scores": False} | changes))


@pytest.fixture(scope="module")
def report(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Findings]:
    for package in ("pesq", "pystoi"):
        pytest.importorskip(package, reason="the eval extra is not installed")
    out = tmp_path_factory.mktemp("laboratory") / "out"
    return out, run(corpus, out, scores=True)


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something is computed")

    monkeypatch.setattr(parallel, "pool", refuse)
    monkeypatch.setattr(latents, "collect", refuse)


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text("utf-8").splitlines()]


def test_run_keeps_all_it_finds(report: tuple[Path, Findings]) -> None:
    out, findings = report
    names = ["trained-greedy", "trained-beam", "scalar-uniform", "scalar", "kmeans"]
    assert [one.name for one in findings.results] == names
    assert len(lines_of(out)) == len(names) + 1
    assert isinstance(findings.unquantized, Unquantized)
    assert any("broken.flac is left out" in note for note in findings.notes)
    summary = json.loads((out / "results.json").read_text("utf-8"))
    assert [one["mse"] for one in summary["results"]] == [one.mse for one in findings.results]
    assert summary["fit"]["speakers"] == 3
    assert summary["test"]["speakers"] == 1
    assert len((out / "results.csv").read_text("utf-8").splitlines()) == 1 + len(names)


def test_scores_are_those_of_the_codec(corpus: Path, codec: Codec, report: tuple[Path, Findings]) -> None:
    from vqcodec.recipes.metrics import METRICS

    greedy = report[1].of("trained-greedy")[6]
    (file, score), *_ = greedy.scores["stoi"].items()
    sound = latents.read(file, codec.sample_rate)
    decoded = codec.decode(codec.encode(sound, stages=greedy.settings["stages"]))[0]
    assert METRICS["stoi"].function(sound, decoded, codec.sample_rate) == pytest.approx(score, abs=1e-3)


@pytest.mark.usefixtures("no_work")
def test_nothing_is_computed_twice(corpus: Path, report: tuple[Path, Findings]) -> None:
    out, findings = report
    before = (out / "results.jsonl").read_bytes()
    assert run(corpus, out, scores=True).results == findings.results
    assert run(corpus, out).results == findings.results  # without scores there is less to do
    assert (out / "results.jsonl").read_bytes() == before


@pytest.mark.usefixtures("no_work")
def test_results_of_others_are_not_mixed_in(corpus: Path, report: tuple[Path, Findings], tmp_path: Path) -> None:
    out, _ = report
    with pytest.raises(ConfigError, match=r"was made with another number of minutes; .* add --force to start anew"):
        run(corpus, out, minutes=0.3)
    with pytest.raises(ConfigError, match="was made with other recordings"):
        run(corpus / "ann", out)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="holds something other than results of quantizers"):
        run(corpus, tmp_path)


def test_a_member_with_other_settings_is_measured_again(corpus: Path, report: tuple[Path, Findings]) -> None:
    """As after a new version of vqcodec; and a line that an interruption tore is dropped."""
    out, findings = report
    lines = lines_of(out)
    place = next(index for index, line in enumerate(lines) if line.get("name") == "kmeans")
    lines[place]["settings"]["num_codes"] = 32
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"record": "resu'
    (out / "results.jsonl").write_text(text, encoding="utf-8")
    done: list[str] = []
    again = run(corpus, out, scores=True, progress=lambda share, words: done.append(words))
    assert done == ["0 of 1", "1 of 1: k-means, 6 bits"]
    assert [one.mse for one in again.results] == [one.mse for one in findings.results]


def test_ctrl_c_leaves_what_is_done(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def interrupt(share: float, words: str) -> None:
        if words.startswith("1 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(corpus, out, kinds=["scalar"], progress=interrupt)
    assert [line["name"] for line in lines_of(out)] == ["scalar-uniform"]
    done: list[str] = []
    run(corpus, out, kinds=["scalar"], progress=lambda share, words: done.append(words))
    assert done[-1] == "1 of 1: scalar, Lloyd-Max, 6 bits"


def test_force_forgets_everything(tmp_path: Path) -> None:
    facts = {"format": 1, "model": "a", "fingerprint": "f", "recordings": "r", "minutes": 1.0}
    store = LaboratoryStore(tmp_path)
    assert not store.begin(facts, force=False)
    store.save_latents(gaussian(), facts, [])
    store.append(QuantizerFailure(name="a", title="a", budget=1, reason="why"))
    assert store.begin(facts, force=False)
    with pytest.raises(ConfigError, match="another model and other weights of the model; name another folder"):
        store.begin(facts | {"model": "b", "fingerprint": "g"}, force=False)
    assert len(store.records()) == 1
    assert not store.begin(facts, force=True)
    assert store.records() == []


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    store = LaboratoryStore(tmp_path)
    store.append(QuantizerFailure(name="a", title="a", budget=1, reason="why"))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"record": "result", "name": 1}\n')
    with pytest.raises(ConfigError, match=r"results\.jsonl, line 2, is damaged"):
        store.records()


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bits": [0]}, "0 bits a vector are not between 1 and 4096"),
        ({"bits": []}, "name at least one number of bits"),
        ({"kinds": ["vae"]}, "unknown quantizer 'vae'; choose from trained, scalar"),
        ({"minutes": 0.0}, "minutes is 0.0, not a positive number"),
        ({"minutes": math.nan}, "minutes is nan"),
    ],
)
def test_wrong_settings_are_refused(corpus: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        run(corpus, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


# What it says.


def result(name: str, bits: int, snr_db: float, **changes: Any) -> QuantizerResult:
    variant = next((one for one in candidates.VARIANTS if one.name == name), None)
    values: dict[str, Any] = {
        "name": name,
        "title": variant.title if variant else "trained, greedy",
        "kind": variant.kind if variant else candidates.TRAINED,
        "budget": bits,
        "settings": {},
        "note": "<b>a note</b>",
        "bits": float(bits),
        "mse": 10 ** (-snr_db / 10),
        "snr_db": snr_db,
        "entropy_bits": 0.9 * bits,
        "entropy_bias_bits": 0.1,
        "used_share": 0.5,
        "fit_s": 1.5 if variant else None,
        "encode_s": 0.5,
        "decode_s": 0.1,
        "vectors": 1000,
        "table_bytes": 123_456,
        "scores": {"pesq_wb": {"a": 1.0 + snr_db / 10, "b": 2.0}, "stoi": {"a": 0.5, "b": 0.7}},
    }
    return QuantizerResult(**(values | changes))


@functools.cache
def findings() -> Findings:
    amount = {"recordings": 3, "speakers": 2, "vectors": 9000, "seconds": 180.0}
    return Findings(
        facts={
            "model": "test & co",
            "fingerprint": "0123456789abcdef" * 4,
            "dim": 4,
            "vectors_per_s": 50.0,
            "fit": amount,
            "test": amount,
        },
        results=[
            result("trained-greedy", 10, 6.0),
            result("trained-greedy", 20, 9.0),
            result("kmeans", 10, 4.0),
            result("residual-greedy", 10, 4.0),
            result("residual-greedy", 20, 6.5),
            result("residual-beam", 10, 4.1),
            result("residual-beam", 20, 6.4),
            result("lattice-e8", 20, 8.0, used_share=None),
        ],
        failures=[QuantizerFailure(name="opq", title="optimized product", budget=20, reason="<i>too few</i>")],
        unquantized=Unquantized(scores={"pesq_wb": {"a": 4.0, "b": 4.2}, "stoi": {"a": 0.9, "b": 1.0}}),
        notes=["left <out>"],
        variances=[4.0, 1.0, 1.0, 0.5],
    )


def test_scores_that_the_model_was_trained_on_are_marked(tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="the eval extra is not installed")
    pytest.importorskip("plotly", reason="the eval extra is not installed")
    plain = findings()
    marked = dataclasses.replace(plain, facts={**plain.facts, "trained_on_scores": ["stoi"]})
    assert [one.heading for one in tables.columns(marked) if "STOI" in one.heading or "PESQ" in one.heading] == [
        "PESQ-WB",
        "STOI †",
    ]
    assert "†: the model was trained on" in write_page(marked, tmp_path).read_text("utf-8")
    assert "†" not in re.sub(
        r"<script>.*?</script>", "", write_page(plain, tmp_path).read_text("utf-8"), flags=re.DOTALL
    )


def test_orders_are_judged() -> None:
    (beam,) = expectations(findings())
    assert (beam.better, beam.worse) == ("residual, beam 8", "residual, greedy")
    assert [(one.budget, round(one.difference_db, 2), one.holds) for one in beam.verdicts] == [
        (10, 0.1, True),
        (20, -0.1, False),
    ]
    assert not beam.holds
    assert beam.at(40) is None


def test_codebooks_of_other_sizes_are_not_judged() -> None:
    family, notes = candidates.family([40, 80], ["residual", "additive"], dim=64, speakers=0)
    sizes = {one.key: one.settings["codes_per_book"] for one in family}
    assert sizes["additive", 80] == sizes["residual-small", 80] != sizes["residual-beam", 80]
    assert sizes["additive", 40] == sizes["residual-beam", 40]
    assert ("residual-small", 40) not in sizes  # it would be the same
    assert not notes
    measured = [result(one.name, one.budget, 1.0, settings=one.settings) for one in family]
    judged = expectations(dataclasses.replace(findings(), results=measured))
    assert [[verdict.budget for verdict in one.verdicts] for one in judged if one.better == "additive"] == [[40], [80]]


def test_the_best_are_those_fitted_with_fixed_lengths() -> None:
    assert [(one.name, one.budget) for one in best_by_budget(findings())] == [
        ("residual-beam", 10),
        ("residual-greedy", 20),
    ]


def test_means_are_over_recordings_that_all_have_a_score() -> None:
    some = [result("kmeans", 4, 1.0), result("scalar", 4, 1.0, scores={"stoi": {"b": 0.2}})]
    one = Findings(facts={}, results=some)
    mean = one.mean(some[0].scores, "stoi")
    assert mean is not None
    assert (mean.value, mean.files) == (0.7, 1)
    assert one.scores == ["pesq_wb", "stoi"]


def test_every_column_has_every_row() -> None:
    columns = tables.columns(findings())
    assert {len(column.cells) for column in columns} == {len(findings().results)}
    assert [column.heading for column in columns][:2] == ["MSE", "SNR"]
    shown = {column.heading: column.cells[0] for column in columns}
    assert (shown["used"], shown["fit"], shown["encode"], shown["tables"]) == ("50", "–", "2k", "123")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("jinja2", "matplotlib", "plotly"):
        pytest.importorskip(package, reason="the eval extra is not installed")
    return write_page(findings(), tmp_path_factory.mktemp("page"))


def test_page_says_what_was_found(written: Path) -> None:
    source = written.read_text("utf-8")
    source = re.sub(r"<(script|style|svg)\b.*?</\1>", "", source, flags=re.DOTALL)
    text = " ".join(re.sub(r"<[^>]+>", " ", source).split())
    assert "Quantizers on the latents of test &amp; co" in text
    assert "at 10 and 20 bits for each vector of 4 numbers" in text
    assert "0.5 and 1 kbit/s" in text
    assert "-0.10 ✗" in text
    assert "left &lt;out&gt;" in text
    assert "optimized product at 20 bits failed: &lt;i&gt;too few&lt;/i&gt;" in text
    assert len(re.findall(r"<tr class=", source)) == len(findings().results)


def test_page_loads_nothing(written: Path) -> None:
    source = written.read_text("utf-8")
    assert "default-src 'none'" in source
    assert (
        re.findall(r"""(?:src|href)=["'](?!data:|#)""", re.sub(r"<script>.*?</script>", "", source, flags=re.S)) == []
    )


def test_nothing_at_all_can_be_shown(tmp_path: Path) -> None:
    for package in ("jinja2", "matplotlib", "plotly"):
        pytest.importorskip(package, reason="the eval extra is not installed")
    empty = dataclasses.replace(findings(), results=[], unquantized=None)
    assert "Nothing was measured." in write_page(empty, tmp_path).read_text("utf-8")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.mark.parametrize("width", [320, 1280])
def test_browser_draws_it_without_complaints(browser: Any, written: Path, width: int) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get(written.as_uri())
    waiting = "return document.querySelectorAll('.chart[data-chart]:not(.drawn)').length === 0"
    WebDriverWait(browser, 60).until(lambda one: one.execute_script(waiting))
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    first = "return document.querySelector('.drawing').querySelectorAll(arguments[0]).length"
    assert browser.execute_script(first, ".trace.scatter") == 5 + 1  # and the bound
    assert browser.execute_script(first, ".point") == len(findings().results)
