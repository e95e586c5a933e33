"""`edge convert`: a model for kinds of boards, and what it cost."""

from __future__ import annotations

import math
from pathlib import Path

import click

from agent.contract.errors import OptionInvalid
from edge.cli import output
from edge.cli.conversion import outcome_plain, show
from edge.cli.proofs import measure_for, measures_on

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
    help="What accuracy is judged by: top-1, top-K, auc, rmse, map, map50, or your own MODULE:FUNCTION or "
    "FILE.py:FUNCTION, which is run. Default: that of the task.",
)
@click.option(
    "--prefer",
    type=click.Choice(["latency", "size"]),
    help="What auto chooses by. Default: the smallest that takes at most twice the fastest's time, or 0.05 ms more.",
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
