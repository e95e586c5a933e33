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

    def __init__(self, layer: type[nn.LSTM] | type[nn.GRU] = nn.LSTM) -> None:
        super().__init__()
        self.recurrent, self.head = layer(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


def normal(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and its normalization."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A residual block."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            normal(inputs, outputs, stride=stride), nn.ReLU(), normal(outputs, outputs)
        )
        self.passed = nn.Identity() if stride == 1 else normal(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.branch(x) + self.passed(x))


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


def classifier(*layers: nn.Module, channels: int) -> nn.Module:
    """Layers for pictures with a head."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def depthwise() -> nn.Module:
    """A depthwise CNN of `[N, 1, 8, 8]`."""
    layers = (normal(1, 16), nn.ReLU6(), normal(16, 16, groups=16), nn.ReLU6(), normal(16, 32, 1), nn.ReLU6())
    return classifier(*layers, channels=32)


def residual() -> nn.Module:
    """A ResNet of `[N, 1, 8, 8]`."""
    return classifier(normal(1, 8), nn.ReLU(), Block(8, 8, 1), Block(8, 16, 2), channels=16)


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
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    with np.load(digits) as arrays:
        x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    rows = x[:, 0]
    cnn = nn.Sequential(train(convolutional(), x, y, 10), nn.Softmax(1)).eval()
    lstm, attention = train(Rows(), rows, y, 15), train(Attention(), rows, y, 15)
    export(cnn, x[:2], folder / "cnn.pt2", open_batch=True)
    export(cnn, x[:3], folder / "three.pt2", open_batch=False)
    export(lstm, rows[:1], folder / "lstm.pt2", open_batch=False)
    export(attention, rows[:2], folder / "attention.pt2", open_batch=True)
    torch.jit.trace(cnn, x[:2]).save(folder / "cnn.pt")
    torch.jit.trace(lstm, rows[:2]).save(folder / "lstm.pt")
    torch.jit.script(attention).save(folder / "attention.pt")
    others = {
        "depthwise": (depthwise(), x, 40),
        "resnet": (residual(), x, 30),
        "gru": (Rows(nn.GRU), rows, 25),
    }
    for name, (model, samples, epochs) in others.items():
        trained = train(model, samples, y, epochs)
        example = samples[:1] if name == "gru" else samples[:2]
        export(trained, example, folder / f"{name}.pt2", open_batch=name != "gru")
        torch.jit.trace(trained, samples[:2]).save(folder / f"{name}.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
