"""Fits scikit-learn models on digits and saves them: `python sklearn_models.py DIGITS.npz FOLDER`, in its environment.

`x` is float32 `[N, 64]` of 700 digits to fit on, `y` int64 `[N]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from skops import io


def main(digits: Path, folder: Path) -> None:
    with np.load(digits) as arrays:
        x, y = arrays["x"], arrays["y"]
    models = {
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "forest": RandomForestClassifier(20, random_state=0),
        "mlp": MLPClassifier((32,), max_iter=400, random_state=0),
        "svc": SVC(decision_function_shape="ovr"),
        "histogram": HistGradientBoostingClassifier(max_iter=5),
    }
    for name, model in models.items():
        io.dump(model.fit(x, y), folder / f"{name}.skops")
    io.dump(Ridge().fit(x, y.astype(np.float32)), folder / "ridge.skops")
    io.dump(
        LogisticRegression(max_iter=2000).fit(x, np.char.add("digit-", y.astype(str))), folder / "texts.skops"
    )
    io.dump(make_pipeline(FunctionTransformer(np.save), LogisticRegression()), folder / "function.skops")
    joblib.dump(models["forest"], folder / "forest.joblib", compress=3)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
