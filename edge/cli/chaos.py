"""`edge chaos`: kill, cut and count."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.contract.errors import ExitCode, OptionInvalid
from edge.cli import output

if TYPE_CHECKING:
    from edge.sim.chaos.count import Found, Span
    from edge.sim.chaos.plan import Plan
    from edge.sim.chaos.run import Outcome

SHOWN = 20
"""Streams that are named when something is wrong with them."""


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="Fixes what is done to whom, and when.")
@click.option(
    "--samples", type=click.IntRange(500, 10_000_000), default=60_000, show_default=True, help="Made in all."
)
@click.option("--boards", type=click.IntRange(1, 32), default=4, show_default=True, help="How many.")
@click.option(
    "--broker",
    type=click.Choice(["mosquitto", "embedded"]),
    help="Which one. Default: mosquitto where it is installed.",
)
@click.option("--kills", type=click.IntRange(1, 50), default=5, show_default=True, help="Of each part.")
@click.option(
    "--cuts", type=click.IntRange(0, 50), default=5, show_default=True, help="Of each board's link."
)
@click.option("--keep", type=click.Path(path_type=Path), help="Work in this new folder, and leave it there.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def chaos(
    seed: int,
    samples: int,
    boards: int,
    broker: str | None,
    kills: int,
    cuts: int,
    keep: Path | None,
    as_json: bool,
) -> int:
    """Kill agents, broker and collector, cut links, and count what was lost, duplicated or stated as dropped.

    Everything is real and on this machine: agents with their outboxes, an MQTT broker that keeps nothing, and the
    collector with its store, in a fleet folder that is thrown away. The last board's outbox is so small that it has to
    drop some samples. It ends with 0 only where every sample arrived exactly once, or its board said that it dropped
    it; else with 3, and the list.
    """
    from edge.collector import mosquitto
    from edge.sim.chaos.plan import make_plan
    from edge.sim.chaos.run import run

    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise OptionInvalid(option="--keep", reason=f"`{keep}` is there, and not an empty folder")
    plan = make_plan(seed, boards=boards, samples=samples, kills=kills, cuts=cuts)
    _show_plan(plan)
    chosen = broker or ("mosquitto" if mosquitto.find() else "embedded")
    outcome = run(plan, broker=chosen, keep=keep, progress=output.Steps())
    if as_json:
        output.data(_plain(outcome))
    else:
        _show(outcome)
    _say_verdict(outcome)
    return ExitCode.DONE if outcome.counted.good else ExitCode.NEGATIVE_VERDICT


def _show_plan(plan: Plan) -> None:
    from edge.sim.chaos.plan import Deed

    output.line("note", f"the plan of seed {plan.seed}, by samples made:")
    for part in plan.parts:
        kills = " ".join(str(fault.at) for fault in plan.of(part, Deed.KILL))
        others = [
            f"{fault.deed.value} {fault.at}"
            for fault in plan.faults
            if fault.part == part and fault.deed is not Deed.KILL
        ]
        output.line("note", f"{part}: kill {kills}" + (f"; {', '.join(others)}" if others else ""))


def _show(outcome: Outcome) -> None:
    from edge.sim.chaos.plan import Deed

    plan, counted, collected = outcome.plan, outcome.counted, outcome.collected
    output.table(
        ("part", "killed", "link cut", "stalled"),
        [
            (
                part,
                str(len(plan.of(part, Deed.KILL))),
                str(len(plan.of(part, Deed.CUT, Deed.UNPLUG))) if part in plan.boards else "–",
                str(len(plan.of(part, Deed.STALL))),
            )
            for part in plan.parts
        ],
        right=(1, 2, 3),
    )
    click.echo()
    output.facts(
        [
            ("seed", str(plan.seed)),
            ("broker", outcome.broker),
            ("boots", f"{counted.streams:,}"),
            ("given by boards", f"{counted.given:,}"),
            ("samples stored", f"{counted.samples:,}"),
            ("events stored", f"{counted.events:,}"),
            ("sent again", f"{outcome.repeated:,}"),
            ("refused", f"{collected.refused:,}"),
            ("stream breaks", f"{collected.breaks:,}"),
            ("time", f"{outcome.making_s:.0f} s, and {outcome.draining_s:.0f} s until all had arrived"),
            ("rate", f"{outcome.rate:.0f} samples/s"),
            ("stated as dropped", f"{counted.stated:,}, of {plan.boards[-1]}, whose outbox is small"),
            ("duplicated", f"{counted.duplicated:,}"),
            ("lost", f"{counted.lost:,}"),
        ]
    )


def _say_verdict(outcome: Outcome) -> None:
    counted = outcome.counted
    for found in counted.wrong[:SHOWN]:
        output.line("bad", f"{found.device} {found.boot}: {_said(found)}")
    if len(counted.wrong) > SHOWN:
        output.line("bad", f"… and {len(counted.wrong) - SHOWN} more streams")
    if counted.good:
        stored = counted.samples + counted.events
        output.line(
            "good",
            f"of {counted.given:,} samples and events {stored:,} are stored once, "
            f"{counted.stated:,} were stated as dropped, none is lost",
        )
        return
    output.line(
        "bad",
        f"{counted.lost:,} lost, {counted.duplicated:,} duplicated, {counted.invented:,} never given, "
        f"{counted.waiting:,} not arrived",
    )
    output.hint("look at what is left with --keep FOLDER and the same --seed")


def _said(found: Found) -> str:
    kinds = (
        ("lost", found.lost),
        ("twice", found.duplicated),
        ("never given", found.invented),
        ("not arrived", found.waiting),
    )
    return "; ".join(f"{word} {_spans(numbers)}" for word, numbers in kinds if numbers)


def _spans(found: tuple[Span, ...]) -> str:
    text = [str(first) if first == last else f"{first}–{last}" for first, last in found[:SHOWN]]
    return ", ".join([*text, "…"] if len(found) > SHOWN else text)


def _plain(outcome: Outcome) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(outcome), "rate_per_s": outcome.rate, "good": outcome.counted.good}
