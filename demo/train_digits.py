"""Train small CNNs on scikit-learn's handwritten digits and write all that the demo converts.

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


def build_heavy(keras: Any) -> Any:
    """The same in and out, as right, and a hundred times the work: wide layers on a picture that was blown up.

    Only the last layer is to be trained, on what the random layers before it see: that takes a second.
    """
    wide = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal", "trainable": False}
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.UpSampling2D(3),
            *(keras.layers.Conv2D(96, 3, **wide) for _ in range(4)),
            keras.layers.MaxPooling2D(6),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ]
    )


def main(folder: Path) -> None:
    import keras
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    folder.mkdir(parents=True, exist_ok=True)
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

    def save(model: Any, name: str, *, held_out: int = 900) -> None:
        samples = slice(897, 897 + held_out)
        right = np.argmax(model(x[samples]), axis=1) == y[samples]
        model.save(folder / f"{name}.keras")
        print(
            f"{name}.keras: {model.count_params():,} parameters,"
            f" {right.mean():.2%} right on {held_out} held-out digits",
            flush=True,
        )

    def trained(model: Any, *, epochs: int) -> Any:
        if not model.compiled:
            model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x[:700], y[:700], batch_size=32, epochs=epochs, verbose=0)
        return model

    keras.utils.set_random_seed(1)
    first = trained(build(keras, filters=16), epochs=12)
    save(first, "digits")
    save(trained(first, epochs=15), "digits-v5")
    save(trained(build(keras, filters=24), epochs=30), "digits-v3")
    heavy = build_heavy(keras)
    seen = keras.Sequential(heavy.layers[:-1])(x[:700])
    last = LogisticRegression(max_iter=200).fit(seen, y[:700])
    heavy.layers[-1].set_weights([last.coef_.T, last.intercept_])
    save(heavy, "digits-v4", held_out=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
