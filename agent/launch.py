"""Starts the agent in the runtime that the board's links name: copied to `<root>/bin/launch.py` at enrolment.

    python3 -I <root>/bin/launch.py [--root R] [--runtime DIGEST | --generation N] COMMAND ARGS...

The rule: this file is standard library only, imports nothing of `agent` before the runtime's layers are on
`sys.path`, and no update ever changes it; so it knows as little as it can. What it reads is JSON that the update
process has verified. The runtime is, in this order: `--runtime`; that of `generations/N` for `--generation N`;
for `run` that of the link `trial` where there is one; that of the link `current`; the digest in `bootstrap`.
Packages of the system's own Python are taken off the path: what runs is what was verified, and nothing else.
"""

from __future__ import annotations

import json
import os
import sys

DIGEST_LENGTH = 64


class LaunchFailed(Exception):
    """Nothing can be started; the message says why."""


def main(arguments: list[str]) -> int:
    """Find the runtime, put its layers on the path, and hand over to the agent in this process.

    Args:
        arguments: without the program's name.

    Returns:
        The agent's exit code, or 1 when no runtime could be found, 2 when the arguments are wrong.
    """
    try:
        root, runtime, generation, command = _split(arguments)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    try:
        if generation is None and runtime is None and command[0] == "run":
            generation = _linked(root)
        layers = _layers(root, runtime or _runtime(root, generation))
    except LaunchFailed as error:
        sys.stderr.write(f"error: {error}\nhint: flash the board again\n")
        return 1
    sys.path[:] = [*layers, *(path for path in sys.path if _is_standard(path))]
    from agent.__main__ import main as agent

    chosen = ["--generation", str(generation)] if generation is not None else []
    return agent(["--root", root, *chosen, *command])


def _split(arguments: list[str]) -> tuple[str, str | None, int | None, list[str]]:
    """Root, runtime digest, generation number, and what is left for the agent."""
    here = os.path.dirname(os.path.abspath(__file__))
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0] in ("--root", "--runtime", "--generation"):
        if len(rest) < 2:
            raise ValueError(f"{rest[0]} needs a value")
        options[rest[0]] = rest[1]
        del rest[:2]
    if not rest:
        raise ValueError("a command is missing: run, status, selftest, apply, ...")
    if "--runtime" in options and "--generation" in options:
        raise ValueError("--runtime and --generation exclude each other")
    number = options.get("--generation")
    if number is not None and not (number.isascii() and number.isdigit()):
        raise ValueError(f"--generation must be a number, found `{number}`")
    runtime = options.get("--runtime")
    if runtime is not None and not _is_digest(runtime):
        raise ValueError(f"--runtime must be {DIGEST_LENGTH} hexadecimal digits, found `{runtime}`")
    root = os.path.abspath(options.get("--root", os.path.dirname(here)))
    return root, runtime, None if number is None else int(number), rest


def _linked(root: str) -> int | None:
    """The number of the generation to serve: of the link `trial`, else of `current`, else None."""
    for link in ("trial", "current"):
        path = os.path.join(root, link)
        if os.path.lexists(path):
            number = os.path.basename(os.path.realpath(path))
            if not (number.isascii() and number.isdigit()):
                raise LaunchFailed(f"`{path}` leads to no generation")
            return int(number)
    return None


def _runtime(root: str, generation: int | None) -> str:
    """The digest of the runtime of a generation; without one, of `current`, and where that can't be had, of
    `bootstrap`, so that the update process can mend what is damaged."""
    if generation is not None:
        return _runtime_of(os.path.join(root, "generations", str(generation)))
    try:
        return _runtime_of(os.path.join(root, "current"))
    except LaunchFailed as reason:
        path = os.path.join(root, "bootstrap")
        try:
            with open(path, encoding="ascii") as file:
                return _checked(file.read(2 * DIGEST_LENGTH).strip(), path)
        except (OSError, UnicodeDecodeError) as error:
            raise LaunchFailed(f"no runtime to start: {reason}; {error}") from error


def _runtime_of(folder: str) -> str:
    path = os.path.join(folder, "generation.json")
    return _checked(_read_json(path).get("runtime"), path)


def _layers(root: str, digest: str) -> list[str]:
    """The folders of a runtime's layers, in their order."""
    path = os.path.join(root, "objects", digest, "manifest.json")
    layers = _read_json(path).get("layers")
    if not isinstance(layers, list) or not layers:
        raise LaunchFailed(f"`{path}` names no layers")
    folders = []
    for layer in layers:
        folder = os.path.join(
            root, "objects", _checked(isinstance(layer, dict) and layer.get("sha256"), path)
        )
        if not os.path.isdir(folder):
            raise LaunchFailed(f"runtime {digest} is not whole: the layer `{folder}` is missing")
        folders.append(folder)
    return folders


def _read_json(path: str) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise LaunchFailed(f"`{path}` can't be read: {error}") from error
    if not isinstance(document, dict):
        raise LaunchFailed(f"`{path}` is no object")
    return document


def _checked(digest: object, source: str) -> str:
    if not isinstance(digest, str) or not _is_digest(digest):
        raise LaunchFailed(f"`{source}` names no digest, but {digest!r}")
    return digest


def _is_digest(text: str) -> bool:
    return len(text) == DIGEST_LENGTH and not text.strip("0123456789abcdef")


def _is_standard(path: str) -> bool:
    """Whether `path` is of Python itself: its library, the compiled part of it, or the library as a zip."""
    library = os.path.dirname(os.path.abspath(os.__file__))
    zipped = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    return path in (library, os.path.join(library, "lib-dynload")) or os.path.basename(path) == zipped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
