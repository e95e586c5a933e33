"""The end of a conversion for one profile: prove the artifact, judge its answers, write the bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.contract.errors import (
    ConvertError,
    EdgeError,
    InventoryError,
    ProofFailed,
    TransferError,
)
from agent.contract.profile import DeviceProfile
from agent.transforms.golden import unpack
from converters.job import Converted
from converters.pixels import detecting_of
from converters.recipe import Recipe
from edge.conversion.candidates import Candidate, Plan
from edge.conversion.choice import choose, nearest
from edge.conversion.judgement import judge
from edge.conversion.on_board import compared
from edge.conversion.packing import package_of, result_of
from edge.conversion.proof import prove
from edge.conversion.request import ProfileResult, Row
from edge.conversion.runnable import check_finite, check_runnable
from edge.conversion.shared import Shared
from edge.conversion.tried import Answers, Judged, Tried
from edge.progress import Progress

Array = NDArray[Any]


@contextmanager
def _in_engine(profile: DeviceProfile) -> Iterator[None]:
    """What an engine says of an artifact is a finding; that a board could not be asked is none."""
    try:
        yield
    except (ConvertError, InventoryError, TransferError):
        raise
    except EdgeError as error:
        raise ProofFailed(profile=profile.name, engine=profile.engine.value, reason=str(error)) from error


class Finishing:
    """The way each profile of a conversion ends."""

    def __init__(self, shared: Shared, progress: Progress) -> None:
        self.shared, self.progress = shared, progress
        self._answers: dict[tuple[str, str, str], Answers] = {}

    def profile(self, plan: Plan) -> ProfileResult:
        """End it for one profile; its error, if there is one, stands in the result."""
        profile = plan.profile
        try:
            tried = [self._try(profile, candidate) for candidate in plan.candidates]
        except (InventoryError, TransferError) as away:
            # What a board could not be asked for is no reason against a candidate: nothing is chosen without it.
            return ProfileResult(
                profile=profile.name,
                recipe=plan.candidates[0].recipe.name,
                format=profile.format.value,
                float_size_bytes=self.shared.given.size_bytes,
                error=away,
            )
        rows = [item.row(profile.name) for item in tried]
        index = choose(rows, self.shared.request.prefer)
        if index is not None:
            rows[index] = replace(rows[index], chosen=True)
            return self._written(profile, tried[index], rows, None)
        index = nearest(rows) or 0
        refusal = tried[index].refusal(profile.name, self.shared.request.max_drop_points)
        if tried[index].judged is not None:
            return self._written(profile, tried[index], rows, refusal)
        return ProfileResult(
            profile=profile.name,
            recipe=tried[index].candidate.recipe.name,
            format=profile.format.value,
            float_size_bytes=self.shared.given.size_bytes,
            candidates=tuple(rows),
            error=refusal,
        )

    def _try(self, profile: DeviceProfile, candidate: Candidate) -> Tried:
        """Prove and judge a candidate, or find out why it comes to nothing."""
        try:
            if candidate.error is not None or candidate.target is None:
                raise candidate.error or AssertionError("a candidate has a target or an error")
            conversion, key = self.shared.conversion, candidate.target.key
            if key in conversion.errors:
                raise conversion.errors[key]
            converted = conversion.converted[key]
            check_runnable(profile, converted, self.shared.request.model)
            return Tried(candidate=candidate, judged=self._judged(profile, candidate.recipe, converted))
        except (InventoryError, TransferError):
            raise
        except EdgeError as error:
            return Tried(candidate=candidate, error=error)

    def _judged(self, profile: DeviceProfile, recipe: Recipe, converted: Converted) -> Judged:
        shared, request = self.shared, self.shared.request
        inputs = shared.inputs(converted)
        answers = self._answered(profile, recipe, converted, inputs)
        check_finite(profile, answers.outputs, request.model)
        request.pipeline.check_fits(shared.task, converted.inputs, converted.outputs, answers.outputs)
        judgement = judge(
            profile=profile.name,
            outputs=answers.outputs,
            float_outputs=shared.floats(converted, answers),
            y=shared.run.get("y"),
            specs=converted.outputs,
            task=shared.task,
            origin=shared.original.origin,
            max_drop_points=request.max_drop_points,
            same_file=not recipe.converts,
            metric=request.metric,
            detecting=detecting_of(
                shared.task, request.pipeline.postprocessing or (), shared.run["input_0"].shape
            ),
        )
        return Judged(
            converted=converted,
            answers=answers,
            judgement=judgement,
            size_bytes=(shared.folder / converted.file).stat().st_size,
        )

    def _written(
        self, profile: DeviceProfile, tried: Tried, rows: Sequence[Row], error: EdgeError | None
    ) -> ProfileResult:
        """The bundle of a candidate where it was admitted or asked for all the same, and the result."""
        assert tried.judged is not None, "what came to nothing is not written"
        judged, recipe, request = tried.judged, tried.candidate.recipe, self.shared.request
        package = package_of(
            self.shared,
            profile,
            recipe,
            judged.converted,
            self.shared.inputs(judged.converted),
            judged.answers,
            judged.judgement,
            rows,
        )
        admitted = error is None or request.keep_failed
        folder = request.output / profile.name if admitted else None
        digest = package.write(folder) if folder else None
        result = result_of(
            self.shared, profile, recipe, package, judged.judgement, judged.answers, folder, digest
        )
        return replace(result, candidates=tuple(rows), error=error)

    def _answered(
        self, profile: DeviceProfile, recipe: Recipe, converted: Converted, inputs: tuple[Array, ...]
    ) -> Answers:
        """The artifact's answers to the run set, once for each engine and board."""
        given = self.shared.given
        measure, board = given.measures[profile.name], given.boards.get(profile.name)
        engine = f"{profile.engine.value} {profile.engine_version}" if measure else ""
        key = (converted.key, engine, profile.name if board else "")
        if key in self._answers:
            return self._answers[key]
        runs = measure or board
        if runs is None:
            stored = unpack(self.shared.folder / f"{converted.key}.npz")
            outputs = tuple(stored[f"output_{k}"] for k in range(len(converted.outputs)))
            answers = Answers(outputs=outputs, proof=None, by=f"{converted.answered_by}, in the converter")
        else:
            draft = package_of(self.shared, profile, recipe, converted, inputs, None, None)
            with _in_engine(profile), tempfile.TemporaryDirectory(prefix="edge-draft-") as folder:
                bundle = Path(folder) / profile.name
                draft.write(bundle)
                proof = prove(runs, bundle, inputs, outputs=len(converted.outputs))
                self.progress.step(f"proved {converted.key} in {proof.title}: {proof.result.p50_ms:.3f} ms")
                there = proof.result if runs is board else None
                if board is not None and there is None:
                    draft.with_proof(memory_bytes=int(proof.result.memory_mb * 1e6)).write(bundle)
                    there = compared(board, profile.name, bundle, inputs, proof, converted.outputs)
                    self.progress.step(
                        f"ran {converted.key} on the board, {there.platform}: {there.p50_ms:.3f} ms"
                    )
            answers = Answers(outputs=proof.outputs, proof=proof, by=proof.title, board=there)
        self._answers[key] = answers
        return answers
