"""What must not be taken away: every object that a generation refers to, and the runtime that the updater starts in.

The rule: when one reference can't be followed, nothing is known to be free, and nothing is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.config import read_generation
from agent.contract.codec import decode
from agent.contract.errors import ContractError, NameInvalid, StateDamaged
from agent.contract.names import check_digest
from agent.contract.runtime import RuntimeManifest
from agent.update.folder import UpdateFolder
from agent.update.objects import MANIFEST


def pinned_objects(folder: UpdateFolder, generations: Iterable[int]) -> frozenset[str]:
    """Digests of all objects that `generations` and the bootstrap runtime need.

    Raises:
        StateDamaged: something that refers to objects can't be read.
    """
    runtimes = set()
    pinned = set()
    if folder.bootstrap.is_file():
        runtimes.add(bootstrap_runtime(folder))
    for number in generations:
        generation = read_generation(folder.generation(number))
        runtimes.add(generation.runtime)
        pinned |= {model.bundle for model in generation.models}
    for digest in runtimes:
        path = folder.object(digest) / MANIFEST
        try:
            manifest = decode(RuntimeManifest, path.read_bytes())
        except (OSError, ContractError) as error:
            raise StateDamaged(path=path, reason=str(error)) from error
        pinned |= {digest, *(layer.sha256 for layer in manifest.layers)}
    return frozenset(pinned)


def bootstrap_runtime(folder: UpdateFolder) -> str:
    """Digest of the runtime that is started where there is no `current`.

    Raises:
        StateDamaged: the file does not name one.
    """
    try:
        return check_digest(folder.bootstrap.read_text(encoding="ascii").strip(), what="runtime")
    except (OSError, ValueError, NameInvalid) as error:
        raise StateDamaged(path=folder.bootstrap, reason=str(error)) from error
