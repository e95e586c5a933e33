"""An ONNX model as its weighted layers and their links.

The rule: a weight that two nodes share belongs to no layer, and a tensor that more than one node reads, or that leaves
the model, ends a link: to scale it would change another path.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.repair.graph import Array, Channels, Layer, Link, into_convolution

WEIGHTED = {"Conv", "Gemm", "MatMul"}
SCALE_THROUGH = {"Relu", "LeakyRelu", "Identity", "Dropout"}
POOLING = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
RESHAPING = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}


class OnnxGraph:
    """See `converters.repair.graph.Graph`.

    Args:
        proto: onnx.ModelProto, float; it is changed by `write`.
    """

    def __init__(self, proto: Any) -> None:
        import onnx
        from onnx import numpy_helper

        self._proto = proto
        inferred = onnx.shape_inference.infer_shapes(proto).graph
        self._shapes = {
            value.name: tuple(int(axis.dim_value) for axis in value.type.tensor_type.shape.dim)
            for value in (*inferred.input, *inferred.value_info, *inferred.output)
        }
        self._arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        self._readers: dict[str, list[Any]] = defaultdict(list)
        for node in proto.graph.node:
            for name in node.input if node.op_type != "Shape" else ():
                self._readers[name].append(node)
        self._ends = {value.name for value in proto.graph.output}
        self._changed: dict[str, NDArray[Any]] = {}
        self._reads: dict[str, tuple[str, int]] = {}
        self._made: dict[str, tuple[Layer, str]] = {}
        self.layers = tuple(layer for node in proto.graph.node if (layer := self._layer(node)))
        self.links = tuple(link for node in proto.graph.node if (link := self._link(node)))

    def means(self, samples: Sequence[Sequence[NDArray[Any]]]) -> Mapping[str, Array]:
        """See `converters.repair.graph.Graph`."""
        import onnx
        import onnxruntime

        self.write()
        probe = onnx.ModelProto()
        probe.CopyFrom(self._proto)
        inputs = {value.name for value in probe.graph.input}
        wanted = sorted({tensor for tensor, _ in self._reads.values()} - inputs)
        present = {value.name for value in probe.graph.output}
        probe.graph.output.extend(
            onnx.helper.make_empty_tensor_value_info(name) for name in wanted if name not in present
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [item.name for item in session.get_inputs()]
        sums = {name: np.zeros(1) for name in self._reads}
        for sample in samples:
            given = dict(zip(names, sample, strict=True))
            found = {**given, **dict(zip(wanted, session.run(wanted, given), strict=True))}
            for name, (tensor, axis) in self._reads.items():
                array = found[tensor]
                others = tuple(place for place in range(array.ndim) if place != axis % array.ndim)
                sums[name] = sums[name] + array.mean(axis=others)
        return {name: (total / len(samples)).astype(np.float32) for name, total in sums.items()}

    def write(self) -> Any:
        """Put the changed weights back and return the model."""
        from onnx import numpy_helper

        for tensor in self._proto.graph.initializer:
            if tensor.name in self._changed:
                tensor.CopyFrom(numpy_helper.from_array(self._changed[tensor.name], tensor.name))
        return self._proto

    def _weight(self, name: str) -> NDArray[Any] | None:
        """A writable copy of a float32 initializer that one node alone reads."""
        array = self._arrays.get(name)
        if array is None or array.dtype != np.float32 or len(self._readers[name]) != 1:
            return None
        return self._changed.setdefault(name, array.copy())

    def _layer(self, node: Any) -> Layer | None:
        if node.op_type not in WEIGHTED:
            return None
        weight = self._weight(node.input[1])
        if weight is None or weight.ndim < 2:
            return None
        bias = self._weight(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        made, groups, kind = node.output[0], 1, "dense"
        settings = {item.name: item for item in node.attribute}
        if node.op_type == "Conv":
            groups = int(settings["group"].i) if "group" in settings else 1
            kind = "depthwise" if groups > 1 and weight.shape[1] == 1 else "convolution"
        elif weight.ndim > 2 or any(settings[name].f != 1 for name in ("alpha", "beta") if name in settings):
            return None
        elif node.op_type == "MatMul":
            weight = weight.T
            made, bias = self._added_bias(made, len(weight))
        elif not ("transB" in settings and settings["transB"].i):
            weight = weight.T
        if bias is not None and bias.size != len(weight):
            return None
        layer = Layer(
            name=node.name or node.output[0],
            kind=kind,
            weight=weight,
            bias=None if bias is None else bias.reshape(-1),
            groups=groups,
        )
        self._reads[layer.name] = (node.input[0], 1 if node.op_type == "Conv" else -1)
        self._made[node.output[0]] = (layer, made)
        return layer

    def _added_bias(self, tensor: str, channels: int) -> tuple[str, NDArray[Any] | None]:
        """The Add of a constant behind a MatMul: what it makes, and the constant."""
        reader = self._only_reader(tensor)
        if reader is None or reader.op_type != "Add":
            return tensor, None
        other = next(name for name in reader.input if name != tensor)
        bias = self._weight(other)
        if bias is None or bias.size != channels:
            return tensor, None
        return reader.output[0], bias

    def _only_reader(self, tensor: str) -> Any:
        readers = self._readers[tensor]
        return readers[0] if len(readers) == 1 and tensor not in self._ends else None

    def _link(self, node: Any) -> Link | None:
        """From a layer to the layer that alone reads its channels."""
        first, tensor = self._made.get(node.output[0], (None, ""))
        if first is None:
            return None
        shape = self._shapes.get(tensor, ())
        axis = 0 if node.op_type == "Conv" else len(shape) - 2
        channels: Channels | None = Channels(shape=shape[1:], axis=axis) if len(shape) > 1 else None
        while channels is not None and all(axis > 0 for axis in channels.shape):
            reader = self._only_reader(tensor)
            if reader is None:
                return None
            if reader.op_type in WEIGHTED:
                return self._end(first, reader, tensor, channels)
            tensor = reader.output[0]
            channels = self._through(reader, channels)
        return None

    def _end(self, first: Layer, node: Any, tensor: str, channels: Channels) -> Link | None:
        second, _ = self._made.get(node.output[0], (None, ""))
        if second is None or node.input[0] != tensor:
            return None
        if node.op_type == "Conv":
            count = channels.shape[channels.axis]
            incoming = into_convolution(second, count) if channels.axis == 0 else None
        else:
            incoming = channels.into_dense(second.weight)
        return Link(first=first, second=second, incoming=incoming) if incoming is not None else None

    def _through(self, node: Any, channels: Channels) -> Channels | None:
        """Where the channels are behind a node; None where it minds being scaled, or they can't be found."""
        shape = self._shapes.get(node.output[0], ())[1:]
        settings = {item.name: item for item in node.attribute}
        if node.op_type in SCALE_THROUGH:
            return channels
        if node.op_type in POOLING:
            return channels.reduced(shape, ()) if channels.axis == 0 else None
        if node.op_type in RESHAPING:
            return channels.reshaped(shape)
        if node.op_type == "Transpose":
            return channels.transposed(list(settings["perm"].ints) if "perm" in settings else [])
        if node.op_type == "ReduceMean" and "axes" in settings:
            rank = len(channels.shape) + 1
            return channels.reduced(shape, [axis % rank for axis in settings["axes"].ints])
        return None
