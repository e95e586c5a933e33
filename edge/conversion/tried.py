"""One candidate after its proof: what it answered, what that is worth, and how the report tells it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from agent.contract.errors import EdgeError
from converters.job import Converted
from edge.conversion.candidates import Candidate
from edge.conversion.choice import unkept
from edge.conversion.judgement import Judgement
from edge.conversion.proof import Proof
from edge.conversion.request import MeasureResult, Row

Array = NDArray[Any]
REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What an artifact answered to the run set.

    Attributes:
        outputs: one array `[N, ...]` an output tensor, engine dtype.
        proof: the proof run that they come from, here or on the board; None where the worker answered.
        by: who answered, for the report.
        board: what a run on the board showed; None where no board was asked for.
    """

    outputs: tuple[Array, ...]
    proof: Proof | None
    by: str
    board: MeasureResult | None = None

    @property
    def here(self) -> Proof | None:
        """The proof run on this machine; None where the board's run is the proof, or there is none."""
        return self.proof if self.proof is not None and self.proof.result is not self.board else None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An artifact that ran.

    Attributes:
        converted: the artifact.
        answers: to the run set.
        judgement: of these.
        size_bytes: of its file.
    """

    converted: Converted
    answers: Answers
    judgement: Judgement
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of a candidate; exactly one of `judged` and `error` is set.

    Attributes:
        candidate: what was tried.
        judged: the artifact.
        error: why there is none.
    """

    candidate: Candidate
    judged: Judged | None = None
    error: EdgeError | None = None

    def refusal(self, profile: str, budget_points: float) -> EdgeError | None:
        """Why it may not go to the board, or None."""
        if self.judged is None:
            return self.error
        error = self.judged.judgement.error
        return None if error is None else unkept(profile, self.row(profile), error, budget_points)

    def row(self, profile: str) -> Row:
        """As the report tells it."""
        name = self.candidate.recipe.name
        if self.judged is None:
            return Row(recipe=name, verdict=REFUSED, reason=_sentence(self.error, profile))
        judged = self.judged
        here, board = judged.answers.here, judged.answers.board
        row = Row(
            recipe=name,
            verdict=judged.judgement.verdict,
            size_bytes=judged.size_bytes,
            drop=judged.judgement.drop,
            agreement=judged.judgement.agreement,
            rungs=judged.converted.rungs,
            layers=judged.converted.layers,
            reason=_sentence(judged.judgement.error, profile),
        )
        if here is not None:
            result = here.result
            row = replace(row, p50_ms=result.p50_ms, p95_ms=result.p95_ms, memory_mb=result.memory_mb)
        if board is not None:
            row = replace(
                row,
                board_p50_ms=board.p50_ms,
                board_p95_ms=board.p95_ms,
                board_memory_mb=board.memory_mb,
                board_peak_memory_mb=board.peak_memory_mb,
                board_temperature_c=board.temperature_c,
            )
        return row


def _sentence(error: EdgeError | None, profile: str) -> str:
    return "" if error is None else str(error).removeprefix(f"`{profile}`: ")
