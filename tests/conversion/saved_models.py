"""SavedModels of the digits' Keras models: good ones, and ones that reach beyond themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

DATA = Path(__file__).parent / "data"
PICTURE = [tf.TensorSpec([None, 8, 8, 1], tf.float32, name="x")]


class Digits(tf.Module):
    """The digits' CNN with signatures of every kind."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @tf.function(input_signature=PICTURE)
    def scores(self, x: Any) -> Any:
        return {"scores": self.model(x, training=False)}

    @tf.function(input_signature=PICTURE)
    def reversed(self, x: Any) -> Any:
        return {"scores": tf.reverse(self.model(x, training=False), [1])}


class Rolling(Digits):
    """With an operator that TFLite has by SELECT_TF_OPS alone."""

    @tf.function(input_signature=PICTURE)
    def scores(self, x: Any) -> Any:
        return {"scores": tf.roll(self.model(x, training=False), 1, 1)}


class Curving(Digits):
    """With an operator that TFLite has not even by SELECT_TF_OPS."""

    @tf.function(input_signature=PICTURE)
    def scores(self, x: Any) -> Any:
        return {"scores": tf.math.asinh(self.model(x, training=False))}


class Writing(Digits):
    """With a signature that writes a file."""

    @tf.function(input_signature=PICTURE)
    def scores(self, x: Any) -> Any:
        tf.io.write_file("canary", "x")
        return {"scores": self.model(x, training=False)}


class Reading(Digits):
    """With a file that is read when the model is loaded."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        key, value = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        words = tf.lookup.TextFileInitializer(str(DATA / "words.txt"), tf.string, key, tf.int64, value)
        self.table = tf.lookup.StaticVocabularyTable(words, 1)


class Calling(Digits):
    """With a function of Python's."""

    @tf.function(input_signature=PICTURE)
    def scores(self, x: Any) -> Any:
        found = tf.numpy_function(lambda array: array, [self.model(x, training=False)], tf.float32)
        return {"scores": found}


class Printing(Digits):
    """With a print that goes to a file."""

    @tf.function(input_signature=PICTURE)
    def scores(self, x: Any) -> Any:
        tf.print("x", output_stream="file://canary")
        return {"scores": self.model(x, training=False)}


def save(folder: Path) -> None:
    """Each into a folder of its own, in lower case."""
    cnn = keras.saving.load_model(DATA / "digits.keras", compile=False)
    gru = keras.saving.load_model(DATA / "rows_gru.keras", compile=False)
    cnn.export(folder / "digits", verbose=False)
    gru.export(folder / "open-gru", verbose=False)
    gru.export(folder / "gru", input_signature=[tf.TensorSpec([1, 8, 8])], verbose=False)
    for kind in (Rolling, Curving, Writing, Reading, Calling, Printing):
        made = kind(cnn)
        tf.saved_model.save(made, str(folder / kind.__name__.lower()), signatures={"scores": made.scores})
    two = Digits(cnn)
    signatures = {"scores": two.scores, "reversed": two.reversed}
    tf.saved_model.save(two, str(folder / "two"), signatures=signatures)
