"""The end of a conversion for one profile: prove the artifact, judge its answers, write the bundle."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.codec import to_plain
from agent.contract.errors import (
    ConvertError,
    DataMismatch,
    EdgeError,
    InventoryError,
    ProofFailed,
    TransferError,
)
from agent.contract.manifest import Task
from agent.contract.profile import DeviceProfile
from agent.transforms.golden import GoldenSet, unpack
from agent.transforms.quantization import dequantize
from converters.contract import task_of
from converters.convert import Conversion
from converters.job import Converted, Original, RunOrigin
from converters.models import scores
from converters.pixels import Pixels, derive, differently_scaled
from converters.recipe import Recipe
from converters.run_set import store
from converters.statistics import UNDECIDED
from edge.conversion.candidates import Candidate, Plan
from edge.conversion.choice import Row, choose, nearest
from edge.conversion.given import Given
from edge.conversion.judgement import Judgement, judge
from edge.conversion.on_board import compared, doubts
from edge.conversion.package import ORIGINS, Package
from edge.conversion.proof import prove
from edge.conversion.report import report
from edge.conversion.request import ConversionRequest, ProfileResult
from edge.conversion.runnable import check_runnable
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
    """What all profiles of a conversion share, and the way each of them ends."""

    def __init__(
        self,
        request: ConversionRequest,
        given: Given,
        conversion: Conversion,
        folder: Path,
        progress: Progress,
    ) -> None:
        self.request, self.given, self.conversion = request, given, conversion
        self.folder, self.progress = folder, progress
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
                float_size_bytes=self.given.size_bytes,
                error=away,
            )
        rows = [item.row(profile.name) for item in tried]
        index = choose(rows, self.request.prefer)
        if index is not None:
            rows[index] = replace(rows[index], chosen=True)
            return self._written(profile, tried[index], rows, None)
        index = nearest(rows) or 0
        refusal = tried[index].refusal(profile.name, self.request.max_drop_points)
        if tried[index].judged is not None:
            return self._written(profile, tried[index], rows, refusal)
        return ProfileResult(
            profile=profile.name,
            recipe=tried[index].candidate.recipe.name,
            format=profile.format.value,
            float_size_bytes=self.given.size_bytes,
            candidates=tuple(rows),
            error=refusal,
        )

    def _try(self, profile: DeviceProfile, candidate: Candidate) -> Tried:
        """Prove and judge a candidate, or find out why it comes to nothing."""
        try:
            if candidate.error is not None or candidate.target is None:
                raise candidate.error or AssertionError("a candidate has a target or an error")
            if candidate.target.key in self.conversion.errors:
                raise self.conversion.errors[candidate.target.key]
            converted = self.conversion.converted[candidate.target.key]
            check_runnable(profile, converted, self.request.model)
            return Tried(candidate=candidate, judged=self._judged(profile, candidate.recipe, converted))
        except (InventoryError, TransferError):
            raise
        except EdgeError as error:
            return Tried(candidate=candidate, error=error)

    @cached_property
    def original(self) -> Original:
        """The model that was given."""
        assert self.conversion.original is not None, "a job that ends without an error has read its model"
        return self.conversion.original

    @cached_property
    def run(self) -> dict[str, Array]:
        """Arrays of the run set: `input_k`, `float_k`, `y`."""
        return unpack(self.folder / "run.npz")

    @cached_property
    def task(self) -> Task:
        """As declared; else a classifier where there are labels or a softmax."""
        return task_of(
            self.request.pipeline.task,
            classes=scores(self.original.outputs),
            labelled="y" in self.run or bool(self.given.labels),
            probabilities=self.original.probabilities,
        )

    def check_labels(self) -> None:
        """Raise DataMismatch where the labels are not as many as the classes."""
        classes, labels = scores(self.original.outputs), self.given.labels
        if labels and self.task is Task.CLASSIFICATION and classes != len(labels):
            raise DataMismatch(
                purpose="label",
                path=self.request.labels,
                reason=f"it holds {len(labels)} labels",
                expected=f"{classes} labels, one a class"
                if classes
                else "none: its first output is not one score a class",
            )

    @cached_property
    def pixels(self) -> Pixels:
        """How pictures become inputs."""
        declared = self.request.pipeline.preprocessing
        if declared is not None:
            return Pixels(steps=declared, scale_from="request")
        data = tuple(facts for facts in (self.original.calibration, self.original.evaluation) if facts)
        return derive(self.original.inputs, data, self.request.input_scale)

    @property
    def notes(self) -> tuple[str, ...]:
        """What holds for all profiles."""
        notes = list(self.pixels.notes)
        doubt = differently_scaled(self.original.calibration, self.original.evaluation)
        if doubt:
            notes.append(doubt)
        if self.original.evaluation is not None and not self.original.evaluation.labelled:
            notes.append("the held-out data have no labels: agreement is measured, accuracy is not")
        elif self.original.evaluation is None:
            notes.append("no held-out data: accuracy is not measured")
        return tuple(notes)

    def _judged(self, profile: DeviceProfile, recipe: Recipe, converted: Converted) -> Judged:
        inputs = self._inputs(converted)
        answers = self._answered(profile, recipe, converted, inputs)
        self.request.pipeline.check_fits(self.task, converted.inputs, converted.outputs, answers.outputs)
        judgement = judge(
            profile=profile.name,
            outputs=answers.outputs,
            float_outputs=self._floats(converted, answers),
            y=self.run.get("y"),
            specs=converted.outputs,
            task=self.task,
            origin=self.original.origin,
            max_drop_points=self.request.max_drop_points,
            same_file=not recipe.converts,
            metric=self.request.metric,
        )
        return Judged(
            converted=converted,
            answers=answers,
            judgement=judgement,
            size_bytes=(self.folder / converted.file).stat().st_size,
        )

    def _written(
        self, profile: DeviceProfile, tried: Tried, rows: Sequence[Row], error: EdgeError | None
    ) -> ProfileResult:
        """The bundle of a candidate where it was admitted or asked for all the same, and the result."""
        assert tried.judged is not None, "what came to nothing is not written"
        judged, recipe = tried.judged, tried.candidate.recipe
        package = self._package(
            profile,
            recipe,
            judged.converted,
            self._inputs(judged.converted),
            judged.answers,
            judged.judgement,
            rows,
        )
        admitted = error is None or self.request.keep_failed
        folder = self.request.output / profile.name if admitted else None
        digest = package.write(folder) if folder else None
        result = self._result(profile, recipe, package, judged.judgement, judged.answers, folder, digest)
        return replace(result, candidates=tuple(rows), error=error)

    def _inputs(self, converted: Converted) -> tuple[Array, ...]:
        """The run set as an artifact's tensors store it."""
        return tuple(store(self.run[f"input_{k}"], spec) for k, spec in enumerate(converted.inputs))

    def _floats(self, converted: Converted, answers: Answers) -> tuple[Array, ...]:
        """The original's answers; where nothing here could run it, the untouched artifact's own stand for them."""
        if self.original.answered_by is not None:
            return tuple(self.run[f"float_{k}"] for k in range(len(converted.outputs)))
        return tuple(
            dequantize(array, spec) for array, spec in zip(answers.outputs, converted.outputs, strict=True)
        )

    def _answered(
        self, profile: DeviceProfile, recipe: Recipe, converted: Converted, inputs: tuple[Array, ...]
    ) -> Answers:
        """The artifact's answers to the run set, once for each engine and board."""
        measure, board = self.given.measures[profile.name], self.given.boards.get(profile.name)
        engine = f"{profile.engine.value} {profile.engine_version}" if measure else ""
        key = (converted.key, engine, profile.name if board else "")
        if key in self._answers:
            return self._answers[key]
        runs = measure or board
        if runs is None:
            stored = unpack(self.folder / f"{converted.key}.npz")
            outputs = tuple(stored[f"output_{k}"] for k in range(len(converted.outputs)))
            answers = Answers(outputs=outputs, proof=None, by=f"{converted.answered_by}, in the converter")
        else:
            draft = self._package(profile, recipe, converted, inputs, None, None)
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

    def _package(
        self,
        profile: DeviceProfile,
        recipe: Recipe,
        converted: Converted,
        inputs: tuple[Array, ...],
        answers: Answers | None,
        judgement: Judgement | None,
        rows: Sequence[Row] = (),
    ) -> Package:
        """The bundle's content; a draft for the proof run where there are no answers yet."""
        artifact = self.folder / converted.file
        settings: dict[str, Any] = {
            "name": recipe.name,
            "asked": self.request.recipe,
            **({"scheme": to_plain(recipe.scheme(profile.format))} if recipe.converts else {}),
            **converted.settings,
        }
        if self.pixels.plain():
            settings["input_scale"] = self.pixels.plain()
        package = Package(
            model=self.given.name,
            profile=profile,
            artifact=artifact,
            converted=converted,
            task=self.task,
            golden=GoldenSet(inputs=tuple(array[:1] for array in inputs)),
            golden_facts={"origin": ORIGINS[self.original.origin]},
            recipe=settings,
            source_sha256=self.given.sha256,
            verdict="not-judged",
            preprocessing=self.pixels.steps,
            postprocessing=self.request.pipeline.postprocessing,
            probabilities=self.original.probabilities,
            labels=self.given.labels,
        )
        if answers is None or judgement is None:
            return package
        return package.with_proof(
            golden=self._golden(converted, inputs, answers, judgement),
            golden_facts={
                "origin": ORIGINS[self.original.origin],
                "floor": judgement.floor,
                "agreement": judgement.agreement,
                "proved_in": answers.proof.title if answers.proof else None,
            },
            verdict="unknown" if judgement.verdict == UNDECIDED else judgement.verdict,
            memory_bytes=int(answers.proof.result.memory_mb * 1e6) if answers.proof else 0,
            report=report(
                self.request, self.given, self.original, self.conversion, profile, settings, converted, judgement,
                artifact_sha256=hashlib.sha256(artifact.read_bytes()).hexdigest(),
                artifact_bytes=artifact.stat().st_size,
                answered_by=answers.by,
                proof=answers.here,
                board=answers.board,
                notes=self._all_notes(profile, converted, answers),
                rows=rows,
            ),
        )  # fmt: skip

    def _golden(
        self, converted: Converted, inputs: tuple[Array, ...], answers: Answers, judgement: Judgement
    ) -> GoldenSet:
        chosen = judgement.golden
        floats = () if self.original.origin is RunOrigin.SANITY else self._floats(converted, answers)
        return GoldenSet(
            inputs=tuple(array[chosen] for array in inputs),
            proof=tuple(array[chosen] for array in answers.outputs) if answers.proof else (),
            float_outputs=tuple(array[chosen].astype(np.float32) for array in floats),
        )

    def _all_notes(self, profile: DeviceProfile, converted: Converted, answers: Answers) -> tuple[str, ...]:
        notes = [*converted.notes, *(doubts(answers.board) if answers.board else ())]
        if answers.proof is None:
            notes.append(
                f"{profile.engine.value} has no proof environment on this machine: the board's trial will be its first"
                f" run; what is said of its answers was measured with {answers.by}"
            )
        return tuple(notes)

    def _result(
        self,
        profile: DeviceProfile,
        recipe: Recipe,
        package: Package,
        judgement: Judgement,
        answers: Answers,
        folder: Path | None,
        digest: str | None,
    ) -> ProfileResult:
        timed = answers.here.result if answers.here else None
        return ProfileResult(
            profile=profile.name,
            recipe=recipe.name,
            format=package.artifact.suffix[1:],
            bundle=folder,
            digest=digest,
            verdict=judgement.verdict,
            size_bytes=package.artifact.stat().st_size,
            float_size_bytes=self.given.size_bytes,
            drop=judgement.drop,
            agreement=judgement.agreement,
            floor=judgement.floor,
            golden=f"{package.golden.samples} {self.original.origin.value}",
            p50_ms=timed.p50_ms if timed else None,
            p95_ms=timed.p95_ms if timed else None,
            memory_mb=timed.memory_mb if timed else None,
            proved_in=answers.proof.title if answers.proof else None,
            board=answers.board,
            notes=self._all_notes(profile, package.converted, answers),
            error=judgement.error,
            report=to_plain(package.report),
        )
