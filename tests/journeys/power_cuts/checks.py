"""What must hold on a board that came back: each sentence that this module returns is a broken promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.contract.codec import encode, from_plain
from agent.contract.errors import FileMissing
from agent.contract.messages import Reported
from agent.contract.release import DesiredState, Generation
from tests.journeys.power_cuts.fleet import REFUSED, Fleet


@dataclass(frozen=True)
class Found:
    """A board that came back: what lies there (see `onboard_look`), its verified report, what it ran and was asked."""

    look: dict[str, Any]
    reported: Reported
    before: Generation
    desired: DesiredState

    @property
    def arrived(self) -> bool:
        """Whether the board acted on the request."""
        return bool(self.look["record"]["counter"] == self.desired.counter)

    @property
    def good(self) -> bool:
        """Whether what was asked for is to be confirmed."""
        return self.desired.generation.models[0].release != f"digits@{REFUSED}"

    @property
    def expected(self) -> Generation:
        """What must be current."""
        return self.desired.generation if self.arrived and self.good else self.before

    @property
    def end(self) -> str:
        """For people."""
        if not self.arrived:
            return "not asked"
        return f"{self.reported.state.value}{f' ({self.reported.code})' if self.reported.code else ''}"


def broken(found: Found, fleet: Fleet) -> list[str]:
    """Every promise that does not hold."""
    return [*_end(found), *_links(found), *_report(found), *_objects(found, fleet)]


def _end(found: Found) -> Iterator[str]:
    look = found.look
    if not look["settled"]:
        yield f"no end by itself: {look['record']}"
    if look["leftovers"]:
        yield f"left over: {look['leftovers']}"
    if look["failed"]:
        yield f"failed: {look['failed']}"
    if look["kernel"]:
        yield f"the file system: {look['kernel']}"
    if not found.arrived and found.reported.request == found.desired.nonce:
        yield f"what was asked for was not taken: {look['code']}: {look['message']}"
    if found.arrived:
        ends = ("confirmed",) if found.good else ("refused",)
        if look["record"]["state"] not in ends:
            yield f"ended {look['record']['state']}: {look['code']}: {look['message']}"


def _links(found: Found) -> Iterator[str]:
    look, record = found.look, found.look["record"]
    if look["trial"]:
        yield f"`trial` leads to {look['trial']}"
    if not look["current"] == record["current"] == found.expected.number:
        yield f"`current` leads to {look['current']}, record {record}, expected {found.expected.number}"
    for number in (record["current"], record["previous"]):
        if number is not None and str(number) not in look["generations"]:
            yield f"generation {number} is gone"
    there = look["generations"].get(str(look["current"]))
    if there is None or encode(from_plain(Generation, there)) != encode(found.expected):
        yield f"generation {look['current']} is not what was signed: {there}"


def _report(found: Found) -> Iterator[str]:
    reported, record = found.reported, found.look["record"]
    if reported.in_progress or reported.trial is not None:
        yield "it reports an update in progress"
    if (reported.state.value, reported.counter) != (record["state"], record["counter"]):
        yield f"it reports {reported.state.value} of {reported.counter}, its record says {record}"
    if reported.current != found.expected:
        yield f"it reports {reported.current} as current"
    if found.arrived and reported.request != found.desired.nonce:
        yield f"it reports the request {reported.request}"


def _objects(found: Found, fleet: Fleet) -> Iterator[str]:
    """Every object that is there is whole, and those of the pinned generations are there."""
    objects, repository, trees = found.look["objects"], fleet.workspace.repository, fleet.trees
    for name, held in objects.items():
        if "files" not in held:
            if "tree" in held and held["tree"] != trees.get(name):
                yield f"layer {name} does not hold what it should"
            continue
        if held["files"]["manifest.json"] != name:
            yield f"the manifest of {name} has another digest"
            continue
        try:
            entries = {entry.path: entry.sha256 for entry in repository.bundle(name).files}
        except FileMissing:
            entries = {}  # a runtime: nothing but its manifest
        if held["files"] != {**entries, "manifest.json": name}:
            yield f"object {name} does not hold what it should: {held['files']}"
    for generation in found.look["generations"].values():
        runtime = generation["runtime"]
        needed = {runtime, *(model["bundle"] for model in generation["models"])}
        needed |= {layer.sha256 for layer in repository.runtime(runtime).layers}
        if missing := needed - set(objects):
            yield f"generation {generation['number']} lacks {missing}"
