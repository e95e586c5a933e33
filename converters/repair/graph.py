"""A float model as its weighted layers and the channels that run between them: all that a repair needs to know.

The rule: the arrays are views into the model's own weights. A repair changes them in place and never learns whether
they came from ONNX or TFLite; the graph writes them back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A layer with weights.

    Attributes:
        name: as the quantizer of its format knows it.
        kind: `convolution`, `depthwise` or `dense`.
        weight: `[out, in / groups, ...]`, whatever the layout of the file.
        bias: `[out]`, or None where it has none.
        groups: of input channels that do not see each other; 1 for most, all for a depthwise layer.
    """

    name: str
    kind: str
    weight: Array
    bias: Array | None
    groups: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """Two layers of which the second alone reads what the first makes, through nothing that minds a positive factor.

    Attributes:
        first, second: the layers.
        incoming: the second's weights by the channel that they read, `[channels of the first, ...]`.
    """

    first: Layer
    second: Layer
    incoming: Array


class Graph(Protocol):
    """A float model, open for repair."""

    @property
    def layers(self) -> Sequence[Layer]:
        """Layers with weights of their own, in the order of the file."""

    @property
    def links(self) -> Sequence[Link]:
        """Pairs that may be equalized."""

    def means(self, samples: Sequence[Sequence[NDArray[Any]]]) -> Mapping[str, Array]:
        """Mean of each input channel of each layer, by the layer's name.

        Args:
            samples: each one array `[1, ...]` an input of the model.
        """


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Where in a tensor the channels of a layer lie.

    Attributes:
        shape: without the batch axis.
        axis: of the channels in `shape`.
        flat: the tensor was reshaped to one axis since.
    """

    shape: tuple[int, ...]
    axis: int
    flat: bool = False

    def transposed(self, order: Sequence[int]) -> Channels | None:
        """After a transposition that is given with the batch axis; None where that one moves."""
        if self.flat or not order or order[0] != 0:
            return None
        inner = [place - 1 for place in order[1:]]
        return Channels(shape=tuple(self.shape[place] for place in inner), axis=inner.index(self.axis))

    def reduced(self, shape: Sequence[int], axes: Sequence[int]) -> Channels | None:
        """After pooling or a mean that leaves the channels apart.

        Args:
            shape: of the result, without the batch axis.
            axes: that were removed or shortened, counted with the batch axis.
        """
        if self.flat or self.axis + 1 in axes or 0 in axes:
            return None
        axis = self.axis
        if len(shape) < len(self.shape):
            axis -= sum(place - 1 < self.axis for place in axes)
        return Channels(shape=tuple(shape), axis=axis)

    def reshaped(self, shape: Sequence[int]) -> Channels | None:
        """After a reshape; None where the channels can't be found any more."""
        if tuple(shape) == self.shape and not self.flat:
            return self
        if math.prod(shape) != math.prod(self.shape):
            return None
        if len(shape) == 1:
            return replace(self, flat=True)
        left = [axis for axis in shape if axis != 1]
        if self.shape[self.axis] == math.prod(self.shape) and len(left) == 1:
            return Channels(shape=tuple(shape), axis=list(shape).index(left[0]))
        return None

    def into_dense(self, weight: Array) -> Array | None:
        """The weights `[out, in]` of a dense layer by channel: `[channels, ...]`; None where they don't fit."""
        count, reads = self.shape[self.axis], weight.shape[1]
        if not self.flat:
            last = self.axis == len(self.shape) - 1
            return weight.T if last and reads == count else None
        outer, inner = math.prod(self.shape[: self.axis]), math.prod(self.shape[self.axis + 1 :])
        if reads != outer * count * inner:
            return None
        return np.moveaxis(weight.T.reshape(outer, count, inner, len(weight)), 1, 0)


def into_convolution(layer: Layer, channels: int) -> Array | None:
    """The weights of a convolution by input channel: `[channels, ...]`; None where groups share them."""
    weight = layer.weight
    if layer.groups == 1:
        return np.moveaxis(weight, 1, 0) if weight.shape[1] == channels else None
    if layer.groups == channels and weight.shape[1] == 1:
        return weight.reshape(channels, len(weight) // channels, *weight.shape[2:])
    return None
