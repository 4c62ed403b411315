"""Write the folder that `vqcodec.light` reads."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch

from vqcodec.models import checkpoint, registry, tensor_file
from vqcodec.models.context.store import PREFIX as CONTEXT_PREFIX

from ...errors import ConfigError
from ...files import atomic_output
from ...light.layout import CODES, DECODER, ENCODER
from .graphs import DecoderGraph, EncoderGraph, first_inputs, first_states
from .weights import halve

OPSET = 20
"""Of the ONNX operators: the first with the exact GELU."""

_EXAMPLE_FRAMES = 2


def write_folder(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Write a model file as `encoder.onnx`, `decoder.onnx` and `codes.safetensors` into a folder, over older ones.

    A graph takes a whole number of frames and its states, which are zeros at the beginning of a signal, and returns
    them as "next.*". Weights are float16, as in the model file, and computed with in float32.

    Raises:
        ConfigError: the frames of this bottleneck all have the same number of stages, or the decoder is a WaveNet.
        VqcodecError: as `checkpoint.load`; a file cannot be written.
    """
    model = checkpoint.load(path)
    if not model.config.kind.can_vary:
        raise ConfigError(f"a model with a {model.config.bottleneck!r} bottleneck cannot be exported to ONNX")
    model.config.require_mdct("an export to ONNX")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / ENCODER, EncoderGraph(model), ("waveform",), ("latents", "weights"))
    _write(folder / DECODER, DecoderGraph(model), ("codes", "texture"), ("waveform",))
    with atomic_output(folder / CODES, force=True) as file:
        file.write(_codes_of(path))


def _write(path: Path, graph: EncoderGraph | DecoderGraph, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    states = first_states(graph)
    shapes: list[Any] = [{x.ndim - 1: torch.export.Dim.DYNAMIC} if x.ndim else {} for x in first_inputs(graph)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            graph.eval(),
            (*first_inputs(graph, _EXAMPLE_FRAMES), *states.values()),
            dynamo=True,
            dynamic_shapes=(*shapes, tuple({} for _ in states)),
            input_names=[*inputs, *states],
            output_names=[*outputs, *(f"next.{name}" for name in states)],
            opset_version=OPSET,
            optimize=False,  # onnxscript takes numbers as small as the encoder's floor of energies for zeros
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    halve(proto)
    onnx.checker.check_model(proto)
    with atomic_output(path, force=True) as file:
        file.write(proto.SerializeToString())


def _codes_of(path: str | os.PathLike[str]) -> bytes:
    """A model file without the two networks: codebooks, silence, context model and metadata."""
    with tensor_file.opened(path, "a model file") as file:
        metadata = dict(file.metadata() or {})
        tensor_file.check_whole(path, metadata, registry.METADATA)
        kept = ("quantizer.", registry.SILENCE, CONTEXT_PREFIX)
        tensors = {name: file.get_tensor(name) for name in file.keys() if name.startswith(kept)}  # noqa: SIM118
    return tensor_file.to_bytes(tensors, metadata)
