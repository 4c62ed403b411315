"""`vqcodec tokenize`: a corpus -> codes for language models, part by part."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vqcodec.models.config import DEFAULT_EFFORT

from ..options import (
    Bitrate,
    Device,
    Effort,
    Jobs,
    Model,
    Precision,
    Quiet,
    Stages,
    Threads,
    check_one_of,
    choose_stages,
    jobs_on,
    use_threads,
)
from ..terminal.messages import note, on_terminal, say
from ..terminal.progress import Update, bar

if TYPE_CHECKING:
    from vqcodec.recipes.tokenization.job import Outcome
    from vqcodec.recipes.tokenization.plan import Part


def tokenize(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help="Folders of sound files, tar files (WebDataset), parquet files with a column of sounds, manifests"
            " (.jsonl, .jsonl.gz), or sound files.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="TOKENS", help="Folder for the plan and the parts.")],
    form: Annotated[
        Literal["parquet", "wds", "npy"],
        typer.Option("--format", help="Of the parts: parquet, tar files for WebDataset, or .npy files."),
    ] = "parquet",
    bitrate: Bitrate = None,
    stages: Stages = None,
    effort: Effort = DEFAULT_EFFORT,
    part_minutes: Annotated[
        float, typer.Option(metavar="M", min=0.01, help="Minutes of audio after which a part is full.")
    ] = 60.0,
    part_items: Annotated[
        int, typer.Option(metavar="N", min=1, help="Items after which it is full, however short they are.")
    ] = 1000,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Make every N-th part only, beginning with part I (0 to N-1).")
    ] = "0/1",
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Make the plan, and no parts.")] = False,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Processes of this machine, or a cluster by Ray Data.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Of the Ray cluster; without it one starts here.")
    ] = None,
    model: Model = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """Encode a corpus of any size to codes, in parts that appear whole or not at all.

    After an interruption the same command goes on with the parts that are missing. Sounds that cannot be read are
    listed in failed.jsonl, and stop nothing.
    """
    check_one_of({"--bitrate": bitrate, "--stages": stages})
    if address is not None and engine != "ray":
        raise typer.BadParameter("--address is for --engine ray")
    chosen = _shard(shard)
    use_threads(threads)
    from vqcodec import Codec
    from vqcodec.models import registry
    from vqcodec.rates.plan import plan_of
    from vqcodec.recipes.tokenization import plan
    from vqcodec.recipes.tokenization.job import ALL_FAILED, Job

    name = registry.DEFAULT if model is None else model
    if engine == "ray":  # this machine only plans; its processor need not be like the others
        device = "cpu" if device == "auto" else device
        precision = "float32" if precision == "auto" and device != "cpu" else precision
    codec = Codec.load(name, "cpu" if engine == "ray" else device, precision)
    kept = plan_of(codec.config, None, choose_stages(codec, bitrate, stages, quiet), None, varies=False).stages
    settings = plan.Settings(codec.fingerprint, codec.precision, kept, effort, form, 60 * part_minutes, part_items)
    made = plan.make(out.absolute(), [path.absolute() for path in inputs], settings)
    if not quiet:
        known = _hours(sum(part.audio_s for part in made.parts))
        say(f"items: {made.items}, parts: {len(made.parts)}, audio that the inputs tell of: {known}")
    if plan_only:
        return
    job = Job(made, str(registry.find(name).absolute()), device)
    parts = job.missing(chosen)
    wanted = len(made.parts[chosen[0] :: chosen[1]])
    if len(parts) < wanted and not quiet:
        note(f"going on: {wanted - len(parts)} of {wanted} parts are done already")
    with _Progress(parts, quiet) as progress:
        if engine == "ray":
            from vqcodec.recipes.tokenization import on_ray

            outcomes = on_ray.run(job, parts, jobs, address)
        else:
            from vqcodec.recipes.tokenization import local

            outcomes = local.run(job, parts, jobs_on(device, jobs), progress.show)
        for outcome in outcomes:
            progress.add(outcome)
    failed = job.gather_failures()
    if not quiet:
        say(f"parts made: {progress.parts}, {progress}")
    if failed:
        note(f"items without codes: {failed}; {out / ALL_FAILED} says why")


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise typer.BadParameter("a shard is I/N, such as 0/4 for the first of four")
    return int(index), int(count)


def _hours(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:.2f} h"


class _Progress(contextlib.AbstractContextManager["_Progress"]):
    """How much of the parts is done: a bar, or without a terminal a line for every tenth."""

    def __init__(self, parts: Sequence[Part], quiet: bool) -> None:
        self.parts = 0
        self._audio_s = 0.0
        self._items = 0
        self._unknown = sum(part.unknown for part in parts)
        self._known_s = sum(part.audio_s for part in parts)
        self._lines = not quiet and not on_terminal()
        self._tenth = 0
        self._began = time.perf_counter()
        self._bar = bar(1.0, quiet)
        self._update: Update = lambda done, text: None

    def __enter__(self) -> _Progress:
        self._update = self._bar.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        self._bar.__exit__(None, None, None)

    def add(self, outcome: Outcome) -> None:
        """Count a part that is done."""
        self.parts += 1
        self._audio_s += outcome.audio_s
        self._known_s -= outcome.part.audio_s
        self._items += outcome.part.items
        self._unknown -= outcome.part.unknown
        self.show(0.0)
        tenth = int(10 * self._share(0.0))
        if self._lines and tenth > self._tenth:
            self._tenth = tenth
            say(f"{10 * tenth:3} %  {self._text(0.0)}")

    def show(self, working_s: float) -> None:
        """Show how far it is, with seconds of audio that are done of parts in work."""
        self._update(self._share(working_s), self._text(working_s))

    def __str__(self) -> str:
        took_s = max(time.perf_counter() - self._began, 1e-9)
        return f"{_hours(self._audio_s)}, {self._audio_s / took_s:.1f} x real time"

    def _text(self, working_s: float) -> str:
        done_s = self._audio_s + working_s
        speed = done_s / max(time.perf_counter() - self._began, 1e-9)
        return f"{_hours(done_s)} done, {_hours(self._left_s(working_s))} left, {speed:.1f} x real time"

    def _share(self, working_s: float) -> float:
        done_s = self._audio_s + working_s
        return done_s / max(done_s + self._left_s(working_s), 1e-9)

    def _left_s(self, working_s: float) -> float:
        """Seconds of audio that are left; items of unknown length are as long as those before."""
        mean_s = self._audio_s / self._items if self._items else 0.0
        return max(0.0, self._known_s + mean_s * self._unknown - working_s)
