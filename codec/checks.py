"""Checks of what enters `Codec`: waveforms, settings, and files, which must be the model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from vqcodec.models import registry
from vqcodec.models.config import ModelConfig

from .audio.waveform import from_pcm
from .errors import AudioError, ConfigError, CorruptFile, ModelMismatch
from .header import MAX_SAMPLES_PER_S, SOURCE_RATES, Header

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_CHANNELS = 255

DEVICES = ("cpu", "cuda")
"""Kinds of devices that models run on."""


def checked_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is a GPU if there is one.

    Raises:
        ConfigError: it cannot be used.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICES:  # "mps" among them: nobody has tried it
            raise ConfigError(f"the device {name!r} is not supported; choose auto, cpu or cuda")
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the device {name!r} cannot be used; choose auto, cpu or cuda ({reason})") from error
    return device


def checked_waveform(waveform: object) -> NDArray[np.float32]:
    """Turn [sample] or [channel, sample] of floats or int16 into float32 [channel, sample] in [-1, 1].

    Raises:
        AudioError: it has another shape or type of numbers, or a sample is NaN or infinite.
        TypeError: it is no waveform.
    """
    if isinstance(waveform, list | tuple):
        waveform = np.asarray(waveform)
    values = _array(waveform, "a sound is a waveform (numpy or torch, [sample] or [channel, sample]), a path or a file")
    if values.dtype == np.int16:
        values = from_pcm(values)
    if values.dtype.kind != "f":
        raise AudioError(f"a waveform is made of floats in [-1, 1] or of int16, not {values.dtype}")
    if values.ndim not in (1, 2):
        raise AudioError(f"a waveform has the shape [sample] or [channel, sample], not {list(values.shape)}")
    values = np.atleast_2d(values)
    finite = np.isfinite(values).all(axis=0)
    if not finite.all():
        raise AudioError(f"sample {int(np.argmin(finite))} of the waveform is NaN or infinite")
    clipped: NDArray[np.float32] = np.clip(values, -1.0, 1.0).astype(np.float32)
    return clipped


def checked_codes(codes: object) -> NDArray[Any] | Tensor:
    """Return bare codes as an array, numpy or torch as they were, or raise TypeError if they are no array at all."""
    wanted = "decode takes what encode returned, a .vq file (bytes, path or open file) or codes (numpy or torch)"
    values = _array(codes, wanted)
    return codes if is_tensor(codes) else values


def as_array(values: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Return an array, numpy or torch, as one of numpy."""
    return values.detach().cpu().numpy() if is_tensor(values) else np.asarray(values)


def is_tensor(thing: object) -> TypeGuard[Tensor]:
    """Tell whether this is a tensor of torch, which need not be there for that."""
    return hasattr(thing, "detach") and hasattr(thing, "numpy")


def _array(thing: object, wanted: str) -> NDArray[Any]:
    """Return a numpy or torch array as a numpy array; raise TypeError for what is none."""
    if is_tensor(thing):
        return as_array(thing)
    if not hasattr(thing, "__array__"):
        raise TypeError(f"{wanted}, not {type(thing).__name__}")
    return np.asarray(thing)


def checked_sample_rate(sample_rate: object) -> int:
    """Return a sample rate in Hz.

    Raises:
        ConfigError: no sound of that rate can be encoded.
    """
    if (
        isinstance(sample_rate, bool)
        or not isinstance(sample_rate, int | np.integer)
        or sample_rate not in SOURCE_RATES
    ):
        raise ConfigError(
            f"a sample rate is a whole number of Hz from {SOURCE_RATES[0]} to {SOURCE_RATES[-1]}, not {sample_rate!r}"
        )
    return int(sample_rate)


def check_channels(channels: int, sample_rate: int) -> None:
    """Raise AudioError for more channels than a file holds at this rate in Hz."""
    most = min(MAX_CHANNELS, MAX_SAMPLES_PER_S // sample_rate)
    if not 1 <= channels <= most:
        raise AudioError(f"a file holds 1 to {most} channels of {sample_rate} Hz, not {channels}")


def check_not_empty(samples: int, name: str) -> None:
    """Raise AudioError for a sound without samples."""
    if samples == 0:
        raise AudioError(f"{name} holds no samples")


def check_kept(stages: int | None, available: int) -> None:
    """Raise ConfigError if there are not so many stages to decode."""
    if stages is not None and not 1 <= stages <= available:
        raise ConfigError(f"there are 1 to {available} stages to decode, not {stages}")


def check_header(header: Header, config: ModelConfig, fingerprints: Sequence[str], name: str) -> None:
    """Refuse a file that another model encoded, or that no model can have encoded.

    Args:
        header: of the file.
        config: of the model that is to decode it.
        fingerprints: the model's own, and those of earlier models whose files it decodes.
        name: of the file, for messages.

    Raises:
        ModelMismatch: the fingerprint is another model's.
        CorruptFile: the header does not fit the model that it names.
    """
    wanted = header.fingerprint
    if not any(bytes.fromhex(known).startswith(wanted) for known in fingerprints):
        this = f"{config.name} ({fingerprints[0][: 2 * registry.SHORT_FINGERPRINT_BYTES]})"
        raise ModelMismatch(f"{name} was encoded with another model than {this}: {registry.whereabouts(wanted)}")
    if header.kind != config.bottleneck:
        kinds = f"codes of kind {header.kind}, but those of its model are of kind {config.bottleneck}"
        raise CorruptFile(f"{name}: {kinds}")
    if header.stages not in config.stage_choices:
        raise CorruptFile(f"{name}: {header.stages} stages, but the model has {config.num_stages}")
    sizes = (header.sample_rate, header.hop_length, header.bits_per_code)
    if sizes != (config.sample_rate, config.hop_length, config.bits_per_code):
        raise CorruptFile(f"{name}: sample rate, hop length or bits per code {sizes} are not those of its model")
