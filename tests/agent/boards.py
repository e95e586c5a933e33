"""A board's folder made for tests: real bundles, and a runtime whose layers are this environment's own packages."""

from __future__ import annotations

import hashlib
import json
import shutil
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig
from agent.contract.codec import digest, encode
from agent.contract.manifest import (
    BundleManifest,
    EngineName,
    FileEntry,
    Golden,
    GoldenOrigin,
    ModelFormat,
    Requirements,
    Step,
    Task,
    TensorSpec,
)
from agent.contract.release import Generation, GenerationModel
from agent.contract.runtime import Layer, Platform, RuntimeManifest
from agent.transforms.golden import GoldenSet, write_golden

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests" / "data" / "models"

DIGITS = TensorSpec(name="x", dtype="float32", shape=(-1, 64))
PROBABILITIES = TensorSpec(name="probabilities", dtype="float32", shape=(-1, 10))


def digits(count: int = 40) -> NDArray[np.float32]:
    """Handwritten digits that no model of the tests was trained on, float32 `[count, 64]`, 0 to 1."""
    return (_handwriting().data[900 : 900 + count] / 16).astype(np.float32)


def digit_labels(count: int = 40) -> list[int]:
    return [int(label) for label in _handwriting().target[900 : 900 + count]]


@cache
def _handwriting() -> Any:
    from sklearn.datasets import load_digits

    return load_digits()


def write_bundle(
    folder: Path,
    *,
    model_file: Path,
    golden: GoldenSet,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    name: str = "digits",
    engines: Mapping[str, str] | None = None,
    task: Task = Task.CLASSIFICATION,
    preprocessing: Sequence[Step] = (),
    postprocessing: Sequence[Step] = (),
    labels: Sequence[str] = (),
    memory_bytes: int = 0,
) -> str:
    """Write a bundle into `folder/<digest>` and return its digest."""
    model_format = ModelFormat.ONNX if model_file.suffix == ".onnx" else ModelFormat.TFLITE
    allowed = (
        {EngineName.ONNXRUNTIME: "1.0"} if model_format is ModelFormat.ONNX else {EngineName.LITERT: "1.0"}
    )
    files = {
        f"model{model_file.suffix}": model_file.read_bytes(),
        "golden.npz": write_golden(golden),
        "report.json": b"{}",
    }
    if labels:
        files["labels.txt"] = "".join(f"{label}\n" for label in labels).encode()
    manifest = BundleManifest(
        model=name,
        profile="generic-linux-x86-64",
        format=model_format,
        model_file=f"model{model_file.suffix}",
        task=task,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        golden=Golden(
            file="golden.npz",
            samples=golden.samples,
            origin=GoldenOrigin.HELD_OUT if golden.float_outputs else GoldenOrigin.SANITY,
            floor=0.9 if golden.float_outputs else None,
            agreement=1.0 if golden.float_outputs else None,
        ),
        requires=Requirements(
            engines=engines or {key.value: least for key, least in allowed.items()},
            memory_bytes=memory_bytes,
        ),
        recipe={"name": "as-is"},
        report_file="report.json",
        source_sha256="0" * 64,
        verdict="not-judged",
        files=tuple(
            FileEntry(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for path, data in files.items()
        ),
        preprocessing=tuple(preprocessing),
        postprocessing=tuple(postprocessing),
        labels_file="labels.txt" if labels else None,
    )
    data = encode(manifest)
    bundle = folder / digest(data)
    bundle.mkdir(parents=True)
    for path, content in files.items():
        (bundle / path).write_bytes(content)
    (bundle / "manifest.json").write_bytes(data)
    return bundle.name


class TestBoard:
    """A board's folder."""

    __test__ = False

    def __init__(self, root: Path, **config: Any) -> None:
        self.root = root
        for folder in ("bin", "objects", "generations", "run", "state"):
            (root / folder).mkdir(parents=True)
        shutil.copy(ROOT / "agent" / "launch.py", root / "bin" / "launch.py")
        self.runtime = self._runtime()
        (root / "bootstrap").write_text(self.runtime)
        self.configure(**config)

    def configure(self, **config: Any) -> None:
        """Write `board.json`; by default any free port is taken."""
        whole = BoardConfig(
            fleet="test-abcdef",
            device="d-0123456789",
            serial="none",
            profile="generic-linux-x86-64",
            service=SERVICE_SUPERVISOR,
            **{"port": 0, **config},
        )
        (self.root / "board.json").write_bytes(encode(whole))

    def _runtime(self) -> str:
        """The agent of this tree and the packages of this environment, as two layers."""
        agent, packages = "a" * 64, "b" * 64
        (self.root / "objects" / agent).mkdir()
        (self.root / "objects" / agent / "agent").symlink_to(ROOT / "agent")
        (self.root / "objects" / packages).symlink_to(sysconfig.get_paths()["purelib"])
        self._manifest = manifest = RuntimeManifest(
            platform=Platform("x86_64", "3.11", "2.28"),
            engine=EngineName.ONNXRUNTIME,
            engine_version="1.0",
            agent_version="0.1.0",
            contracts=(1,),
            layers=(
                Layer(name="edge-agent", version="0.1.0", sha256=agent, size_bytes=0, unpacked_bytes=0),
                Layer(name="packages", version="0", sha256=packages, size_bytes=0, unpacked_bytes=0),
            ),
        )
        data = encode(manifest)
        folder = self.root / "objects" / digest(data)
        folder.mkdir()
        (folder / "manifest.json").write_bytes(data)
        return folder.name

    def bundle(self, **parts: Any) -> str:
        """Write a bundle into the objects and return its digest."""
        return write_bundle(self.root / "objects", **parts)

    def digits_onnx(self, golden: GoldenSet | None = None, **parts: Any) -> str:
        """The digits model for ONNX Runtime."""
        whole: dict[str, Any] = {"model_file": MODELS / "digits.onnx", **parts}
        return self.bundle(
            golden=golden or GoldenSet(inputs=(digits(),)), inputs=[DIGITS], outputs=[PROBABILITIES], **whole
        )

    def digits_int8(self, golden: GoldenSet | None = None) -> str:
        """The digits model for LiteRT, full int8."""
        inputs, outputs = tflite_specs(MODELS / "digits_int8.tflite")
        stored = np.clip(np.rint(digits() / inputs[0].scale) + inputs[0].zero_point, -128, 127)
        return self.bundle(
            model_file=MODELS / "digits_int8.tflite",
            golden=golden or GoldenSet(inputs=(stored.astype(np.int8),)),
            inputs=inputs,
            outputs=outputs,
        )

    def sum_and_product(self) -> str:
        """Two inputs, two outputs."""
        return self.bundle(
            name="two",
            model_file=MODELS / "sum_and_product.onnx",
            golden=GoldenSet(inputs=(np.ones((2, 3), np.float32), np.ones((2, 3), np.int32))),
            inputs=[
                TensorSpec(name="a", dtype="float32", shape=(-1, 3)),
                TensorSpec(name="b", dtype="int32", shape=(-1, 3)),
            ],
            outputs=[
                TensorSpec(name="sum", dtype="float32", shape=(-1, 3)),
                TensorSpec(name="product", dtype="float32", shape=(-1, 3)),
            ],
            task=Task.TENSOR,
        )

    def generation(self, number: int, models: Mapping[str, str]) -> Path:
        """Write a generation: model name to bundle digest, each as release `name@number`."""
        folder = self.root / "generations" / str(number)
        folder.mkdir()
        generation = Generation(
            number=number,
            runtime=self.runtime,
            models=tuple(
                GenerationModel(name=name, release=f"{name}@{number}", bundle=bundle)
                for name, bundle in models.items()
            ),
        )
        (folder / "generation.json").write_bytes(encode(generation))
        return folder

    def generation_of(self, number: int, *models: GenerationModel, runtime: str | None = None) -> Path:
        """Write a generation of several versions and roles, in this runtime or another one."""
        folder = self.root / "generations" / str(number)
        folder.mkdir()
        generation = Generation(number=number, runtime=runtime or self.runtime, models=models)
        (folder / "generation.json").write_bytes(encode(generation))
        return folder

    def other_runtime(self) -> str:
        """The same layers under another digest."""
        data = encode(replace(self._manifest, engine_version="1.1"))
        folder = self.root / "objects" / digest(data)
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_bytes(data)
        return folder.name

    def link(self, name: str, number: int) -> None:
        """Set `current` or `trial`, as the update process does: by renaming a new link."""
        new = self.root / f".{name}"
        new.symlink_to(f"generations/{number}")
        new.rename(self.root / name)

    def running(self) -> dict[str, Any]:
        """What the agent says of itself."""
        found: dict[str, Any] = json.loads((self.root / "run" / "agent.json").read_bytes())
        return found


def tflite_specs(path: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a TFLite file, as LiteRT sees them."""
    from agent.engines import open_engine

    engine = open_engine(EngineName.LITERT, path)
    return list(engine.inputs), list(engine.outputs)
