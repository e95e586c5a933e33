"""The model of a file system, by what must hold of any file system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.update.files import Files
from tests.crash import recording
from tests.crash.model import Cut, Disk, File, Folder, Impossible, Link
from tests.crash.trees import Contents, scan

QUICK = settings(max_examples=40)
NAMES = ("a", "b", "c")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
START = {"a": Folder(0o755), "a/b": File("old", 0o644), "c": Link("a")}


@st.composite
def operations(draw: st.DrawFn) -> dict[str, Any]:
    op = draw(
        st.sampled_from(
            ["write", "sync", "sync_folder", "rename", "symlink", "unlink", "mkdir", "rmdir", "chmod"]
        )
    )
    more: dict[str, Any] = {
        "write": {"content": draw(st.sampled_from(["x", "y"])), "mode": 0o644},
        "rename": {"to": draw(PATHS)},
        "symlink": {"target": "a"},
        "mkdir": {"mode": 0o755},
        "chmod": {"mode": 0o500},
    }.get(op, {})
    return {"op": op, "path": draw(PATHS), **more}


def done(log: list[dict[str, Any]]) -> Disk:
    """A disk after those operations of `log` that are possible."""
    disk = Disk(START)
    for operation in log:
        try:
            disk.do(operation)
        except Impossible:
            continue
    return disk


@QUICK
@given(st.lists(operations(), max_size=12))
def test_torn_and_zero_have_the_names_of_clean(log: list[dict[str, Any]]) -> None:
    disk = done(log)
    assert disk.after(Cut.TORN).keys() == disk.after(Cut.ZERO).keys() == disk.after(Cut.CLEAN).keys()


@QUICK
@given(st.lists(operations(), max_size=12))
def test_what_is_lost_was_never_there_or_is_told_as_unsynced(log: list[dict[str, Any]]) -> None:
    disk = done(log)
    clean, lost = disk.after(Cut.CLEAN), disk.after(Cut.LOST)
    if not disk.unsynced():
        assert clean == lost
    if clean.keys() - lost.keys():
        assert any(line.startswith("name ") for line in disk.unsynced())


@QUICK
@given(st.lists(operations(), max_size=12))
def test_when_all_is_synced_a_cut_takes_nothing(log: list[dict[str, Any]]) -> None:
    disk = done(log)
    tree = disk.after(Cut.CLEAN)
    for path, entry in tree.items():
        if not isinstance(entry, Link):
            disk.do({"op": "sync_folder" if isinstance(entry, Folder) else "sync", "path": path})
    disk.do({"op": "sync_folder", "path": "."})
    assert disk.unsynced() == []
    assert all(disk.after(cut) == tree for cut in Cut)


@QUICK
@given(st.lists(operations(), max_size=12))
def test_a_cut_board_begins_with_what_is_durable(log: list[dict[str, Any]]) -> None:
    lost = done(log).after(Cut.LOST)
    again = Disk(lost)
    assert all(again.after(cut) == lost for cut in Cut)


@QUICK
@given(st.lists(operations(), max_size=10))
def test_clean_is_what_a_real_disk_holds(tmp_path_factory: Any, log: list[dict[str, Any]]) -> None:
    base: Path = tmp_path_factory.mktemp("model") / "base"
    base.mkdir()
    files = recording.recorded(Files, base.parent / "log", base)
    for operation in log:
        path = base / operation["path"]
        try:
            _do(files, operation, path, base)
        except OSError:
            continue
    contents = Contents(base.parent / "contents")
    disk = Disk({})
    log_file = base.parent / "log" / recording.LOG
    for line in recording.lines(log_file):
        disk.do(line)
    assert disk.after(Cut.CLEAN) == scan(base, contents)


def _do(files: Any, operation: dict[str, Any], path: Path, base: Path) -> None:
    name = operation["op"]
    if name == "write":
        files.write(path, [operation["content"].encode()], mode=operation["mode"])
    elif name == "rename":
        files.rename(path, base / operation["to"])
    elif name == "symlink":
        files.symlink(path, operation["target"])
    elif name == "mkdir":
        files.mkdir(path, mode=operation["mode"])
    elif name == "chmod":
        files.chmod(path, operation["mode"])
    else:
        getattr(files, name)(path)


def test_data_without_a_sync_is_torn_or_empty_and_a_name_without_one_is_lost() -> None:
    disk = Disk({"a": Folder(0o755), "a/b": File("old", 0o644)})
    disk.do({"op": "write", "path": "a/n", "content": "new", "mode": 0o600})
    disk.do({"op": "rename", "path": "a/n", "to": "a/b"})
    assert disk.after(Cut.CLEAN)["a/b"] == File("new", 0o600)
    assert disk.after(Cut.TORN)["a/b"] == File("new", 0o600, "half")
    assert disk.after(Cut.ZERO)["a/b"] == File("new", 0o600, "zero")
    assert disk.after(Cut.LOST)["a/b"] == File("old", 0o644)
    disk.do({"op": "sync_folder", "path": "a"})
    assert disk.after(Cut.LOST)["a/b"] == File("new", 0o600, "zero"), "the name is durable, its data is not"
