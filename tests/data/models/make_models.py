"""Makes the small models beside it: `python tests/data/models/make_models.py`. Their outputs are committed.

`digits.onnx`          64 → 32 → 10, real weights (scikit-learn's handwritten digits), any batch
`digits.tflite`        the same network from Keras, float32, batch 1
`digits_int8.tflite`   that one, full int8: int8 in and out
`sum_and_product.onnx` two inputs, two outputs
`lstm.tflite`          UNIDIRECTIONAL_SEQUENCE_LSTM, which goes on from the state that its last run left
`counting.tflite`      a variable that each run makes larger
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def digits_onnx(path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    digits = load_digits()
    network = MLPClassifier((32,), max_iter=300, random_state=0).fit(
        digits.data[:900] / 16, digits.target[:900]
    )
    weights = {
        f"{kind}{layer}": array.astype(np.float32)
        for layer in (0, 1)
        for kind, array in (("w", network.coefs_[layer]), ("b", network.intercepts_[layer]))
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w1", "b1"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def sum_and_product_onnx(path: Path) -> None:
    from onnx import TensorProto, helper, save

    def tensor(name: str, kind: int) -> object:
        return helper.make_tensor_value_info(name, kind, ["N", 3])

    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["a", "c"], ["sum"]),
            helper.make_node("Mul", ["a", "c"], ["product"]),
        ],
        "two",
        [tensor("a", TensorProto.FLOAT), tensor("b", TensorProto.INT32)],
        [tensor("sum", TensorProto.FLOAT), tensor("product", TensorProto.FLOAT)],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def digits_tflite(path: Path, int8_path: Path) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import keras
    import tensorflow as tf
    from sklearn.datasets import load_digits

    keras.utils.set_random_seed(0)
    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x[:900], digits.target[:900], epochs=60, verbose=0)
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in x[:200])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    int8_path.write_bytes(converter.convert())


def lstm_tflite(path: Path) -> None:
    """As Keras 2 told TensorFlow what its layer computes: the converter takes the words, not the operators."""
    import tensorflow as tf

    random, steps, units = np.random.default_rng(0), 4, 5
    said = {
        "api_implements": "lstm_1",
        "api_preferred_device": "CPU",
        "time_major": False,
        "go_backwards": False,
    }

    @tf.function(autograph=False, experimental_attributes=said)
    def layer(rows, h, c, kernel, recurrent, bias):
        for step in range(steps):
            i, f, g, o = tf.split(rows[:, step] @ kernel + h @ recurrent + bias, 4, 1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            h = tf.sigmoid(o) * tf.tanh(c)
        return h, tf.stack([h] * steps, 1), h, c, tf.constant(1.0)

    @tf.function(input_signature=[tf.TensorSpec([1, steps, 3], tf.float32, name="rows")])
    def model(rows):
        nothing = tf.zeros([1, units])
        weights = [tf.constant(random.normal(size=(n, 4 * units)), tf.float32) for n in (3, units)]
        return layer(rows, nothing, nothing, *weights, tf.zeros([4 * units]))[0]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([model.get_concrete_function()], tf.Module())
    path.write_bytes(converter.convert())


def counting_tflite(path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.count = tf.Variable(np.zeros(1, np.float32))

    @tf.function(input_signature=[tf.TensorSpec([1, 1], tf.float32, name="x")])
    def count(x):
        return module.count.assign_add(x[0])[None]

    module.run = count
    converter = tf.lite.TFLiteConverter.from_concrete_functions([count.get_concrete_function()], module)
    converter.experimental_enable_resource_variables = True
    path.write_bytes(converter.convert())


if __name__ == "__main__":
    digits_onnx(HERE / "digits.onnx")
    sum_and_product_onnx(HERE / "sum_and_product.onnx")
    digits_tflite(HERE / "digits.tflite", HERE / "digits_int8.tflite")
    lstm_tflite(HERE / "lstm.tflite")
    counting_tflite(HERE / "counting.tflite")
