"""`edge bench`: load tests of boards, of engines alone and of other servers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.contract.errors import ExitCode, Interrupted, OptionInvalid
from edge.cli import output
from edge.cli.passphrase import asker

if TYPE_CHECKING:
    from edge.bench.knee import Knee
    from edge.bench.rounds import Rounds
    from edge.bench.subject import Subject
    from edge.bench.window import Window

ROUNDS, ROUNDS_BESIDE = 3, 6
SECONDS = click.FloatRange(0.1, 600)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


class Rates(click.ParamType[tuple[float, ...]]):
    """`10,50,100`."""

    name = "rates"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """The rates, rising."""
        try:
            rates = sorted({float(text) for text in str(value).split(",")})
        except ValueError:
            rates = []
        if not rates or not all(0 < rate <= 1e6 for rate in rates):
            self.fail(f"`{value}` is not like 10,50,100", param, ctx)
        return tuple(rates)


@click.command()
@click.argument("what", metavar="[RELEASE|MODEL|BUNDLE|URL]...", nargs=-1)
@click.option("--on", "boards", metavar="BOARD", multiple=True, help="Where; several are measured in turn.")
@click.option(
    "--way",
    type=click.Choice(["json", "binary", "image", "mqtt", "engine"]),
    help="What is sent to the agent, or the engine alone.  [default: json; engine without --on]",
)
@click.option("--model", metavar="NAME", help="Which model, of a URL.")
@click.option(
    "--token-file",
    type=FILE,
    metavar="FILE",
    help="Of a URL: holds the token that it wants.  [default: EDGE_BENCH_TOKEN of the environment]",
)
@click.option(
    "--ca",
    "ca_file",
    type=FILE,
    metavar="FILE",
    help="Of an https URL: whose certificates it is believed by, like `edge device open` says.",
)
@click.option("--for", "profile", metavar="PROFILE", help="Whose bundle of a release, for the engine alone.")
@click.option("--connections", type=click.IntRange(1, 256), help="At once.  [default: 4; 32 in an open loop]")
@click.option(
    "--rate",
    "rates",
    type=Rates(),
    help="Open loop: requests a second; several, like 10,50,100, are a sweep.",
)
@click.option("--find-rate", is_flag=True, help="Find the largest rate that keeps --p95-ms.")
@click.option(
    "--p95-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="The budget; exit code 3 where it is missed.",
)
@click.option(
    "--arrivals",
    type=click.Choice(["poisson", "constant"]),
    default="poisson",
    show_default=True,
    help="Of an open loop.",
)
@click.option("--seconds", type=SECONDS, default=3.0, show_default=True, help="Length of a window.")
@click.option(
    "--warm-up",
    "warm_up_s",
    type=SECONDS,
    default=0.5,
    show_default=True,
    help="Seconds before each, not counted.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    help=f"Windows of each.  [default: {ROUNDS}; {ROUNDS_BESIDE} side by side]",
)
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.svg", help="Draw it."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def bench(
    what: tuple[str, ...],
    boards: tuple[str, ...],
    way: str | None,
    model: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    profile: str | None,
    connections: int | None,
    rates: tuple[float, ...] | None,
    find_rate: bool,
    p95_ms: float | None,
    arrivals: str,
    seconds: float,
    warm_up_s: float,
    rounds: int | None,
    picture: Path | None,
    as_json: bool,
) -> int:
    """Load test: latency, throughput, CPU time, memory and heat.

    \b
    edge bench digits@2 --on pi                the agent of a board, loaded from the board itself
    edge bench digits@1 digits@2 --on pi       two releases side by side; --on pi-1 --on pi-2: two boards
    edge bench digits@2 --on pi --way engine   the engine alone; without --on on this machine
    edge bench http://host:8000 --model m      any server of the Open Inference Protocol, from here
    edge bench digits@2 --on pi --find-rate --p95-ms 20

    A closed loop sends when it was answered. An open loop (--rate) sends when it is time, and latency counts from
    then. docs/bench.md says what each number means. Exit code 3: --p95-ms is missed.
    """  # noqa: D301 - click's mark for lines that stay as they are
    from edge.bench.opening import SCHEMES, Asked, opened
    from edge.bench.window import ENGINE, Window
    from edge.rollouts.workspace import Workspace

    remote = bool(boards) or any(word.startswith(SCHEMES) for word in what)
    chosen = way or ("json" if remote else ENGINE)
    _check(chosen, rates, find_rate, p95_ms)
    is_open = rates is not None or find_rate
    window = Window(
        way=chosen,
        seconds=seconds,
        warm_up_s=warm_up_s,
        connections=connections or (32 if is_open else 4),
        arrivals=arrivals,
    )
    steps = output.Steps()
    asked = Asked(
        what=what,
        boards=boards,
        way=chosen,
        model=model,
        profile=profile,
        token_file=token_file,
        ca_file=ca_file,
    )
    with opened(asked, lambda: Workspace.find(asker()), steps) as subjects:
        count = rounds or (ROUNDS if len(subjects) == 1 else ROUNDS_BESIDE)
        found, knee = _measure(subjects, window, rates, p95_ms if find_rate else None, count, steps)
    return _show(found, knee, p95_ms, picture, as_json)


def _check(way: str, rates: Sequence[float] | None, find_rate: bool, p95_ms: float | None) -> None:
    if find_rate and p95_ms is None:
        raise OptionInvalid(option="--find-rate", reason="say the budget that is to be kept with --p95-ms")
    if find_rate and rates:
        raise OptionInvalid(option="--find-rate", reason="it finds the rate; --rate says it")
    if way == "engine" and (rates or find_rate):
        raise OptionInvalid(option="--rate", reason="the engine alone runs one sample after the other")


def _measure(
    subjects: Sequence[Subject],
    window: Window,
    rates: Sequence[float] | None,
    find_within_ms: float | None,
    rounds: int,
    steps: output.Steps,
) -> tuple[Rounds, Knee | None]:
    from edge.bench.finding import find
    from edge.bench.rounds import measure_rounds

    if find_within_ms is not None:
        if len(subjects) > 1:
            raise OptionInvalid(option="--find-rate", reason="it looks at one model on one board at a time")
        return find(subjects[0], window, find_within_ms, rounds, steps)
    windows = [window.at(rate) for rate in rates] if rates else [window]
    return measure_rounds([(subject, each) for each in windows for subject in subjects], rounds, steps), None


def _show(found: Rounds, knee: Knee | None, p95_ms: float | None, picture: Path | None, as_json: bool) -> int:
    from edge.bench.knee import keeps
    from edge.cli import bench_words

    measured = [series for series in found.series if series.reports]
    if not measured:
        raise Interrupted()
    if as_json:
        output.data(bench_words.document(measured, knee, p95_ms, interrupted=found.interrupted))
    else:
        bench_words.show(measured, knee, p95_ms)
    if picture is not None:
        from edge import durable
        from edge.bench import picture as drawing

        durable.write(picture, drawing.picture(measured, p95_ms).encode())
        output.line("note", f"drawn in {picture}")
    if found.interrupted:
        output.line("doubt", "interrupted: what was measured until then is shown")
        return ExitCode.INTERRUPTED
    if p95_ms is None:
        return ExitCode.DONE
    kept = knee.rate_per_s is not None if knee else all(keeps(series, p95_ms) for series in measured)
    return ExitCode.DONE if kept else ExitCode.NEGATIVE_VERDICT
