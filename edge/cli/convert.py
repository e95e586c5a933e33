"""`edge convert`: a model for kinds of boards, and what it cost."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.contract.errors import OptionInvalid
from edge.cli import output
from edge.cli.candidates import show_candidates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.profile import DeviceProfile
    from edge.conversion import ConversionOutcome, Measure, MeasureResult, ProfileResult
    from edge.conversion.convert import MeasureFor
    from edge.rollouts.measuring import BoardMeasure

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("model", type=FILE)
@click.option(
    "--for",
    "profiles",
    multiple=True,
    required=True,
    metavar="PROFILE",
    help="For which kind of board. Repeatable.",
)
@click.option(
    "--recipe",
    default="auto",
    show_default=True,
    help="A recipe's name or its .toml file. auto: every candidate that the board can run, and the best within the "
    "budget.",
)
@click.option(
    "--calibration",
    type=FILE,
    metavar="DATA",
    help="Representative inputs: .npz, .npy, .csv, .parquet, a folder of pictures or sounds, or module:function. "
    "Needed for int8.",
)
@click.option(
    "--eval",
    "evaluation",
    type=FILE,
    metavar="DATA",
    help="Held-out inputs with labels, kept in the same ways: what accuracy is judged on.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="Accuracy that may be lost against the float model, in percentage points.",
)
@click.option("--labels", type=FILE, help="Text file, one label a line.")
@click.option("--label-column", metavar="NAME", help="Which column of a table holds the labels.")
@click.option(
    "--input-scale", metavar="LOW,HIGH", help="What pixel values 0 and 255 become. Default: the data's range."
)
@click.option(
    "--pipeline",
    type=FILE,
    help="TOML file: the task and the steps before and after the model, where they are not to be derived.",
)
@click.option("--signature", metavar="NAME", help="Which signature of a SavedModel, where it has several.")
@click.option(
    "--trust-code", is_flag=True, help="MODEL is TorchScript from somebody you trust: it may run code."
)
@click.option(
    "--trust-pickle", is_flag=True, help="MODEL is a pickle from somebody you trust: it may run code."
)
@click.option(
    "--measure-on",
    "boards",
    multiple=True,
    metavar="BOARD",
    help="Run each artifact on this board, too: its latency, memory and heat, and whether it answers alike. "
    "Repeatable: one board a profile.",
)
@click.option(
    "--metric",
    metavar="METRIC",
    help="What accuracy is judged by: top-1, top-K, auc, rmse, or your own MODULE:FUNCTION or FILE.py:FUNCTION, which "
    "is run. Default: that of the task.",
)
@click.option(
    "--prefer",
    type=click.Choice(["latency", "size"]),
    help="What auto chooses by. Default: the smallest that takes at most twice as long as the fastest.",
)
@click.option("--name", help="The model's name. Default: the file's.")
@click.option(
    "--no-cache", is_flag=True, help="Make every artifact anew, also where the same was converted before."
)
@click.option(
    "--keep-failed", is_flag=True, help="Write the bundle although it missed its budget. Still exit code 3."
)
@click.option(
    "-o",
    "--output",
    "target",
    type=FILE,
    required=True,
    metavar="BUNDLE",
    help="Folder for the bundles, one a profile.",
)
@click.option(
    "--report", type=FILE, metavar="FILE.html", help="Write the report as one page for a browser, too."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def convert(
    ctx: click.Context,
    model: Path,
    profiles: tuple[str, ...],
    recipe: str,
    calibration: Path | None,
    evaluation: Path | None,
    max_drop: float,
    labels: Path | None,
    label_column: str | None,
    input_scale: str | None,
    pipeline: Path | None,
    signature: str | None,
    trust_code: bool,
    trust_pickle: bool,
    boards: tuple[str, ...],
    metric: str | None,
    prefer: str | None,
    name: str | None,
    no_cache: bool,
    keep_failed: bool,
    target: Path,
    report: Path | None,
    as_json: bool,
) -> int:
    """Convert MODEL for one or more profiles.

    It is a file of Keras (.keras, .h5), ONNX, TFLite, PyTorch (.pt2 of torch.export, TorchScript) or scikit-learn
    (.skops, .joblib), or the folder of a TensorFlow SavedModel.

    Every artifact is compared with the float model on the held-out data and run in the board's own engine version
    before a bundle is written. Exit code 3: over the accuracy budget. 4: too little data to tell.
    """
    from converters.source import Trust
    from edge.cli.profile import known_profiles
    from edge.conversion import ConversionRequest
    from edge.conversion import convert as run
    from edge.conversion.pipeline_file import DeclaredPipeline, read_pipeline
    from edge.profiles import profile_named

    if report is not None:
        check_report(report)
    known = known_profiles()
    chosen = tuple(profile_named(profile, known) for profile in dict.fromkeys(profiles))
    steps = output.Steps(quiet=as_json)
    request = ConversionRequest(
        model=model,
        profiles=chosen,
        output=target,
        recipe=recipe,
        calibration=calibration,
        evaluation=evaluation,
        max_drop_points=max_drop,
        prefer=prefer,
        metric=metric,
        keep_failed=keep_failed,
        name=name,
        labels=labels,
        label_column=label_column,
        input_scale=_range(input_scale),
        pipeline=read_pipeline(pipeline) if pipeline is not None else DeclaredPipeline(),
        signature=signature,
        trust=Trust(code=trust_code, pickle=trust_pickle),
        use_cache=not no_cache,
    )
    there = measures_on(boards, chosen, steps)
    outcome = run(request, measure_for=measure_for(steps, there), boards=there, progress=steps)
    if report is not None:
        from edge.conversion.page import page

        report.write_text(page(outcome), encoding="utf-8")
    if as_json:
        output.data(outcome_plain(outcome))
    else:
        show(outcome)
    return int(outcome.exit_code)


def check_report(path: Path) -> None:
    """Refuse a page that could not be written after all the work.

    Raises:
        OptionInvalid: its folder is not there or can't be written to, or it is a folder itself.
    """
    from edge.conversion.given import check_place

    if path.is_dir() or not path.absolute().parent.is_dir():
        raise OptionInvalid(option="--report", reason=f"`{path}` is no file in a folder that is there")
    check_place(path.absolute().parent, option="--report")


def measures_on(
    names: tuple[str, ...], profiles: tuple[DeviceProfile, ...], progress: output.Steps
) -> Mapping[str, BoardMeasure]:
    """The measure functions of the boards that were named, by profile; a board that runs another version of the engine
    than the next flash brings is told of.

    Raises:
        FleetFolderMissing: boards are named, and this is no fleet folder.
        as `boards_for`.
    """
    if not names:
        return {}
    from edge.cli.passphrase import asker
    from edge.rollouts.measuring import boards_for
    from edge.rollouts.workspace import Workspace
    from edge.runtimes.lockfile import engine_versions

    found = boards_for(Workspace.find(asker()), names, profiles, progress)
    for profile in profiles:
        board = found.get(profile.name)
        there = engine_versions(profile, profile.engine)
        if board is not None and board.runtime.version not in there:
            output.line(
                "note",
                f"{board.name} runs {board.runtime.engine} {board.runtime.version}; flashed again it runs"
                f" {' or '.join(there) or 'none'}: what is measured now is said of what it runs now",
            )
    return found


def measure_for(progress: output.Steps, boards: Mapping[str, BoardMeasure] | None = None) -> MeasureFor:
    """A function from profile to the measure function of its engine's proof environment, or None without one; then
    its board proves, where there is one, else the board's trial."""
    from agent.contract.errors import PlatformUnsupported
    from agent.contract.manifest import EngineName
    from edge.config import cache_dir
    from edge.conversion import proof_measure
    from edge.runtimes.lockfile import engine_versions
    from edge.runtimes.proof import ProofEnvironment, proof_environment

    @cache
    def environment_of(engine: EngineName, version: str) -> ProofEnvironment:
        return proof_environment(engine, cache_dir(), progress, version=version)

    def choose(profile: DeviceProfile) -> Measure | None:
        board = (boards or {}).get(profile.name)
        instead = f"it is run on {board.name} instead" if board else "the board's trial is the first run"
        engine = profile.engine
        try:
            environment = environment_of(engine, profile.engine_version)
        except PlatformUnsupported as error:
            output.line("note", f"no proof run here for `{profile.name}`: {error}; {instead}")
            return None
        here, there = environment.runtime.engine_version, engine_versions(profile, engine)
        if here not in there:
            versions = " or ".join(there) or "none"
            output.line(
                "note",
                f"no proof run here for `{profile.name}`: its boards run {engine.value} {versions}, this one {here};"
                f" {instead}",
            )
            return None
        if len(there) > 1:
            versions = " or ".join(there)
            output.line(
                "note",
                f"`{profile.name}`: its boards run {engine.value} {versions}, by their Python; the proof run here is in"
                f" {here}, and each board's trial judges in its own",
            )
        return proof_measure(environment)

    return choose


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


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise OptionInvalid(
            option=f"--input-scale {text}", reason="two numbers with a comma, the lower one first, like 0,1"
        )
    return low, high
