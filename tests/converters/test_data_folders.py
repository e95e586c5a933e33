"""Folders of pictures and sounds as data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract.errors import DataMismatch, DataUnreadable
from agent.contract.manifest import Step, TensorSpec
from agent.transforms.inputs import prepared
from converters.calibration import memory
from converters.calibration.data import CALIBRATION, EVALUATION, Data
from converters.calibration.read import look, read
from converters.calibration.source import DataKind, DataSource, LabelKind
from tests.transforms.photos import encoded, png, scene
from tests.transforms.sounds import RATE, tone, wav

SPEC = TensorSpec(name="pixels", dtype="float32", shape=(-1, 4, 4, 3))
STEPS = (
    Step("rgb"),
    Step("resize", {"height": 4, "width": 4, "method": "bilinear"}),
    Step("scale", {"factor": 1 / 255, "offset": 0.0}),
)
COLOURS = {"blue": (0, 0, 250), "green": (0, 250, 0), "red": (250, 0, 0)}


def picture(colour: tuple[int, int, int], kind: str = "PNG") -> bytes:
    return encoded(np.full((6, 8, 3), colour, np.uint8), kind)


def filled(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def by_class(root: Path) -> Path:
    return filled(root, {f"{name}/{k}.png": picture(of) for name, of in COLOURS.items() for k in (0, 1)})


def source(root: Path, **more: Any) -> DataSource:
    return DataSource(location=str(root), kind=DataKind.FOLDER, **{"steps": STEPS, **more})


def taken(root: Path, *, classes: int | None = 3, purpose: str = EVALUATION, **more: Any) -> Data:
    given = source(root, **more)
    return read(given, [SPEC], steps=given.steps or (), purpose=purpose, classes=classes)


def test_class_folders_are_classes_in_sorted_order(tmp_path: Path) -> None:
    data = taken(by_class(tmp_path))

    assert data.x.shape == (6, 4, 4, 3)
    assert data.x.dtype == np.float32
    assert data.x[::2, 0, 0].argmax(axis=-1).tolist() == [2, 1, 0]
    assert data.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.classes == ("blue", "green", "red")


def test_a_file_of_labels_says_the_order(tmp_path: Path) -> None:
    data = taken(by_class(tmp_path), labels=("red", "green", "blue", "grey"), classes=4)

    assert data.y.tolist() == [2, 2, 1, 1, 0, 0]
    assert data.classes == ()


def test_a_folder_that_is_no_label_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMismatch, match="folder `blue`: no such label among the 2"):
        look(source(by_class(tmp_path), labels=("red", "green")), purpose=CALIBRATION)


def test_sorted_names_must_be_one_for_each_class(tmp_path: Path) -> None:
    with pytest.raises(DataMismatch, match="names 3 classes, the model has 4"):
        taken(by_class(tmp_path), classes=4)
    assert taken(by_class(tmp_path), classes=4, purpose=CALIBRATION).samples == 6


@pytest.mark.parametrize("classes", [("0", "2"), ("red", "blue")])
def test_a_table_of_labels_tells_each_picture(tmp_path: Path, classes: tuple[str, str]) -> None:
    rows = "".join(f"{name},{of}\n" for name, of in zip(("a.png", "b/c.jpg"), classes, strict=True))
    filled(tmp_path, {
        "a.png": picture(COLOURS["red"]),
        "b/c.jpg": picture(COLOURS["blue"], "JPEG"),
        "labels.csv": f"file,class\n{rows}".encode(),
    })  # fmt: skip

    data = taken(tmp_path, labels=("red", "green", "blue"))

    assert data.y.tolist() == [0, 2]
    assert data.x[:, 0, 0].argmax(axis=-1).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("file,class\na.png,0\n", "no class for `b.png`"),
        ("file,class\na.png,0\nb.png,1\nc.png,2\n", "names `c.png`: no such file"),
        ("file,class\na.png,0\na.png,1\n", "names `a.png` twice"),
        ("file,class\na.png\n", "row 1 is not whole"),
        ("file,class,author\na.png,0,me\n", "--label-column"),
    ],
)
def test_a_table_that_does_not_tell_each_file_is_refused(tmp_path: Path, table: str, words: str) -> None:
    files = {"a.png": picture(COLOURS["red"]), "b.png": picture(COLOURS["blue"])}
    with pytest.raises((DataMismatch, DataUnreadable), match=words):
        taken(filled(tmp_path, {**files, "labels.csv": table.encode()}))


def test_pictures_alone_have_no_labels(tmp_path: Path) -> None:
    data = taken(
        filled(tmp_path, {"b.png": picture((9, 9, 9)), "a.png": picture((0, 0, 0)), ".DS_Store": b""})
    )

    assert data.y is None
    assert data.x[:, 0, 0, 0].tolist() == pytest.approx([0, 9 / 255])


def test_each_file_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    filled(by_class(tmp_path), {
        "red/2.png": b"no picture",
        "red/3.jpg": encoded(scene(), "JPEG")[:300],
        "green/notes.txt": b"",
        "blue/bomb.png": png(60_000, 60_000, b""),
    })  # fmt: skip

    with pytest.raises(DataUnreadable, match=r"4 of 10 files can't be read: .* and 1 more") as refused:
        taken(tmp_path)

    for name, why in (("blue/bomb.png", "60000 x 60000"), ("green/notes.txt", "neither"), ("red/2.png", "")):
        assert f"`{name}` (" in str(refused.value)
        assert why in str(refused.value)


def test_folders_that_hold_no_samples_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataUnreadable, match="is empty"):
        taken(tmp_path / "empty")
    mixed = filled(by_class(tmp_path / "mixed"), {"stray.png": picture((0, 0, 0))})
    with pytest.raises(DataUnreadable, match=r"`stray\.png` in it: beside folders of classes"):
        taken(mixed)
    linked = by_class(tmp_path / "linked")
    (linked / "yellow").symlink_to(mixed / "red")
    with pytest.raises(DataUnreadable, match="`yellow` is a link"):
        taken(linked)
    (mixed / "stray.png").unlink()
    (mixed / "grey").mkdir()
    with pytest.raises(DataUnreadable, match="the folder `grey` in it is empty"):
        taken(mixed)


def test_order_and_digest_are_those_of_the_names_and_contents(tmp_path: Path) -> None:
    here, there = by_class(tmp_path / "here"), tmp_path / "there"
    for name in sorted((path.relative_to(here) for path in here.rglob("*.png")), reverse=True):
        filled(there, {str(name): (here / name).read_bytes()})
        os.utime(there / name, (0, 0))

    first, second = taken(here), taken(there)
    assert first.sha256 == second.sha256
    assert np.array_equal(first.x, second.x)

    (there / "red/1.png").rename(there / "green/2.png")
    assert taken(there).sha256 != first.sha256


def test_preprocessing_is_the_agent_s_own(tmp_path: Path) -> None:
    photo = encoded(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8))

    data = taken(filled(tmp_path, {"a.jpg": photo}))

    assert np.array_equal(data.x, prepared(photo, STEPS, SPEC).array)


def test_more_than_this_machine_holds_is_told_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 2000)

    with pytest.raises(DataUnreadable, match=r"its 6 files, \[4, 4, 3\] each, take 1,152 bytes"):
        taken(by_class(tmp_path))


def test_steps_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    by_class(tmp_path)
    with pytest.raises(DataMismatch, match=r"`blue/0\.png`: .*\[1, 6, 8, 3\]"):
        taken(tmp_path, steps=STEPS[:1])
    with pytest.raises(DataMismatch, match="nothing says how"):
        look(source(tmp_path, steps=None), purpose=CALIBRATION)
    with pytest.raises(DataMismatch, match="2 inputs, a folder holds one"):
        read(source(tmp_path), [SPEC, SPEC], steps=STEPS, purpose=CALIBRATION)


def test_sounds_are_heard(tmp_path: Path) -> None:
    steps = (
        Step("waveform", {"rate": RATE, "length": 1600}),
        Step("spectrogram", {"window": 480, "hop": 320, "fft": 512, "power": 1}),
    )
    filled(
        tmp_path, {"high/a.wav": wav(tone(4000)), "low/a.wav": wav(tone(500)), "low/b.wav": wav(tone(500))}
    )
    spec = TensorSpec(name="spectrum", dtype="float32", shape=(-1, 4, 257))

    data = read(source(tmp_path, steps=steps), [spec], steps=steps, purpose=EVALUATION, classes=2)

    assert data.x.shape == (3, 4, 257)
    assert data.x[:, 0].argmax(axis=-1).tolist() == [128, 16, 16]
    assert data.y.tolist() == [0, 1, 1]
    filled(tmp_path, {"low/c.wav": wav(tone(500), rate=8000), "low/d.wav": picture((0, 0, 0))})
    with pytest.raises(DataUnreadable, match=r"2 of 5 files .*`low/c\.wav` \(.*8000 samples a second"):
        read(source(tmp_path, steps=steps), [spec], steps=steps, purpose=EVALUATION, classes=2)


def boxed(root: Path, table: str, **more: Any) -> np.ndarray:
    files = {"a.png": picture((0, 0, 0)), "b.png": picture((0, 0, 0))}
    rows = f"file,class,left,top,right,bottom\n{table}".encode()
    y = taken(filled(root, {**files, "labels.csv": rows}), label_kind=LabelKind.BOXES, **more).y
    assert y is not None
    return y


def test_true_boxes_move_with_their_picture(tmp_path: Path) -> None:
    table = "a.png,1,2,0,8,3\na.png,0,0,0,4,6\nb.png\n"

    assert boxed(tmp_path, table).tolist() == [
        [[1, 1, 0, 4, 2], [0, 0, 0, 2, 4]],  # 8 × 6 pixels became 4 × 4
        [[-1] * 5, [-1] * 5],
    ]


def test_what_lies_beside_the_crop_is_no_box_any_more(tmp_path: Path) -> None:
    middle = Step("crop", {"height": 4, "width": 4, "part": 4 / 6})
    steps = (*STEPS[:1], middle, *STEPS[1:])

    y = boxed(tmp_path, "a.png,1,2,1,6,5\na.png,1,0,0,2,6\nb.png\n", steps=steps)
    assert y[0].tolist() == [[1, 0, 0, 4, 4]]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("a.png,1,2,0,8,3\n", r"no row for `b\.png`"),
        ("a.png\nb.png\nc.png\n", r"names `c\.png`: no such file"),
        ("a.png,1,8,0,2,3\nb.png\n", r"row 1 is no box: a\.png, 1, 8, 0, 2, 3"),
        ("a.png,1,2,0,8\nb.png\n", "row 1 is no box"),
        ("a.png,1,2,0,nan,3\nb.png\n", "row 1 is no box"),
        ("a.png,1,left,0,8,3\nb.png\n", "row 1 is no box: a.png, 1, left"),
        ("a.png,1,2,0,inf,3\nb.png\n", "row 1 is no box"),
        ("a.png,1,2,0,8,3,9\nb.png\n", "row 1 is no box"),
        ("a.png,cat,2,0,8,3\nb.png\n", "holds the class `cat`"),
        ("a.png,-1,2,0,8,3\nb.png\n", "holds the class `-1`"),
    ],
)
def test_a_table_that_tells_no_boxes_is_refused(tmp_path: Path, table: str, words: str) -> None:
    with pytest.raises((DataMismatch, DataUnreadable), match=words):
        boxed(tmp_path, table)


def test_columns_of_a_table_of_boxes_are_found_by_their_names(tmp_path: Path) -> None:
    other = "\ufefftop,left, bottom,right,class,file\r\n0,2,3,8,1, a.png\r\n,,,,,b.png\r\n"
    files = {"a.png": picture((0, 0, 0)), "b.png": picture((0, 0, 0)), "labels.csv": other.encode()}

    y = taken(filled(tmp_path, files), label_kind=LabelKind.BOXES).y
    assert y is not None
    assert y.tolist() == [[[1, 1, 0, 4, 2]], [[-1] * 5]]

    (tmp_path / "labels.csv").write_text("file,class,x,y,w,h\na.png,1,0,0,3,3\nb.png,,,,,\n")
    with pytest.raises(DataUnreadable, match="its columns are file, class, x, y, w, h"):
        taken(tmp_path, label_kind=LabelKind.BOXES)


def test_a_class_of_a_box_is_one_of_the_labels(tmp_path: Path) -> None:
    assert boxed(tmp_path, "a.png,red,2,0,8,3\nb.png\n", labels=("blue", "red"))[0, 0, 0] == 1
    with pytest.raises(DataMismatch, match="holds the class 5"):
        boxed(tmp_path, "a.png,5,2,0,8,3\nb.png\n", labels=("blue", "red"))
