"""What a call looks like: a few live figures on a terminal, and a line at its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..terminal.messages import on_terminal, say

if TYPE_CHECKING:
    from rich.table import Table

    from vqcodec.live.calls.call import Call
    from vqcodec.live.calls.network import Line

Shown = Callable[["Call", "Line"], None]

_REFRESH_S = 0.25
_LOWEST_DB, _BAR_CELLS = -60.0, 20


@contextlib.contextmanager
def display(quiet: bool) -> Iterator[Shown]:
    """Show figures on standard error until the body ends, and give the function that renews them."""
    if quiet or not on_terminal():
        yield lambda call, line: None
        return
    from rich.console import Console
    from rich.live import Live

    renewed, sent = time.monotonic(), 0
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:

        def show(call: Call, line: Line) -> None:
            nonlocal renewed, sent
            if (passed := time.monotonic() - renewed) >= _REFRESH_S:
                renewed += passed
                before, sent = sent, call.figures().sent_bytes
                live.update(table(call, line, 8 * (sent - before) / passed), refresh=True)

        yield show


def summarise(call: Call, line: Line, seconds: float, why: str) -> None:
    """Say what a call was like."""
    found = call.figures()
    dropped = found.dropped_packets + line.strangers
    kbps = 8 * found.sent_bytes / max(seconds, 1e-9) / 1000
    say(
        f"{why} after {seconds:.1f} s: {found.sent_packets} packets sent ({kbps:.2f} kbit/s),"
        f" {found.received_packets} received, {found.lost_packets} lost, {dropped} dropped"
    )


def table(call: Call, line: Line, sent_bps: float) -> Table:
    """Levels, rate, loss and delay of a call as they are now, with the rate at which this side sends."""
    from rich.table import Table

    found, jitter = call.figures(), call.receiver.jitter.counts
    rows = Table.grid(padding=(0, 2))
    rows.add_row("spoken", _bar(found.spoken_db), f"{sent_bps / 1000:.1f} kbit/s, redundancy {found.redundancy}")
    rows.add_row("heard", _bar(found.heard_db), f"{found.received_packets} packets, {found.lost_packets} lost")
    rows.add_row("delay", f"{1000 * found.delay_s:.0f} ms", f"jitter {1000 * found.jitter_s:.0f} ms")
    rows.add_row("loss", f"{100 * found.loss_share:.0f} % there", f"{jitter.recovered} recovered, {jitter.lost} not")
    rows.add_row("dropped", f"{found.dropped_packets}", f"{line.strangers} of strangers; Ctrl-C hangs up")
    return rows


def _bar(level_db: float) -> str:
    cells = round(_BAR_CELLS * max(0.0, 1 - level_db / _LOWEST_DB))
    return "█" * cells + "·" * (_BAR_CELLS - cells)
