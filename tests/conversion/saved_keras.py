"""Saves the digits' Keras models as HDF5 and as SavedModels: `python saved_keras.py FOLDER`, one TensorFlow for all."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import tensorflow as tf

DATA = Path(__file__).parent / "data"


def main(folder: Path) -> None:
    for file in (*DATA.glob("digits*.keras"), *DATA.glob("rows_*.keras")):
        model = keras.saving.load_model(file, compile=False)
        model.save(folder / f"{file.stem}.h5")
        # What holds a loop becomes TFLite with a batch of 1 alone.
        one = [tf.TensorSpec([1, 8, 8])] if file.stem in ("rows_lstm", "rows_gru") else None
        model.export(folder / file.stem, input_signature=one, verbose=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
