"""Graphs that carry their state from block to block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptFile, VqcodecError

_QUIET = 3  # errors and what is worse, of onnxruntime's own log
_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class Network:
    """A graph that is loaded.

    Args:
        path: of the `.onnx` file.
        threads: to compute on.

    Raises:
        CorruptFile: it is no graph, or not one of vqcodec's.
        VqcodecError: it cannot be read, or onnxruntime is not installed.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:  # the files of a model can be written and served without
            raise VqcodecError("this needs the package onnxruntime: pip install 'vqcodec[light]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _QUIET
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, ["CPUExecutionProvider"])
        except OSError as error:
            raise VqcodecError(f"{path} cannot be read: {error.strerror or error}") from error
        except Exception as error:  # those of onnxruntime have nothing else in common
            raise CorruptFile(f"{path} cannot be read as a graph: {str(error).splitlines()[0]}") from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        states = {name.removeprefix("next.") for name in self._outputs if name.startswith("next.")}
        arguments = {argument.name: argument for argument in self._session.get_inputs()}
        if not states or not states <= arguments.keys():
            raise CorruptFile(f"{path} is not a graph that vqcodec exported")
        self.first = {
            name: np.zeros(argument.shape, _TYPES[argument.type])
            for name, argument in arguments.items()
            if name in states
        }
        """The states at the beginning of a signal."""

    def run(self, states: dict[str, NDArray[Any]], **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Compute the next block.

        Args:
            states: after the block before, `first` at the beginning; replaced by those after this one.
            inputs: by their names in the graph.

        Returns:
            The outputs by their names.
        """
        found = dict(zip(self._outputs, self._session.run(None, {**inputs, **states}), strict=True))
        for name in states:
            states[name] = found.pop(f"next.{name}")
        return found
