"""Recordings -> latents, kept in one file so that it is done once; and latents -> waveforms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vqcodec import audio
from vqcodec.codec import Codec
from vqcodec.coding.engine import BLOCK_FRAMES
from vqcodec.errors import AudioError, CorruptFile
from vqcodec.files import atomic_output
from vqcodec.models.layers import Stream

from ..data.corpora import Recording

Waveform = NDArray[np.float32]
"""[sample], float32 in [-1, 1], at the model's rate."""


@dataclass(frozen=True, kw_only=True)
class LatentSet:
    """Latents of some recordings, one after the other."""

    vectors: Tensor
    """float32 [vector, dim]"""
    frames: tuple[int, ...]
    """Vectors of each recording."""
    files: tuple[str, ...]
    """Paths of the recordings."""
    speakers: tuple[str, ...]
    """Speaker of each recording."""
    seconds: float
    """Duration of all recordings together."""

    @property
    def labels(self) -> Tensor:
        """The speaker of each vector, counted in the order of their names: int64 [vector]."""
        numbers = {speaker: number for number, speaker in enumerate(sorted(set(self.speakers)))}
        each = torch.tensor([numbers[speaker] for speaker in self.speakers])
        return each.repeat_interleave(torch.tensor(self.frames))


@dataclass(frozen=True, kw_only=True)
class Latents:
    """Latents that quantizers are fitted on, and those that they are measured on."""

    fit: LatentSet
    test: LatentSet


def collect(
    codec: Codec, recordings: Iterable[Recording], seconds: float, progress: Callable[[float], None]
) -> tuple[LatentSet, list[str]]:
    """Encode recordings, in their order, until there are this many seconds of sound; the last one is whole as well.

    Returns:
        the latents, and why recordings were left out.

    Raises:
        AudioError: none can be read.
    """
    vectors: list[Tensor] = []
    taken: list[Recording] = []
    notes: list[str] = []
    duration_s = 0.0
    for recording in recordings:
        try:
            waveform = read(recording.path, codec.sample_rate)
        except (AudioError, OSError) as error:
            notes.append(f"{recording.path} is left out: {error}")
            continue
        vectors.append(encode(codec, waveform))
        taken.append(recording)
        duration_s += len(waveform) / codec.sample_rate
        progress(min(1.0, duration_s / seconds))
        if duration_s >= seconds:
            break
    if not taken:
        raise AudioError(
            f"none of the recordings can be read; of one, {notes[0]}" if notes else "there is no recording"
        )
    part = LatentSet(
        vectors=torch.cat(vectors),
        frames=tuple(len(one) for one in vectors),
        files=tuple(str(recording.path.absolute()) for recording in taken),
        speakers=tuple(recording.speaker for recording in taken),
        seconds=duration_s,
    )
    return part, notes


def read(path: str | Path, sample_rate: int) -> Waveform:
    """The sound of a file at a rate, the mean of its channels [sample].

    Raises:
        AudioError: it cannot be read, or is empty.
    """
    waveform: Waveform = audio.read(path, sample_rate)[0].mean(axis=0)
    if not len(waveform):
        raise AudioError(f"{path} holds no samples")
    return waveform


@torch.inference_mode()
def encode(codec: Codec, waveform: Waveform) -> Tensor:
    """A waveform [sample] -> latents before quantization, float32 [vector, dim]: as many as its codes come from."""
    hop = codec.hop_length
    x = torch.from_numpy(np.clip(waveform, -1.0, 1.0))
    x = torch.nn.functional.pad(x, (0, codec.config.num_frames(len(x)) * hop - len(x)))
    stream, encoder = Stream(), codec.model.encoder
    blocks = [encoder(block[None, None].to(_device(codec)), stream) for block in torch.split(x, BLOCK_FRAMES * hop)]
    return torch.cat(blocks, -1)[0].T.float().cpu().contiguous()


@torch.inference_mode()
def decode(codec: Codec, vectors: Tensor, num_samples: int) -> Waveform:
    """Latents of one recording [vector, dim] -> its first samples, the codec's delay taken off [num_samples]."""
    stream, decoder = Stream(), codec.model.decoder
    blocks = [decoder(block.T[None].to(_device(codec)), stream) for block in torch.split(vectors, BLOCK_FRAMES)]
    waveform: Waveform = torch.cat(blocks, -1)[0, 0].cpu().numpy()
    return waveform[codec.config.delay :][:num_samples]


def _device(codec: Codec) -> torch.device:
    return next(codec.model.parameters()).device


# The file


def save(path: Path, latents: Latents, facts: dict[str, Any]) -> None:
    """Write latents, with what is to be known about them as JSON."""
    tensors = {"fit": latents.fit.vectors, "test": latents.test.vectors}
    about = {name: _about(part) for name, part in (("fit", latents.fit), ("test", latents.test))}
    with atomic_output(path, force=True) as output:
        output.write(safetensors.torch.save(tensors, {"facts": json.dumps(facts), "parts": json.dumps(about)}))


def load(path: Path) -> tuple[Latents, dict[str, Any]]:
    """The inverse of `save`.

    Raises:
        CorruptFile: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            facts: dict[str, Any] = json.loads(metadata["facts"])
            about = json.loads(metadata["parts"])
            parts = {name: _part(file.get_tensor(name), about[name]) for name in ("fit", "test")}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{path} holds no latents: {error}; add --force to make it anew") from error
    return Latents(**parts), facts


def _about(part: LatentSet) -> dict[str, Any]:
    return {"frames": part.frames, "files": part.files, "speakers": part.speakers, "seconds": part.seconds}


def _part(vectors: Tensor, about: dict[str, Any]) -> LatentSet:
    part = LatentSet(
        vectors=vectors,
        frames=tuple(about["frames"]),
        files=tuple(about["files"]),
        speakers=tuple(about["speakers"]),
        seconds=float(about["seconds"]),
    )
    if vectors.ndim != 2 or sum(part.frames) != len(vectors):
        raise ValueError(f"{sum(part.frames)} vectors expected, and there are {list(vectors.shape)}")
    return part
