"""What in a `.pt2` file would run when it is read, found before PyTorch is started.

The rule: a file is judged by what it says, not by PyTorch's loader, which unpickles what it can't read otherwise,
evaluates the expressions of shapes, and looks operators up by any name below `torch`. What was judged is packed
anew, and that is what the loader gets: two readers of one archive could see two things in it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.contract.errors import ModelHoldsCode, ModelUnreadable
from converters.source import SourceFormat

PARTS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)|\.format_version|models/model\.json"
    r"|data/(weights|constants)/(model_\w+_config\.json|(weight|tensor)_\d+)|data/sample_inputs/model\.pt|extra/.*"
)
"""Files that torch.export.save writes; others hold compiled code, or are read as pickles."""
OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!from_file\b|save\b)\w+\.\w+|torch\.sym_\w+|math\.(ceil|floor|trunc|pow)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|neg|mod|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|pos)"
)
"""What a node of a graph may call."""
SYMBOL = re.compile(r"[a-z]{1,4}\d+")
DECLARED = re.compile(r"Symbol\('([a-z]{1,4}\d+)'(?:, (?:positive|nonnegative|integer)=True)*\)")
"""How an open axis is written where it is declared."""
FUNCTIONS = {
    "Add", "And", "CeilToInt", "CleanDiv", "Eq", "FloorDiv", "FloorToInt", "Ge", "Gt", "IntTrueDiv", "Integer", "Le",
    "Lt", "Max", "Min", "Mod", "Mul", "Ne", "Not", "Or", "Pow", "PythonMod", "Rational", "ToFloat", "TruncToInt",
    "Where", "False", "True", "oo",
}  # fmt: skip
"""Names that an expression of a shape may hold beside its symbols."""
EXPRESSION = re.compile(r"(?:[A-Za-z_]\w*|\d+(?:\.\d+)?|[-+*/(),<>=&|~ ])*")
TREES = {None, "builtins.tuple", "builtins.list", "builtins.dict"}
"""Kinds of containers of inputs and outputs; others name modules that are imported."""


def without_code(path: Path) -> io.BytesIO:
    """The archive, judged and packed anew.

    Raises:
        ModelHoldsCode: something in it would run.
        ModelUnreadable: it is no such archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}
        documents = {name: json.loads(data) for name, data in entries.items() if name.endswith(".json")}
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelUnreadable(
            path=path, format=SourceFormat.TORCH_EXPORT.label, reason=str(error)[:300]
        ) from error
    for reason in (*_files(entries), *_documents(documents)):
        raise ModelHoldsCode(path=path, reason=reason)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(f"model/{name}", data)
    packed.seek(0)
    return packed


def _files(entries: dict[str, bytes]) -> Iterator[str]:
    for name in entries:
        if not PARTS.fullmatch(name):
            yield f"`{name}` in it, which is no part of an exported model"


def _documents(documents: dict[str, Any]) -> Iterator[str]:
    for name, document in documents.items():
        for item in _objects(document):
            if item.get("use_pickle"):
                yield f"`{item.get('path_name', name)}` in it is a pickle"
            for key, value in item.items():
                yield from _value(key, value)


def _value(key: str, value: Any) -> Iterator[str]:
    """What is wrong with one entry of a JSON object."""
    if key == "target" and isinstance(value, str) and not OPERATORS.fullmatch(value):
        yield f"a node that calls `{value}`"
    elif key == "expr_str" and not _harmless(value):
        yield f"the expression `{value}`"
    elif key in ("in_spec", "out_spec") and isinstance(value, str):
        for inner in _objects(json.loads(value)):
            if "type" in inner and inner["type"] not in TREES:
                yield f"inputs or outputs in a `{inner['type']}`"


def _harmless(expression: Any) -> bool:
    """Whether an expression is arithmetic of symbols and nothing else."""
    if not isinstance(expression, str):
        return False
    expression = DECLARED.sub(r"\1", expression)
    if not EXPRESSION.fullmatch(expression):
        return False
    names = re.findall(r"[A-Za-z_]\w*", expression)
    return all(name in FUNCTIONS or SYMBOL.fullmatch(name) for name in names)


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a document, however deep."""
    todo = [document]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            yield item
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
