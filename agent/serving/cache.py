"""Answers that are kept: the same inputs to the same model get the same answer again, without a run.

The rule: off unless the board's configuration gives it memory. A model is a function of its inputs, so an answer is
kept by the model's bundle (which names one version, to the byte) and the exact bytes, types and shapes of its inputs.
What was not asked for longest goes first; of a model that is not served any more nothing stays.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.serving.tensors import Array

    Key = tuple[str, bytes]

ENTRY_BYTES = 512
"""Of an answer beside its numbers: key, list, arrays' heads."""


class ResultCache:
    """All answers that are kept. Used by the event loop's thread.

    Args:
        limit_bytes: what they may come to together.

    Attributes:
        size_bytes: what they come to.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.size_bytes = 0
        self._limit_bytes = limit_bytes
        self._answers: OrderedDict[Key, list[Array]] = OrderedDict()

    @staticmethod
    def key(bundle: str, inputs: Sequence[Array]) -> Key:
        """What an answer of this model to these inputs is kept under."""
        whole = blake2b(digest_size=32)
        for array in inputs:
            whole.update(f"{array.dtype.str}{array.shape}".encode())
            whole.update(array.tobytes())
        return bundle, whole.digest()

    def find(self, key: Key) -> list[Array] | None:
        """The outputs that are kept under it, if there are any. They are not to be written to."""
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
        return found

    def keep(self, key: Key, outputs: Sequence[Array]) -> None:
        """Keep what a model gave, in the place of what was not asked for longest."""
        size = _size_bytes(outputs)
        if size > self._limit_bytes or key in self._answers:
            return
        while self.size_bytes + size > self._limit_bytes:
            _, dropped = self._answers.popitem(last=False)
            self.size_bytes -= _size_bytes(dropped)
        # A part of a batch would keep all of it.
        kept = [output if output.base is None else output.copy() for output in outputs]
        for output in kept:
            output.flags.writeable = False
        self._answers[key] = kept
        self.size_bytes += size

    def retain(self, bundles: Collection[str]) -> None:
        """Keep nothing but the answers of these models."""
        for key in [key for key in self._answers if key[0] not in bundles]:
            self.size_bytes -= _size_bytes(self._answers.pop(key))


def _size_bytes(outputs: Sequence[Array]) -> int:
    return ENTRY_BYTES + sum(output.nbytes for output in outputs)
