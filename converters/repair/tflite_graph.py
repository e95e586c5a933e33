"""A float `.tflite` file as its weighted layers and their links.

The rule: as for ONNX: a weight that two operators share belongs to no layer, and a tensor that more than one operator
reads, or that leaves the model, ends a link. A layer is called by the tensor that it makes, which is the name that the
quantizer takes. Activations are fused into operators here: ReLU lets a factor through, ReLU6 and others do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.repair.graph import Array, Channels, Layer, Link, into_convolution


class TFLiteGraph:
    """See `converters.repair.graph.Graph`.

    Args:
        data: of a float `.tflite` file.
    """

    def __init__(self, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_litert.tools import flatbuffer_utils

        self._schema = schema
        self._model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
        self._graph = self._model.subgraphs[0]
        self._codes = [
            max(code.builtinCode, code.deprecatedBuiltinCode) for code in self._model.operatorCodes
        ]
        # What reads the shape alone does not mind what the numbers are.
        self._operators = {
            index: operator
            for index, operator in enumerate(self._graph.operators)
            if self._codes[operator.opcodeIndex] != schema.BuiltinOperator.SHAPE
        }
        self._readers = Counter(
            int(tensor) for operator in self._operators.values() for tensor in operator.inputs if tensor >= 0
        )
        self._buffers = Counter(tensor.buffer for tensor in self._graph.tensors)
        self._arrays: dict[int, NDArray[np.float32]] = {}
        self._layers: dict[int, Layer] = {}
        for index, operator in self._operators.items():
            layer = self._layer(operator)
            if layer is not None:
                self._layers[index] = layer
        self.layers = tuple(self._layers.values())
        self.links = tuple(link for index in self._layers if (link := self._link(index)))

    def means(self, samples: Sequence[Sequence[NDArray[Any]]]) -> Mapping[str, Array]:
        """See `converters.repair.graph.Graph`."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        interpreter = Interpreter(
            model_content=self.write(),
            num_threads=1,
            experimental_preserve_all_tensors=True,
            # XNNPACK keeps the tensors between its operators to itself.
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        places = [int(place) for place in self._graph.inputs]
        for place, array in zip(places, samples[0], strict=True):
            interpreter.resize_tensor_input(place, array.shape)
        interpreter.allocate_tensors()
        sums: dict[str, NDArray[Any]] = {layer.name: np.zeros(1) for layer in self.layers}
        for sample in samples:
            for place, array in zip(places, sample, strict=True):
                interpreter.set_tensor(place, array)
            interpreter.reset_all_variables()
            interpreter.invoke()
            for index, layer in self._layers.items():
                array = interpreter.get_tensor(int(self._graph.operators[index].inputs[0]))
                if layer.kind == "dense":
                    array = array.reshape(-1, layer.weight.shape[1])
                sums[layer.name] = sums[layer.name] + array.mean(axis=tuple(range(array.ndim - 1)))
        return {name: (total / len(samples)).astype(np.float32) for name, total in sums.items()}

    def write(self) -> bytes:
        """The file with the changed weights."""
        from ai_edge_litert.tools import flatbuffer_utils

        for place, array in self._arrays.items():
            buffer = self._model.buffers[self._graph.tensors[place].buffer]
            buffer.data = np.frombuffer(array.tobytes(), dtype=np.uint8)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._model))

    def _constant(self, place: int) -> NDArray[np.float32] | None:
        """A writable copy of a float32 constant that one operator alone reads."""
        tensor = self._graph.tensors[place]
        data = self._model.buffers[tensor.buffer].data
        shared = self._readers[place] != 1 or self._buffers[tensor.buffer] != 1
        if data is None or not len(data) or shared or tensor.type != self._schema.TensorType.FLOAT32:
            return None
        if place not in self._arrays:
            array = np.frombuffer(np.asarray(data, dtype=np.uint8).tobytes(), dtype="<f4")
            self._arrays[place] = array.reshape(tuple(tensor.shape)).copy()
        return self._arrays[place]

    def _layer(self, operator: Any) -> Layer | None:
        codes, code = self._schema.BuiltinOperator, self._codes[operator.opcodeIndex]
        if code not in (codes.CONV_2D, codes.DEPTHWISE_CONV_2D, codes.FULLY_CONNECTED):
            return None
        weight = self._constant(int(operator.inputs[1]))
        if weight is None:
            return None
        place = int(operator.inputs[2]) if len(operator.inputs) > 2 else -1
        kind, groups = "dense", 1
        if code == codes.CONV_2D:
            kind, weight = "convolution", np.moveaxis(weight, 3, 1)
            groups = self._graph.tensors[operator.inputs[0]].shape[3] // weight.shape[1]
        elif code == codes.DEPTHWISE_CONV_2D:
            kind, weight = "depthwise", np.moveaxis(weight[0], 2, 0)[:, None]
            groups = int(self._graph.tensors[operator.inputs[0]].shape[3])
        return Layer(
            name=self._name(operator),
            kind=kind,
            weight=weight,
            bias=self._constant(place) if place >= 0 else None,
            groups=groups,
        )

    def _name(self, operator: Any) -> str:
        return str(self._graph.tensors[operator.outputs[0]].name.decode())

    def _link(self, index: int) -> Link | None:
        """From a layer to the layer that alone reads its channels."""
        first, operator = self._layers[index], self._graph.operators[index]
        shape = self._shape(operator)
        channels: Channels | None = Channels(shape=shape, axis=len(shape) - 1)
        while channels is not None and self._scales(operator) and all(axis > 0 for axis in channels.shape):
            tensor = int(operator.outputs[0])
            if self._readers[tensor] != 1 or tensor in self._graph.outputs:
                return None
            index, operator = next(item for item in self._operators.items() if tensor in item[1].inputs)
            if index in self._layers:
                return self._end(first, index, tensor, channels)
            channels = self._through(operator, channels)
        return None

    def _end(self, first: Layer, index: int, tensor: int, channels: Channels) -> Link | None:
        second = self._layers[index]
        if int(self._graph.operators[index].inputs[0]) != tensor:
            return None
        if second.kind == "dense":
            # A fully connected operator flattens what it reads.
            found = channels.reshaped([second.weight.shape[1]]) or channels
            incoming = found.into_dense(second.weight)
        elif channels.axis == len(channels.shape) - 1:
            incoming = into_convolution(second, channels.shape[-1])
        else:
            incoming = None
        return Link(first=first, second=second, incoming=incoming) if incoming is not None else None

    def _shape(self, operator: Any) -> tuple[int, ...]:
        """Of what it makes, without the batch axis."""
        return tuple(int(axis) for axis in self._graph.tensors[operator.outputs[0]].shape[1:])

    def _scales(self, operator: Any) -> bool:
        """Its fused activation lets a positive factor through."""
        kinds = self._schema.ActivationFunctionType
        fused = getattr(operator.builtinOptions, "fusedActivationFunction", kinds.NONE)
        return fused in (kinds.NONE, kinds.RELU)

    def _through(self, operator: Any, channels: Channels) -> Channels | None:
        """Where the channels are behind an operator; None where it minds being scaled, or they can't be found."""
        codes, code, shape = (
            self._schema.BuiltinOperator,
            self._codes[operator.opcodeIndex],
            self._shape(operator),
        )
        if code in (codes.RELU, codes.LEAKY_RELU):
            return channels
        if code in (codes.MAX_POOL_2D, codes.AVERAGE_POOL_2D, codes.PAD):
            return channels.reduced(shape, ()) if channels.axis == len(shape) - 1 else None
        if code in (codes.RESHAPE, codes.SQUEEZE, codes.EXPAND_DIMS):
            return channels.reshaped(shape)
        if code == codes.MEAN:
            rank = len(channels.shape) + 1
            return channels.reduced(shape, [int(axis) % rank for axis in self._integers(operator.inputs[1])])
        return None

    def _integers(self, place: int) -> NDArray[np.int32]:
        """An int32 constant."""
        data = self._model.buffers[self._graph.tensors[place].buffer].data
        return np.frombuffer(np.asarray(data, dtype=np.uint8).tobytes(), dtype="<i4")
