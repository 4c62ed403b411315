"""One quantizer at a number of bits: fitted, used, timed, counted and listened to, in a worker process."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from vqcodec.codec import Codec
from vqcodec.errors import AudioError, VqcodecError
from vqcodec.models.config import ModelConfig
from vqcodec.models.quantizers import KINDS, Quantizer
from vqcodec.models.quantizers.base import distortion
from vqcodec.models.quantizers.kmeans import SingleBook
from vqcodec.models.quantizers.lattice import LatticeQuantizer
from vqcodec.models.quantizers.lvq import LearningVectorQuantizer
from vqcodec.models.quantizers.multibook import MultiBook
from vqcodec.models.quantizers.scalar import ScalarQuantizer
from vqcodec.models.quantizers.tree import TreeQuantizer

from ..metrics import METRICS
from . import latents
from .candidates import TRAINED, Candidate
from .latents import Latents, Waveform
from .results import SCORES, QuantizerFailure, QuantizerResult, Unquantized

_FRAMES_AT_ONCE = 4096  # that the trained codebooks get; even, for kinds that code frames in pairs

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class QuantizerJob:
    """A member to measure, or the unquantized latents to score, told to a worker process."""

    member: Candidate | None
    latents: Path
    model: str
    scored_files: int
    """This many first recordings of the test part are decoded and scored; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class Coder:
    """The interface of a quantizer that is measured, the model's own included."""

    bits: float
    encode: Callable[[Tensor], Tensor]
    """float32 [vector, dim] -> codes, in any form."""
    decode: Callable[[Tensor], Tensor]
    """The codes -> float32 [vector, dim]."""
    columns: Callable[[Tensor], list[tuple[Tensor, int | None]]]
    """The codes as those of each table [vector], with the table's size; None where it has no end."""
    entropy: Callable[[Tensor], float] | None
    """Entropy of the codes in bits per vector; None for the sum over the tables."""
    table_bytes: int


def measure(job: QuantizerJob) -> QuantizerResult | Unquantized | QuantizerFailure:
    """Do one job."""
    if job.member is None:
        test = _latents(job.latents).test
        return Unquantized(scores=_scores(job, test.vectors))
    try:
        return _measure(job, job.member)
    except (VqcodecError, OSError) as error:
        member = job.member
        return QuantizerFailure(name=member.name, title=member.title, budget=member.budget, reason=str(error))


def _measure(job: QuantizerJob, member: Candidate) -> QuantizerResult:
    found = _latents(job.latents)
    x = found.test.vectors
    if member.kind == TRAINED:
        coder, fit_s = _trained(_codec(job.model), member), None
    else:
        quantizer, fit_s = _timed(lambda: _fitted(member, found))
        coder = _classical(quantizer)
    codes, encode_s = _timed(lambda: coder.encode(x))
    decoded, decode_s = _timed(lambda: coder.decode(codes))
    mse = distortion(x, decoded)
    columns = coder.columns(codes)
    counts = [_counts(column, size) for column, size in columns]
    return QuantizerResult(
        name=member.name,
        title=member.title,
        kind=member.kind,
        budget=member.budget,
        settings=member.settings,
        note=member.note,
        bits=coder.bits,
        mse=mse,
        snr_db=10 * math.log10(float((x - x.mean(0)).double().square().mean()) / max(mse, 1e-30)),
        entropy_bits=coder.entropy(codes) if coder.entropy else sum(_entropy_bits(one) for one in counts),
        entropy_bias_bits=sum(int((one > 0).sum()) - 1 for one in counts) / (2 * len(x) * math.log(2)),
        used_share=_used_share(counts, [size for _, size in columns]),
        fit_s=fit_s,
        encode_s=encode_s,
        decode_s=decode_s,
        vectors=len(x),
        table_bytes=coder.table_bytes,
        scores=_scores(job, decoded),
    )


# What is measured


def _fitted(member: Candidate, found: Latents) -> Quantizer:
    make: Callable[..., Quantizer] = KINDS[member.kind]
    quantizer = make(**member.settings)
    if isinstance(quantizer, LearningVectorQuantizer):
        return quantizer.fit(found.fit.vectors, found.fit.labels)
    return quantizer.fit(found.fit.vectors)


def _classical(quantizer: Quantizer) -> Coder:
    return Coder(
        bits=quantizer.bits_per_vector,
        encode=quantizer.encode,
        decode=quantizer.decode,
        columns=lambda codes: _columns(quantizer, codes),
        entropy=quantizer.entropy if isinstance(quantizer, LatticeQuantizer) else None,
        table_bytes=sum(table.numel() * table.element_size() for table in quantizer.tables().values()),
    )


def _columns(quantizer: Quantizer, codes: Tensor) -> list[tuple[Tensor, int | None]]:
    """The codes of each table of a quantizer. A tree is one table: that of its leaves."""
    sizes: Sequence[int | None] = [None] * codes.shape[1]
    if isinstance(quantizer, TreeQuantizer):
        weights = 2 ** torch.arange(quantizer.depth - 1, -1, -1)
        return [((codes * weights).sum(1), 2**quantizer.depth)]
    if isinstance(quantizer, ScalarQuantizer):
        sizes = [2**bits for bits in quantizer.bits_per_dim]
    elif isinstance(quantizer, MultiBook):
        sizes = quantizer.sizes
    elif isinstance(quantizer, SingleBook):
        sizes = [quantizer.num_codes]
    return list(zip(codes.T, sizes, strict=True))


def _trained(codec: Codec, member: Candidate) -> Coder:
    """The codebooks of a model, as they stand."""
    quantizer, stages, effort = codec.model.quantizer, member.settings["stages"], member.settings["effort"]
    size = codec.codebook_size

    @torch.inference_mode()
    def encode(vectors: Tensor) -> Tensor:
        parts = [quantizer.encode(part.T[None], stages, effort) for part in torch.split(vectors, _FRAMES_AT_ONCE)]
        return torch.cat(parts, -1)

    @torch.inference_mode()
    def decode(codes: Tensor) -> Tensor:
        latents: Tensor = quantizer.decode(codes)[0].T
        return latents.contiguous()

    return Coder(
        bits=bits_of_stages(codec.config)[stages],
        encode=encode,
        decode=decode,
        columns=lambda codes: [(column, size) for column in codes[0]],
        entropy=None,
        table_bytes=4 * codec.config.code_vectors_of(stages),
    )


def bits_of_stages(config: ModelConfig) -> dict[int, float]:
    """Bits a vector of fixed-length codes, by the numbers of stages that a model can encode; none without codes."""
    return {
        stages: stages * math.log2(config.codebook_size) / config.frames_per_code for stages in config.stage_choices
    }


def _timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    """Return value of the work, and the CPU seconds that it took."""
    start = time.process_time()
    answer = work()
    return answer, time.process_time() - start


# What is counted


def _counts(codes: Tensor, size: int | None) -> Tensor:
    """Counts of every code of a table [code]."""
    if size is None:
        counts: Tensor = torch.unique(codes, return_counts=True)[1]
        return counts
    return torch.bincount(codes, minlength=size)


def _entropy_bits(counts: Tensor) -> float:
    """Entropy of the codes of one table."""
    return float(torch.special.entr(counts / counts.sum(dtype=torch.float64)).sum() / math.log(2))


def _used_share(counts: Sequence[Tensor], sizes: Sequence[int | None]) -> float | None:
    """Share of used codes among those of all tables that offer a choice; None if a table has no end."""
    if None in sizes:
        return None
    chosen = [one for one in counts if len(one) > 1]
    return sum(int((one > 0).sum()) for one in chosen) / max(1, sum(len(one) for one in chosen))


# What is heard


def _scores(job: QuantizerJob, vectors: Tensor) -> Mapping[str, Mapping[str, float]]:
    """The scores of the sound that quantized test latents [vector, dim] become, by score and recording."""
    if not job.scored_files:
        return {}
    codec, test = _codec(job.model), _latents(job.latents).test
    found: dict[str, dict[str, float]] = {name: {} for name in SCORES}
    parts = zip(test.files, torch.split(vectors, list(test.frames)), strict=True)
    for (file, part), _ in zip(parts, range(job.scored_files), strict=False):
        reference = _reference(file, codec.sample_rate)
        decoded = latents.decode(codec, part, len(reference))
        for name, score in _scores_of(reference, decoded, codec.sample_rate):
            found[name][file] = score
    return found


def _scores_of(reference: Waveform, decoded: Waveform, sample_rate: int) -> Iterator[tuple[str, float]]:
    for name in SCORES:
        with contextlib.suppress(AudioError):  # undefined for this recording: no speech in it, or too short
            yield name, METRICS[name].function(reference, decoded, sample_rate)


# What a worker keeps from job to job


@functools.lru_cache(maxsize=1)
def _latents(path: Path) -> Latents:
    return latents.load(path)[0]


@functools.lru_cache(maxsize=1)
def _codec(model: str) -> Codec:
    return Codec.load(model, "cpu", "float32")


@functools.lru_cache(maxsize=64)
def _reference(file: str, sample_rate: int) -> Waveform:
    return latents.read(file, sample_rate)
