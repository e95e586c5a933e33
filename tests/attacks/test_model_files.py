"""Model and data files that want to run, or to read, more than a model: at the laptop's doors and on the board."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from agent.contract.errors import (
    ConvertError,
    DataUnreadable,
    ModelFormatUnknown,
    ModelHoldsCode,
    ModelNeedsTrust,
    ModelUnreadable,
    ModelUnsupported,
    TorchPickleRefused,
)
from converters import source
from converters.calibration.arrays import load
from converters.keras_code import kept_elsewhere
from converters.keras_model import KerasModel
from converters.requirements import tflite_uses
from converters.source import SourceFormat, Trust, check_trust, recognise
from converters.tflite_file import TFLiteFile
from converters.torch_code import without_code

HARMLESS = Path(__file__).parents[1] / "conversion/data/digits.keras"


@contextlib.contextmanager
def stage(name: str, target: str | None = None) -> Iterator[None]:
    """A file that is refused is refused before anything of TensorFlow is started."""
    assert name != "start TensorFlow"
    yield


def refused(path: Path) -> ConvertError:
    """The error that a Keras file ends in."""
    with pytest.raises(ConvertError) as error:
        KerasModel(path, recognise(path), stage)
    assert error.value.code
    assert str(path) in str(error.value)
    return error.value


# --- Keras ----------------------------------------------------------------------------------------------------------


def keras_file(path: Path, change: Callable[[Any], None], *, weights: bytes | None = None) -> Path:
    """The harmless model with another configuration, or other weights."""
    with zipfile.ZipFile(HARMLESS) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            new.writestr(name, weights if weights is not None and name == "model.weights.h5" else data)
    return path


def layer(class_name: str, *, module: str | None = "keras.layers", **more: Any) -> dict[str, Any]:
    return {
        "class_name": class_name,
        "module": module,
        "registered_name": None,
        "config": {"name": "x"},
        **more,
    }


CANARY = "canary"
HOSTILE_LAYERS = {
    "a Lambda": layer("Lambda"),
    "a Lambda of the old form": layer("Lambda", module=None),
    "a Lambda by its registered name": layer("Dense", registered_name="keras.layers>Lambda"),
    "a Lambda behind a package's name": layer("keras.layers>Lambda", module=None),
    "a function as bytecode": layer(
        "Dense", config={"activation": {"class_name": "__lambda__", "config": {}}}
    ),
    "a function of Python's": layer("function", module="os", config="system", registered_name="system"),
    "a class of another package": layer("Popen", module="subprocess", config={"args": ["touch", CANARY]}),
    "a module that looks like Keras": layer("Dense", module="keras_evil.layers"),
    "safe mode switched off": layer(
        "function", module="keras.config", config="enable_unsafe_deserialization"
    ),
    "a file that is fetched": layer("function", module="keras.utils", config="get_file"),
    "another model that is loaded": layer(
        "function", module="keras.src.saving.saving_api", config="load_model"
    ),
    "a SavedModel in a layer": layer("TFSMLayer", config={"filepath": "/tmp/evil"}),
    "a function of JAX": layer("JaxLayer"),
    "a module of PyTorch": layer("TorchModuleWrapper"),
    "a vocabulary that is a file": layer("StringLookup", config={"vocabulary": "/etc/passwd"}),
    "a vocabulary that is an address": layer("TextVectorization", config={"vocabulary": "gs://bucket/x"}),
}


@pytest.mark.parametrize("what", HOSTILE_LAYERS)
def test_a_keras_file_that_carries_code_is_refused_before_tensorflow_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = HOSTILE_LAYERS[what]
    for number, change in enumerate(
        (
            lambda config: config["config"]["layers"].append(hostile),
            lambda config: config["config"]["layers"][1]["config"].update(kernel_initializer=hostile),
            lambda config: config["config"]["layers"].append(
                layer("TimeDistributed", config={"layer": hostile})
            ),
            lambda config: config["config"]["layers"].append(
                layer("Functional", config={"layers": [hostile]})
            ),
            lambda config: config.update(compile_config={"loss": hostile}),
        )
    ):
        assert isinstance(refused(keras_file(tmp_path / f"{number}.keras", change)), ModelHoldsCode)
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            config = json.loads(zipfile.ZipFile(tmp_path / f"{number}.keras").read("config.json"))
            file.attrs["model_config"] = json.dumps(config)
        assert isinstance(refused(tmp_path / f"{number}.h5"), ModelHoldsCode)
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_the_lambda_layers_of_real_keras_files_are_refused(name: str) -> None:
    assert isinstance(refused(HARMLESS.with_name(name)), ModelHoldsCode)


def test_a_harmless_keras_file_comes_as_far_as_tensorflow() -> None:
    for path in [*sorted(HARMLESS.parent.glob("[dr]*.keras")), HARMLESS.with_suffix(".h5")]:
        with pytest.raises(AssertionError, match="TensorFlow"):
            KerasModel(path, recognise(path), stage)


def weights(path: Path, kind: str, secret: Path) -> Path:
    """Weights of which one lies in another file."""
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        if kind == "an external link":
            group["0"] = h5py.ExternalLink(str(secret), "/x")
        elif kind == "a soft link":
            group["0"] = h5py.SoftLink("/elsewhere")
        elif kind == "external storage":
            group.create_dataset("0", (8,), "u1", external=[(str(secret), 0, 8)])
        else:
            layout = h5py.VirtualLayout((8,), "u1")
            layout[:] = h5py.VirtualSource(str(secret), "x", (8,))
            group.create_virtual_dataset("0", layout)
    return path


@pytest.mark.parametrize("kind", ["an external link", "a soft link", "external storage", "a virtual dataset"])
def test_weights_that_hdf5_keeps_in_another_file_are_not_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_bytes(b"a secret")
    path = weights(tmp_path / "w.h5", kind, tmp_path / "secret")
    assert kept_elsewhere(path, SourceFormat.KERAS_H5) == "/layers/dense/vars/0"
    whole = keras_file(tmp_path / "m.keras", lambda _: None, weights=path.read_bytes())
    assert "kept in another file" in str(refused(whole))
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = zipfile.ZipFile(HARMLESS).read("config.json").decode()
    assert "kept in another file" in str(refused(path))


def test_a_keras_archive_that_is_a_bomb_or_says_a_thing_twice_is_refused_unopened(tmp_path: Path) -> None:
    for what, entries in {
        "unpacks to more": [("config.json", 2), ("model.weights.h5", source.MOST_UNPACKED_BYTES)],
        "configuration is longer": [("config.json", source.MOST_CONFIG_BYTES + 1), ("model.weights.h5", 2)],
        "a file twice": [("config.json", 2), ("model.weights.h5", 2), ("config.json", 2)],
    }.items():
        archive_of_lengths(tmp_path / "m.keras", entries)
        with pytest.raises(ModelUnreadable, match=what):
            recognise(tmp_path / "m.keras")


def archive_of_lengths(path: Path, entries: list[tuple[str, int]]) -> None:
    """A zip whose directory says how long its files are, unpacked, whatever they hold."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, length in entries:
            archive.writestr(name, b"{}")
            archive.infolist()[-1].file_size = length


# --- pickles, in whatever they come ---------------------------------------------------------------------------------


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def pickled(folder: Path) -> dict[str, Path]:
    """Files of other libraries with a pickle in them, by their names."""
    data = pickle.dumps(Canary(folder / CANARY))
    torch = io.BytesIO()
    with zipfile.ZipFile(torch, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3")
    script = io.BytesIO(torch.getvalue())
    with zipfile.ZipFile(script, "a") as archive:
        archive.writestr("archive/constants.pkl", data)
        archive.writestr("archive/code/__torch__.py", "import os")
    objects = np.array([Canary(folder / CANARY)], dtype=object)
    np.save(folder / "object.npy", objects, allow_pickle=True)
    np.savez(folder / "object.npz", x=objects, allow_pickle=True)
    for name in ("model.pth", "model.joblib", "model.keras", "model.onnx", "plain.npy", "plain.npz"):
        (folder / name).write_bytes(data)
    for name in ("model.pt", "disguised.keras"):
        (folder / name).write_bytes(torch.getvalue())
    (folder / "script.pt").write_bytes(script.getvalue())
    return {path.name: path for path in folder.iterdir()}


def test_no_pickle_is_ever_read(tmp_path: Path) -> None:
    files = pickled(tmp_path)
    for name in ("model.keras", "model.onnx"):
        with pytest.raises(ModelFormatUnknown, match="which runs code when it is read"):
            recognise(files[name])
    for name in ("model.pt", "model.pth", "disguised.keras"):
        with pytest.raises(TorchPickleRefused, match="it runs code when it is read"):
            recognise(files[name])
    for name, option in (("model.joblib", "--trust-pickle"), ("script.pt", "--trust-code")):
        other = Trust(code=option == "--trust-pickle", pickle=option == "--trust-code")
        for trust in (Trust(), other):
            with pytest.raises(ModelNeedsTrust) as error:
                check_trust(files[name], recognise(files[name]), trust)
            assert option in str(error.value.hint)
    for name in ("object.npy", "object.npz", "plain.npy", "plain.npz"):
        with pytest.raises(DataUnreadable, match="which run code when they are read"):
            load(files[name], purpose="calibration")
    assert not (tmp_path / CANARY).exists()


def test_a_saved_model_is_a_folder_without_links(tmp_path: Path) -> None:
    (tmp_path / "model/variables").mkdir(parents=True)
    (tmp_path / "model/saved_model.pb").write_bytes(b"\x08\x01")
    assert recognise(tmp_path / "model") is SourceFormat.SAVED_MODEL
    with pytest.raises(ModelFormatUnknown):
        recognise(tmp_path / "model/saved_model.pb")
    (tmp_path / "secret").write_text("a secret")
    (tmp_path / "model/variables/variables.index").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelUnreadable, match=r"variables\.index` in it is a link"):
        recognise(tmp_path / "model")


def test_operators_of_tensorflow_in_a_tflite_file_are_refused() -> None:
    flex = TFLiteFile(inputs=(), outputs=(), softmax=False, custom=("FlexWriteFile",), operators=())
    with pytest.raises(ModelUnsupported, match="FlexWriteFile"):
        tflite_uses(flex, Path("m.tflite"))


@pytest.mark.parametrize("what", ["pipe", "/dev/zero"])
def test_what_is_no_file_is_neither_model_nor_data(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.keras"
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(what)
    with pytest.raises(ModelFormatUnknown, match="no plain file"):
        recognise(path)
    with pytest.raises(DataUnreadable, match="no plain file"):
        load(path, purpose="calibration")


def test_data_that_would_not_fit_into_this_machine_are_refused_unopened(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        file.truncate(1 << 43)
    with pytest.raises(DataUnreadable, match="this machine has"):
        load(tmp_path / "x.npy", purpose="calibration")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000), }".ljust(117) + b"\n"
    (tmp_path / "y.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataUnreadable):
        load(tmp_path / "y.npy", purpose="calibration")
    archive_of_lengths(tmp_path / "bomb.npz", [("x.npy", 1 << 43)])
    with pytest.raises(DataUnreadable, match="this machine has"):
        load(tmp_path / "bomb.npz", purpose="calibration")


# --- PyTorch programs -----------------------------------------------------------------------------------------------


def exported(path: Path, *, target: str = "torch.ops.aten.relu.default", **changes: Any) -> Path:
    """A file like those of torch.export.save, as far as it is judged."""
    tree = json.dumps(
        [1, {"type": changes.pop("tree", "builtins.tuple"), "context": "null", "children_spec": []}]
    )
    program = {
        "graph_module": {
            "graph": {"nodes": [{"target": target, "inputs": []}]},
            "module_call_graph": [{"fqn": "", "signature": {"in_spec": tree, "out_spec": tree}}],
        },
        "range_constraints": {"s77": {"min_val": 1}},
        "sizes": [{"as_expr": {"expr_str": changes.pop("expression", "Max(2*s77 + 1, s5//2)")}}],
    }
    weights = {
        "config": {
            "w": {
                "path_name": "weight_0",
                "use_pickle": changes.pop("use_pickle", False),
            }
        }
    }
    files = {
        "archive_format": "pt2",
        "archive_version": "0",
        "byteorder": "little",
        ".data/serialization_id": "1",
        "models/model.json": json.dumps(program),
        "data/weights/model_weights_config.json": json.dumps(weights),
        "data/weights/weight_0": "1234",
        "data/constants/model_constants_config.json": '{"config": {}}',
        "data/sample_inputs/model.pt": "1234",
        **changes.pop("files", {}),
    }
    assert not changes
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"anything/{name}", content)
    return path


HOSTILE_PROGRAMS: dict[str, dict[str, Any]] = {
    "any function below torch": {"target": "torch.os.system"},
    "a file that is read": {"target": "torch.ops.aten.from_file.default"},
    "a library that is loaded": {"target": "torch.ops.load_library"},
    "a function that looks functions up": {"target": "_operator.attrgetter"},
    "an operator of an extension": {"target": "#evil:run"},
    "an expression that is Python": {"expression": "__import__('os').system('touch canary')"},
    "an expression with an attribute": {"expression": "s77.__class__"},
    "an expression that calls what it likes": {"expression": "exec(s77)"},
    "an expression with a string": {"expression": "Max('x', s77)"},
    "a symbol that is more than one": {"expression": "Symbol('s1', positive=exec('x'))"},
    "a weight that is a pickle": {"use_pickle": True},
    "an object that is a pickle": {"files": {"data/constants/opaque_obj_0": "x"}},
    "an object of TorchScript": {"files": {"data/constants/custom_obj_0": "x"}},
    "weights of the older kind": {"files": {"data/weights/model.pt": "x"}},
    "a second model": {"files": {"models/other.json": "{}"}},
    "compiled code": {"files": {"data/aotinductor/model/model.so": "x"}},
    "a container that imports its module": {"tree": "collections.defaultdict"},
}


@pytest.mark.parametrize("what", HOSTILE_PROGRAMS)
def test_a_pytorch_program_that_would_run_more_than_its_model_is_refused_before_pytorch_starts(
    tmp_path: Path, what: str
) -> None:
    path = exported(tmp_path / "m.pt2", **HOSTILE_PROGRAMS[what])
    assert recognise(path) is SourceFormat.TORCH_EXPORT
    with pytest.raises(ModelHoldsCode):
        without_code(path)


@pytest.mark.parametrize(
    "expression", ["Max(2*s77 + 1, s5//2)", "Mul(Integer(8), Symbol('s77', positive=True, integer=True))"]
)
def test_a_harmless_pytorch_program_is_packed_anew_with_what_was_judged_alone(
    tmp_path: Path, expression: str
) -> None:
    path = exported(tmp_path / "m.pt2", expression=expression)
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(without_code(path)) as packed:
        assert {name.partition("/")[2]: given.read(name) for name in given.namelist()} == {
            name.partition("/")[2]: packed.read(name) for name in packed.namelist()
        }
