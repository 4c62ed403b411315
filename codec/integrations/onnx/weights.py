"""Weights of a graph in float16, which is how model files hold them: half the size, and not a bit lost."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper


def halve(model: onnx.ModelProto) -> None:
    """Store as float16 every weight that float16 holds exactly; a cast behind it, which runs once, gives it back."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halved = values.astype(np.float16)
        if not np.array_equal(halved.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halved, f"{name}.float16"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
