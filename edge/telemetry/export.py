"""Samples to a file: Parquet, CSV or JSON lines, by its ending.

The rule: a file is there whole or not at all, and no more of it is in memory than one group of rows.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from agent.contract.errors import ExtraMissing, OptionInvalid
from converters.extras import EXTRAS, installed
from edge import durable
from edge.telemetry import flat
from edge.telemetry.records import StoredSample

GROUP_ROWS = 10_000

Write = Callable[[Iterable[dict[str, Any]]], None]


def export(samples: Iterable[StoredSample], path: Path, *, names: Mapping[str, str]) -> int:
    """Write samples to `path`, replacing what is there. Returns the number of rows, one a sample and model.

    Args:
        samples: as `query.samples` gives them.
        path: its ending says the form.
        names: of boards, by id; a board without one goes by its id.

    Raises:
        OptionInvalid: its ending is none that is known.
        ExtraMissing: Parquet without pyarrow.
    """
    opened = FORMS.get(path.suffix)
    if opened is None:
        raise OptionInvalid(option=str(path), reason=f"it must end in {', '.join(FORMS)}")
    if path.suffix == ".parquet" and not installed("pyarrow"):
        raise ExtraMissing(package="pyarrow", extra=EXTRAS["pyarrow"])
    rows = (row for sample in samples for row in flat.rows(sample, names.get(sample.device, sample.device)))
    count = 0
    temporary = path.with_name(f"{durable.PREFIX}{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file, opened(file) as write:
            while group := list(itertools.islice(rows, GROUP_ROWS)):
                write(group)
                count += len(group)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


@contextlib.contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Write]:
    import pyarrow as arrow
    from pyarrow import parquet

    kinds = {
        flat.TEXT: arrow.string(), flat.WHOLE: arrow.int64(), flat.NUMBER: arrow.float64(),
        flat.COUNTS: arrow.map_(arrow.string(), arrow.int64()),
    }  # fmt: skip
    schema = arrow.schema([(column, kinds[kind]) for column, kind in flat.COLUMNS.items()])
    counts = [column for column, kind in flat.COLUMNS.items() if kind == flat.COUNTS]
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:

        def write(rows: Iterable[dict[str, Any]]) -> None:
            pairs = [{**row, **{c: row[c] and list(row[c].items()) for c in counts}} for row in rows]
            writer.write_table(arrow.Table.from_pylist(pairs, schema=schema))

        yield write


@contextlib.contextmanager
def _csv(file: IO[bytes]) -> Iterator[Write]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, list(flat.COLUMNS))
    writer.writeheader()

    def write(rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            writer.writerow({c: json.dumps(v) if isinstance(v, dict) else v for c, v in row.items()})

    yield write
    text.flush()
    text.detach()


@contextlib.contextmanager
def _json_lines(file: IO[bytes]) -> Iterator[Write]:
    def write(rows: Iterable[dict[str, Any]]) -> None:
        file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)

    yield write


FORMS: dict[str, Callable[[IO[bytes]], contextlib.AbstractContextManager[Write]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _json_lines,
}
