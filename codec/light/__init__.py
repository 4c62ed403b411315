"""The codec on onnxruntime and numpy, without torch.

vqcodec export --onnx model                     # once, with torch

from vqcodec.light import Codec

codec = Codec.load("model")
codec.encode_file("in.wav", "out.vq")
"""

from .codec import Codec

__all__ = ["Codec"]
