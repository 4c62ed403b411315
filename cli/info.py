"""`vqcodec info`: what is in a .vq file. Needs no codec model and no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vqcodec import bitstream
from vqcodec.bitstream import Packet
from vqcodec.errors import VqcodecError
from vqcodec.files import STANDARD_STREAM, open_input
from vqcodec.summary import Summary, summary_of, until_damage

from .terminal.messages import FAILURE, error, explain, printable, show

CODINGS = {0: "plain", 1: "varying", 2: "context"}
"""The payload codings by name."""

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 60


def info(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help=".vq files, folders of them, or - for standard input.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each file, one per line.")] = False,
) -> None:
    """Show what is in .vq files, and check that they are whole.

    Damaged files are described as far as they go, and make the exit code 1.
    """
    failed = False
    shown = 0
    for name in _expand(files):
        try:
            facts, damage = _describe(name)
        except (VqcodecError, OSError) as failure:
            error(explain(failure) or str(failure))
            failed = True
            continue
        if not as_json and shown:
            print()
        show(json.dumps(facts) if as_json else _text(facts))
        shown += 1
        if damage is not None:
            sys.stdout.flush()
            error(damage)
            failed = True
    if failed:
        raise typer.Exit(FAILURE)


def _expand(names: list[str]) -> Iterator[str]:
    """The files, those in folders included."""
    for name in names:
        if name == STANDARD_STREAM or not Path(name).is_dir():
            yield name
            continue
        paths = sorted(str(path) for path in Path(name).rglob("*.vq") if path.is_file())
        if not paths:
            raise VqcodecError(f"{name}: no .vq files in this folder")
        yield from paths


def _describe(name: str) -> tuple[dict[str, Any], str | None]:
    """The facts about a file, and what is damaged in it."""
    packets = []
    with open_input(name) as (file, shown):
        reader = bitstream.Reader(file, shown)
        for packet in until_damage(reader):
            if reader.header.payload_coding:  # plain packing has the same to say of all packets
                packets.append(packet)
    summary = summary_of(reader)
    damage = None if summary.damage is None else str(summary.damage)
    facts = _facts(name, summary, damage)
    if summary.header.payload_coding:
        facts |= _variable(packets, summary, name)
    return facts, damage


def _variable(packets: Sequence[Packet], summary: Summary, name: str) -> dict[str, Any]:
    """The facts about codes that vary; none if they cannot be read here."""
    from vqcodec.contents import contents_of
    from vqcodec.packets import decode_packets
    from vqcodec.payloads import codings

    header = summary.header
    try:
        coding = codings.of_header(header, name=name)
        contents = contents_of(decode_packets(packets, coding), coding, header)
    except VqcodecError as reason:
        return {"unread": str(reason)}
    sent = contents.sent.clip(1)
    return {
        "stages_mean": contents.stages_mean,
        "stage_shares": (contents.sent / max(1, summary.frames * header.channels)).tolist(),
        "stage_bits": (contents.stage_bits / sent).tolist(),
        "count_bits": contents.count_bits / max(1, summary.frames * header.channels),
        "plain_code_bytes": contents.plain_bytes,
        "peak_bps": contents.peak_bps,
        "bps": contents.bps.tolist(),
        "code_bitrate_bps": contents.plain_bytes * 8 / summary.duration_s if summary.duration_s else 0.0,
        "overhead_bytes": round(summary.bytes - (contents.stage_bits.sum() + contents.count_bits) / 8),
    }


def _facts(name: str, summary: Summary, damage: str | None) -> dict[str, Any]:
    header = summary.header
    # Bits of the raw codes of all channels; the rest of the file is header, packet heads and padding.
    code_bytes = summary.frames * header.frame_bits / 8
    return {
        "file": name,
        "version": ".".join(map(str, header.version)),
        "model": _model_name(header.fingerprint),
        "fingerprint": header.fingerprint.hex(),
        "duration_s": summary.duration_s,
        "num_samples": summary.num_samples,
        "channels": header.channels,
        "source_sample_rate": header.source_sample_rate,
        "sample_rate": header.sample_rate,
        "hop_length": header.hop_length,
        "frame_rate": header.frame_rate,
        "stages": header.stages,
        "bits_per_code": header.bits_per_code,
        "kind": header.kind,
        "payload_coding": CODINGS.get(header.payload_coding, str(header.payload_coding)),
        "code_bitrate_bps": header.bitrate_bps * header.channels,
        "bitrate_bps": summary.bitrate_bps,
        "bytes": summary.bytes,
        "overhead_bytes": round(summary.bytes - code_bytes),
        "packets": summary.packets,
        "frames": summary.frames,
        "damage": damage,
    }


def _model_name(fingerprint: bytes) -> str | None:
    from vqcodec.models import registry

    model = registry.by_fingerprint(fingerprint)
    return None if model is None else model.name


def _text(facts: dict[str, Any]) -> str:
    size = facts["bytes"]
    overhead = 100 * facts["overhead_bytes"] / size
    lines = {
        "format": f"version {facts['version']}, {facts['payload_coding']} payloads",
        "model": f"{facts['model'] or 'none that ships'} (fingerprint {facts['fingerprint']})",
        "duration": f"{facts['duration_s']:.3f} s ({_samples(facts)})",
        "channels": facts["channels"],
        "sample rate": f"{facts['source_sample_rate']} Hz, coded at {facts['sample_rate']} Hz",
        "kind": facts["kind"],
        "codes": f"{facts['stages']} stages of {facts['bits_per_code']} bits, {facts['frame_rate']:g} frames/s",
        "bitrate": f"{facts['bitrate_bps'] / 1000:.3f} kbit/s ({facts['code_bitrate_bps'] / 1000:.4g} of codes)",
        "size": f"{size} bytes, {facts['overhead_bytes']} of them overhead ({overhead:.1f} %)",
        "packets": f"{facts['packets']}, of {facts['frames']} frames in all",
        **_variable_lines(facts),
        "damage": facts["damage"] or "none",
    }
    return "\n".join([printable(facts["file"]), *(f"  {name + ':':<13}{value}" for name, value in lines.items())])


def _variable_lines(facts: dict[str, Any]) -> dict[str, str]:
    """What there is to say of codes that vary."""
    if "unread" in facts:
        return {"variable": f"not read: {facts['unread']}"}
    if "bps" not in facts:
        return {}
    used = [index for index, share in enumerate(facts["stage_shares"]) if share > 0]
    stages = (f"{facts['stage_bits'][i]:.1f} ({100 * facts['stage_shares'][i]:.0f} %)" for i in used)
    return {
        "stages": f"{facts['stages_mean']:.2f} a frame on average, for {facts['count_bits']:.2f} bits",
        "stage bits": ", ".join(stages) + "; share of frames in brackets",
        "packed": f"{facts['plain_code_bytes']} bytes of codes if packed plainly",
        "peak": f"{facts['peak_bps'] / 1000:.3f} kbit/s in a second",
        "rate": _bars(facts["bps"]),
    }


def _bars(values: list[float]) -> str:
    """Draw values as bars, the mean of some of them in each where they are many."""
    each = -(-len(values) // _MOST_BARS) if values else 1
    means = [sum(part) / len(part) for part in (values[i : i + each] for i in range(0, len(values), each))]
    top = max(means, default=0.0) or 1.0
    bars = "".join(_BARS[min(len(_BARS) - 1, int(mean / top * len(_BARS)))] for mean in means)
    return f"{bars} 0 to {top / 1000:.2f} kbit/s, {each} s a bar"


def _samples(facts: dict[str, Any]) -> str:
    return "length unknown" if facts["num_samples"] is None else f"{facts['num_samples']} samples"
