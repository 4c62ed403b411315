"""The `vqcodec` command: its subcommands, and the one place where errors become exit codes.

Each command lives in a file of its own and imports torch, or anything else that is slow, in its body.
"""

import contextlib
import signal
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup, TyperOption

from .bench import bench
from .decode import decode
from .encode import encode
from .eval import evaluate
from .export import export
from .generation.continue_ import continue_
from .generation.infill import infill
from .generation.sample import sample
from .generation.score import score
from .generation.train_prior import train_prior
from .info import info
from .live.listen import listen
from .live.talk import talk
from .models import models
from .peel import peel
from .play import play
from .prepare import prepare
from .quantizers import quantizers
from .serve.serve import serve
from .terminal import messages, streams
from .tokens.detokenize import detokenize
from .tokens.tokenize import tokenize
from .train import train
from .train_context import train_context


class _Commands(TyperGroup):
    """The group of all commands, with their errors reported."""

    def invoke(self, ctx: Any) -> Any:
        with messages.reported():
            return super().invoke(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; all of them take --verbose."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and not any(parameter.name == "verbose" for parameter in command.params):
            command.params.append(_verbose())
        return command


def _verbose() -> TyperOption:
    def note(context: Any, option: Any, wanted: bool) -> None:
        messages.verbose = wanted

    what = "Show where in the program an error came up."
    return TyperOption(param_decls=["--verbose"], is_flag=True, expose_value=False, callback=note, help=what)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it need not import rich
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(encode)
app.command()(decode)
app.command()(info)
app.command()(tokenize)
app.command()(detokenize)
app.command()(models)
app.command()(peel)
app.command()(play)
app.command()(listen)
app.command()(talk)
app.command()(serve)
app.command()(prepare)
app.command()(train)
app.command("train-context")(train_context)
app.command("train-prior")(train_prior)
app.command()(sample)
app.command("continue")(continue_)
app.command()(infill)
app.command()(score)
app.command()(export)
app.command("eval")(evaluate)
app.command()(bench)
app.command()(quantizers)


def _show_version(wanted: bool) -> None:
    if wanted:
        from vqcodec import __version__

        print(f"vqcodec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """A neural speech codec: a few hundred bytes a second, and back."""


def main() -> None:
    """Run the command line; the console script `vqcodec` and `python -m vqcodec` begin here."""
    streams.open_closed()
    _heed_signals()
    with messages.written():
        app(prog_name="vqcodec")


def _heed_signals() -> None:
    """End in order when a signal asks for it, unless it is to be ignored, as `nohup` wants it."""
    for name in ("SIGHUP", "SIGQUIT", "SIGTERM"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(number, _terminate)


def _terminate(number: int, _frame: object) -> NoReturn:
    """End in order, so that no temporary file stays behind."""
    raise SystemExit(128 + number)
