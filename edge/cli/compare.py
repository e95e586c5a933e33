"""`edge compare`: two artifacts layer by layer."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli import output

ARTIFACT = click.Path(path_type=Path)
DOUBTFUL_DB = 20.0
"""Below it a tenth of the values' size is noise."""


@click.command()
@click.argument("first", metavar="A", type=ARTIFACT)
@click.argument("second", metavar="B", type=ARTIFACT)
@click.option(
    "--data", type=ARTIFACT, metavar="DATA", help="What is run.  [default: the golden set of a bundle]"
)
@click.option(
    "--samples", type=click.IntRange(1, 10_000), default=32, show_default=True, help="How many at most."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def compare(first: Path, second: Path, data: Path | None, samples: int, as_json: bool) -> None:
    """Show layer by layer how much of what A says is left in B: bundles, .tflite or .onnx files.

    A is what B is measured by: the float model, or another recipe's artifact. Layers are the same where their tensors
    have the same name, which two files of one format keep; of two formats only the outputs are compared.
    """
    from converters.metrics.scores import NOISELESS_DB
    from edge.conversion.compare import compare as run

    found = run(first, second, data=data, samples=samples)
    if as_json:
        output.data(found)
        return
    rows = [
        (layer.name, layer.kind, "the same" if layer.sqnr_db >= NOISELESS_DB else f"{layer.sqnr_db:.1f} dB")
        for layer in found.layers
    ]
    output.table(("layer", "kind", "signal to noise"), rows, right=(2,))
    seen = f"{found.samples} sample{'s' * (found.samples != 1)}"
    worst = min(found.layers, key=lambda layer: layer.sqnr_db, default=None)
    if worst is None:
        output.line("doubt", "they have no layer in common")
    elif worst.sqnr_db < DOUBTFUL_DB:
        output.line("doubt", f"the worst: {worst.name}, {worst.sqnr_db:.1f} dB on {seen}")
    else:
        output.line("good", f"no layer below {worst.sqnr_db:.1f} dB on {seen}")
