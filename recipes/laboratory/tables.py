"""The results in words and numbers, as tables show them. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from .results import Findings, QuantizerResult


@dataclass(frozen=True)
class Column:
    """One fact about every result, in their order."""

    heading: str
    unit: str
    cells: tuple[str, ...]


def row_heads(findings: Findings) -> list[tuple[str, str]]:
    """Quantizer and bits of each row."""
    return [(one.title, f"{one.bits:.4g}") for one in findings.results]


def columns(findings: Findings) -> list[Column]:
    """Columns that describe every result, in the order of `Findings.results`."""
    results = findings.results
    return [
        Column("MSE", "per dimension", tuple(f"{one.mse:.4g}" for one in results)),
        Column("SNR", "dB", tuple(f"{one.snr_db:.2f}" for one in results)),
        Column("to bound", "dB", tuple(f"{findings.gap_db(one):.2f}" for one in results)),
        Column("entropy", "bits", tuple(f"{one.entropy_bits:.1f}" for one in results)),
        Column("used", "% of codes", tuple(_share(one.used_share) for one in results)),
        *(_score(findings, name) for name in findings.scores),
        Column("fit", "CPU s", tuple("–" if one.fit_s is None else f"{one.fit_s:.3g}" for one in results)),
        Column("encode", "vectors/s", tuple(_count(one.encode_speed) for one in results)),
        Column("decode", "vectors/s", tuple(_count(one.decode_speed) for one in results)),
        Column("tables", "kB", tuple(_kilobytes(one) for one in results)),
    ]


def _score(findings: Findings, name: str) -> Column:
    means = [findings.mean(one.scores, name) for one in findings.results]
    return Column(
        findings.label(name),
        "",
        tuple("–" if mean is None else f"{mean.value:.3f} ±{mean.half_width:.2f}" for mean in means),
    )


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g}"


def _count(number: float) -> str:
    """A number with two digits or so that matter, and a unit of thousands."""
    return f"{number / 1e6:.2g}M" if number >= 1e6 else f"{number / 1e3:.3g}k" if number >= 1e3 else f"{number:.0f}"


def _kilobytes(one: QuantizerResult) -> str:
    return f"{one.table_bytes / 1000:,.1f}" if one.table_bytes < 1e5 else f"{one.table_bytes / 1000:,.0f}"
