"""What each version of each engine was seen to run: tables that were measured, and the one that reads them.

onnx.toml, tflite.toml    made by `python -m benchmarks.capabilities` with the real runtimes
measured                  from operators, an engine and its version to what can't run
"""
