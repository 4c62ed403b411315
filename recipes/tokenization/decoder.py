"""Parts -> sound files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vqcodec import Codec, audio, pipeline
from vqcodec.audio import Waveform
from vqcodec.errors import ConfigError, CorruptFile, ModelMismatch
from vqcodec.pipeline import Length

from . import outputs
from .job import PARTS
from .outputs import Codes

_NAME_LENGTH = 60


def parts_in(names: Sequence[Path]) -> list[Path]:
    """List the parts that are named, and those in folders of tokens.

    Raises:
        ConfigError: one of them is missing, or there are no parts in a folder.
    """
    parts: list[Path] = []
    for name in names:
        folder = name / PARTS if (name / PARTS).is_dir() else name
        found = [name]
        if name.is_dir():
            found = sorted(path for path in folder.glob("part-*") if path.suffix in outputs.FORMS.values())
        if not found or not name.exists():
            raise ConfigError(f"{name}: no parts of tokens are here")
        parts += found
    return parts


def decode_part(codec: Codec, part: Path, folder: Path, format: str, texture: float = 1.0) -> Iterator[float]:
    """Write the sounds of a part as `folder`/part-000000/KEY-NAME.wav at the codec's rate; leave those that are there.

    Args:
        codec: the model that the codes are of.
        part: as `outputs.write` wrote it.
        folder: to write into.
        format: one of `audio.FORMATS`.
        texture: as in `Codec.decode`.

    Yields:
        Seconds of audio of each sound that was written.

    Raises:
        CorruptFile: the part is damaged.
        ModelMismatch: the codes are another model's.
        VqcodecError: a sound cannot be written.
    """
    for facts, codes in outputs.read(part):
        _check(codec, facts, codes, part)
        target = folder / part.stem / _name(facts, format)
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with audio.Writer(target, codec.sample_rate, len(codes), format=format) as writer:
            for block in _blocks(codec, codes, facts["num_samples"], texture):
                writer.write(block)
        yield facts["num_samples"] / codec.sample_rate


def _blocks(codec: Codec, codes: Codes, num_samples: int, texture: float) -> Iterator[Waveform]:
    length = Length(num_samples, codec.sample_rate)
    decoder = pipeline.decoder_of(codec.engine, len(codes), None, texture)
    return pipeline.decode([codes.astype(np.int64)], decoder, lambda: length, codec.sample_rate)


def _check(codec: Codec, facts: Mapping[str, Any], codes: Codes, part: Path) -> None:
    if facts.get("fingerprint") != codec.fingerprint:
        made = str(facts.get("fingerprint"))[:16]
        raise ModelMismatch(
            f"{part} was made with the model {made}, not {codec.fingerprint[:16]}; name it with --model"
        )
    samples, stages = facts.get("num_samples"), codes.shape[1]
    if not isinstance(samples, int) or not 0 < samples <= codes.shape[-1] * codec.hop_length:
        raise CorruptFile(f"{part} is damaged: {samples} samples in {codes.shape[-1]} frames")
    if not 0 < stages <= codec.num_stages or codes.max() >= codec.codebook_size:
        raise CorruptFile(f"{part} is damaged: codes that the model does not have")


def _name(facts: Mapping[str, Any], format: str) -> str:
    """The key, and what of the id may stand in the name of a file."""
    name = re.sub(r"[^\w.-]+", "_", str(facts.get("id") or "").rpartition("/")[2])[:_NAME_LENGTH]
    return f"{int(facts['key']):09}-{name}.{format}"
