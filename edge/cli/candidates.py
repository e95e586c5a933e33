"""The candidates of a conversion as a table: what each costs and gains, what was repaired, which was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge.cli import output

if TYPE_CHECKING:
    from edge.conversion import ProfileResult
    from edge.conversion.request import Row


def show_candidates(result: ProfileResult) -> None:
    """Print the candidates of one profile."""
    click.echo()
    there = any(row.board_p50_ms is not None for row in result.candidates)
    headers = (
        f"candidates for {result.profile}",
        "size",
        "difference (95 %)",
        "agreement",
        "latency on the board" if there else "latency here",
        "memory",
        "verdict",
    )
    output.table(headers, [_row(row) for row in result.candidates], right=(1, 3, 4, 5))
    for row in result.candidates:
        if row.reason:
            output.line("note", f"{row.recipe}: {row.reason}")
        for rung in row.rungs[1:]:
            told = rung.reason or f"{-(rung.drop_points or 0.0):+.2f} points"
            output.line("note", f"{row.recipe}, {rung.name}: {told}")


def _row(row: Row) -> tuple[str, ...]:
    drop = row.drop
    memory = row.board_memory_mb if row.board_memory_mb is not None else row.memory_mb
    return (
        f"{row.recipe}{' (taken)' if row.chosen else ''}",
        output.size(row.size_bytes) if row.size_bytes else "–",
        drop.difference if drop else "–",
        f"{row.agreement:.1%}" if row.agreement is not None else "–",
        f"{row.latency_ms:.3f} ms" if row.latency_ms is not None else "–",
        f"{memory:.1f} MB" if memory is not None else "–",
        row.verdict,
    )
