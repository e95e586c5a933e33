"""The layers and operators that nets for boards are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.capabilities.tflite_nets import Net


def _layered(name: str, shape: tuple[int, ...], build: Callable[[Any, Any], Any]) -> Net:
    """A net of Keras layers."""
    import keras
    import numpy as np

    given = keras.Input(shape[1:], batch_size=1)
    model = keras.Model(given, build(keras.layers, given))
    random = np.random.default_rng(0)  # no zeros: the converter drops a bias that is none
    model.set_weights(
        [
            random.uniform(0.05, 0.4, array.shape)
            * (random.choice((1, 1, -1), array.shape) * sizes(array.shape) if array.ndim > 1 else 1)
            for array in model.get_weights()
        ]
    )
    return Net(name=name, shapes=(shape,), parts=(lambda x: model(x, training=False),))


def sizes(shape: Sequence[int]) -> Any:
    """A factor for each channel: with weights of one size, a kernel that takes the first scale for all is right.

    Channels are on the last axis or, of depthwise and transposed convolutions, on the one before.
    """
    import numpy as np

    random = np.random.default_rng(2)
    each = [random.permutation(np.geomspace(0.3, 2.0, length)) for length in shape[-2:]]
    return np.multiply.outer(*each) if len(each) == 2 else each[0]


def cnn() -> Net:
    """Convolutions, pooling, dense layers."""
    return _layered(
        "cnn",
        (1, 16, 16, 3),
        lambda k, x: k.Dense(10, activation="softmax")(
            k.Dense(32, activation="relu")(
                k.Flatten()(
                    k.MaxPooling2D()(k.Conv2D(32, 3, activation="relu")(k.MaxPooling2D()(k.Conv2D(8, 3)(x))))
                )
            )
        ),
    )


def transformer() -> Net:
    """Attention, layer normalization, exact GELU."""

    def build(k: Any, x: Any) -> Any:
        x = k.Dense(32)(x)
        x = k.LayerNormalization()(k.Add()([x, k.MultiHeadAttention(2, 16)(x, x)]))
        y = k.Dense(32)(k.Dense(64, activation="gelu")(x))
        return k.Dense(10, activation="softmax")(
            k.GlobalAveragePooling1D()(k.LayerNormalization()(k.Add()([x, y])))
        )

    return _layered("transformer", (1, 8, 16), build)


def lstm_loop() -> Net:
    """An LSTM that is kept as a loop."""
    looped = _layered("lstm-loop", (1, 6, 8), lambda k, x: k.Dense(10, activation="softmax")(k.LSTM(32)(x)))
    return replace(looped, calibrates=False)


LAYERED = (cnn, transformer, lstm_loop)


def _constant(*shape: int) -> Any:
    import numpy as np
    import tensorflow

    values = np.random.default_rng(1).standard_normal(shape) * sizes(shape) / 2
    return tensorflow.constant(values.astype(np.float32))


def operators() -> tuple[Net, ...]:
    """Groups of plain operators on an image, on a matrix, on several tensors."""
    import keras
    import tensorflow as tf

    n, m = tf.nn, tf.math
    prelu = keras.layers.PReLU(alpha_initializer="ones", shared_axes=(1, 2))
    prelu.build((1, 8, 8, 8))
    image = (
        lambda x: n.conv2d(x, _constant(3, 3, 8, 16), 1, "SAME"),
        lambda x: n.conv2d(x, _constant(3, 3, 8, 16), 1, "SAME") + _constant(16),
        lambda x: n.relu(n.conv2d(x, _constant(3, 3, 8, 16), 2, "VALID", dilations=1) + _constant(16)),
        lambda x: n.conv2d(x, _constant(3, 3, 8, 16), 1, "VALID", dilations=2),
        lambda x: n.conv2d(x, _constant(3, 3, 4, 16), 1, "SAME"),
        lambda x: n.depthwise_conv2d(x, _constant(3, 3, 8, 1), (1, 1, 1, 1), "SAME"),
        lambda x: n.depthwise_conv2d(x, _constant(3, 3, 8, 2), (1, 1, 1, 1), "SAME") + _constant(16),
        lambda x: n.conv2d_transpose(x, _constant(3, 3, 16, 8), (1, 16, 16, 16), 2),
        lambda x: n.conv2d_transpose(x, _constant(3, 3, 16, 8), (1, 16, 16, 16), 2) + _constant(16),
        lambda x: n.max_pool2d(x, 2, 2, "VALID"),
        lambda x: n.avg_pool2d(x, 2, 2, "VALID"),
        lambda x: tf.image.resize(x, (16, 16), "nearest"),
        lambda x: tf.image.resize(x, (16, 16)),
        lambda x: tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))),
        lambda x: tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1.0),
        lambda x: tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "REFLECT"),
        lambda x: n.space_to_depth(x, 2),
        lambda x: n.depth_to_space(x, 2),
        lambda x: tf.space_to_batch(x, (2, 2), ((0, 0), (0, 0))),
        lambda x: tf.batch_to_space(tf.concat((x, x, x, x), 0), (2, 2), ((0, 0), (0, 0))),
        lambda x: tf.squeeze(tf.reduce_mean(x, (1, 2), keepdims=True), (1, 2)),
        prelu,
        lambda x: tf.reduce_mean(x, (1, 2)),
        lambda x: tf.reduce_mean(x, (1, 2), keepdims=True),
        lambda x: tf.reduce_max(x, (1, 2)),
        lambda x: n.local_response_normalization(x),
        lambda x: tf.transpose(x, (0, 3, 1, 2)),
        lambda x: n.relu(x) + _constant(8) * -n.relu(-x),
        lambda x: tf.nn.conv3d(x[:, None], _constant(1, 3, 3, 8, 4), (1, 1, 1, 1, 1), "SAME"),
    )
    matrix = (
        lambda x: tf.matmul(x, _constant(16, 32)),
        lambda x: tf.matmul(x, _constant(16, 32)) + _constant(32),
        lambda x: n.relu(tf.matmul(x, _constant(16, 32)) + _constant(32)),
        lambda x: tf.matmul(x, _constant(16, 1)),
        n.relu, n.relu6, n.elu, n.leaky_relu, n.sigmoid, n.tanh, n.softmax, n.log_softmax, n.gelu, n.softplus, n.selu,
        lambda x: n.gelu(x, approximate=True), lambda x: tf.clip_by_value(x, -1.0, 1.0), n.silu,
        lambda x: x * n.relu6(x + 3.0) * (1 / 6), lambda x: m.minimum(m.maximum(x, 0.0), 1.0),
        m.abs, m.exp, m.negative, m.square, m.floor, m.ceil, m.round, m.sin, m.cos, m.sign, m.erf,
        lambda x: m.sqrt(m.abs(x)), lambda x: m.rsqrt(m.abs(x) + 1.0), lambda x: m.log(m.abs(x) + 1.0),
        lambda x: n.l2_normalize(x, -1), lambda x: m.cumsum(x, -1), lambda x: tf.reverse(x, (1,)),
        lambda x: tf.reduce_sum(x, -1), lambda x: tf.reduce_max(x, -1), lambda x: tf.reduce_min(x, -1),
        lambda x: tf.reduce_prod(x, -1), lambda x: tf.reduce_any(x > 0, -1), lambda x: tf.reduce_all(x > 0, -1),
        lambda x: tf.argmax(x, -1), lambda x: tf.argmin(x, -1), lambda x: tf.argmax(x, -1, tf.int32),
        lambda x: tf.nn.top_k(x, 3)[0], lambda x: tf.nn.top_k(x, 3)[1],
        lambda x: tf.reshape(x, (1, -1)), lambda x: tf.expand_dims(x, 1), lambda x: tf.squeeze(x[:, :1], 1),
        lambda x: x[:, 2:5], lambda x: x[:, ::2], lambda x: tf.slice(x, (0, 1), (4, 3)), lambda x: x[:, 3],
        lambda x: tf.gather(x, (0, 2), axis=1), lambda x: tf.gather_nd(x, ((0, 1), (1, 2))),
        lambda x: tf.transpose(x), lambda x: tf.tile(x, (1, 2)), lambda x: tf.split(x, 2, 1)[0],
        lambda x: tf.split(x, (4, 12), 1)[0], lambda x: tf.unstack(x, axis=1)[0],
        lambda x: tf.broadcast_to(x[:1], (4, 16)), lambda x: tf.one_hot(tf.argmax(x, -1), 16),
        lambda x: tf.cast(tf.cast(x, tf.int32), tf.float32), lambda x: tf.cast(tf.cast(x, tf.int64), tf.float32),
        lambda x: tf.cast(x > 0, tf.float32), lambda x: tf.fill((2, 3), x[0, 0]), lambda x: tf.shape(x),
        lambda x: tf.where(x > 0, x, -x), lambda x: tf.logical_not(x > 0),
        lambda x: tf.gather(_constant(20, 8), tf.cast(m.abs(x), tf.int32)),
        lambda x: tf.linalg.band_part(x, 0, -1),
        lambda x: tf.zeros_like(x) + x,
        lambda x: tf.range(tf.cast(x[0, 0] * 0 + 5, tf.int32)),
        lambda x: m.pow(m.abs(x) + 0.5, 1.5), lambda x: m.floordiv(x, 0.5), lambda x: m.floormod(x, 0.5),
        lambda x: tf.cast(x * 3, tf.int32) + 1,
        lambda x: tf.cast(x * 3, tf.int32) * 2,
        lambda x: tf.cast(x * 3, tf.int32) - 1,
        lambda x: tf.cast(x * 3, tf.int32) // 2,
        lambda x: tf.cast(x * 3, tf.int32) > 1,
        lambda x: tf.cast(x, tf.int32)[:, 1:3],
        lambda x: tf.concat((tf.cast(x, tf.int32), tf.cast(x, tf.int32)), 1),
        lambda x: tf.reshape(tf.cast(x, tf.int32), (-1,)),
        lambda x: m.rsqrt(m.abs(x[:, :1]) + 1.0),
        lambda x: m.reciprocal(m.abs(x) + 1.0),
        lambda x: m.atan2(x, x + 3.0),
    )  # fmt: skip
    pair = (
        lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / (m.abs(y) + 1.0),
        lambda x, y: x + 1.5, lambda x, y: x * 0.5, lambda x, y: 1.0 - x,
        lambda x, y: m.minimum(x, y), lambda x, y: m.maximum(x, y), lambda x, y: m.squared_difference(x, y),
        lambda x, y: tf.concat((x, y), 1), lambda x, y: tf.stack((x, y), 1), lambda x, y: tf.add_n((x, y, x)),
        lambda x, y: tf.where(x > y, x, y), lambda x, y: x > y, lambda x, y: x >= y, lambda x, y: x < y,
        lambda x, y: x <= y, lambda x, y: tf.equal(x, y), lambda x, y: tf.not_equal(x, y),
        lambda x, y: tf.logical_and(x > 0, y > 0), lambda x, y: tf.logical_or(x > 0, y > 0),
        lambda x, y: tf.matmul(x, y, transpose_b=True), lambda x, y: tf.matmul(x, tf.transpose(y)),
        lambda x, y: tf.matmul(x[None], y[None], transpose_b=True),
        lambda x, y: tf.tensor_scatter_nd_update(x, ((0,),), y[:1]),
    )  # fmt: skip
    return (
        Net(name="image", shapes=((1, 8, 8, 8),), parts=image),
        Net(name="matrix", shapes=((4, 16),), parts=matrix),
        Net(name="pair", shapes=((4, 16), (4, 16)), parts=pair),
    )
