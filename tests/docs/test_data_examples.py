"""The examples of `docs/data.md` are run: a pipeline is read, a command converts a model with the data it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent.contract.manifest import TensorSpec
from agent.transforms.inputs import prepared
from edge.bundle import open_bundle
from edge.cli.main import cli
from edge.conversion.pipeline_file import DeclaredPipeline, read_pipeline
from tests.conversion.proving import measure_here
from tests.transforms.photos import encoded
from tests.transforms.sounds import tone, wav

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
COLOURS = {"blue": (0, 0, 250), "green": (0, 250, 0), "red": (250, 0, 0)}
KINDS = ("ash", "oak")
"""An ash is higher than wide."""


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(PAGE.read_text()) if found == language]


def model(
    path: Path, shape: list[int], classes: int, nodes: list[onnx.NodeProto], **constants: np.ndarray
) -> None:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


def models() -> None:
    """`colours` scores blue, green, red; `words` high and low; `trees` height and width: an ash, an oak."""
    backwards = np.eye(3, dtype=np.float32)[::-1].copy()
    mean = helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0)
    model(Path("colours.onnx"), [1, 3, 16, 16], 3,
          [mean, helper.make_node("MatMul", ["mean", "order"], ["scores"])], order=backwards)  # fmt: skip
    # The second coefficient tells whether low or high bands are loud
    tilt = np.zeros((10, 2), np.float32)
    tilt[1] = (-1, 1)
    steps = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "tilt"], ["scores"]),
    ]
    model(Path("words.onnx"), [1, 49, 10, 1], 2, steps, tilt=tilt)
    # Of (height, width): ash, oak
    model(Path("trees.onnx"), [1, 2], 2, [helper.make_node("Identity", ["x"], ["scores"])])


def data() -> None:
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for k in range(3):
            path = Path("photos", name, f"{k}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(np.full((40 + k, 50, 3), colour, np.uint8), "JPEG"))
    for name, hertz in (("high", 3000), ("low", 200)):
        for k in range(3):
            path = Path("words", name, f"{k}.wav")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wav(tone(hertz + 10 * k)))
    kinds = random.integers(0, 2, 30)
    rows = np.stack([np.where(kinds == 0, 9, 3), np.where(kinds == 0, 3, 9)], axis=1) + random.random((30, 2))
    np.savez("trees.npz", rows=rows, kinds=kinds)
    lines = [f"{width},{KINDS[kind]},{height}\n" for (height, width), kind in zip(rows, kinds, strict=True)]
    Path("trees.csv").write_text("width,kind,height\n" + "".join(lines))
    _, words, table = blocks("toml")
    Path("words.toml").write_text(words)
    Path("trees.toml").write_text(table)
    Path("samples.py").write_text(blocks("python")[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(found)
        models()
        data()
    return found


@pytest.mark.parametrize("command", [line for text in blocks("console") for line in text.splitlines()])
def test_a_command_converts_and_judges(
    command: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    monkeypatch.setattr("edge.cli.convert.measure_for", lambda *_: measure_here)
    words = shlex.split(command.removeprefix("$ edge "))

    status = cli.main([*words[:-1], str(tmp_path / "out")], standalone_mode=False)

    assert status == 0
    bundle = open_bundle(tmp_path / "out" / "sim-onnx")
    report = bundle.path("report.json").read_text()
    assert '"accuracy": 1.0' in report
    assert '"labelled": true' in report
    if "photos" in command:
        assert bundle.path("labels.txt").read_text().split() == sorted(COLOURS)


def declared(text: str, folder: Path) -> DeclaredPipeline:
    (folder / "pipeline.toml").write_text(text)
    found = read_pipeline(folder / "pipeline.toml")
    found.check()
    return found


def test_the_pipeline_of_torchvision_is_torchvision_s(tmp_path: Path) -> None:
    steps = declared(blocks("toml")[0], tmp_path).preprocessing or ()
    grey = encoded(np.full((300, 500, 3), 116, np.uint8))

    array = prepared(grey, steps, TensorSpec("x", "float32", (1, 3, 224, 224))).array

    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    assert np.allclose(array[0, :, 0, 0], (116 / 255 - mean) / deviation, atol=1e-5)


def test_the_table_of_labels_is_one(tmp_path: Path) -> None:
    from converters.calibration.folders import survey
    from converters.calibration.source import DataKind, DataSource

    (tmp_path / "more").mkdir()
    for name in ("a.jpg", "more/b.png"):
        (tmp_path / name).touch()
    (tmp_path / "labels.csv").write_text(blocks("csv")[0])

    found = survey(DataSource(location=str(tmp_path), kind=DataKind.FOLDER), purpose="evaluation")

    assert found.classes is not None
    assert found.classes.y.tolist() == [0, 2]
