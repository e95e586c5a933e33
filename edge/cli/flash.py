"""`edge flash`: a bare board, to a verified, running one; or back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.contract.errors import OptionInvalid
from agent.contract.names import is_release
from edge.cli import output
from edge.cli.collect import bring_in
from edge.cli.convert import FILE
from edge.cli.expiry import expiring
from edge.cli.passphrase import asker
from edge.cli.password import ask_sudo_password, sudo_password_option

if TYPE_CHECKING:
    from edge.rollouts.outcome import FlashOutcome
    from edge.runtimes.request import EngineWheel


@click.command()
@click.argument("target")
@click.argument("release", required=False)
@click.option("--previous", is_flag=True, help="Go back to the generation before the current one.")
@click.option(
    "--only", is_flag=True, help="Serve nothing beside it. Else models of other names stay on the board."
)
@click.option(
    "--challenger",
    type=click.IntRange(1, 99),
    metavar="PERCENT",
    help="Beside the version that is served: answer this part of the requests to its name.",
)
@click.option(
    "--shadow",
    is_flag=True,
    help="Beside the version that is served: be asked the same, and compared. Its answers go nowhere.",
)
@click.option(
    "--engine-wheel",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Your own wheel of the inference engine, like NVIDIA's GPU build for a Jetson.",
)
@click.option("--engine-wheel-sha256", metavar="HASH", help="Of that file, as its source states it.")
@click.option("--user-install", is_flag=True, help="Install without root: ~/.edge and a user service.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Where the agent listens on the board; 0 takes any free one.",
)
@click.option("--adopt", is_flag=True, help="Take the board from another fleet.")
@click.option(
    "--reset-trust",
    is_flag=True,
    help="Have the board trust this folder's keys, where those it trusts are lost. What it runs goes on meanwhile.",
)
@click.option("--re-enrol", is_flag=True, help="Give a board with a copied identity a new one.")
@click.option("--calibration", type=FILE, help="With a model's file: see `edge convert`.")
@click.option("--eval", "evaluation", type=FILE, help="With a model's file: see `edge convert`.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="With a model's file: see `edge convert`.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@sudo_password_option
def flash(
    target: str,
    release: str | None,
    previous: bool,
    only: bool,
    challenger: int | None,
    shadow: bool,
    engine_wheel: Path | None,
    engine_wheel_sha256: str | None,
    user_install: bool,
    port: int | None,
    adopt: bool,
    reset_trust: bool,
    re_enrol: bool,
    calibration: Path | None,
    evaluation: Path | None,
    max_drop: float,
    as_json: bool,
    sudo_password: bool,
) -> int:
    """Put RELEASE (digits@2, or a model's file) on the board TARGET: verified, tried, confirmed.

    A bare board is enrolled first. The trial runs beside what serves; where it fails, nothing changes on the board
    and the exit code is 3. Flashing again does nothing. A model's file is converted for the board's profile (`as-is`
    for .tflite and .onnx without data), published under its name and flashed, in one go.

    --challenger and --shadow try a version beside the one that answers; telemetry has their counters. The next
    flash without them is the version that answers from then on, and ends what challenged the one before.
    """
    from agent.contract.release import ModelRole
    from edge.rollouts.flash import FlashRequest
    from edge.rollouts.flash import flash as run
    from edge.rollouts.workspace import Workspace

    if (release is None) == (not previous):
        raise OptionInvalid(option="RELEASE", reason="name a release, or say --previous")
    if reset_trust and (adopt or re_enrol or previous):
        reason = "it keeps what the board runs; it goes with neither --adopt, --re-enrol nor --previous"
        raise OptionInvalid(option="--reset-trust", reason=reason)
    if (challenger is not None) + shadow + only + previous > 1:
        reason = "of --challenger, --shadow, --only and --previous there can be one"
        raise OptionInvalid(option="--challenger, --shadow", reason=reason)
    role, share = ModelRole.PRIMARY, 100
    if challenger is not None:
        role, share = ModelRole.CHALLENGER, challenger
    elif shadow:
        role, share = ModelRole.SHADOW, 0
    wheel = _wheel(engine_wheel, engine_wheel_sha256)
    workspace = Workspace.find(asker())
    workspace.inventory.get(target)
    steps = output.Steps(quiet=as_json)
    if release is not None and not is_release(release):
        from edge.cli.model_file import publish_file

        release = publish_file(
            workspace,
            Path(release),
            device=target,
            calibration=calibration,
            evaluation=evaluation,
            max_drop=max_drop,
            steps=steps,
        )
    elif calibration or evaluation:
        raise OptionInvalid(
            option="--calibration, --eval", reason="they belong to a model's file, not to a release"
        )
    request = FlashRequest(
        device=target,
        release=release,
        role=role,
        share=share,
        only=only,
        engine_wheel=wheel,
        user_install=user_install,
        port=port,
        adopt=adopt,
        re_enrol=re_enrol,
        reset_trust=reset_trust,
        sudo_password=ask_sudo_password(target) if sudo_password else None,
    )
    try:
        outcome = run(workspace, request, steps)
    except KeyboardInterrupt:
        goes_on = "look at `edge device show` before you say --previous again"
        output.line(
            "note",
            f"{target} serves what it served before, or ends by itself what was sent whole; "
            + (goes_on if previous else "the same command goes on"),
        )
        raise
    notes = outcome.notes + bring_in(workspace.folder, target) + expiring(workspace.repository.expiry())
    if as_json:
        output.data(
            {
                "device": outcome.device,
                "title": outcome.title,
                "changed": outcome.changed,
                "taken": outcome.taken,
                "state": outcome.state,
                "pushed_bytes": outcome.pushed_bytes,
                "passed_s": outcome.passed_s,
                "notes": notes,
                "reported": outcome.reported,
            }
        )
    else:
        _show(outcome, notes, steps)
    return int(outcome.exit_code)


def _show(outcome: FlashOutcome, notes: tuple[str, ...], steps: output.Steps) -> None:
    from agent.contract.said import measured

    for note in notes:
        output.line("note", note)
    reported = outcome.reported
    if not outcome.changed:
        return
    for check in reported.checks if outcome.taken else ():
        output.line("good" if check.passed else "bad", measured(check))
    if outcome.succeeded:
        by_step = ", ".join(f"{step} {seconds:.1f}" for step, seconds in outcome.passed_s.items())
        output.line(
            "good", f"{outcome.device} runs {outcome.title}; {steps.passed_s:.1f} s in all ({by_step})"
        )
        return
    how = outcome.state.value if outcome.taken else "not taken by the board"
    output.line("bad", f"{outcome.title} was {how}: {reported.message} [{reported.code}]")
    output.hint(reported.hint)
    serving = reported.current.title if reported.current else "nothing"
    output.line("note", f"{outcome.device} runs {serving}, as before")


def _wheel(path: Path | None, sha256: str | None) -> EngineWheel | None:
    from edge.runtimes.request import EngineWheel

    if path is None and sha256 is None:
        return None
    if path is None or sha256 is None:
        raise OptionInvalid(
            option="--engine-wheel", reason="give the file and its --engine-wheel-sha256, both"
        )
    return EngineWheel(path=path, sha256=sha256.lower())
