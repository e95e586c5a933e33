"""The agent's command line. Each command imports only what it needs: those of the update need no numpy.

The rule: data goes to standard output, talk to standard error; what a user can cause ends as `error: …` and
`hint: …` with the exit code of its class, never as a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from agent.contract.errors import EdgeError, ExitCode, OptionInvalid

PARTS = (
    "agent.app",
    "agent.supervisor",
    "agent.update.commands",
    "agent.update.identity",
    "agent.update.running",
    "agent.update.verify",
)
"""What must be there on a board after its update to this runtime; the runtime before looks (`agent.update.rehearsal`)
and takes the names from here, so that modules may get other names."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        return _dispatch(options)
    except EdgeError as error:
        if getattr(options, "json", False) or options.command == "install":  # the laptop reads it
            _print({"error": error.to_plain()})
        sys.stderr.write(f"error: {error}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        return int(ExitCode.FAILED)


def _dispatch(options: argparse.Namespace) -> int:
    command: str = options.command
    if command == "measure":
        from agent.measure import measure_bundle

        _print(
            measure_bundle(
                options.bundle, inputs=options.inputs, outputs=options.outputs, repeat=options.repeat
            )
        )
        return 0
    if command == "selftest":
        from agent.contract.codec import to_plain
        from agent.measure import selftest

        folder = options.generation_folder or _generation_folder(options)
        _print(to_plain(selftest(folder, root=_root(options, folder.resolve().parent.parent))))
        return 0
    if command == "install":
        from agent import install

        return install.main(_root(options))
    if command == "bench":
        return _bench(options)
    if command == "run":
        from agent import app

        return app.main(_root(options), generation=getattr(options, "generation", None))
    if command == "supervise":
        from agent import supervisor

        return supervisor.main(_root(options))
    return _update(command, options)


def _bench(options: argparse.Namespace) -> int:
    from agent import bench
    from agent.bench.attended import until_input_ends
    from agent.bench.server import Server
    from agent.contract.codec import to_plain

    gone = until_input_ends() if options.attended else threading.Event()
    if options.way == "engine":
        from agent.bench.engine import bundle_of, engine_alone

        folder, threads = bundle_of(getattr(options, "root", None), options.bundle, options.model)
        report = engine_alone(
            folder, threads=threads, seconds=options.seconds, warm_up_s=options.warm_up, gone=gone
        )
    else:
        window = bench.Window(
            way=options.way,
            seconds=options.seconds,
            warm_up_s=options.warm_up,
            connections=options.connections,
            rate_per_s=options.rate,
            arrivals=options.arrivals,
            gone=gone,
        )
        if options.model is None:
            raise OptionInvalid(option="--model", reason="say which model is to be loaded")
        if options.probe:
            _print(to_plain(bench.probe_agent(_root(options), options.model, options.version)))
            return 0
        if options.url is not None:
            server = Server.at(options.url, _token(options.token_file), options.ca)
            report = bench.bench_server(server, options.model, options.version, window)
        else:
            report = bench.bench_agent(_root(options), options.model, options.version, window)
    _print(to_plain(report))
    return 0


def _token(file: Path | None) -> str | None:
    """Never an argument, which all users of a machine can see."""
    if file is None:
        return os.environ.get("EDGE_BENCH_TOKEN") or None
    try:
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionInvalid(option="--token-file", reason=f"`{file}` can't be read") from error
    if not token or len(token.split()) > 1:
        raise OptionInvalid(option="--token-file", reason=f"`{file}` holds no token")
    return token


def _update(command: str, options: argparse.Namespace) -> int:
    from agent.update import commands

    root = _root(options)
    if command == "apply":
        return commands.apply(root)
    if command == "recover":
        return commands.recover(root)
    if command == "status":
        return commands.status(root, options.json)
    if command == "place":
        return commands.place(root, options.place_runtime, options.inbox)
    return commands.remove(root, options.wipe)


def _root(options: argparse.Namespace, otherwise: Path | None = None) -> Path:
    root: Path | None = getattr(options, "root", None) or otherwise
    if root is None:
        raise OptionInvalid(option="--root", reason="say which board folder is meant, like --root /opt/edge")
    return root


def _generation_folder(options: argparse.Namespace) -> Path:
    number = getattr(options, "generation", None)
    if number is None:
        raise OptionInvalid(option="--generation-folder", reason="say which generation is to be measured")
    return _root(options) / "generations" / str(number)


def _print(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be above 0, at most 3600")
    return seconds


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= 1e6:
        raise argparse.ArgumentTypeError("must be above 0, at most 1000000")
    return rate


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--root", type=Path, help="the board's folder, like /opt/edge")
    common.add_argument("--generation", type=int, help="the generation to serve or to measure, by its number")
    parser = argparse.ArgumentParser(prog="edge-agent", description="The agent of edge.", parents=[common])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    add("run", "serve the models of the current generation")
    status = add("status", "what runs here, and how the last update ended")
    status.add_argument("--json", action="store_true", help="as JSON")
    selftest = add("selftest", "measure every model of a generation on its golden set; prints JSON")
    selftest.add_argument("--generation-folder", type=Path, help="`generations/<n>`; or say --generation N")
    selftest.add_argument("--json", action="store_true", help="an error goes to standard output as JSON, too")
    measure = add("measure", "run a bundle's artifact on given arrays; prints JSON")
    measure.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    measure.add_argument("--inputs", type=Path, required=True, help=".npz with `input_0`, …, engine dtype")
    measure.add_argument("--outputs", type=Path, help="where `output_0`, … are written, as .npz")
    measure.add_argument("--repeat", type=_count, default=1, help="passes over the inputs")
    measure.add_argument("--json", action="store_true", help="an error goes to standard output as JSON, too")
    bench = add("bench", "one window of load on the agent that serves here; prints JSON")
    bench.add_argument("--model", help="the model's name")
    bench.add_argument("--version", help="its version; the server's own choice unless given")
    bench.add_argument("--url", help="of another server, like http://127.0.0.1:8000")
    bench.add_argument("--token-file", type=Path, help="with --url: holds a token; else $EDGE_BENCH_TOKEN")
    bench.add_argument("--ca", type=Path, help="with --url: certificates that its own is believed by")
    bench.add_argument("--probe", action="store_true", help="no load: what one needs to load from elsewhere")
    bench.add_argument("--attended", action="store_true", help="end when standard input does")
    bench.add_argument("--bundle", type=Path, help="with --way engine: the bundle's folder")
    bench.add_argument("--way", choices=("json", "binary", "image", "engine"), default="json")
    bench.add_argument("--seconds", type=_seconds, default=5.0, help="how long (default 5)")
    bench.add_argument("--warm-up", type=_seconds, default=0.5, help="seconds before that, not counted")
    bench.add_argument("--connections", type=_count, default=1, help="clients at once (default 1)")
    bench.add_argument(
        "--rate", type=_rate, help="requests a second, whatever the answers; a closed loop unless given"
    )
    bench.add_argument("--arrivals", choices=("poisson", "constant"), default="poisson")
    bench.add_argument("--json", action="store_true", help="an error goes to standard output as JSON, too")
    add("install", "enrol this board: an InstallRequest on standard input, an Enrolment on standard output")
    place = add("place", "verify a runtime's layers and unpack them")
    place.add_argument("--runtime", dest="place_runtime", required=True, metavar="DIGEST", help="the runtime")
    place.add_argument("--inbox", type=Path, required=True, help="the folder of the uploaded files")
    add("apply", "the update: settle what was interrupted, then verify, stage, check, try, confirm or refuse")
    add("recover", "settle what an interrupted update left")
    add("supervise", "keep the agent running where there is no systemd")
    remove = add("remove", "stop the agent and take it off this board")
    remove.add_argument("--wipe", action="store_true", help="remove the board's folder, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
