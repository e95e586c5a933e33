"""Train two small CNNs on scikit-learn's handwritten digits and write all that the demo converts.

Usage: python train_digits.py FOLDER

The 1,797 digits are real handwriting, 8 × 8 grey values of 0 to 16. They are scaled to 0…1 and split once: 700 to
train, 197 to calibrate, 900 held out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


def build(keras: Any, *, filters: int) -> Any:
    """A CNN: float32 `[N, 8, 8, 1]`, values 0–1, to 10 class probabilities."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(2 * filters, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ]
    )


def main(folder: Path) -> None:
    import keras
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x = (images[order] / 16.0).astype("float32").reshape(-1, 8, 8, 1)
    y = labels[order].astype("int64")

    np.savez(folder / "digits-calibration.npz", x=x[700:897])
    np.savez(folder / "digits-eval.npz", x=x[897:], y=y[897:])
    np.savez(folder / "wrong-calibration.npz", x=x[700:897] / 255.0)
    (folder / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    seven = 897 + int(np.flatnonzero(y[897:] == 7)[0])
    picture = (x[seven, :, :, 0] * 255).round().astype("uint8")
    Image.fromarray(picture).resize((64, 64), Image.Resampling.NEAREST).save(folder / "digit.png")

    for name, filters, epochs in (("digits", 16, 12), ("digits-v3", 24, 30)):
        keras.utils.set_random_seed(1)
        model = build(keras, filters=filters)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x[:700], y[:700], batch_size=32, epochs=epochs, verbose=0)
        accuracy = model.evaluate(x[897:], y[897:], verbose=0)[1]
        model.save(folder / f"{name}.keras")
        print(
            f"{name}.keras: {model.count_params():,} parameters, {accuracy:.2%} right on 900 held-out digits"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
