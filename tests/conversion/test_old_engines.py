"""What engine versions were measured to run, against the real old ones: bundles for them run there, rows are true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from agent.contract.errors import ExitCode
from agent.contract.manifest import EngineName, ModelFormat
from agent.contract.profile import DeviceProfile
from benchmarks.capabilities.environments import environment
from benchmarks.capabilities.probes import CRASHES, OK, REFUSED, WRONG, Outcome, Probe, compared, run
from benchmarks.capabilities.tflite_nets import BY_QUANTIZER
from converters import requirements, tflite_file
from converters.capability.measured import Use, engine
from edge.bundle import open_bundle
from edge.conversion import ConversionOutcome, ConversionRequest, Measure, convert, proof_measure
from edge.runtimes import proof_environment
from tests.conversion.digits import DATA, digits, write_data
from tests.conversion.proving import PROFILES
from tests.converters.small_models import classifier_onnx

pytestmark = [pytest.mark.bed, pytest.mark.timeout(900)]

TFLITE = replace(PROFILES["sim-tflite"], engine=EngineName.TFLITE_RUNTIME, pythons=("3.11",))
ONNX = replace(PROFILES["sim-onnx"], engine_version="1.18.1")


def in_its_engine(profile: DeviceProfile) -> Measure:
    return proof_measure(proof_environment(profile.engine, version=profile.engine_version))


def auto(model: Path, profile: DeviceProfile, folder: Path) -> ConversionOutcome:
    write_data(folder)
    request = ConversionRequest(
        model=model,
        profiles=(profile,),
        output=folder / "out",
        calibration=folder / "calibration.npz",
        evaluation=folder / "held-out.npz",
        max_drop_points=3.0,
    )
    return convert(request, measure_for=in_its_engine)


def test_a_bundle_for_tflite_runtime_runs_in_it_and_what_it_answers_wrongly_was_not_tried(
    tmp_path: Path,
) -> None:
    outcome = auto(DATA / "digits.keras", TFLITE, tmp_path)

    result = outcome.results[0]
    assert outcome.exit_code is ExitCode.DONE
    assert result.proved_in is not None
    assert result.proved_in.startswith("tflite-runtime 2.14.0")
    assert open_bundle(tmp_path / "out" / TFLITE.name).manifest.requires.engines["tflite-runtime"] <= "2.14.0"
    refused = {row.recipe: row.reason for row in result.candidates if row.verdict == "refused"}
    assert {"int8-dynamic", "int4", "int8-int4"} <= set(refused)
    assert all("tflite-runtime 2.14.0, which its boards run, can't run `" in refused[name]
               for name in ("int8-dynamic", "int4", "int8-int4"))  # fmt: skip
    assert {"fp32", "fp16", "int8"} <= {row.recipe for row in result.candidates if row.verdict == "within"}


def test_a_bundle_for_onnx_runtime_1_18_runs_in_it(tmp_path: Path) -> None:
    outcome = auto(DATA / "digits.keras", ONNX, tmp_path)

    result = outcome.results[0]
    assert outcome.exit_code is ExitCode.DONE
    assert result.proved_in is not None
    assert result.proved_in.startswith("onnxruntime 1.18.1")
    within = {row.recipe for row in result.candidates if row.verdict == "within"}
    assert {"fp32", "int8", "int8-dynamic"} <= within


def quantized(recipe: str, folder: Path) -> Path:
    """A file as AI Edge Quantizer leaves it: with the float model's stamp."""
    from ai_edge_quantizer import quantizer, recipe_manager

    manager = recipe_manager.RecipeManager()
    BY_QUANTIZER[recipe](manager)
    work = quantizer.Quantizer(bytearray((DATA / "digits.tflite").read_bytes()))
    work.load_quantization_recipe(manager.get_quantization_recipe())
    path = folder / f"{recipe}.tflite"
    path.write_bytes(bytes(work.quantize().quantized_model))
    return path


def answered(
    model: Path, inputs: list[np.ndarray], name: str, versions: tuple[str, str], folder: Path
) -> Outcome:
    """What a version made of a model, compared with the newest version of `litert` or `onnxruntime`."""
    np.savez(folder / "inputs.npz", **{f"input_{k}": array for k, array in enumerate(inputs)})
    probe = Probe(
        name="m", key=("m", 0, ""), model=model, inputs=folder / "inputs.npz", tolerance=0.2, whole=True
    )
    newest = "onnxruntime" if name == "onnxruntime" else "litert"
    with environment(newest, versions[1]) as where:
        _, references = run(where, [probe], folder / "newest")
    with environment(name, versions[0]) as where:
        outcomes, places = run(where, [probe], folder / "old")
    return compared(outcomes, places, references, [probe])["m"]


@pytest.mark.parametrize("recipe", ["int8-dynamic", "int4", "int4-block32", "fp32"])
def test_what_the_table_says_of_tflite_runtime_2_14_is_so(recipe: str, tmp_path: Path) -> None:
    """Blocks of 4 bits end its process or are answered wrongly, as memory has it."""
    path = DATA / "digits.tflite" if recipe == "fp32" else quantized(recipe, tmp_path)
    x = digits()[0][:1]

    found = answered(path, [x], "tflite-runtime", ("2.14.0", "2.3.0"), tmp_path)

    uses = requirements.tflite_uses(tflite_file.read(path), path)
    lacking = engine(EngineName.TFLITE_RUNTIME).lacking("2.14.0", uses)
    assert found.kind in ((OK,) if recipe == "fp32" else (WRONG, CRASHES)), found.reason
    assert bool(lacking) == (recipe != "fp32")


@pytest.mark.parametrize(("opset", "ir", "kind"), [(21, 10, OK), (22, 10, REFUSED), (17, 11, REFUSED)])
def test_what_the_table_says_of_onnx_runtime_1_18_is_so(
    opset: int, ir: int, kind: str, tmp_path: Path
) -> None:
    path = classifier_onnx(tmp_path / "m.onnx", opset=opset, ir_version=ir)

    found = answered(path, [np.ones((1, 6), np.float32)], "onnxruntime", ("1.18.0", "1.32.0"), tmp_path)

    lacking = engine(EngineName.ONNXRUNTIME).lacking("1.18.0", requirements.onnx_uses(onnx.load(str(path))))
    assert (found.kind, bool(lacking)) == (kind, kind != OK), found.reason


def test_weights_in_blocks_of_4_bits_come_with_onnx_runtime_1_17() -> None:
    blocks = Use("com.microsoft.MatMulNBits", 1, "float32 uint8 float32 > float32")
    assert requirements.engines(ModelFormat.ONNX, [blocks]) == {"onnxruntime": "1.17.0"}
