"""The check: a generation is measured on its golden sets beside the one that serves, and judged.

The rule: it runs in its own runtime, as the user whom the agent runs as, until a deadline; every model of the
generation must be measured and pass. A new runtime must also be able to carry out the next update: see `rehearsal`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from agent.contract.board import SERVICE_SYSTEMD, SYSTEM_USER, BoardConfig
from agent.contract.codec import decode, from_plain, parse
from agent.contract.errors import ContractError, TrialCrashed, TrialTimedOut
from agent.contract.manifest import BundleManifest
from agent.contract.messages import CheckResult
from agent.contract.release import DesiredState
from agent.contract.trial import Measurement, judge
from agent.update.child import Outcome, run_child
from agent.update.folder import UpdateFolder
from agent.update.objects import MANIFEST
from agent.update.record import Reason
from agent.update.rehearsal import rehearsals


def agents_user(config: BoardConfig) -> str | None:
    """Whom the agent runs as; None for the present user."""
    return SYSTEM_USER if config.service == SERVICE_SYSTEMD and os.geteuid() == 0 else None


def check(
    desired: DesiredState,
    *,
    folder: UpdateFolder,
    config: BoardConfig,
    replaced: Mapping[str, CheckResult],
    new_runtime: bool,
    interrupted: Callable[[], bool],
) -> tuple[tuple[CheckResult, ...], Reason | None]:
    """Measure and judge every model of a generation.

    Args:
        desired: what is tried; its generation is on the board.
        folder: the board's.
        config: the board's.
        replaced: what the trial of the serving generation measured, by model name.
        new_runtime: the runtime is another than the one that serves.
        interrupted: asked again and again; True ends the check.

    Returns:
        The results, and the reason that decides; None when the generation passed.

    Raises:
        Interrupted: `interrupted` said so.
    """
    number = desired.generation.number
    end = time.monotonic() + desired.terms.check_timeout_s
    user = agents_user(config)
    if new_runtime:
        with rehearsals(desired.generation.runtime, folder=folder, config=config, user=user) as commands:
            for doing, command in commands:
                outcome = run_child(
                    command, deadline_s=end - time.monotonic(), interrupted=interrupted, user=user
                )
                if outcome.status != 0:
                    return (), _ended_badly(outcome, desired, doing=doing)
    command = [
        sys.executable, "-I", str(folder.launcher), "--root", str(folder.root), "--generation", str(number),
        "selftest", "--json", "--generation-folder", str(folder.generation(number)),
    ]  # fmt: skip
    outcome = run_child(command, deadline_s=end - time.monotonic(), interrupted=interrupted, user=user)
    if outcome.status != 0:
        return (), _ended_badly(outcome, desired, doing="the check")
    try:
        measurements = _measurements(outcome.output)
    except ContractError as error:
        reason = f"its check said what is no measurement: {error}"
        return (), Reason.of(TrialCrashed(generation=number, reason=reason))
    return _judged(desired, measurements, folder=folder, replaced=replaced)


def _judged(
    desired: DesiredState,
    measurements: Mapping[tuple[str, str], Measurement],
    *,
    folder: UpdateFolder,
    replaced: Mapping[str, CheckResult],
) -> tuple[tuple[CheckResult, ...], Reason | None]:
    results: list[CheckResult] = []
    for model in desired.generation.models:
        measurement = measurements.get((model.name, model.release))
        if measurement is None:
            reason = f"its check measured nothing of `{model.name}` ({model.release})"
            return tuple(results), Reason.of(TrialCrashed(generation=desired.counter, reason=reason))
        manifest = decode(BundleManifest, (folder.object(model.bundle) / MANIFEST).read_bytes())
        results.append(
            judge(
                measurement,
                floor=manifest.golden.floor,
                budgets=model.budgets,
                replaced=replaced.get(model.name),
                terms=desired.terms,
            )
        )
    failed = next((result for result in results if not result.passed), None)
    if failed is None:
        return tuple(results), None
    return tuple(results), Reason.told(failed.code or "", failed.message or "")


def _measurements(output: bytes) -> dict[tuple[str, str], Measurement]:
    plain = parse(output, document="measurements")
    found = [from_plain(Measurement, item) for item in (plain if isinstance(plain, list) else [plain])]
    return {(measurement.model, measurement.release): measurement for measurement in found}


def _ended_badly(outcome: Outcome, desired: DesiredState, *, doing: str) -> Reason:
    number = desired.generation.number
    if outcome.status is None:
        timeout_s = f"{desired.terms.check_timeout_s:g}"
        return Reason.of(TrialTimedOut(generation=number, doing=doing, timeout_s=timeout_s))
    said = _own_error(outcome.output)
    if said is not None:
        return Reason.told(*said)
    return Reason.of(TrialCrashed(generation=number, reason=f"{doing}: {outcome.last_words}"))


def _own_error(output: bytes) -> tuple[str, str] | None:
    """Code and sentence, where a command of the agent ended with `{"error": …}`."""
    try:
        error: Any = json.loads(output)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return None
