"""scikit-learn's handwritten digits: 1,797 real ones, 8 by 8 grey values, scaled to 0 to 1, in one fixed order."""

from __future__ import annotations

from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"


def digits() -> tuple[np.ndarray, np.ndarray]:
    """All digits float32 `[1797, 8, 8, 1]` and their classes: 700 to train, 197 to calibrate, 900 held out."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return (images[order] / 16.0).astype(np.float32).reshape(-1, 8, 8, 1), labels[order].astype(np.int64)


def write_data(folder: Path, *, rows: bool = False) -> None:
    """`calibration.npz`, `held-out.npz`, `wrong.npz` (wrongly scaled) and `unlabelled.npz`."""
    x, y = digits()
    x = x[..., 0] if rows else x
    np.savez(folder / "calibration.npz", x=x[700:897])
    np.savez(folder / "wrong.npz", x=x[700:897] / np.float32(255))
    np.savez(folder / "held-out.npz", x=x[897:], y=y[897:])
    np.savez(folder / "unlabelled.npz", x=x[897:])
    np.savez(folder / "few.npz", x=x[897:917], y=y[897:917])
