"""Trains PyTorch models on digits and saves them: `python torch_models.py DIGITS.npz FOLDER`, where torch is.

`x` is float32 `[N, 1, 8, 8]` of 700 digits to train on, `y` int64 `[N]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn


class Rows(nn.Module):
    """A recurrent classifier of `[N, 8, 8]`: eight rows of eight."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Attention(nn.Module):
    """A transformer of `[N, 8, 8]` with exact GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(8, 32), nn.Linear(32, 10)
        self.place = nn.Parameter(torch.randn(8, 32) * 0.1)
        self.encoder = nn.TransformerEncoderLayer(32, 4, 64, 0.0, activation="gelu", batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.project(x) + self.place).mean(1))


def convolutional() -> nn.Module:
    """A CNN of `[N, 1, 8, 8]` that ends in a softmax where it is saved."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, groups=16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int) -> nn.Module:
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model.eval()


def export(model: nn.Module, example: torch.Tensor, path: Path, *, open_batch: bool) -> None:
    dynamic = ({0: torch.export.Dim("batch")},) if open_batch else None
    program = torch.export.export(model, (example,), dynamic_shapes=dynamic)
    torch.export.save(program, path)


def main(digits: Path, folder: Path) -> None:
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)
    with np.load(digits) as arrays:
        x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    rows = x[:, 0]
    cnn = nn.Sequential(train(convolutional(), x, y, 12), nn.Softmax(1)).eval()
    lstm, attention = train(Rows(), rows, y, 25), train(Attention(), rows, y, 25)
    export(cnn, x[:2], folder / "cnn.pt2", open_batch=True)
    export(cnn, x[:1], folder / "one.pt2", open_batch=False)
    export(cnn, x[:3], folder / "three.pt2", open_batch=False)
    export(lstm, rows[:1], folder / "lstm.pt2", open_batch=False)
    export(attention, rows[:2], folder / "attention.pt2", open_batch=True)
    torch.jit.trace(cnn, x[:2]).save(folder / "cnn.pt")
    torch.jit.trace(lstm, rows[:2]).save(folder / "lstm.pt")
    torch.jit.script(attention).save(folder / "attention.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
