"""A model as two ONNX graphs and a file of codebooks, for `vqcodec.light` and for any other program."""

try:
    import onnx  # noqa: F401
    import onnxscript  # noqa: F401
except ImportError as error:
    raise ImportError("this needs the packages onnx and onnxscript: pip install 'vqcodec[onnx]'") from error

from .folder import write_folder

__all__ = ["write_folder"]
