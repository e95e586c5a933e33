"""Quantization-aware fine-tuning of a Keras classifier: what it loses by rounding, it learns to do without.

The rule: a step of training sees the weights as they will be stored, and what layers give as it will be rounded; its
gradient goes past the rounding to the float weights (the straight-through estimator: Y. Bengio, N. Léonard and A.
Courville, "Estimating or Propagating Gradients Through Stochastic Neurons", 2013; B. Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018). Only the labelled samples that
were given for calibration are learned from, never those that judge. Statistics of normalisation stay what they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.calibration.data import Data, evenly
from converters.recipe import Scheme

Array = NDArray[Any]
BATCH = 32
STEPS = 500
RATE = 1e-3
"""At first; it falls to nothing along half a cosine."""
SEED = 20261128
RANGES = 200
"""Samples that tell what layers give, a few at a time."""
AT_A_TIME = 8
TIMED = 3
"""Steps that tell how long all of them would take."""
MOST_S = 600.0
"""All steps together may take no longer, since the child process has 1,800 s for everything."""
INTEGERS = {"int8": 127, "int4": 7}
"""On each side of 0."""
CHANNELS = {"depthwise_kernel": (-2, -1), "embeddings": (0,)}
"""Axes that have a scale for each place; of other variables it is the last."""
LEARNED = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "embeddings")
"""Variables that are stored in few bits."""


def can_learn(calibration: Data | None, classes: int | None) -> bool:
    """Whether there is something to learn from: classes of a classifier with one score for each."""
    y = calibration.y if calibration is not None else None
    if y is None or classes is None or classes < 2 or y.ndim != 1 or y.dtype.kind != "i":
        return False
    return int(y.min()) >= 0 and int(y.max()) < classes


def fine_tune(model: Any, calibration: Data, scheme: Scheme, *, probabilities: bool) -> Any:
    """A copy of a model whose weights have learned to be rounded.

    Args:
        model: of Keras, as it was given.
        calibration: its inputs `[N, ...]`, and their classes `[N]`.
        scheme: what the weights and activations are stored in.
        probabilities: it ends in a softmax.

    Returns:
        A Keras model of the same layers and names.

    Raises:
        TimeoutError: it would take too long.
        Exception: whatever Keras raises where a layer can't be trained so.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    learned = keras.models.clone_model(model)
    learned.set_weights(model.get_weights())
    calculates = scheme.activations in ("int8", "uint8", "board")
    seen = _rounding(learned, calibration) if calculates else learned
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, STEPS))
    variables = learned.trainable_variables
    stored = [variable for variable in learned.variables if variable.name in LEARNED]
    optimizer.build(variables)

    def step(inputs: Any, y: Any) -> None:
        floats = [tf.identity(variable.value) for variable in stored]
        for variable, value in zip(stored, floats, strict=True):
            variable.assign(rounded(value, scheme, variable.name))
        with tf.GradientTape() as tape:
            answers = keras.tree.flatten(seen(inputs, training=False))
            value = loss(y, answers[0])
        found = tape.gradient(value, [variable.value for variable in variables])
        for variable, value in zip(stored, floats, strict=True):
            variable.assign(value)
        pairs = [(one, variable) for one, variable in zip(found, variables, strict=True) if one is not None]
        optimizer.apply_gradients(pairs)

    compiled, began = tf.function(step), 0.0
    for number, (inputs, y) in enumerate(_batches(calibration)):
        compiled(inputs, tf.constant(y))
        if number == 0:
            began = time.monotonic()  # the first step also traces the graph
        elif number == TIMED and (whole := (time.monotonic() - began) / TIMED * STEPS) > MOST_S:
            raise TimeoutError(f"{STEPS} steps would take about {whole / 60:.0f} minutes here")
    return learned


def rounded(weights: Any, scheme: Scheme, name: str) -> Any:
    """Weights as they will be stored: symmetric, a scale a channel or one for all.

    Args:
        weights: a tensor, float32.
        scheme: says how many bits, and where scales are.
        name: of the variable, which tells where its channels are.

    Returns:
        Of the same shape and dtype.
    """
    import tensorflow as tf

    rank = len(weights.shape)
    kind = scheme.fully_connected if scheme.fully_connected and rank == 2 else scheme.weights
    channels = (
        {place % rank for place in CHANNELS.get(name, (-1,))} if scheme.granularity != "tensor" else set()
    )
    axes = [axis for axis in range(rank) if axis not in channels]
    largest = tf.reduce_max(tf.abs(weights), axis=axes, keepdims=True)
    scale = tf.maximum(largest, np.finfo(np.float32).tiny) / INTEGERS[kind]
    return tf.round(weights / scale) * scale


def _rounding(model: Any, calibration: Data) -> Any:
    """The same layers and weights, with what each gives rounded to 8 bits in the range that it has here."""
    import keras
    import tensorflow as tf

    layers = [layer for layer in model.layers if _gives_floats(layer)]
    watched = keras.Model(model.inputs, [layer.output for layer in layers])
    lows, highs = np.zeros(len(layers)), np.zeros(len(layers))
    some = evenly(calibration.samples, RANGES)
    for begin in range(0, len(some), AT_A_TIME):
        inputs = [array[some[begin : begin + AT_A_TIME]] for array in calibration.inputs]
        given = keras.tree.flatten(watched.predict_on_batch(inputs[0] if len(inputs) == 1 else inputs))
        lows = np.minimum(lows, [float(np.min(array)) for array in given])
        highs = np.maximum(highs, [float(np.max(array)) for array in given])
    ranges = dict(zip([layer.name for layer in layers], zip(lows, highs, strict=True), strict=True))

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        given = layer(*args, **kwargs)
        low, high = ranges.get(layer.name, (0.0, 0.0))
        if not low < high:
            return given
        bits = lambda array: tf.quantization.fake_quant_with_min_max_args(array, float(low), float(high))  # noqa: E731
        return keras.layers.Lambda(bits)(given)

    # The layers themselves, not copies, so that both models have the same variables.
    graph = keras.Model(model.inputs, model.outputs)
    return keras.models.clone_model(graph, call_function=call, clone_function=lambda layer: layer)


def _gives_floats(layer: Any) -> bool:
    """Whether it is a layer of this graph that gives one array of floats; a model inside it is left as it is."""
    import keras

    if isinstance(layer, keras.layers.InputLayer | keras.Model):
        return False
    given = layer.output
    return not isinstance(given, list | tuple | dict) and str(given.dtype).startswith("float")


def _batches(calibration: Data) -> Iterator[tuple[Any, Array]]:
    """Samples in another order each time round, and their classes."""
    assert calibration.y is not None, "what has no labels is not learned from"
    random = np.random.default_rng(SEED)
    order = np.empty(0, np.int64)
    for _ in range(STEPS):
        while len(order) < BATCH:
            order = np.concatenate([order, random.permutation(calibration.samples)])
        some, order = order[:BATCH], order[BATCH:]
        inputs = [array[some].astype(np.float32) for array in calibration.inputs]
        yield inputs[0] if len(inputs) == 1 else inputs, calibration.y[some]
