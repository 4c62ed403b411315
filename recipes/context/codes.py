"""Recordings -> the codes of a model, with what the numbers of stages sent depend on; kept on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes
from torch import Tensor

from vqcodec import audio
from vqcodec.codec import Codec
from vqcodec.coding.engine import BLOCK_FRAMES
from vqcodec.errors import AudioError, ConfigError
from vqcodec.files import atomic_output
from vqcodec.models.allotment import allot_mean
from vqcodec.models.layers import Stream

from ..data import corpora
from ..data.corpora import Recording

EFFORT = 2
"""Width of the search for codes."""

_RECORDINGS_AT_ONCE = 128
"""Recordings whose codes share a file, so that an interrupted command goes on where it was."""

_HELD_OUT = 40
"""One speaker out of so many is held out; one recording, where there are fewer speakers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Codes:
    """Codes of recordings, one behind the other."""

    codes: NDArray[np.uint16]
    """Of all stages [stage, frame]"""
    errors: NDArray[np.float16]
    """Mean squared error of the latents after 0, 1, ... stages [1 + stage, frame]"""
    weights: NDArray[np.float32]
    """How much an error matters: by the loudness of the frame and its neighbours [frame]"""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.weights)

    def part(self, start: int, frames: int) -> Codes:
        """Some frames that follow each other."""
        cut = slice(start, start + frames)
        return Codes(codes=self.codes[:, cut], errors=self.errors[:, cut], weights=self.weights[cut])

    @classmethod
    def join(cls, parts: Sequence[Codes]) -> Codes:
        """Put codes one behind the other."""
        return cls(
            codes=np.concatenate([part.codes for part in parts], axis=1),
            errors=np.concatenate([part.errors for part in parts], axis=1),
            weights=np.concatenate([part.weights for part in parts]),
        )


def find(folders: Sequence[Path]) -> tuple[list[Recording], list[Recording]]:
    """List recordings to train on, and those of speakers who are held out.

    Raises:
        AudioError: a folder is missing, or there are fewer than two recordings.
    """
    recordings = sorted(corpora.for_training(corpora.find(folders)), key=_mixed)
    if len(recordings) < 2:
        raise AudioError("one recording cannot be trained on and held out as well; add others")
    speakers = sorted({recording.speaker for recording in recordings}, key=_digest)
    if len(speakers) >= _HELD_OUT:
        held = set(speakers[: len(speakers) // _HELD_OUT])
        is_held = [recording.speaker in held for recording in recordings]
    else:
        few = max(1, len(recordings) // _HELD_OUT)
        is_held = [index < few for index in range(len(recordings))]
    pairs = list(zip(recordings, is_held, strict=True))
    return [one for one, held in pairs if not held], [one for one, held in pairs if held]


def collect(
    codec: Codec, recordings: Sequence[Recording], cache: Path, progress: Callable[[float], None]
) -> tuple[Codes, list[str]]:
    """Encode recordings, or find in the folder `cache` that this was done before.

    Returns:
        the codes, and why recordings were left out.

    Raises:
        ConfigError: the model's codes are not those of a stack of codebooks.
        AudioError: none of the recordings can be read.
        VqcodecError: the cache cannot be written.
    """
    if codec.config.bottleneck != "rvq":
        raise ConfigError(f"a context model is for a bottleneck 'rvq', not {codec.config.bottleneck!r}")
    cache.mkdir(parents=True, exist_ok=True)
    parts: list[Codes] = []
    notes: list[str] = []
    for begin in range(0, len(recordings), _RECORDINGS_AT_ONCE):
        some = recordings[begin : begin + _RECORDINGS_AT_ONCE]
        name = corpora.digest([one.path for one in some], [codec.fingerprint, EFFORT])[:24]
        path = cache / f"codes_{name}.safetensors"
        part = _load(path)
        if part is None:
            encoded = list(_encode_all(codec, some, notes))
            if not encoded:
                continue
            part = Codes.join(encoded)
            with atomic_output(path, force=True) as output:
                output.write(to_bytes({"codes": part.codes, "errors": part.errors, "weights": part.weights}))
        parts.append(part)
        progress(min(1.0, (begin + len(some)) / len(recordings)))
    if not parts:
        raise AudioError(f"none of the recordings can be read; of one, {notes[0]}" if notes else "no recordings")
    return Codes.join(parts), notes


def encode(codec: Codec, waveform: NDArray[np.float32]) -> Codes:
    """Encode a waveform [sample] at the codec's rate."""
    latents, weights = _latents(codec, waveform)
    quantizer = codec.model.quantizer
    codes = quantizer.encode(latents, None, EFFORT)[0]
    residual, errors = latents[0].T, []
    for book, stage in zip(quantizer.books, codes, strict=True):
        errors.append(residual.square().mean(-1))
        residual = residual - book.vectors[stage]
    errors.append(residual.square().mean(-1))
    return Codes(
        codes=codes.cpu().numpy().astype(np.uint16),
        errors=torch.stack(errors).cpu().numpy().astype(np.float16),
        weights=weights[0].cpu().numpy(),
    )


def allotted(part: Codes, mean: float) -> NDArray[np.int64]:
    """Allot stages to frames [frame] as files of variable bitrate have them, `mean` of them on average."""
    errors = torch.from_numpy(part.errors.astype(np.float32).T)[None]
    counts = allot_mean(errors, torch.from_numpy(part.weights)[None], torch.tensor([mean]))
    found: NDArray[np.int64] = counts[0].numpy()
    return found


def _encode_all(codec: Codec, recordings: Sequence[Recording], notes: list[str]) -> Iterator[Codes]:
    for recording in recordings:
        try:
            waveform = audio.read(recording.path, codec.sample_rate)[0].mean(axis=0)
        except (AudioError, OSError) as error:
            notes.append(f"{recording.path} is left out: {error}")
            continue
        if len(waveform):
            yield encode(codec, waveform)


@torch.inference_mode()
def _latents(codec: Codec, waveform: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Latents [1, dim, frame], and how well errors of their frames are heard [1, frame], on the model's device."""
    model, hop, stream = codec.model, codec.hop_length, Stream()
    x = torch.zeros(codec.config.num_frames(len(waveform)) * hop)
    x[: len(waveform)] = torch.from_numpy(np.clip(waveform, -1.0, 1.0))
    blocks = [block[None, None].to(next(model.parameters()).device) for block in torch.split(x, BLOCK_FRAMES * hop)]
    parts = [(model.encoder(block, stream), model.audibility(block, stream)) for block in blocks]
    latents, weights = (torch.cat(values, -1) for values in zip(*parts, strict=True))
    return latents, weights


def _load(path: Path) -> Codes | None:
    """What `collect` stored, None if it is not there or damaged."""
    try:
        return Codes(**load_file(path))
    except (OSError, SafetensorError, TypeError):
        return None


def _mixed(recording: Recording) -> bytes:
    """A sort key that mixes recordings up, wherever the corpus lies."""
    return _digest("/".join(recording.path.parts[-2:]))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
