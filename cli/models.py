"""`vqcodec models`: the models that ship. Needs no torch."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from vqcodec.models import registry

from .terminal.messages import show


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each model, one per line.")
    ] = False,
) -> None:
    """List the models that come with the package."""
    for name in registry.names():
        facts = _facts(registry.describe(registry.find(name)))
        show(json.dumps(facts) if as_json else _text(facts))


def _facts(model: registry.ModelInfo) -> dict[str, Any]:
    config = model.config
    return {
        "name": model.name,
        "default": model.name == registry.DEFAULT,
        "path": str(model.path),
        "fingerprint": model.fingerprint,
        "parameters": model.parameters,
        "bytes": model.bytes,
        "sample_rate": config.sample_rate,
        "frame_rate": config.frame_rate,
        "hop_length": config.hop_length,
        "bottleneck": config.bottleneck,
        "num_stages": config.num_stages,
        "codebook_size": config.codebook_size,
        "bitrates_bps": list(config.bitrates_bps),
        "latency_s": config.latency_s,
        "trained_on_scores": model.trained_on_scores,
    }


def _text(facts: dict[str, Any]) -> str:
    rates = [rate / 1000 for rate in facts["bitrates_bps"]]
    lines = {
        "fingerprint": facts["fingerprint"],
        "size": f"{facts['parameters'] / 1e6:.2f} M parameters, {facts['bytes'] / 1e6:.1f} MB",
        "sample rate": f"{facts['sample_rate']} Hz, {facts['frame_rate']:g} frames/s",
        "bitrates": f"{rates[0]:g} to {rates[-1]:g} kbit/s in {len(rates)} steps",
        "latency": f"{facts['latency_s'] * 1000:g} ms",
        "path": facts["path"],
    }
    title = facts["name"] + (" (default)" if facts["default"] else "")
    return "\n".join([title, *(f"  {name + ':':<13}{value}" for name, value in lines.items())])
