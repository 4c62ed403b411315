"""`vqcodec bench`: it measures what the codec does, its report comes back whole, and comparing finds what changed."""

import dataclasses
import io
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from vqcodec import Codec
from vqcodec.cli.bench import _show, bench
from vqcodec.errors import ConfigError, ModelMismatch, VqcodecError
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import DEFAULT_EFFORT, ModelConfig
from vqcodec.recipes import benchmark, parallel
from vqcodec.recipes.benchmark import arithmetic, compare, machine, neural, processes, report, steps, streaming, tables
from vqcodec.recipes.benchmark.measurement import Figure, figure
from vqcodec.recipes.benchmark.report import BenchmarkReport
from vqcodec.recipes.benchmark.settings import QUICK, BenchmarkSettings
from vqcodec.recipes.benchmark.subject import Subject, voice
from vqcodec.recipes.benchmark.timing import Place, Skipped, Stopwatch, Task, interleaved
from vqcodec.recipes.flops import macs_per_s

MODEL = Path(__file__).parents[2] / "golden" / "tiny.safetensors"
CPU = Place("cpu", 1)
SMALL = BenchmarkSettings(seconds=1.0, bitrates=(0.6, 0.9), repeat=2, neural=False, processes=False)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(MODEL, "cpu")


@pytest.fixture(autouse=True)
def small_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "SIZES", {"cpu": (32, 64)})


@pytest.fixture(scope="module")
def measured() -> BenchmarkReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arithmetic, "SIZES", {"cpu": (32, 64)})
        return benchmark.run(MODEL, SMALL)


def of(found: BenchmarkReport, group: str) -> dict[tuple[str, str], Figure]:
    return {(each.name, each.setting): each for each in found.figures if each.group == group}


def made(*figures: Figure, **changes: Any) -> BenchmarkReport:
    """A report of these figures."""
    model = report.BenchmarkedModel(name="tiny", fingerprint="ab" * 32, parameters=1000, sample_rate=16_000)
    facts = machine.facts(["cpu"])
    whole = BenchmarkReport(machine=facts, model=model, settings=SMALL, figures=figures, skipped=())
    return dataclasses.replace(whole, **changes)


def speed(best: float, median: float | None = None, name: str = "encode", better: Any = "higher") -> Figure:
    values = [best, best if median is None else 2 * median - best]
    return figure("whole", name, values, "x", better, "3 kbit/s", CPU)


# What is measured is what the codec does.


@pytest.mark.parametrize("duration_s", [0.01, 1.0, 4.5])  # a block has 4 s
@pytest.mark.parametrize("stages", [1, 4])
def test_the_steps_make_the_same_file_and_the_same_sound(codec: Codec, duration_s: float, stages: int) -> None:
    waveform = voice(duration_s, codec.sample_rate)
    whole = codec.encode(waveform, stages=stages)
    data, encoding = steps.encode(codec, waveform, stages, CPU)
    assert data == whole.to_bytes()
    decoded, decoding = steps.decode(codec, data, CPU)
    np.testing.assert_array_equal(decoded, codec.decode(whole)[0])
    assert tuple(encoding) == steps.STEPS["encode"]
    assert tuple(decoding) == steps.STEPS["decode"]
    assert min(*encoding.values(), *decoding.values()) > 0


def test_the_steps_leave_no_hooks(codec: Codec) -> None:
    steps.measure(codec, voice(0.1, codec.sample_rate), 1, CPU)
    modules = list(codec.model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def test_a_call_is_bit_equal_to_one_push(codec: Codec) -> None:
    hop = codec.hop_length
    waveform = voice(0.5, codec.sample_rate)[: 20 * hop + 7]  # the last block is not whole
    call = streaming.call(codec, waveform, 2, CPU)
    codes = codec.encoder(stages=2, block_frames=1).push(waveform[None])
    np.testing.assert_array_equal(call.codes, codes)
    np.testing.assert_array_equal(call.waveform, codec.decoder(block_frames=1).push(codes))
    assert len(call.encode_s) == len(call.decode_s) == call.codes.shape[-1] == 20


CONFIGS = {
    "default": ModelConfig(encoder_width=64, decoder_width=96, codebook_size=64),
    "stride 1": ModelConfig(stride=1, encoder_fast_blocks=1, num_stages=3),
    "fast blocks": ModelConfig(encoder_fast_blocks=1, decoder_fast_blocks=2, decoder_width=64, codebook_size=16),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_operations_are_those_of_the_sizes(config: ModelConfig) -> None:
    codec = Codec(Autoencoder(config).eval(), fingerprint="00" * 32)
    counted = macs_per_s(codec, stages=2)
    searches = (1 + DEFAULT_EFFORT) * config.codebook_size  # one candidate at the first stage, more at the second
    assert counted["encode"] == pytest.approx(encoder_macs(config) + searches * search_macs(config))
    assert counted["decode"] == pytest.approx(decoder_macs(config))


def block_macs(c: ModelConfig, width: int) -> int:
    return c.kernel_size * width + 2 * c.expansion * width**2


def search_macs(c: ModelConfig) -> float:
    """Of one code vector."""
    return c.latent_dim * c.frame_rate


def encoder_macs(c: ModelConfig) -> float:
    width, fast = c.encoder_width, c.frame_rate * c.stride
    front = 2 * c.mdct_hop**2 + 2 * c.mdct_hop * width + c.encoder_fast_blocks * block_macs(c, width)
    down = 2 * c.stride * width**2 if c.stride > 1 else 0
    return fast * front + c.frame_rate * (down + c.encoder_blocks * block_macs(c, width) + width * c.latent_dim)


def decoder_macs(c: ModelConfig) -> float:
    width, fast = c.decoder_width, c.frame_rate * c.stride
    up = c.stride * width**2 if c.stride > 1 else 0
    slow = c.latent_dim * width + c.decoder_blocks * block_macs(c, width) + up
    back = c.decoder_fast_blocks * block_macs(c, width) + width * c.mdct_hop + 2 * c.mdct_hop**2
    return c.frame_rate * slow + fast * back


def test_the_signal_is_the_same_every_time_and_no_silence() -> None:
    waveform = voice(2.0, 16_000)
    assert waveform.dtype == np.float32 and waveform.shape == (32_000,)
    np.testing.assert_array_equal(waveform, voice(2.0, 16_000))
    loudness: NDArray[Any] = np.sqrt(np.square(waveform.reshape(-1, 8000)).mean(1))
    assert loudness.min() > 0.01 and np.abs(waveform).max() <= 1


# How time is taken.


def test_tasks_run_in_turn_and_the_first_round_does_not_count() -> None:
    ran: list[str] = []
    shares: list[float] = []

    def task(name: str, threads: int) -> Task:
        def measure() -> dict[str, float]:
            ran.append(f"{name}{torch.get_num_threads()}")
            return {"s": float(len(ran))}

        return Task(Place("cpu", threads), measure)

    before = torch.get_num_threads()
    tasks = [task("a", 1), task("b", 2)]
    samples = interleaved(tasks, 2, shares.append)
    assert ran == ["a1", "b2"] * 3
    assert [samples[each] for each in tasks] == [{"s": [3.0, 5.0]}, {"s": [4.0, 6.0]}]
    assert torch.get_num_threads() == before
    assert shares == sorted(shares) and 0 <= shares[0] < shares[-1] < 1


def test_threads_are_as_before_after_a_failure() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), Place("cpu", before + 1).entered():
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    Place("cpu").now()
    assert waited == []
    Place("cuda:1").now()
    assert waited == ["cuda:1"]


def test_a_stopwatch_sums_up_and_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 3.0, 10.0, 14.0])
    monkeypatch.setattr(Place, "now", lambda self: next(times))
    watch = Stopwatch(CPU)
    watch.lap("a")
    watch.lap("b")
    watch.skip()
    watch.lap("a")
    assert watch.seconds == {"a": 5.0, "b": 2.0}


@pytest.mark.parametrize(
    ("better", "best", "spread"), [("higher", 4.0, 0.25), ("lower", 2.0, 0.5), ("neither", 3.0, 0.0)]
)
def test_a_figure_has_the_best_and_the_median(better: Any, best: float, spread: float) -> None:
    found = figure("whole", "encode", [3.0, 4.0, 2.0], "x", better)
    assert (found.best, found.median, found.count, found.spread) == (best, 3.0, 3, spread)


# A whole run.


def test_a_run_has_every_figure_once(measured: BenchmarkReport) -> None:
    keys = [each.key for each in measured.figures]
    assert len(set(keys)) == len(keys)
    rates = ("0.6 kbit/s", "0.9 kbit/s", "file of 0.9 kbit/s")
    both = ("encode", "decode")
    assert set(of(measured, "whole")) == {(direction, rate) for direction in both for rate in rates}
    names = {name for direction in both for name in (*steps.STEPS[direction], f"{direction}, rest")}
    assert {name for name, _ in of(measured, "steps")} == names
    lags = {f"{direction}, p{percentile}" for direction in both for percentile in (50, 99)}
    assert {name for name, _ in of(measured, "streaming")} == lags | {"block", "algorithmic latency"}
    shares = {f"{direction}, share of the peak" for direction in both}
    assert {name for name, _ in of(measured, "arithmetic")} == {arithmetic.PEAK, *both} | shares
    assert {each.group for each in measured.figures} == {"whole", "steps", "streaming", "arithmetic"}
    assert {each.count for each in of(measured, "whole").values()} == {SMALL.repeat}


def test_figures_are_sane(measured: BenchmarkReport, codec: Codec) -> None:
    for each in measured.figures:
        assert math.isfinite(each.best) and math.isfinite(each.median)
        if not each.name.endswith("rest"):
            assert each.best > 0, each
        if each.better == "higher":
            assert each.best >= each.median
        if each.better == "lower":
            assert each.best <= each.median
    lags = {name: each.best for (name, _), each in of(measured, "streaming").items()}
    assert lags["block"] == pytest.approx(1000 * codec.hop_length / codec.sample_rate)
    assert lags["algorithmic latency"] == pytest.approx(1000 * codec.latency)
    for direction in ("encode", "decode"):
        assert lags[f"{direction}, p50"] <= lags[f"{direction}, p99"]


def test_steps_and_rest_are_the_whole(measured: BenchmarkReport) -> None:
    found = of(measured, "steps")
    ((rate,),) = [{setting for _, setting in found}]
    for direction in ("encode", "decode"):
        total_ms = sum(each.best for (name, _), each in found.items() if name.startswith(direction))
        assert total_ms == pytest.approx(1000 / of(measured, "whole")[direction, rate].best)


def test_the_share_of_the_peak_follows_from_the_others(measured: BenchmarkReport) -> None:
    found = of(measured, "arithmetic")
    peak = found[arithmetic.PEAK, ""].best
    ((rate,),) = [{setting for _, setting in found if setting}]
    for direction in ("encode", "decode"):
        gflops = 2e-3 * found[direction, rate].best * of(measured, "whole")[direction, rate].best
        assert found[f"{direction}, share of the peak", rate].best == pytest.approx(100 * gflops / peak)


def test_progress_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, str]] = []
    tiny = dataclasses.replace(SMALL, repeat=1, bitrates=(0.9,))
    benchmark.run(MODEL, tiny, lambda done, what: seen.append((done, what)))
    shares = [done for done, _ in seen]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] < 1
    assert list(dict.fromkeys(what for _, what in seen)) == ["whole waveform, steps, arithmetic", "streaming"]


def test_places_and_rates() -> None:
    subject = Subject(MODEL, BenchmarkSettings(threads=(1, 2, 1), bitrates=(0.1, 0.11, 1.0, 99.0)))
    assert [str(place) for place in subject.places] == ["cpu, 1 thread", "cpu, 2 threads"]
    top = subject.codec.num_stages
    assert [bitrate.stages for bitrate in subject.bitrates] == sorted({1, subject.codec.stages_for(1000), top})
    assert subject.bitrate == subject.bitrates[1]


def test_no_such_model() -> None:
    with pytest.raises(ModelMismatch, match="unknown model 'none'"):
        benchmark.run("none", SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 0.5}, "1 to 3600 seconds, not 0.5"),
        ({"seconds": math.nan}, "1 to 3600 seconds, not nan"),
        ({"bitrates": (3.0, -1.0)}, "not 3, -1"),
        ({"bitrates": ()}, "at least one of the bitrates"),
        ({"threads": (0,)}, "threads are counted from 1, not 0"),
        ({"repeat": 0}, "rounds are counted from 1"),
        ({"minutes": (1, 0)}, "minutes are counted from 1"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BenchmarkSettings(**changes)


def test_an_unusable_device() -> None:
    with pytest.raises(ConfigError, match="'nonsense' cannot be used"):
        benchmark.run(MODEL, dataclasses.replace(SMALL, devices=("nonsense",)))


# In processes of their own.


def test_start_up_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    seconds = {
        "pass": iter([9, 1, 2, 2]),
        "info": iter([9, 3, 3, 6]),
        "torch": iter([9, 5, 5, 5]),
        "encode": iter([9, 6, 8, 7]),
    }

    def take(command: Sequence[str]) -> dict[str, float]:
        (kind,) = [kind for kind in seconds if any(kind in word.split() for word in command)]
        ran.append(kind)
        return {"s": float(next(seconds[kind]))}

    monkeypatch.setattr(processes, "_seconds", take)
    monkeypatch.setattr(processes, "_run", ran.append)
    settings = dataclasses.replace(SMALL, repeat=3)
    found = processes.start_up(Subject(MODEL, settings), lambda share: None)
    first, *others = ran
    assert "encode" in first and str(MODEL) in first  # so that there is a file to inspect
    assert others == ["pass", "info", "torch", "encode"] * 4
    assert [(each.name, each.setting, each.best, each.median) for each in found] == [
        ("python -c pass", "", 1, 2),
        ("vqcodec info", "beyond python -c pass", 2, 1),
        ("import torch", "", 5, 5),
        ("vqcodec encode, 10 s of audio", "beyond import torch", 1, 2),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="no peak memory of processes there")
def test_memory_of_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "IMPORT_TORCH", processes.NOTHING)  # quicker
    found = processes.memory(Subject(MODEL, SMALL), lambda share: None)
    assert [(each.name, each.setting) for each in found] == [
        ("import torch", ""),
        ("encode", "1 min"),
        ("decode", "1 min"),
    ]
    alone, *others = (each.best for each in found)
    assert 1 < alone < 100 < min(others)


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(VqcodecError, match="failed with exit code 3: no luck"):
        processes._run((sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"))


# Beside other codecs.


@pytest.fixture
def small_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same architectures a great deal narrower."""
    transformers = pytest.importorskip("transformers", reason="the other codecs come from transformers")
    small: dict[str, dict[str, Any]] = {
        "EncodecConfig": {"num_filters": 2, "hidden_size": 8, "codebook_size": 16, "codebook_dim": 8},
        "DacConfig": {"encoder_hidden_size": 4, "decoder_hidden_size": 32, "codebook_size": 16},
        "MimiConfig": {
            "num_filters": 2,
            "hidden_size": 16,
            "codebook_size": 16,
            "codebook_dim": 8,
            "vector_quantization_hidden_dimension": 8,
            "num_hidden_layers": 1,
            "intermediate_size": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "upsample_groups": 16,
        },
    }
    for name, sizes in small.items():
        config = getattr(transformers, name)(**sizes)
        monkeypatch.setattr(transformers, name, lambda config=config: config)


def test_other_codecs_run_beside(small_codecs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("the network is of no use here")

    monkeypatch.setattr("socket.socket.connect", refuse)
    found = neural.measure(Subject(MODEL, dataclasses.replace(SMALL, repeat=1)), lambda share: None)
    figures = {(each.setting.partition(",")[0], each.name): each for each in found}
    assert list(dict.fromkeys(codec for codec, _ in figures)) == ["vqcodec golden", "EnCodec", "DAC", "Mimi"]
    for codec in ("EnCodec", "DAC", "Mimi"):
        for direction in ("encode", "decode"):
            ratio = figures[codec, f"{direction}, vqcodec over it"]
            ours, theirs = figures["vqcodec golden", direction], figures[codec, direction]
            assert ratio.best == pytest.approx(ours.best / theirs.best) and ratio.best > 0
    (table,) = [table for table in tables.tables(made(*found)) if "Other" in table.title]
    assert len(table.rows) == 4 and len(table.columns) == 5 and table.rows[0][3:] == ("", "")


@pytest.mark.parametrize(("wanted", "stages"), [(0.2, 1), (2.4, 2), (99.0, 8)])
def test_the_nearest_bitrate_of_another_codec(wanted: float, stages: int) -> None:
    assert neural._stages(wanted, 8) == stages


def test_without_transformers_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Skipped, match=r"pip install 'vqcodec\[neural\]'"):
        neural.build(3000)
    settings = dataclasses.replace(SMALL, repeat=1, bitrates=(0.9,), neural=True)
    found = benchmark.run(MODEL, settings)
    assert found.skipped == ("other codecs: they need the package transformers: pip install 'vqcodec[neural]'",)
    assert "pip install 'vqcodec[neural]'" in tables.to_text(tables.tables(found)[-1])


# The report as JSON.


def test_a_report_comes_back_whole(measured: BenchmarkReport, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(report.to_json(measured))
    assert report.load(path) == measured


def test_the_json_is_as_documented(measured: BenchmarkReport) -> None:
    values = json.loads(report.to_json(measured))
    assert (values["format"], values["version"]) == ("vqcodec bench", 1)
    assert set(values) == {"format", "version", "machine", "model", "settings", "figures", "skipped"}
    for each in values["figures"]:
        assert list(each) == ["group", "name", "setting", "place", "unit", "better", "best", "median", "count"]
    assert values["machine"]["torch"] == torch.__version__
    assert values["machine"]["cpus"] >= 1 and values["machine"]["cpu"]
    assert values["model"]["name"] == "golden"


def test_what_it_does_not_know_is_ignored(measured: BenchmarkReport, tmp_path: Path) -> None:
    values = json.loads(report.to_json(measured))
    values["weather"] = values["figures"][0]["weather"] = "fair"
    path = tmp_path / "a.json"
    path.write_text(json.dumps(values))
    assert report.load(path) == measured


def spoilt(change: Callable[[Any], None]) -> bytes:
    values = json.loads(report.to_json(made(speed(100.0))))
    change(values)
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no JSON"),
        (b"\xff{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "is not a report of vqcodec bench; give a file that vqcodec bench --json wrote"),
        (b'{"format": "something"}', "is not a report of vqcodec bench"),
        (b'{"format": "vqcodec bench", "version": 2}', "version 2 of the report is unknown, this vqcodec reads 1"),
        (b'{"format": "vqcodec bench", "version": 1}', "machine: Field required"),
        (spoilt(lambda v: v["figures"][0].pop("best")), "figures.0.best: Field required"),
        (spoilt(lambda v: v["figures"][0].update(best="fast")), "figures.0.best: Input should be a valid number"),
        (spoilt(lambda v: v["figures"][0].update(best=math.nan)), "figures.0.best: Input should be a finite number"),
        (spoilt(lambda v: v["figures"][0].update(better="maybe")), "figures.0.better: Input should be 'higher'"),
        (spoilt(lambda v: v.update(figures=7)), "figures: Input should be a valid"),
        (spoilt(lambda v: v["settings"].update(repeat=0)), "old.json: settings: rounds are counted from 1"),
    ],
)
def test_files_that_are_no_reports(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as failure:
        report.load(path)
    assert message in str(failure.value) and "\n" not in str(failure.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.json: No such file"):
        report.load(tmp_path / "none.json")


# Comparing.


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (speed(100), speed(100), ""),
        (speed(100), speed(96), ""),
        (speed(100), speed(90), "worse"),
        (speed(100), speed(120), "better"),
        (speed(100, median=80), speed(90), ""),  # within the spread of the old one
        (speed(100), speed(90, median=80), ""),  # or of the new one
        (speed(100, better="lower"), speed(120, better="lower"), "worse"),
        (speed(100, better="lower"), speed(80, better="lower"), "better"),
        (speed(100, better="neither"), speed(50, better="neither"), ""),
    ],
)
def test_verdicts(old: Figure, new: Figure, verdict: str) -> None:
    (change,) = compare.compare(made(old), made(new))
    assert change.ratio == new.best / old.best
    assert change.verdict == verdict


def test_a_slower_machine_is_no_worse_codec() -> None:
    def peak(gflops: float) -> Figure:
        return figure("arithmetic", arithmetic.PEAK, [gflops], "GFLOP/s", "higher", "", CPU)

    changes = compare.compare(made(speed(100), peak(80)), made(speed(75), peak(60)))
    assert [change.verdict for change in changes] == ["", ""]
    changes = compare.compare(made(speed(100), peak(80)), made(speed(50), peak(60)))
    assert [change.verdict for change in changes] == ["worse", ""]
    memory = [made(figure("memory", "encode", [mb], "MB", "lower"), peak(mb)) for mb in (60.0, 80.0)]
    assert [change.verdict for change in compare.compare(*memory)] == ["worse", ""]


def test_only_what_both_have_is_compared() -> None:
    old = made(speed(100), speed(50, name="decode"))
    new = made(speed(70, name="other"), speed(40, name="decode"))
    assert [(change.new.name, change.ratio) for change in compare.compare(old, new)] == [("decode", 0.8)]


@pytest.mark.parametrize(("old", "new"), [(0.0, 1.0), (-0.1, 1.0), (1.0, 0.0), (1.0, -1.0)])
def test_what_is_not_positive_has_no_ratio(old: float, new: float) -> None:
    (change,) = compare.compare(made(speed(old)), made(speed(new)))
    assert change.ratio is None and change.verdict == ""


def test_what_else_differs_is_said() -> None:
    old = made(speed(100))
    facts = dataclasses.replace(old.machine, cpu="Z80")
    new = made(speed(100), machine=facts, settings=dataclasses.replace(SMALL, seconds=5.0))
    assert compare.differences(old, old) == []
    assert compare.differences(old, new) == [
        f"cpu: {old.machine.cpu} before, Z80 now",
        "seconds of signal: 1 before, 5 now",
    ]


# How it looks.


def test_tables_show_every_group(measured: BenchmarkReport) -> None:
    titles = [table.title for table in tables.tables(measured)]
    assert [title.partition(" ")[0] for title in titles] == ["Benchmark", "Whole", "Steps", "Streaming", "Arithmetic"]
    for table in tables.tables(measured):
        assert all(len(row) == len(table.columns) for row in table.rows) and table.rows


@pytest.mark.parametrize(("load", "busy"), [(0.3, False), (3.0, True), (None, False)])
def test_a_busy_machine_is_said_to_be_one(load: float | None, busy: bool) -> None:
    found = made(speed(100))
    found = dataclasses.replace(found, machine=dataclasses.replace(found.machine, cpus=2, load=load))
    assert ("speeds may be underestimated" in tables.to_text(tables.tables(found)[0])) == busy


def test_shares_of_the_steps_sum_up() -> None:
    spans = {"encode, front end": 1.0, "encode, rest": 3.0, "decode, rest": 2.0}
    found = made(*(figure("steps", name, [ms], "ms/s", "lower", "3 kbit/s", CPU) for name, ms in spans.items()))
    table = tables.tables(found)[1]
    assert table.title.startswith("Steps of the data path at 3 kbit/s")
    assert [row[1] for row in table.rows] == ["1 (25 %)", "3 (75 %)", "2 (100 %)"]


def test_columns_are_aligned() -> None:
    table = tables.Table("Title", ("", "x", ""), (("long name", "1", "ab"), ("b", "22", "c")), ("note",))
    assert tables.to_text(table).splitlines() == [
        "Title",
        "              x",
        "  long name   1  ab",
        "  b          22  c",
        "  note",
    ]
    facts = tables.Table("Facts", ("", ""), (("a", "one"), ("bc", "two of them")))
    assert tables.to_text(facts).splitlines() == ["Facts", "  a   one", "  bc  two of them"]


def test_the_comparison_counts_what_is_worse() -> None:
    old = made(speed(100), speed(100, name="decode"), speed(0.0, name="rest"))
    new = made(speed(50), speed(101, name="decode"), speed(1.0, name="rest"))
    table = tables.comparison(old, new)
    key = "whole, encode, 3 kbit/s, cpu, 1 thread"
    assert table.rows[0] == (key, "100 x", "50 x", "0.50", "5 %", "worse")
    assert [row[-1] for row in table.rows] == ["worse", "", ""] and table.rows[2][3] == ""
    assert table.notes[0] == "1 of 3 figures are worse, beyond the noise"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_are_lines_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    _show([tables.comparison(made(speed(100)), made(speed(50)))], stream)
    text = stream.getvalue()
    assert "─" in text and "\x1b[31mworse" in text and "[1 of" not in text
    plain = io.StringIO()
    _show([tables.comparison(made(speed(100)), made(speed(50)))], plain)
    assert "\x1b" not in plain.getvalue() and "worse" in plain.getvalue()


# The command.


def run(*arguments: object, code: int = 0) -> Result:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(bench)
    shortest = ("--quick", "--seconds", 1, "--repeat", 1, "--threads", "1", "--device", "cpu", "--bitrates", "0.9")
    words = [*shortest, "--model", MODEL, *arguments]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_the_command_prints_tables_and_writes_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    text = run("--json", path).stdout
    assert "Whole waveform, times real time" in text and "cpu, 1 thread" in text
    found = report.load(path)
    assert found.settings == dataclasses.replace(QUICK, seconds=1.0, repeat=1, threads=(1,), bitrates=(0.9,))
    compared = run("--compare", path).stdout
    assert "Compared" in compared and "figures are worse, beyond the noise" in compared


def test_json_on_standard_output_stands_alone() -> None:
    result = run("--json", "-")
    assert json.loads(result.stdout)["format"] == "vqcodec bench"
    assert "Whole waveform" in result.stderr


@pytest.fixture
def never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("it began to measure")

    monkeypatch.setattr(benchmark, "run", refuse)


def test_nothing_is_overwritten(never_measured: None, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("mine")
    failure = run("--json", path, code=1).exception
    assert isinstance(failure, VqcodecError) and "--force" in str(failure)
    assert path.read_text() == "mine"


def test_what_cannot_be_compared_is_refused_at_once(never_measured: None, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text("{}")
    failure = run("--compare", path, code=1).exception
    assert isinstance(failure, ConfigError) and "old.json is not a report" in str(failure)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "1,many"], "'many' is not a whole number"),
        (["--bitrates", "1.5;3"], "'1.5;3' is not a number"),
        (["--minutes", "1.5"], "'1.5' is not a whole number"),
        (["--seconds", "0"], "--seconds"),
        (["--repeat", "0"], "--repeat"),
    ],
)
def test_wrong_usage(never_measured: None, arguments: list[str], message: str) -> None:
    assert message in run(*arguments, code=2).stderr


@pytest.mark.parametrize("arguments", [["--threads", ","], ["--bitrates", "nan"], ["--device", ""]])
def test_settings_that_measure_nothing(never_measured: None, arguments: list[str]) -> None:
    assert isinstance(run(*arguments, code=1).exception, ConfigError)


def test_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[BenchmarkSettings] = []

    def look(model: object, settings: BenchmarkSettings, progress: object) -> BenchmarkReport:
        seen.append(settings)
        return made(speed(100))

    monkeypatch.setattr(benchmark, "run", look)
    monkeypatch.setattr(parallel, "usable_cpus", lambda: 12)
    run("--threads", "1, all,3,12", "--neural", "--minutes", "1,10", "--processes", "--bitrates", "1.5,3")
    (settings,) = seen
    assert settings.threads == (1, 12, 3) and settings.bitrates == (1.5, 3.0) and settings.minutes == (1, 10)
    assert settings.neural and settings.processes


def test_the_command_is_there_without_torch() -> None:
    code = "import sys, vqcodec.cli.bench; sys.exit('torch' in sys.modules or 'rich.table' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
