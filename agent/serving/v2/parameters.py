"""What a request says of how it is to be served: until when, before whom, and in which form it wants its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.contract.errors import RequestInvalid

SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")


class Parameters(NamedTuple):
    """A request's parameters.

    Attributes:
        binary: whether the numbers of the answer go as bytes, where an output does not say it.
        timeout_us: microseconds after which the request must not be run any more; 0: no matter when.
        priority: 1 is the highest, 0 the model's default.
    """

    binary: bool = False
    timeout_us: int = 0
    priority: int = 0


DEFAULT = Parameters()
BINARY = Parameters(binary=True)


def read_parameters(found: Any, model: str) -> Parameters:
    """The parameters of a request's JSON; those that nobody knows are left alone.

    Args:
        found: as the request has them.
        model: its name, for the sentence.

    Raises:
        RequestInvalid: they are not as the protocol wants them, or a sequence is meant.
    """
    if found is None:
        return DEFAULT
    if type(found) is not dict:
        raise RequestInvalid(reason="Unable to parse 'parameters': it must be an object")
    if len(found) == 1 and found.get("binary_data_output") is True:
        return BINARY  # what Triton's clients say with each request that names no outputs
    for name in found:
        if name.startswith("triton_"):
            raise RequestInvalid(
                reason="parameter keys starting with 'triton_' are reserved for Triton usage and should not be "
                "specified."
            )
    if any(found.get(name) for name in SEQUENCES):
        raise RequestInvalid(
            reason=f"sequences are not served: model '{model}' keeps nothing from one request to the next"
        )
    binary = found.get("binary_data_output", False)
    if type(binary) is not bool:
        raise RequestInvalid(
            reason="Unable to parse 'binary_data_output': attempt to access JSON non-boolean as boolean"
        )
    return Parameters(binary, _count(found, "timeout"), _count(found, "priority"))


def _count(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name, 0)
    if type(value) is not int or value < 0:
        raise RequestInvalid(
            reason=f"Unable to parse '{name}': attempt to access JSON non-unsigned-integer as unsigned-integer"
        )
    return value
