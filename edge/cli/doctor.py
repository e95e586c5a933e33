"""`edge doctor`: look at everything that must be right."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from agent.contract.errors import EdgeError, ExitCode, FleetFolderMissing
from edge.cli import output
from edge.cli.expiry import WARN_DAYS, days_left, renewed_by
from edge.cli.passphrase import asker

if TYPE_CHECKING:
    from edge.rollouts.workspace import Workspace

Finding = tuple[str, str, str, str, str]
"""Where, what, `good`/`doubt`/`bad`/`note`, text, hint."""
EXTRAS = {"tensorflow": ("tensorflow-cpu", "tensorflow"), "onnx": ("onnxruntime",)}
LEAST_CACHE_BYTES = 2 * 10**9


@click.command()
@click.argument("targets", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(targets: tuple[str, ...], as_json: bool) -> int:
    """Check this machine, the fleet folder and the boards (all of them, or TARGETS).

    Exit code 1: something must be mended. 4: boards could not be reached.
    """
    from edge.rollouts.workspace import Workspace

    findings: list[Finding] = []

    def tell(found: Finding) -> None:
        findings.append(found)
        if not as_json:
            where, what, verdict, text, hint = found
            output.line(verdict, f"{where}: {what}: {text}")
            if hint and verdict != "good":
                output.talk(f"  hint: {hint}")

    for found in _machine():
        tell(found)
    unreachable = False
    try:
        workspace = Workspace.find(asker())
    except FleetFolderMissing as error:
        if targets:
            raise
        tell(("here", "fleet", "note", str(error), error.hint or ""))
    else:
        for name in targets:
            workspace.inventory.get(name)
        for found in _folder(workspace):
            tell(found)
        for found in _telemetry(workspace, targets):
            tell(found)
        for name in targets or workspace.inventory.names():
            try:
                for found in _board(workspace, name):
                    tell(found)
            except EdgeError as error:
                unreachable |= error.exit_code is ExitCode.INCOMPLETE
                verdict = "doubt" if error.exit_code is ExitCode.INCOMPLETE else "bad"
                tell((name, "connection", verdict, str(error), error.hint or ""))
    if as_json:
        keys = ("where", "what", "verdict", "text", "hint")
        output.data([dict(zip(keys, found, strict=True)) for found in findings])
    if any(found[2] == "bad" for found in findings):
        return ExitCode.FAILED
    return ExitCode.INCOMPLETE if unreachable else ExitCode.DONE


def _machine() -> Iterator[Finding]:
    from edge.config import cache_dir

    yield "this machine", "Python", "good", ".".join(str(part) for part in sys.version_info[:3]), ""
    for extra, names in EXTRAS.items():
        found = next((f"{name} {version}" for name in names if (version := _version(name))), None)
        hint = f"in the folder of edge's source: pip install '.[{extra}]'"
        yield (
            "this machine",
            extra,
            "good" if found else "note",
            found or "not installed; needed to convert",
            hint,
        )
    cache = cache_dir()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    yield (
        "this machine",
        "cache",
        "good" if free > LEAST_CACHE_BYTES else "doubt",
        f"{cache}, {output.size(free)} free",
        "runtimes and proof environments take some hundred MB each",
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _folder(workspace: Workspace) -> Iterator[Finding]:
    where = f"fleet {workspace.folder.config.fleet}"
    exposed = workspace.keys.exposed()
    names = ", ".join(path.name for path in exposed)
    yield (
        where,
        "keys",
        "bad" if exposed else "good",
        f"readable by others: {names}" if exposed else "private",
        "chmod 600 them, and think about who could have read them",
    )
    try:
        expiry = workspace.repository.expiry()
    except EdgeError as error:
        yield where, "repository", "bad", str(error), error.hint or ""
        return
    role, first = min(expiry.items(), key=lambda item: item[1])
    days = days_left(first)
    verdict = "bad" if days < 0 else "doubt" if days < WARN_DAYS else "good"
    yield (
        where,
        "repository",
        verdict,
        f"verified; {role} is the first to expire, in {days} days",
        f"run `{renewed_by(role)}`",
    )


def _telemetry(workspace: Workspace, targets: tuple[str, ...]) -> Iterator[Finding]:
    from edge.cli.telemetry_check import boards_found, broker_found, collector_found

    collector, boards = collector_found(workspace.folder)
    if not workspace.folder.config.mqtt_url:
        yield "this machine", *broker_found()
    yield f"fleet {workspace.folder.config.fleet}", *collector
    for name, found in boards_found(boards):
        if name in targets or not targets:
            yield name, *found


def _board(workspace: Workspace, name: str) -> Iterator[Finding]:
    from edge.rollouts.boards import check_device

    for check in check_device(workspace, name):
        yield name, check.name, check.verdict, check.text, check.hint
