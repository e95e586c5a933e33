"""What must hold on every tree that a power cut leaves, and at the end that the board comes to by itself.

The rule: these are the promises of the update, said of what is on the disk and of what the board answers; none of them
knows how the update process works.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent.contract.codec import digest
from agent.contract.messages import Reported
from tests.crash.model import Entry, File, Folder, Link, Tree
from tests.crash.trees import Contents, compared_as
from tests.update.world import Board, Fleet

BOARD = "board"


@dataclass(frozen=True)
class Promise:
    """What a scenario may come to.

    Attributes:
        kept: numbers of generations that must be on the board, untouched, at every moment.
        serves: numbers of generations that may be served.
        ends: state and number of `current` at an end.
        codes: what the report may say in its `code`.
        max_attempts: of the desired state.
    """

    kept: tuple[int, ...]
    serves: tuple[int, ...]
    ends: frozenset[tuple[str, int | None]]
    codes: frozenset[str | None] = frozenset({None})
    max_attempts: int = 3


def of_a_cut(tree: Tree, start: Tree, promise: Promise, *, fleet: Fleet, contents: Contents) -> list[str]:
    """What a tree that a cut left breaks."""
    broken: list[str] = []
    if BOARD not in tree:
        return broken  # wiped, and so promises nothing
    current = _linked(tree, "current")
    if current not in (_linked(start, "current"), *promise.serves):
        broken.append(f"`current` leads to generation {current}")
    for number in {one for one in (current, _linked(tree, "trial")) if one is not None}:
        broken += [f"generation {number}: {fault}" for fault in faults_of(tree, number, fleet, contents)]
    for number in promise.kept:
        broken += _touched(tree, start, number, contents)
    broken += [
        f"{path} is there by {entry.part}" for path, entry in tree.items() if _is_in_parts(path, entry)
    ]
    record = _record(tree, contents)
    if current != _linked(start, "current") and record is not None and record["current"] != current:
        broken.append(f"`current` leads to {current}, which the record does not say was confirmed")
    return broken


def of_an_end(board: Board, tree: Tree, start: Tree, promise: Promise, contents: Contents) -> list[str]:
    """What a board that has come to an end breaks. `tree`: what lies there then."""
    report = board.report  # its signature is verified
    served, current = board.served(), board.link("current")
    broken = of_a_cut(tree, start, promise, fleet=board.fleet, contents=contents)
    if (report.state.value, current) not in promise.ends:
        broken.append(f"it ended {report.state.value} with `current` {current}")
    if report.code not in promise.codes:
        broken.append(f"it says {report.code}: {report.message}")
    broken += _untrue(report, board, served)
    if report.attempts > promise.max_attempts:
        broken.append(f"{report.attempts} attempts, of at most {promise.max_attempts}")
    return broken + left_over(tree)


def nothing_there(
    _board: Board, tree: Tree, _start: Tree, _promise: Promise, _contents: Contents
) -> list[str]:
    """What a board that was wiped breaks."""
    return [f"left over: {path}" for path in tree]


def left_over(tree: Tree) -> list[str]:
    """Names that nobody needs any more."""
    ended = ("board/state/resume", "board/inbox/request", "board/inbox/request.taken")
    ours = [path for path in tree if ".new-" in path and not path.startswith("board/inbox/")]
    return [f"left over: {path}" for path in (*ours, *(path for path in ended if path in tree))]


def faults_of(tree: Tree, number: int, fleet: Fleet, contents: Contents) -> Iterator[str]:
    """Why a generation is not whole and verified."""
    document = _bytes(tree, f"{BOARD}/generations/{number}/generation.json", contents)
    if document is None:
        yield "its document is not there"
        return
    try:
        generation = json.loads(document)
        runtime = json.loads(_object(tree, generation["runtime"], contents))
    except ValueError as error:
        yield f"it can't be read: {error}"
        return
    for layer in runtime["layers"]:
        expected = _unpacked(fleet.blobs.folder / "blobs" / layer["sha256"])
        yield from _differences(tree, layer["sha256"], expected, contents)
    for model in generation["models"]:
        manifest = json.loads(_object(tree, model["bundle"], contents))
        expected = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
        yield from _differences(tree, model["bundle"], expected, contents)


def _untrue(report: Reported, board: Board, served: dict[str, object]) -> Iterator[str]:
    current = board.link("current")
    if served.get("generation") != current:
        yield f"it serves {served.get('generation')}, `current` is {current}"
    if (report.current.number if report.current else None) != current:
        yield f"the report says that {report.current and report.current.number} runs, `current` is {current}"
    if report.in_progress or report.trial or board.link("trial") is not None:
        yield "the report or a link says that a trial is in progress"
    if report.current and served.get("releases") != [model.release for model in report.current.models]:
        yield f"it serves {served.get('releases')}, the report says {report.current.title}"


def _touched(tree: Tree, start: Tree, number: int, contents: Contents) -> Iterator[str]:
    """Whether a generation and what it needs are byte for byte what they were."""
    for prefix in _parts_of(start, number, contents):
        before, now = _under(start, prefix), _under(tree, prefix)
        for path in sorted({*before, *now}):
            if before.get(path) != now.get(path):
                yield f"generation {number} was touched: {path} {before.get(path)} -> {now.get(path)}"


def _parts_of(tree: Tree, number: int, contents: Contents) -> list[str]:
    folder = f"{BOARD}/generations/{number}"
    generation = json.loads(_bytes(tree, f"{folder}/generation.json", contents) or b"{}")
    layers = json.loads(_object(tree, generation["runtime"], contents))["layers"]
    digests = [generation["runtime"], *(layer["sha256"] for layer in layers)]
    digests += [model["bundle"] for model in generation["models"]]
    return [folder, *(f"{BOARD}/objects/{one}" for one in digests)]


def _under(tree: Tree, prefix: str) -> dict[str, Entry]:
    return {path: entry for path, entry in tree.items() if path == prefix or path.startswith(prefix + "/")}


def _differences(tree: Tree, sha256: str, expected: dict[str, str], contents: Contents) -> Iterator[str]:
    prefix = f"{BOARD}/objects/{sha256}"
    if not isinstance(tree.get(prefix), Folder):
        yield f"object {sha256[:12]} is not there"
        return
    for path, wanted in expected.items():
        data = _bytes(tree, f"{prefix}/{path}", contents)
        if data is None or digest(data) != wanted:
            yield f"object {sha256[:12]}: {path} is {'missing' if data is None else 'damaged'}"


def _object(tree: Tree, sha256: str, contents: Contents) -> bytes:
    data = _bytes(tree, f"{BOARD}/objects/{sha256}/manifest.json", contents)
    if data is None or digest(data) != sha256:
        raise ValueError(f"object {sha256[:12]} is {'missing' if data is None else 'damaged'}")
    return data


@cache
def _unpacked(layer: Path) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(layer.read_bytes())) as archive:
        return {name: digest(archive.read(name)) for name in archive.namelist()}


def _bytes(tree: Tree, path: str, contents: Contents) -> bytes | None:
    entry = tree.get(path)
    return contents.of(entry) if isinstance(entry, File) else None


def _is_in_parts(path: str, entry: Entry) -> bool:
    """Whether a file has its own name before its data is on the medium. (A lock has no content.)"""
    return isinstance(entry, File) and bool(entry.part and entry.content) and compared_as(path) == path


def _linked(tree: Tree, name: str) -> int | None:
    entry = tree.get(f"{BOARD}/{name}")
    return int(entry.target.rpartition("/")[2]) if isinstance(entry, Link) else None


def _record(tree: Tree, contents: Contents) -> dict[str, object] | None:
    try:
        found: dict[str, object] = json.loads(_bytes(tree, f"{BOARD}/state/update.json", contents) or b"")
    except ValueError:
        return None
    return found
