"""`edge bench`: a load test on the board itself."""

from __future__ import annotations

import json
from typing import Any

import click

from agent.contract.errors import BoardNotFlashed, RemoteCommandFailed
from edge.cli import output
from edge.cli.passphrase import asker


@click.command()
@click.argument("target")
@click.option("--model", help="Which model, where the board serves several.")
@click.option("--seconds", type=click.FloatRange(0.5, 600), default=5.0, show_default=True, help="How long.")
@click.option(
    "--connections", type=click.IntRange(1, 64), default=4, show_default=True, help="Clients at once."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def bench(target: str, model: str | None, seconds: float, connections: int, as_json: bool) -> None:
    """Load the agent of TARGET from the board itself, whose cores the load shares: throughput, latency, memory."""
    from edge.rollouts.boards import board_state, launcher
    from edge.rollouts.workspace import Workspace

    workspace = Workspace.find(asker())
    if model is None:
        reported = board_state(workspace, target).reported
        if reported is None or reported.current is None or not reported.current.models:
            raise BoardNotFlashed(device=target)
        model = reported.current.models[0].name
    with launcher(workspace, target) as (board, launch):
        argv = [
            *launch,
            "bench",
            "--model",
            model,
            "--seconds",
            str(seconds),
            "--connections",
            str(connections),
        ]
        ended = board.run(argv, timeout_s=seconds + 60, doing="the load test")
    if ended.status != 0:
        raise RemoteCommandFailed(
            host=target, doing="the load test", status=ended.status, output=ended.last_words
        )
    result = json.loads(ended.stdout)
    if as_json:
        output.data(result)
        return
    show(target, model, result)


def show(target: str, model: str, result: dict[str, Any]) -> None:
    """The result as a table."""
    headers = (
        "board",
        "model",
        "clients",
        "requests/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "errors",
        "CPU µs/request",
        "agent memory",
    )
    memory = result["agent_pss_mb"] or result["agent_rss_mb"]
    numbers = [_number(result[key]) for key in ("requests_per_s", "p50_ms", "p95_ms", "p99_ms")]
    row = (
        target,
        f"{model}@{result['version']}",
        str(result["connections"]),
        *numbers,
        str(sum(result["errors"].values())),
        _number(result["agent_cpu_us_per_request"]),
        f"{memory} MB",
    )
    output.table(headers, [row], right=tuple(range(2, 10)))


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"
