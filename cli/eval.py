"""`vqcodec eval`: a model and other codecs over whole recordings -> scores, tables, a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcodec.models.config import DEFAULT_EFFORT, MAX_EFFORT

from .options import Force, Quiet
from .terminal.messages import note, printable, say
from .terminal.progress import bar
from .terminal.tables import show_narrow, show_results

if TYPE_CHECKING:
    from vqcodec.recipes.evaluation.store import Evaluation
    from vqcodec.recipes.evaluation.under_loss import LossPlan
    from vqcodec.recipes.statistics import Interval

FEATURED = 6
"""Files with spectrograms and players in the report."""
COLUMN_WIDTH = 16


def evaluate(
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR", help="The same as --data or --score, which need not be repeated."),
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="DIR", help="Folder of recordings, searched recursively.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="REPORT",
            help="Folder for the results and the report; with --score, where that of the listening test is.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME|PATH", help="A model that ships, or a .safetensors file; repeatable."),
    ] = None,
    bitrates: Annotated[
        str, typer.Option(metavar="KBPS,...", help="Bitrates of the model in kbit/s; the nearest possible are used.")
    ] = "1.5,3,6",
    rate_mode: Annotated[
        list[str] | None,
        typer.Option(
            "--rate-mode",
            metavar="MODE",
            help="How the model spends its bits: variable, constant, variable-plain or constant-context. Repeatable.",
        ),
    ] = None,
    effort: Annotated[
        int, typer.Option(metavar="N", min=1, max=MAX_EFFORT, help="Width of the search for codes.")
    ] = DEFAULT_EFFORT,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            metavar="NAME[:KBPS,...]",
            help="Another codec: opus:6,9,12, opus-wb, speex, codec2, amrwb, lc3, band:4 (a ceiling),"
            " encodec:PATH, dac:PATH, mimi:PATH; or all, those that are installed. Repeatable.",
        ),
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option("--scores", metavar="NAME,...", help="Which scores; by default all that are installed."),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT[:MS],...",
            help="Send packets of 20 ms over a network that loses so many, at random or in gaps of so many ms: 5,10:60."
            " Of the baselines only opus takes part, with its in-band redundancy.",
        ),
    ] = None,
    loss_trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Lose the packets that a text file says: 0 arrives, 1 is lost."),
    ] = None,
    redundancy: Annotated[
        str,
        typer.Option(
            metavar="KIND,...", help="With --loss: codes that travel twice, none or packets back x stages, 1x1."
        ),
    ] = "none,1x1",
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Worker processes; by default one for each core.")
    ] = None,
    listen: Annotated[bool, typer.Option("--listen", help="Also write a page for a blind listening test.")] = False,
    keep_audio: Annotated[
        bool, typer.Option("--keep-audio", help="Keep the decoded sound of all files, not only of those in the report.")
    ] = False,
    score: Annotated[
        list[Path] | None,
        typer.Option("--score", metavar="CSV", help="Score the results of a listening test, and do nothing else."),
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="Show every score and its interval; by default what fits 80 columns.")
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Measure the quality of a model, and of other codecs, on folders of recordings.

    Every file goes through every codec; bitrates are counted in bytes. The same command goes on after Ctrl-C.
    """
    if score:
        _score_listening([*score, *(more or [])], out)
        return
    folders = [*(data or []), *(more or [])]
    if not folders:
        raise typer.BadParameter("name at least one folder of recordings", param_hint="--data")
    if out is None:
        raise typer.BadParameter("name a folder for the report", param_hint="--out")
    from vqcodec.models import registry
    from vqcodec.recipes.evaluation import runner
    from vqcodec.recipes.evaluation.comparison import compare
    from vqcodec.recipes.evaluation.store import EvaluationStore
    from vqcodec.recipes.reporting import html

    comparison = compare(
        folders,
        model or [registry.DEFAULT],
        [1000 * rate for rate in _rates(bitrates)],
        modes=_modes(rate_mode),
        effort=effort,
        baselines=baseline or [],
        scores=[name.strip() for name in scores.split(",")] if scores else [],
        loss=_losses(loss, loss_trace, redundancy),
    )
    html.check_packages()
    for text in comparison.facts.notes:
        note(text)
    with bar(1.0, quiet) as update:
        found = runner.evaluate(
            comparison,
            EvaluationStore(out),
            jobs=jobs,
            force=force,
            progress=lambda done, total, file: update(done / total, f"{done} of {total}: {file}"),
        )
    _show(found, wide)
    _write(found, listen, keep_audio)


def _losses(losses: str | None, trace: Path | None, redundancies: str) -> LossPlan | None:
    """What to lose and what to do against it; None for nothing."""
    from vqcodec.recipes.evaluation.systems.lossy import parse_losses, read_trace
    from vqcodec.recipes.evaluation.under_loss import LossPlan, parse_redundancies

    found = [*(parse_losses(losses) if losses else []), *([read_trace(trace)] if trace else [])]
    return LossPlan(losses=found, redundancies=parse_redundancies(redundancies)) if found else None


def _modes(names: list[str] | None) -> list[str]:
    from vqcodec.recipes.evaluation.comparison import MODES

    for name in names or []:
        if name not in MODES:
            raise typer.BadParameter(f"{name} is not one of {', '.join(MODES)}", param_hint="--rate-mode")
    return names or ["variable"]


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        rates = []
    if not rates or not all(0 < rate < float("inf") for rate in rates):
        raise typer.BadParameter("bitrates are positive numbers of kbit/s, as in 1.5,3,6", param_hint="--bitrates")
    return rates


def _show(evaluation: Evaluation, wide: bool) -> None:
    """Print the means on standard output, all of them or what fits 80 columns, and say which files failed."""
    from vqcodec.recipes.metrics.imitated import TRAINED_ON, TRAINED_ON_NOTE

    rows = [(one.system.title, f"{one.bitrate_bps.value / 1000:.2f}") for one in evaluation.summaries]
    columns, headings = [*_score_columns(evaluation, wide), *_speed_columns(evaluation)], ("codec", "kbit/s")
    if wide:
        show_results(headings, rows, columns, COLUMN_WIDTH)
    elif others := show_narrow(headings, rows, columns):
        note(f"--wide shows more, with intervals: {', '.join(others)}")
    if evaluation.facts.trained_on_scores.intersection(evaluation.facts.metrics):
        note(f"{TRAINED_ON}: {TRAINED_ON_NOTE}")
    for failure in evaluation.failures:
        note(f"skipped {failure.file}{f' with {failure.system}' if failure.system else ''}: {failure.reason}")


def _score_columns(evaluation: Evaluation, intervals: bool) -> Iterator[tuple[str, list[str]]]:
    """A column a score: the mean, and half its interval if wanted."""
    from vqcodec.recipes.metrics import METRICS
    from vqcodec.recipes.metrics.imitated import marked

    for name in evaluation.facts.metrics:
        found = [one.scores.get(name) for one in evaluation.summaries]
        label = marked(METRICS[name].label, name in evaluation.facts.trained_on_scores)
        yield label, [_score(one, intervals) if one else "–" for one in found]


def _score(found: Interval, interval: bool) -> str:
    return f"{found.value:.3g}" + (f" ±{round(found.half_width, 9):.1g}" if interval else "")


def _speed_columns(evaluation: Evaluation) -> Iterator[tuple[str, list[str]]]:
    """Times real time on one thread."""
    summaries = evaluation.summaries
    costs = {"encode": [one.encode_s for one in summaries], "decode": [one.decode_s for one in summaries]}
    for name, values in costs.items():
        yield name, [f"{1 / cost.value:.0f} ×" if cost.value else "–" for cost in values]


def _write(evaluation: Evaluation, listen: bool, keep_audio: bool) -> None:
    """Write the report, and what else was asked for."""
    from vqcodec.recipes.evaluation import analysis, report
    from vqcodec.recipes.listening.page import write_listening_test

    featured = report.featured_files(evaluation, FEATURED)
    title = f"{evaluation.facts.model['name']} and others"
    say(f"report: {report.write_report(evaluation, title, featured)}")
    if listen:
        codecs = [one for one in analysis.codecs_of(evaluation, evaluation.summaries) if not one.ceiling]
        systems = [summary.system.name for codec in codecs for summary in codec.summaries]
        page = write_listening_test(evaluation, featured, "A listening test", systems)
        say(f"listening test: {page}")
    if not keep_audio:
        evaluation.store.drop_audio(featured)


def _score_listening(results: Sequence[Path], out: Path | None) -> None:
    """Print who rated what how, and write it beside the key of the test."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vqcodec.recipes.listening import page, scores

    near = [out] if out else list(dict.fromkeys(parent for path in results for parent in path.absolute().parents[:2]))
    folder = next((place for place in near if (place / page.KEY_NAME).exists()), near[0])
    summary = scores.score_listening_test(results, folder)
    table = Table(*scores.HEADINGS, box=box.SIMPLE_HEAD)
    for row in scores.table_rows(summary):
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)
    for remark in summary.excluded:
        note(f"left out: {remark.listener}: {remark.reason}")
    for remark in summary.remarks:
        note(f"{remark.listener}: {remark.reason}")
    scores.write_scores(summary, folder)
    say(f"{len(summary.listeners)} listeners, {summary.files} files; written beside the key in {folder}")
