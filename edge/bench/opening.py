"""From words of the command line to subjects: what is meant, where it is, and whether it can be measured honestly.

The rule: all subjects of one run are measured in the same way. Through a board's agent only what it serves can be
loaded; the engine alone runs any bundle that there is an engine for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import BoardNotFlashed, OptionInvalid
from agent.contract.manifest import EngineName
from agent.contract.names import is_release, parse_release
from agent.contract.release import GenerationModel
from edge.bench import bundles
from edge.bench.over_mqtt import ThroughBroker
from edge.bench.subject import ATTENDED, Ended, Generator, Run, Subject, run_here
from edge.bench.window import ENGINE, MQTT
from edge.bundle import MANIFEST, open_bundle
from edge.fleet.connection import Board
from edge.fleet.session import Limits
from edge.progress import Progress
from edge.rollouts.boards import board_state, launcher
from edge.rollouts.choice import bundle_for
from edge.rollouts.workspace import Workspace
from edge.runtimes.proof import proof_environment

SCHEMES = ("http://", "https://")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks for.

    Attributes:
        what: releases, names of models, folders of bundles, or URLs.
        boards: where, by their names; none is this machine.
        way: of `edge.bench.window.WAYS`.
        model: of a URL, or of boards where nothing else says it. profile: whose bundle of a release.
        token_file, ca_file: of URLs: holds the token, and the certificates that theirs are believed by.
    """

    what: tuple[str, ...]
    boards: tuple[str, ...]
    way: str
    model: str | None = None
    profile: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None


@contextmanager
def opened(asked: Asked, find: Callable[[], Workspace], progress: Progress) -> Iterator[list[Subject]]:
    """The subjects, for as long as the context lasts; what was brought to a board goes with it.

    Args:
        asked: what is meant.
        find: the workspace; called only where a fleet folder is needed.
        progress: is told of what takes time.

    Raises:
        OptionInvalid: it can't be measured like that; the sentence says how it can.
        EdgeError: a board, a release or a bundle is not there, or not as it should be.
    """
    urls = [word for word in asked.what if word.startswith(SCHEMES)]
    if urls and (len(urls) < len(asked.what) or asked.boards):
        raise OptionInvalid(option="edge bench", reason="a URL is measured beside URLs alone, without --on")
    if not urls and (asked.token_file or asked.ca_file):
        raise OptionInvalid(
            option="--token-file, --ca", reason="a board is reached by SSH: they are for URLs"
        )
    with ExitStack() as stack:
        if urls:
            yield [_url(url, asked) for url in urls]
        elif asked.boards:
            workspace = find()
            yield [
                subject
                for name in asked.boards
                for subject in _on_board(name, asked, workspace, progress, stack)
            ]
        else:
            yield [_here(word, asked, find, progress, stack) for word in _given(asked)]


def _url(url: str, asked: Asked) -> Subject:
    if asked.model is None:
        raise OptionInvalid(option="--model", reason=f"say which model of {url} is meant")
    if asked.way == ENGINE:
        raise OptionInvalid(option="--way", reason="a server's engine can't be run without the server")
    if asked.way == MQTT:
        raise OptionInvalid(option="--way", reason="over MQTT a board of the fleet is asked: say --on BOARD")
    arguments = ["--url", url, "--model", asked.model]
    if asked.token_file is not None:
        arguments += ["--token-file", str(asked.token_file.absolute())]
    if asked.ca_file is not None:
        arguments += ["--ca", str(asked.ca_file.absolute())]
    title = f"{asked.model} at {url}"
    return Subject(title=title, measure=Generator(place=url, arguments=tuple(arguments), run=run_here))


# --- this machine


def _given(asked: Asked) -> Sequence[str]:
    if not asked.what:
        raise OptionInvalid(
            option="edge bench", reason="say what: a release, a bundle's folder, a URL, or --on BOARD"
        )
    if asked.way != ENGINE:
        raise OptionInvalid(
            option="--way", reason="on this machine the engine runs alone: say --way engine, or --on BOARD"
        )
    return asked.what


def _here(
    word: str, asked: Asked, find: Callable[[], Workspace], progress: Progress, stack: ExitStack
) -> Subject:
    """The engine alone in the proof environment: what boards run, on this machine's processor."""
    folder = _folder(word, asked, find, stack, None)
    needs = open_bundle(folder).manifest.requires.engines
    environment = proof_environment(EngineName(next(iter(needs))), progress=progress)

    def run(arguments: Sequence[str], timeout_s: float) -> Ended:
        done = environment.run(arguments, timeout_s)
        return Ended(done.returncode, done.stdout, done.stderr)

    measure = Generator(place="this machine", arguments=("--bundle", str(folder)), run=run)
    return Subject(title=f"{word} here", measure=measure)


def _folder(
    word: str, asked: Asked, find: Callable[[], Workspace], stack: ExitStack, digest: str | None
) -> Path:
    """The folder of the bundle that is meant, verified. `digest`: of a release's bundle, where it is known."""
    if not is_release(word):
        return open_bundle(Path(word)).folder.resolve()
    workspace = find()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-bench-")))
    chosen = digest or bundles.chosen(workspace.repository.release(word), asked.profile)
    bundles.unpack(workspace, chosen, folder)
    return folder


# --- a board


def _on_board(
    name: str, asked: Asked, workspace: Workspace, progress: Progress, stack: ExitStack
) -> Iterator[Subject]:
    device = workspace.inventory.get(name)
    reported = board_state(workspace, name).reported
    if device.root is None or reported is None or reported.current is None or not reported.current.models:
        raise BoardNotFlashed(device=name)
    served = reported.current.models
    board, launch = stack.enter_context(launcher(workspace, name))
    run = _over_ssh(board, launch)
    for word in asked.what or (asked.model or served[0].release,):
        model = _served(word, served)
        if asked.way != ENGINE:
            if model is None:
                raise OptionInvalid(option=word, reason=_unserved(word, name, served))
            arguments: tuple[str, ...] = ("--model", model.name)
            if sum(other.name == model.name for other in served) > 1:
                if asked.way == MQTT:
                    reason = "over MQTT a model's own choice among its versions answers, and it has several"
                    raise OptionInvalid(option=word, reason=reason)
                arguments += ("--version", str(parse_release(model.release)[1]))
        elif model is not None:
            arguments = ("--bundle", f"{device.root}/objects/{model.bundle}")
        else:
            digest = None
            if is_release(word) and asked.profile is None and device.profile is not None:
                release = workspace.repository.release(word)
                digest = bundle_for(release, workspace.profile(device.profile))
            folder = _folder(word, asked, lambda: workspace, stack, digest)
            there = stack.enter_context(bundles.on_board(board, folder))
            progress.step(f"{word}: its bundle is on {name} for this test")
            arguments = ("--bundle", there)
        title = model.release if model is not None else word
        generator = Generator(place=name, arguments=arguments, run=run)
        through = ThroughBroker(fleet=workspace.folder, device_id=device.device_id, board=generator)
        yield Subject(title=f"{title} on {name}", measure=through if asked.way == MQTT else generator)


def _served(word: str, served: Sequence[GenerationModel]) -> GenerationModel | None:
    """The model of a board that a word means: its release, or its name."""
    return next((model for model in served if word in (model.release, model.name)), None)


def _unserved(word: str, board: str, served: Sequence[GenerationModel]) -> str:
    there = ", ".join(model.release for model in served)
    if is_release(word) or (Path(word) / MANIFEST).is_file():
        return f"`{board}` serves {there}; what it does not serve can be run there with --way engine"
    return f"`{board}` serves {there}"


def _over_ssh(board: Board, launch: Sequence[str]) -> Run:
    def run(arguments: Sequence[str], timeout_s: float) -> Ended:
        ended = board.stream(
            [*launch, *arguments, ATTENDED],
            limits=Limits(whole_s=timeout_s),
            doing="the load test",
            attended=True,
        )
        return Ended(
            ended.status,
            ended.stdout.decode(errors="replace"),
            ended.stderr.decode(errors="replace"),
            ended.interrupted,
        )

    return run
