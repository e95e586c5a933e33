"""Repairs: what they change, what they leave as it was, and where they keep their hands off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter

from converters.repair.bias import correct, rounded
from converters.repair.equalize import equalize
from converters.repair.graph import Channels
from converters.repair.onnx_graph import OnnxGraph
from converters.repair.tflite_graph import TFLiteGraph
from tests.conversion.digits import digits
from tests.converters.imbalanced import imbalanced

X, Y = digits()
NCHW = X.transpose(0, 3, 1, 2)
FILE = Path(__file__).parent / "data" / "imbalanced.tflite"


def by_onnx(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    return np.asarray(onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"image": x})[0])


def by_litert(data: bytes, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=data, num_threads=1)
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, x)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imbalanced(tmp_path_factory.mktemp("net") / "net.onnx", X[:700], Y[:700])


def uneven(graph: OnnxGraph | TFLiteGraph) -> float:
    """The largest ratio between the ranges of two channels of one layer."""
    ranges = [np.abs(layer.weight).reshape(len(layer.weight), -1).max(axis=1) for layer in graph.layers[:-1]]
    return max(float(found.max() / found.min()) for found in ranges)


def test_both_formats_show_the_same_layers_and_links(net: Path) -> None:
    for graph in (OnnxGraph(onnx.load(net)), TFLiteGraph(FILE.read_bytes())):
        assert [layer.kind for layer in graph.layers] == ["convolution", "depthwise", "convolution", "dense"]
        assert [layer.weight.shape for layer in graph.layers] == [
            (12, 1, 3, 3), (12, 1, 3, 3), (24, 12, 1, 1), (10, 384),
        ]  # fmt: skip
        assert len(graph.links) == 3
        for link in graph.links:
            assert np.shares_memory(link.incoming, link.second.weight)
            assert len(link.incoming) == len(link.first.weight)


def test_equalization_evens_the_channels_and_leaves_the_function_as_it_was(net: Path) -> None:
    proto = onnx.load(net)
    before, graph = by_onnx(proto, NCHW[897:]), OnnxGraph(proto)
    assert uneven(graph) > 100

    assert equalize(graph.links) > 20

    assert uneven(graph) < 40
    np.testing.assert_allclose(by_onnx(graph.write(), NCHW[897:]), before, atol=1e-4)


def test_equalization_of_a_tflite_file_leaves_its_function_as_it_was() -> None:
    data = FILE.read_bytes()
    before, graph = by_litert(data, X[897:997]), TFLiteGraph(data)
    assert uneven(graph) > 100

    equalize(graph.links)

    assert uneven(graph) < 40
    np.testing.assert_allclose(by_litert(graph.write(), X[897:997]), before, atol=1e-4)


def test_no_pair_is_linked_through_an_activation_with_a_limit(tmp_path: Path) -> None:
    proto = onnx.load(imbalanced(tmp_path / "net.onnx", X[:700], Y[:700], spread=0, limit=6.0))

    graph = OnnxGraph(proto)
    assert len(graph.layers) == 4
    assert graph.links == ()


def test_no_pair_is_linked_where_another_node_reads_the_channels_too(net: Path) -> None:
    proto = onnx.load(net)
    proto.graph.node.append(onnx.helper.make_node("Neg", ["depthwise_active"], ["other"]))
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info("other"))
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info("stem_active"))

    links = OnnxGraph(proto).links
    assert [(link.first.name, link.second.name) for link in links] == [("pointwise", "digit")]


def test_weights_that_two_nodes_share_are_left_alone(net: Path) -> None:
    proto = onnx.load(net)
    proto.graph.node.append(onnx.helper.make_node("Neg", ["depthwise_w"], ["other"]))

    assert [layer.name for layer in OnnxGraph(proto).layers] == ["stem", "pointwise", "digit"]


def test_channels_are_found_again_behind_a_flattening() -> None:
    weight = np.arange(2 * 12, dtype=np.float32).reshape(2, 12)

    # [3 channels, 2, 2] flattened: each channel is four columns; channels last: every third.
    first = Channels(shape=(3, 2, 2), axis=0).reshaped([12])
    last = Channels(shape=(2, 2, 3), axis=2).reshaped([12])
    assert first is not None
    assert last is not None
    first_columns, last_columns = first.into_dense(weight), last.into_dense(weight)
    assert first_columns is not None
    assert last_columns is not None
    assert sorted(first_columns[1, ..., 0].ravel()) == [4, 5, 6, 7]
    assert sorted(last_columns[1, ..., 0].ravel()) == [1, 4, 7, 10]
    assert Channels(shape=(3, 2, 2), axis=0).reshaped([6, 2]) is None


def test_the_means_of_what_a_layer_reads_are_the_same_in_both_formats(net: Path) -> None:
    in_onnx = OnnxGraph(onnx.load(net)).means([[NCHW[k : k + 1]] for k in range(20)])
    in_tflite = TFLiteGraph(FILE.read_bytes()).means([[X[k : k + 1]] for k in range(20)])

    for one, other in list(zip(in_onnx.values(), in_tflite.values(), strict=True))[:3]:
        # ZeroPadding2D is an operator of its own in TFLite: the depthwise layer reads its zeros too.
        np.testing.assert_allclose(one / one.max(), other / other.max(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("by_channel", [True, False])
def test_bias_correction_takes_the_mean_error_of_rounded_weights_out_of_the_outputs(
    net: Path, by_channel: bool
) -> None:
    samples = NCHW[700:897]
    wanted = by_onnx(onnx.load(net), samples).mean(axis=0)

    def shift(*, corrected: bool) -> float:
        graph = OnnxGraph(onnx.load(net))
        equalize(graph.links)
        means = graph.means([[samples[k : k + 1]] for k in range(len(samples))])
        last = [layer for layer in graph.layers if layer.name == "digit"]
        if corrected:
            assert correct(last, means, steps=7, by_channel=by_channel) == 1
        for layer in last:
            layer.weight[...] = rounded(layer.weight, steps=7, by_channel=by_channel)
        return float(np.abs(by_onnx(graph.write(), samples).mean(axis=0) - wanted).max())

    assert shift(corrected=False) > 1e-3
    assert shift(corrected=True) < 1e-4
