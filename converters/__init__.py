"""Trained models in, artifacts for boards out, and how far they are from the original.

`converters.convert.convert` runs a `ConversionJob` in a child process. Nothing here imports TensorFlow or ONNX
before a function in that child needs it.
"""
