"""The real codec over whole files: sound file to `.vq` file to sound file, bitrates counted in bytes on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vqcodec import audio
from vqcodec.codec import Codec
from vqcodec.models.quantizer import perplexity

from .metrics import pesq_wb, si_sdr, stoi


@dataclass(frozen=True, kw_only=True)
class Score:
    """One file at one bitrate; scores as in `vqcodec.recipes.metrics`."""

    path: Path
    stages: int
    duration_s: float
    bytes: int
    """Size of the `.vq` file."""
    pesq_wb: float
    stoi: float
    si_sdr: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Means over files at one bitrate."""

    stages: int
    files: int
    bitrate_bps: float
    """All bytes on disk over all seconds of audio."""
    pesq_wb: float
    stoi: float
    si_sdr: float


def score(codec: Codec, path: Path, stages: int, effort: int = 1) -> Score:
    """Encode and decode one mono sound file through the disk, and compare at the codec's rate.

    Raises:
        AudioError: the file cannot be read, or no speech was found in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder) / "coded.vq", Path(folder) / "decoded.wav"
        codec.encode_file(path, coded, stages=stages, effort=effort)
        codec.decode_file(coded, decoded)
        size = coded.stat().st_size
        output = audio.read(decoded)[0][0]
    reference = audio.read(path, codec.sample_rate)[0][0]
    return Score(
        path=path,
        stages=stages,
        duration_s=len(reference) / codec.sample_rate,
        bytes=size,
        pesq_wb=pesq_wb(reference, output),
        stoi=stoi(reference, output),
        si_sdr=si_sdr(reference, output),
    )


def summarise(scores: Sequence[Score]) -> Summary:
    """Means over the scores of one number of stages."""
    (stages,) = {one.stages for one in scores}
    return Summary(
        stages=stages,
        files=len(scores),
        bitrate_bps=8 * sum(one.bytes for one in scores) / sum(one.duration_s for one in scores),
        pesq_wb=float(np.mean([one.pesq_wb for one in scores])),
        stoi=float(np.mean([one.stoi for one in scores])),
        si_sdr=float(np.mean([one.si_sdr for one in scores])),
    )


def stage_perplexities(codec: Codec, paths: Sequence[Path]) -> list[float]:
    """exp(entropy) of each stage's codes, over all the files together, 1 to the codebook size."""
    encoded = [codec.encode(path, stages=codec.num_stages) for path in paths]
    codes = np.concatenate([one.codes[0] for one in encoded], axis=-1)  # [stage, frame]
    return [float(perplexity(torch.from_numpy(row), codec.codebook_size)) for row in codes]
