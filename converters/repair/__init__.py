"""What brings a quantized model back within its budget: one ladder for both formats.

graph          a float model as its weighted layers and the channels that run between them
onnx_graph     that view of an ONNX model
tflite_graph   that view of a `.tflite` file
equalize       cross-layer equalization
bias           bias correction
sensitivity    which layers lose most when they are quantized
ladder         the repairs in their order
"""
