"""What kind of model a file is."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from agent.contract.errors import EdgeError, ModelFormatUnknown, ModelUnreadable, TorchPickleRefused
from converters import tflite_file
from converters.source import SourceFormat, recognise
from tests.converters.small_models import classifier_onnx

REAL = {
    "resnet8_cifar10.h5": SourceFormat.KERAS_H5,
    "mnist.onnx": SourceFormat.ONNX,
    "kws_dscnn_float32.tflite": SourceFormat.TFLITE,
    "mobilenet_v1_0.25_224_float32.tflite": SourceFormat.TFLITE,
}


@pytest.mark.parametrize("name", REAL)
def test_real_models_are_recognised_by_their_content(real_models: Path, tmp_path: Path, name: str) -> None:
    nameless = tmp_path / "model"
    nameless.write_bytes((real_models / name).read_bytes())

    assert recognise(nameless) is REAL[name]


@pytest.mark.parametrize("name", REAL)
def test_a_real_model_that_was_cut_is_unreadable_at_every_length(
    real_models: Path, tmp_path: Path, name: str
) -> None:
    whole = (real_models / name).read_bytes()
    cut = tmp_path / name
    for length in (9, 20, 100, 1000, *(len(whole) * part // 13 for part in range(1, 13)), len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelUnreadable):
            recognise(cut)


def test_a_real_file_that_litert_refuses_is_unreadable_with_the_reason(real_models: Path) -> None:
    with pytest.raises(ModelUnreadable, match="quantized along axis 3 and has 1"):
        recognise(real_models / "broken_person_detect.tflite")


def test_no_flipped_byte_makes_the_tflite_reader_crash(real_models: Path, tmp_path: Path) -> None:
    whole = bytearray((real_models / "kws_dscnn_float32.tflite").read_bytes())
    random = np.random.default_rng(0)
    changed = tmp_path / "changed.tflite"
    for place in random.integers(8, len(whole), 300):
        whole[place] ^= 0xFF
        changed.write_bytes(whole)
        whole[place] ^= 0xFF
        try:
            tflite_file.read(changed)
        except ModelUnreadable:
            continue


def test_a_tflite_file_tells_its_tensors_without_tensorflow(real_models: Path) -> None:
    described = tflite_file.read(real_models / "kws_dscnn_float32.tflite")

    assert [(spec.name, spec.dtype, spec.shape) for spec in described.inputs] == [
        ("input_1", "float32", (-1, 49, 10, 1))
    ]
    assert [spec.shape for spec in described.outputs] == [(-1, 12)]
    assert described.softmax
    assert tflite_file.Operator(3, 2, "float32 int8/tensor float32 > float32") in described.operators


def test_an_onnx_model_is_recognised_and_its_cuts_are_not(tmp_path: Path) -> None:
    whole = classifier_onnx(tmp_path / "whole.onnx").read_bytes()
    assert recognise(tmp_path / "whole.onnx") is SourceFormat.ONNX

    cut = tmp_path / "cut.onnx"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        try:
            kind = recognise(cut)
        except ModelUnreadable:
            continue
        # it ends between two fields; the loader in the child is the one to refuse it
        assert kind is SourceFormat.ONNX


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("notes.txt", b"a text about a model", ModelFormatUnknown),
        ("model.tflite", b"a text about a model", ModelUnreadable),
        ("model.keras", b"a text about a model", ModelUnreadable),
        ("model.onnx", b"\xff\xff\xff\xff\xff", ModelUnreadable),
        ("model.h5", b"", ModelUnreadable),
        ("model.keras", b"PK\x03\x04 cut", ModelUnreadable),
        ("model.h5", pickle.dumps({"a": 1}), ModelFormatUnknown),
        ("model.pt", pickle.dumps({"a": 1}), TorchPickleRefused),
    ],
)
def test_what_is_no_model_is_refused(
    tmp_path: Path, name: str, content: bytes, error: type[EdgeError]
) -> None:
    file = tmp_path / name
    file.write_bytes(content)

    with pytest.raises(error):
        recognise(file)


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        (["archive/data.pkl"], TorchPickleRefused),
        (["readme.txt"], ModelFormatUnknown),
        (["serialized_exported_program.json"], ModelFormatUnknown),
    ],
)
def test_archives_without_a_model_are_refused(
    tmp_path: Path, entries: list[str], error: type[EdgeError]
) -> None:
    with pytest.raises(error):
        recognise(archive_of(tmp_path / "model.pt", entries))


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        (["schema.json", "1.npy"], SourceFormat.SKOPS),
        (["any/archive_format", "any/models/model.json"], SourceFormat.TORCH_EXPORT),
        (["any/data.pkl", "any/constants.pkl", "any/code/__torch__.py"], SourceFormat.TORCHSCRIPT),
    ],
)
def test_archives_are_recognised_by_what_is_in_them(
    tmp_path: Path, entries: list[str], kind: SourceFormat
) -> None:
    assert recognise(archive_of(tmp_path / "model", entries)) is kind


def archive_of(path: Path, entries: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for entry in entries:
            archive.writestr(entry, b"{}")
    return path


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_what_joblib_wrote_is_a_pickle(tmp_path: Path, compress: Any) -> None:
    joblib.dump({"a": list(range(100))}, tmp_path / "model.joblib", compress=compress)

    assert recognise(tmp_path / "model.joblib") is SourceFormat.PICKLE


def test_nothing_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnreadable, match="no such file"):
        recognise(tmp_path / "none.keras")
    with pytest.raises(ModelFormatUnknown, match=r"a folder without `saved_model\.pb`"):
        recognise(tmp_path)
