"""What in a Keras file would run, or be read from elsewhere, when the model is made.

The rule: a file is judged by what it says, before Keras sees it, and not by Keras's own safe mode, which was got
around again and again. What names a module that is not Keras's is refused: Keras would import it.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.contract.errors import ModelUnreadable
from converters.source import SourceFormat

CODE = {"Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"}
"""Layers that hold code, or load it from elsewhere."""
MODULES = {"keras", "tf_keras", "builtins"}
"""Where what a configuration names may come from; Keras imports any other module that is named."""
UNSAFE_MODULES = (
    "keras.config",
    "keras.utils",
    "keras.saving",
    "keras.src.config",
    "keras.src.utils",
    "keras.src.saving",
)
"""Functions of Keras that switch its safe mode off, fetch and unpack files, or load other models."""
FILES = {"vocabulary", "idf_weights"}
"""Parameters of preprocessing layers that are lists, or names of files to be read."""


def code_in(config: Any) -> str | None:
    """What in a configuration, however deep, would run or be read when the model is made; None where nothing would."""
    for item in objects(config):
        name, module = str(item.get("class_name", "")), str(item.get("module") or "keras")
        if name.rpartition(">")[2] in CODE or str(item.get("registered_name", "")).rpartition(">")[2] in CODE:
            return f"a {name} layer"
        if name == "__lambda__":
            return "a function saved as bytecode"
        if "class_name" in item and (
            module.partition(".")[0] not in MODULES or module.startswith(UNSAFE_MODULES)
        ):
            return f"`{name}` of the Python module `{module}`"
        for key in FILES & item.keys():
            if isinstance(item[key], str):
                return f"a layer that reads the file `{item[key]}`"
    return None


def kept_elsewhere(path: Path, kind: SourceFormat) -> str | None:
    """An object of the weights' file that is a link to another file or keeps its data there; None where none does.

    Raises:
        ModelUnreadable: it is no HDF5 file.
    """
    import h5py

    found: list[str] = []

    def look(group: Any) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            inner = group.get(name) if isinstance(link, h5py.HardLink) else None
            if inner is None or (isinstance(inner, h5py.Dataset) and (inner.external or inner.is_virtual)):
                found.append(f"{group.name.rstrip('/')}/{name}")
            elif isinstance(inner, h5py.Group):
                look(inner)

    try:
        with contextlib.ExitStack() as opened:
            source: Any = path
            if kind is SourceFormat.KERAS:
                archive = opened.enter_context(zipfile.ZipFile(path))
                source = opened.enter_context(archive.open("model.weights.h5"))
            look(opened.enter_context(h5py.File(source, "r")))
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelUnreadable(path=path, format=kind.label, reason=str(error)) from error
    return found[0] if found else None


def objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a configuration, however deep."""
    todo = [config]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            yield item
            todo.extend(item.values())
        elif isinstance(item, list | tuple):
            todo.extend(item)
