"""The files of an exported model."""

ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
CODES = "codes.safetensors"
"""A model file without the networks: codebooks, the latent of silence, the context model, and the metadata."""
