"""Make `imbalanced.keras` and `imbalanced.tflite` of this folder: `python tests/converters/data/make_imbalanced.py`.

Both hold the weights of `tests/converters/imbalanced.py`; the TFLite file is float, by TensorFlow's converter.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))


def main() -> None:
    import keras
    import numpy as np
    import onnx
    import tensorflow
    from onnx import numpy_helper

    from tests.conversion.digits import digits
    from tests.converters.imbalanced import imbalanced

    x, y = digits()
    with tempfile.TemporaryDirectory() as folder:
        proto = onnx.load(imbalanced(Path(folder) / "net.onnx", x[:700], y[:700]))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(12, 3, padding="same", activation="relu", name="stem"),
            layers.ZeroPadding2D(1),
            layers.DepthwiseConv2D(3, strides=2, activation="relu", name="depthwise"),
            layers.Conv2D(24, 1, activation="relu", name="pointwise"),
            layers.Flatten(),
            layers.Dense(10, name="digit"),
        ]
    )
    digit = weights["digit_w"].reshape(10, 24, 4, 4).transpose(2, 3, 1, 0).reshape(-1, 10)
    for name, kernel in (
        ("stem", weights["stem_w"].transpose(2, 3, 1, 0)),
        ("depthwise", weights["depthwise_w"].transpose(2, 3, 0, 1)),
        ("pointwise", weights["pointwise_w"].transpose(2, 3, 1, 0)),
        ("digit", digit),
    ):
        model.get_layer(name).set_weights([kernel, weights[f"{name}_b"]])
    print("accuracy", np.mean(model(x[897:]).numpy().argmax(axis=1) == y[897:]))
    model.save(HERE / "imbalanced.keras")
    made = tensorflow.lite.TFLiteConverter.from_keras_model(model).convert()
    (HERE / "imbalanced.tflite").write_bytes(made)


if __name__ == "__main__":
    main()
