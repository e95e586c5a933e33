"""The golden files: what each document looks like on the wire in contract 1.

They change by hand only, since boards that were flashed before can't change:

    python -m tests.contract.golden --write
"""

from __future__ import annotations

import sys
from pathlib import Path

from agent.contract import CONTRACT
from agent.contract.codec import encode
from tests.contract.catalogue import DOCUMENTS
from tests.contract.samples import sample

FOLDER = Path(__file__).parent / "golden" / f"v{CONTRACT}"


def path_of(kind: type) -> Path:
    """Where the golden file of a document lies."""
    return FOLDER / f"{kind.__name__}.json"


def main(arguments: list[str]) -> int:
    """Write the golden files anew."""
    if arguments != ["--write"]:
        print(__doc__)
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    for kind in DOCUMENTS:
        path_of(kind).write_bytes(encode(sample(kind)))
    print(f"wrote {len(DOCUMENTS)} files to {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
