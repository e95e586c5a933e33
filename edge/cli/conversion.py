"""What came of a conversion, as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge.cli import output
from edge.cli.candidates import show_candidates

if TYPE_CHECKING:
    from edge.conversion import ConversionOutcome, MeasureResult, ProfileResult


def show(outcome: ConversionOutcome) -> None:
    """The table of what was made, then the notes and errors."""
    headers = (
        "profile",
        "recipe",
        "size",
        "accuracy",
        "float",
        "difference (95 %)",
        "agreement",
        "latency here",
        "verdict",
    )
    output.table(headers, [_row(result) for result in outcome.results], right=(2, 3, 4, 6, 7))
    for result in outcome.results:
        if len(result.candidates) > 1 or any(row.rungs[1:] for row in result.candidates):
            show_candidates(result)
    _show_boards(outcome)
    for note in dict.fromkeys((*outcome.notes, *(note for r in outcome.results for note in r.notes))):
        output.line("note", note)
    for result in outcome.results:
        if result.error is not None:
            output.show_error(result.error)
        elif result.bundle is not None:
            output.line(
                "good",
                f"{result.bundle}  {(result.digest or '')[:12]}  proved in {result.proved_in or 'the trial'}",
            )
        if result.error is not None and result.bundle is not None:
            output.line("doubt", f"{result.bundle} was written all the same (--keep-failed)")


def _show_boards(outcome: ConversionOutcome) -> None:
    """What runs on boards showed, where boards were asked for."""
    measured = [result.board for result in outcome.results if result.board is not None]
    if measured:
        click.echo()
        headers = ("on the board", "p50", "p95", "memory", "peak", "°C", "throttled")
        output.table(headers, [_board_row(board) for board in measured], right=(1, 2, 3, 4, 5))


def _board_row(board: MeasureResult) -> tuple[str, ...]:
    before, after = board.temperature_c_before, board.temperature_c
    return (
        f"{board.engine} {board.engine_version}, {board.platform}",
        f"{board.p50_ms:.3f} ms",
        f"{board.p95_ms:.3f} ms",
        f"{board.memory_mb:.1f} MB",
        f"{board.peak_memory_mb:.1f} MB" if board.peak_memory_mb is not None else "–",
        f"{before:.0f} to {after:.0f}" if before is not None and after is not None else "–",
        board.throttled or "–",
    )


def _row(result: ProfileResult) -> tuple[str, ...]:
    drop = result.drop
    return (
        result.profile,
        f"{result.format} {result.recipe}",
        f"{output.size(result.size_bytes)}" if result.size_bytes else "–",
        _worth(drop.metric, drop.accuracy) if drop else "–",
        _worth(drop.metric, drop.float_accuracy) if drop else "–",
        drop.difference if drop else "–",
        f"{result.agreement:.1%}" if result.agreement is not None else "–",
        f"{result.p50_ms:.3f} ms" if result.p50_ms is not None else "–",
        result.verdict,
    )


def _worth(metric: str, value: float) -> str:
    """Accuracy as a percentage; another metric by its name, in its unit."""
    return f"{value:.2%}" if metric == "top-1" else f"{metric} {value:.4g}"


def outcome_plain(outcome: ConversionOutcome) -> dict[str, object]:
    """The outcome as JSON-ready values."""
    from agent.contract.codec import to_plain

    results = []
    for result in outcome.results:
        plain = {
            key: value for key, value in vars(result).items() if key not in ("error", "bundle", "report")
        }
        results.append(
            {
                **to_plain(plain),
                "bundle": str(result.bundle) if result.bundle else None,
                "error": result.error.to_plain() if result.error else None,
            }
        )
    return {
        "model": outcome.model,
        "exit_code": int(outcome.exit_code),
        "notes": list(outcome.notes),
        "results": results,
    }
