"""Make the Keras models of this folder: `python tests/conversion/data/make_models.py`.

`digits.keras` is trained on the first 700 of scikit-learn's handwritten digits in a fixed shuffled order (see
`tests/conversion/digits.py`); `digits.h5` is the same; the others are small networks with a purpose.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))


def main() -> None:
    import keras

    from tests.conversion.digits import digits

    x, y = digits()
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    model = fit(model, x[:700], y[:700], epochs=30)
    model.save(HERE / "digits.keras")
    model.save(HERE / "digits.h5")

    rows = x[:700].reshape(-1, 8, 8)
    recurrent = keras.Sequential(
        [
            keras.Input((8, 8), name="rows"),
            layers.GRU(12),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    recurrent = fit(recurrent, rows, y[:700], epochs=30)
    recurrent.save(HERE / "rows_gru.keras")

    given = keras.Input((8, 8), name="rows")
    hidden = layers.Dense(12)(given)
    hidden = layers.LayerNormalization()(hidden + layers.MultiHeadAttention(2, 6)(hidden, hidden))
    hidden = layers.Dense(24, activation="gelu")(hidden)
    attending = keras.Model(given, layers.Dense(10, name="digit")(layers.Flatten()(hidden)))
    attending = fit(attending, rows, y[:700], epochs=20, from_logits=True)
    attending.save(HERE / "rows_attention.keras")

    depthwise = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(6.0),
            layers.Conv2D(32, 1, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(6.0),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    depthwise = fit(depthwise, x[:700], y[:700], epochs=60)
    depthwise.save(HERE / "digits_depthwise.keras")

    fit(residual(), x[:700], y[:700], epochs=40).save(HERE / "digits_resnet.keras")

    lstm = keras.Sequential(
        [
            keras.Input((8, 8), name="rows"),
            layers.LSTM(12),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    lstm = fit(lstm, rows, y[:700], epochs=60)
    lstm.save(HERE / "rows_lstm.keras")

    import tensorflow

    for name, floating in (("digits", model), ("rows_attention", attending)):
        made = tensorflow.lite.TFLiteConverter.from_keras_model(floating).convert()
        (HERE / f"{name}.tflite").write_bytes(made)

    double = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda value: value * 2), layers.Dense(2)])
    double.save(HERE / "lambda.keras")
    double.save(HERE / "lambda.h5")


def residual() -> Any:
    """A ResNet of two blocks, untrained; the second halves the picture."""
    import keras

    layers = keras.layers

    def normal(hidden: Any, filters: int, strides: int = 1, kernel: int = 3) -> Any:
        hidden = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)(hidden)
        return layers.BatchNormalization(momentum=0.9)(hidden)

    image = keras.Input((8, 8, 1), name="image")
    hidden = layers.ReLU()(normal(image, 8))
    for filters, strides in ((8, 1), (16, 2)):
        branch = normal(layers.ReLU()(normal(hidden, filters, strides)), filters)
        passed = hidden if strides == 1 else normal(hidden, filters, strides, kernel=1)
        hidden = layers.ReLU()(branch + passed)
    pooled = layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(pooled))


def fit(model: Any, x: Any, y: Any, *, epochs: int, from_logits: bool = False) -> Any:
    """The model trained, without its optimizer, so that the file holds weights alone."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(keras.optimizers.Adam(0.005), loss)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    fresh = keras.models.clone_model(model)
    fresh.set_weights(model.get_weights())
    return fresh


if __name__ == "__main__":
    main()
