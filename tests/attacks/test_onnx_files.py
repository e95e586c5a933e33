"""ONNX files that name other files: converted, published, or on the board, nothing outside is ever read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from agent.contract.codec import digest, encode
from agent.contract.errors import ArchiveUnsafe, ContractError, EngineRefusesModel, ModelUnreadable
from agent.contract.manifest import EngineName, ModelFormat
from agent.contract.onnx_places import external_places
from agent.engines import open_engine
from converters import onnx_file
from edge.bundle import open_bundle
from tests.cli.conftest import Edge, edge, fleet
from tests.converters.small_models import classifier_onnx
from tests.update.bundles import make_bundle

__all__ = ["edge", "fleet"]


def outside(place: str, *, name: str = "w", **more: str) -> TensorProto:
    """A tensor whose data are to come from `place`."""
    tensor = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=[6, 4], data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": place, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def model(path: Path, place: str, **more: str) -> Path:
    """A classifier whose weights are to come from `place`."""
    proto = onnx.load(str(classifier_onnx(path)))
    proto.graph.initializer[0].CopyFrom(outside(place, **more))
    path.write_bytes(proto.SerializeToString())
    return path


PLACES: dict[str, Callable[[Path, Path], str]] = {
    "absolute": lambda folder, secret: str(secret),
    "above": lambda folder, secret: f"../{secret.name}",
    "above, hidden": lambda folder, secret: f"weights/../../{secret.name}",
    "a link": lambda folder, secret: _made(folder / "link", lambda path: path.symlink_to(secret)),
    "a link that dangles": lambda folder, secret: _made(
        folder / "link", lambda path: path.symlink_to("nowhere")
    ),
    "in a folder that is a link": lambda folder, secret: (
        _made(folder / "up", lambda path: path.symlink_to(secret.parent)) + f"/{secret.name}"
    ),
    "a hard link": lambda folder, secret: _made(folder / "hard", lambda path: os.link(secret, path)),
    "a pipe": lambda folder, secret: _made(folder / "pipe", os.mkfifo),
    "a device": lambda folder, secret: "/dev/zero",
    "a link to a device": lambda folder, secret: _made(
        folder / "zero", lambda path: path.symlink_to("/dev/zero")
    ),
    "a folder": lambda folder, secret: _made(folder / "inner", Path.mkdir),
    "an address": lambda folder, secret: "http://127.0.0.1:1/secret",
    "a file's address": lambda folder, secret: f"file://{secret}",
    "nothing": lambda folder, secret: "",
    "itself": lambda folder, secret: ".",
    "a drive of Windows": lambda folder, secret: "C:\\secret",
    "a name with NUL": lambda folder, secret: f"x\0/../{secret.name}",
}


def _made(path: Path, make: Callable[[Path], Any]) -> str:
    make(path)
    return path.name


@pytest.mark.parametrize("what", PLACES)
def test_weights_are_taken_from_the_models_own_folder_alone(tmp_path: Path, what: str) -> None:
    (tmp_path / "model/weights").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"\0" * 96)
    path = model(tmp_path / "model/m.onnx", PLACES[what](tmp_path / "model", tmp_path / "secret"))
    with pytest.raises(ModelUnreadable) as refused:
        onnx_file.read(path)
    assert "weights" in str(refused.value) or "null" in str(refused.value)
    with pytest.raises(EngineRefusesModel, match="its weights are to come from"):
        open_engine(EngineName.ONNXRUNTIME, path)
    with pytest.raises(ArchiveUnsafe, match="whose weights are to come from"):
        open_bundle(bundle(tmp_path / "bundle", path.read_bytes()))


def test_what_is_said_beside_the_place_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret").write_bytes(b"s" * 96)
    (tmp_path / "model/w").write_bytes(b"\0" * 96)
    for more in ({"basepath": str(tmp_path)}, {"offset": "-96"}, {"length": "-1"}, {"offset": "90"},
                 {"length": str(1 << 62)}, {"__class__": "x"}, {"__dict__": "y"}):  # fmt: skip
        try:
            read = onnx_file.read(model(tmp_path / "model/m.onnx", "w", **more))
        except ModelUnreadable:
            continue
        assert read.proto.graph.initializer[0].raw_data == b"\0" * 96, more


def hidden(where: str) -> onnx.ModelProto:
    """A model with an outside tensor where not every library looks."""
    proto = helper.make_model(helper.make_graph([], "g", [], []))
    tensor = outside("../secret")
    inner = helper.make_graph([], "inner", [], [], [tensor])
    node = helper.make_node("If", ["c"], ["y"])
    if where == "a sparse tensor":
        proto.graph.sparse_initializer.add(values=tensor)
    elif where == "indices of a sparse tensor":
        proto.graph.sparse_initializer.add(indices=tensor)
    elif where == "a constant":
        node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=tensor)
    elif where == "a list of tensors":
        node.attribute.add(name="values", type=onnx.AttributeProto.TENSORS, tensors=[tensor])
    elif where == "a branch":
        node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH, g=inner)
    elif where == "a branch in a branch":
        deep = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=inner)], "deep", [], [])
        node.attribute.add(name="branches", type=onnx.AttributeProto.GRAPHS, graphs=[deep])
    elif where == "a sparse attribute":
        node.attribute.add(name="s", type=onnx.AttributeProto.SPARSE_TENSOR).sparse_tensor.values.CopyFrom(
            tensor
        )
    elif where == "a function":
        function = proto.functions.add(name="f")
        function.node.add(op_type="Constant").attribute.add(name="value", t=tensor)
    elif where == "a default of a function":
        proto.functions.add(name="f").attribute_proto.add(name="value", t=tensor)
    elif where == "training":
        proto.training_info.add().algorithm.CopyFrom(inner)
    proto.graph.node.append(node)
    return proto


@pytest.mark.parametrize("where", [
    "a sparse tensor", "indices of a sparse tensor", "a constant", "a list of tensors", "a branch",
    "a branch in a branch", "a sparse attribute", "a function", "a default of a function", "training",
])  # fmt: skip
def test_an_outside_tensor_is_found_wherever_it_hides(tmp_path: Path, where: str) -> None:
    data = hidden(where).SerializeToString()
    assert external_places(memoryview(data)) == ["../secret"]
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelUnreadable):
        onnx_file.read(tmp_path / "m.onnx")
    with pytest.raises(EngineRefusesModel, match="its weights are to come from"):
        open_engine(EngineName.ONNXRUNTIME, tmp_path / "m.onnx")


def test_a_whole_model_names_no_other_file_and_a_cut_one_ends_by_itself(tmp_path: Path) -> None:
    whole = classifier_onnx(tmp_path / "m.onnx").read_bytes()
    assert external_places(memoryview(whole)) == []
    for length in range(len(whole)):
        with contextlib.suppress(ValueError):
            assert external_places(memoryview(whole[:length])) == []


def test_an_operator_of_a_library_that_the_file_brings_is_never_loaded(tmp_path: Path) -> None:
    proto = onnx.load(str(classifier_onnx(tmp_path / "m.onnx")))
    proto.graph.node[0].op_type, proto.graph.node[0].domain = "Evil", "evil"
    proto.opset_import.add(domain="evil", version=1)
    proto.metadata_props.add(key="custom_ops_library", value=str(tmp_path / "evil.so"))
    (tmp_path / "evil.so").write_bytes(b"\x7fELF")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(EngineRefusesModel, match="Evil"):
        open_engine(EngineName.ONNXRUNTIME, tmp_path / "m.onnx")


# --- bundles on the laptop ------------------------------------------------------------------------------------------


def bundle(folder: Path, data: bytes) -> Path:
    """A bundle around an ONNX file, whose digests are right."""
    from dataclasses import replace

    made = make_bundle(folder, behaviour="x")
    (folder / "model.tflite").unlink()
    (folder / "model.onnx").write_bytes(data)
    entries = tuple(
        replace(entry, path="model.onnx", size_bytes=len(data), sha256=digest(data))
        if entry.path == "model.tflite" else entry
        for entry in made.manifest.files
    )  # fmt: skip
    manifest = replace(made.manifest, format=ModelFormat.ONNX, model_file="model.onnx", files=entries)
    (folder / "manifest.json").write_bytes(encode(manifest))
    return folder


def good(folder: Path) -> Path:
    made = make_bundle(folder, behaviour="good")
    (folder / "manifest.json").write_bytes(made.manifest_bytes)
    return folder


def swapped(path: Path, other: Path, how: Callable[[Path, Path], None]) -> None:
    path.rename(other)
    how(path, other)


HARMS: dict[str, Callable[[Path, Path], Any]] = {
    "a file that is a link": lambda folder, out: swapped(
        folder / "report.json", out / "r", lambda path, other: path.symlink_to(other)
    ),
    "a manifest that is a link": lambda folder, out: swapped(
        folder / "manifest.json", out / "m", lambda path, other: path.symlink_to(other)
    ),
    "a pipe": lambda folder, out: swapped(
        folder / "report.json", out / "r", lambda path, other: os.mkfifo(path)
    ),
    "a manifest that is a pipe": lambda folder, out: swapped(
        folder / "manifest.json", out / "m", lambda path, other: os.mkfifo(path)
    ),
    "a link that is not listed": lambda folder, out: (folder / "x").symlink_to("/etc/passwd"),
    "a file that is not listed": lambda folder, out: (folder / "x").write_text("x"),
    "a folder that is a link": lambda folder, out: (folder / "x").symlink_to(out),
    "an endless manifest": lambda folder, out: os.truncate(folder / "manifest.json", 1 << 33),
    "a path that leaves it": lambda folder, out: (folder / "manifest.json").write_bytes(
        (folder / "manifest.json").read_bytes().replace(b'"report.json"', b'"../r.json"')
    ),
}


@pytest.mark.parametrize("what", HARMS)
def test_a_hostile_bundle_is_neither_shown_nor_published(
    edge: Edge, fleet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("EDGE_KEY_PASSPHRASE", "not asked for")
    (tmp_path / "out").mkdir()
    HARMS[what](good(tmp_path / "bundle"), tmp_path / "out")
    for arguments in (("inspect", tmp_path / "bundle"), ("publish", "digits", tmp_path / "bundle")):
        ended = edge(*arguments, "--json", folder=fleet.path)
        assert ended.code in (1, 3), ended.err
        kinds = ("artifact.archive-unsafe", "document.invalid", "document.too-large")
        assert ended.json["error"]["code"] in kinds
    with pytest.raises((ArchiveUnsafe, ContractError)):
        open_bundle(tmp_path / "bundle")
