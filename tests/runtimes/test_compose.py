"""Composing: the same request gives the same digest, only what runs is composed, and the cache is believed by hash."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.contract.codec import decode, digest
from agent.contract.errors import (
    DigestMismatch,
    FileMissing,
    PlatformUnsupported,
    WheelUnavailable,
    WheelUnfit,
)
from agent.contract.manifest import EngineName
from agent.contract.runtime import Layer, RuntimeManifest
from edge.runtimes import Composed, EngineWheel, RuntimeRequest, compose
from edge.runtimes.agent_layer import agent_folder
from edge.runtimes.lockfile import read_lock
from tests.runtimes.conftest import BOOKWORM
from tests.runtimes.wheels import engine_wheel, shared_object

JETSON = RuntimeRequest(
    architecture="aarch64", python="3.10", glibc="2.35", page_size_bytes=4096, engine=EngineName.ONNXRUNTIME
)
ENGINE_OBJECT = "onnxruntime/capi/onnxruntime_pybind11_state.so"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def packages(composed: Composed) -> tuple[Layer, ...]:
    """Its layers without the agent's: whoever works on the agent changes that one between two tests."""
    return composed.manifest.layers[1:]


def test_a_runtime_is_its_manifests_bytes(bookworm: Composed) -> None:
    manifest = decode(RuntimeManifest, bookworm.manifest_bytes)
    assert manifest == bookworm.manifest
    assert digest(bookworm.manifest_bytes) == bookworm.digest
    assert (manifest.platform.architecture, manifest.platform.python) == ("aarch64", "3.11")
    assert manifest.gpu is None
    assert set(bookworm.blobs) == {layer.sha256 for layer in manifest.layers}
    for layer in manifest.layers:
        data = bookworm.blobs[layer.sha256].read_bytes()
        assert (digest(data), len(data)) == (layer.sha256, layer.size_bytes)
        with zipfile.ZipFile(bookworm.blobs[layer.sha256]) as archive:
            assert sum(entry.file_size for entry in archive.infolist()) == layer.unpacked_bytes


def test_every_layer_can_be_loaded_with_the_pages_of_a_raspberry_pi_5(bookworm: Composed) -> None:
    pages = {layer.name: layer.page_size_bytes for layer in bookworm.manifest.layers if layer.page_size_bytes}
    assert {"ai-edge-litert", "numpy", "cryptography"} <= set(pages)
    assert min(pages.values()) >= 16384


def test_no_layer_holds_what_no_board_needs(bookworm: Composed) -> None:
    for layer in bookworm.manifest.layers:
        with zipfile.ZipFile(bookworm.blobs[layer.sha256]) as archive:
            names = archive.namelist()
        assert not [
            name for name in names if name.endswith((".pyi", ".h", ".a", ".pyc")) or "/tests/" in name
        ]
        assert not [name for name in names if "WebGpu" in name]
        if layer.name != "edge-agent":
            assert [name for name in names if name.endswith(".dist-info/METADATA")]


def test_composing_again_elsewhere_without_a_network_gives_the_same_bytes(
    bookworm: Composed, elsewhere: tuple[Path, Composed]
) -> None:
    cache, again = elsewhere
    assert packages(again) == packages(bookworm)
    for layer in packages(again):
        assert again.blobs[layer.sha256].is_relative_to(cache)
        assert again.blobs[layer.sha256].read_bytes() == bookworm.blobs[layer.sha256].read_bytes()


def test_boards_with_other_pages_and_c_libraries_share_a_runtime(bookworm: Composed) -> None:
    other = dataclasses.replace(BOOKWORM, page_size_bytes=4096, glibc="2.41")
    again = compose(other)
    assert packages(again) == packages(bookworm)
    assert again.manifest.platform == bookworm.manifest.platform


def composed_with(agent: Path, cache: Path) -> tuple[str, dict[str, str]]:
    """Digest and layers of the runtime that a host composes whose package `agent` lies there."""
    program = (
        "import json; from edge.runtimes import compose; from tests.runtimes.conftest import BOOKWORM;"
        "made = compose(BOOKWORM);"
        "print(json.dumps([made.digest, {layer.name: layer.sha256 for layer in made.manifest.layers}]))"
    )
    path = os.pathsep.join([str(agent.parent), str(Path(__file__).resolve().parents[2])])
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, "EDGE_CACHE": str(cache)},
        cwd=agent.parent,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    digest_, layers = json.loads(said.stdout)
    return digest_, layers


def test_the_same_agent_gives_the_same_digest_and_a_new_one_changes_its_own_layer_only(
    elsewhere: tuple[Path, Composed], warm_cache: Path, tmp_path: Path
) -> None:
    one, other, newer = (tmp_path / name / "agent" for name in ("one", "other", "newer"))
    for folder in (one, other, newer):
        shutil.copytree(
            agent_folder() if folder is one else one, folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    (other / "__pycache__").mkdir(exist_ok=True)
    (other / "__pycache__" / "launch.cpython-39.pyc").write_bytes(b"left out")
    os.utime(other / "launch.py", (0, 0))
    (newer / "launch.py").write_text((newer / "launch.py").read_text() + "# one line more\n")
    first = composed_with(one, elsewhere[0])
    assert composed_with(other, warm_cache) == first
    digest_, layers = composed_with(newer, warm_cache)
    assert digest_ != first[0]
    assert {name for name in layers if layers[name] != first[1][name]} == {"edge-agent"}


def test_the_agents_layer_runs_by_itself_with_the_standard_library_alone(bookworm: Composed) -> None:
    layer = bookworm.blobs[bookworm.manifest.layers[0].sha256]
    said = subprocess.run(
        [sys.executable, "-I", "-S", layer, "place", "--help"], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    assert "unpack" in said.stdout


def test_without_a_network_and_a_cache_the_package_is_named(
    tmp_path: Path, unplugged: Callable[[], None]
) -> None:
    unplugged()
    with pytest.raises(WheelUnavailable, match=r"`ai-edge-litert==2.3.0.*No matching distribution"):
        compose(BOOKWORM, tmp_path / "cache")


def test_a_flipped_byte_in_a_cached_wheel_is_noticed(
    bookworm: Composed, warm_cache: Path, unplugged: Callable[[], None]
) -> None:
    wheel = next(wheel for wheel in read_lock(BOOKWORM.lock) if wheel.name.distribution == "tuf")
    path = warm_cache / "wheels" / wheel.sha256 / wheel.name.file
    flip(path, 1000)
    assert packages(compose(BOOKWORM, warm_cache)) == packages(bookworm)  # fetched anew
    flip(path, 1000)
    unplugged()
    with pytest.raises(WheelUnavailable, match="tuf==7"):
        compose(BOOKWORM, warm_cache)


def test_a_flipped_byte_in_a_cached_layer_is_noticed(bookworm: Composed, warm_cache: Path) -> None:
    composed = compose(BOOKWORM, warm_cache)
    layer = next(layer for layer in composed.manifest.layers if layer.name == "tuf")
    flip(composed.blobs[layer.sha256], 100)
    again = compose(BOOKWORM, warm_cache)
    assert packages(again) == packages(bookworm)
    assert digest(again.blobs[layer.sha256].read_bytes()) == layer.sha256


@pytest.mark.parametrize(
    ("change", "said", "way_out"),
    [
        ({"architecture": "armv7l"}, "no packages for this processor", "64-bit"),
        ({"python": "3.9"}, "the agent runs on Python 3.10 to 3.13", "image"),
        (
            {"python": "3.13", "engine": EngineName.TFLITE_RUNTIME},
            "no package of tflite-runtime for Python 3.13",
            "litert",
        ),
    ],
)
def test_a_platform_without_a_runtime_is_told_why(change: dict[str, object], said: str, way_out: str) -> None:
    with pytest.raises(PlatformUnsupported, match=said) as unsupported:
        compose(dataclasses.replace(BOOKWORM, **change))  # type: ignore[arg-type]
    assert way_out in (unsupported.value.hint or "")


def test_a_board_with_an_older_c_library_is_told_so_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(WheelUnfit, match=r"needs glibc 2\.2\d, the board has 2\.24"):
        compose(dataclasses.replace(BOOKWORM, glibc="2.24"), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_wheel_that_promises_less_than_it_needs_is_found_out() -> None:
    """LiteRT's wheel for arm64 is named for glibc 2.27, and its shared objects want symbols of 2.34."""
    with pytest.raises(
        WheelUnfit, match=r"ai_edge_litert.*shared objects need glibc 2\.34, the board has 2\.31"
    ):
        compose(dataclasses.replace(BOOKWORM, glibc="2.31"))


@pytest.mark.parametrize(
    ("data", "request_", "said"),
    [
        (shared_object("x86_64"), JETSON, "it holds shared objects for x86_64"),
        (shared_object(glibc="2.38"), JETSON, "shared objects need glibc 2.38, the board has 2.35"),
        (
            shared_object(alignment=4096),
            dataclasses.replace(JETSON, page_size_bytes=16384),
            "aligned for pages of 4096 bytes at most, the board's are 16384",
        ),
        (b"\x7fELF" + bytes(200), JETSON, "machine 0, 0 bits"),
    ],
    ids=["another processor", "newer glibc", "small alignment", "no real object"],
)
def test_an_engine_that_could_not_be_loaded_is_refused(
    tmp_path: Path, data: bytes, request_: RuntimeRequest, said: str
) -> None:
    wheel = engine_wheel(
        tmp_path, {ENGINE_OBJECT: data}, "onnxruntime_gpu-9.9.0-cp310-cp310-linux_aarch64.whl"
    )
    with pytest.raises(WheelUnfit) as unfit:
        compose(dataclasses.replace(request_, engine_wheel=wheel))
    assert said in str(unfit.value)
    assert wheel.path.name in str(unfit.value)


def test_an_engine_wheel_takes_the_engines_place_and_says_what_it_can_use(tmp_path: Path) -> None:
    wheel = engine_wheel(
        tmp_path,
        {
            ENGINE_OBJECT: shared_object(),
            "onnxruntime/__init__.py": b"",
            "onnxruntime/capi/libonnxruntime_providers_cuda.so": shared_object(needs="libcudart.so.12"),
            "onnxruntime/capi/libonnxruntime_providers_tensorrt.so": shared_object(needs="libnvinfer.so.10"),
            "onnxruntime/tools/kept.py": b"",
        },
        "onnxruntime_gpu-9.9.0-cp310-cp310-linux_aarch64.whl",
    )
    plain, gpu = compose(JETSON), compose(dataclasses.replace(JETSON, engine_wheel=wheel))
    assert (plain.manifest.gpu, gpu.manifest.gpu) == (None, "CUDA and TensorRT")
    assert gpu.manifest.engine_version == "9.9.0"
    names = [layer.name for layer in gpu.manifest.layers]
    assert "onnxruntime-gpu" in names
    assert "onnxruntime" not in names
    others = {layer.sha256 for layer in packages(plain) if layer.name != "onnxruntime"}
    assert others == {layer.sha256 for layer in packages(gpu) if layer.name != "onnxruntime-gpu"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("onnxruntime_gpu-9.9.0-cp311-cp311-linux_aarch64.whl", "it is for cp311"),
        ("onnxruntime_gpu-9.9.0-cp310-cp310-linux_x86_64.whl", "it is for linux_x86_64"),
        (
            "onnxruntime_gpu-9.9.0-cp310-cp310-manylinux_2_39_aarch64.whl",
            "needs glibc 2.39, the board has 2.35",
        ),
        ("torch-9.9.0-cp310-cp310-linux_aarch64.whl", "it holds torch, not onnxruntime"),
        ("onnxruntime.whl", "its name is not that of a wheel"),
    ],
)
def test_an_engine_wheel_for_something_else_is_refused_by_its_name(
    tmp_path: Path, name: str, said: str
) -> None:
    wheel = engine_wheel(tmp_path, {ENGINE_OBJECT: shared_object()}, name)
    with pytest.raises(WheelUnfit, match=said):
        compose(dataclasses.replace(JETSON, engine_wheel=wheel))


def test_an_engine_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    wheel = engine_wheel(tmp_path, {ENGINE_OBJECT: shared_object()})
    with pytest.raises(DigestMismatch):
        compose(dataclasses.replace(JETSON, engine_wheel=dataclasses.replace(wheel, sha256="0" * 64)))
    with pytest.raises(FileMissing):
        compose(
            dataclasses.replace(JETSON, engine_wheel=EngineWheel(path=tmp_path / "gone.whl", sha256="0" * 64))
        )


def test_an_engine_wheel_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    wheel = engine_wheel(
        tmp_path, {"../../bin/launch.py": b"evil"}, "onnxruntime_gpu-9.9.0-cp310-cp310-linux_aarch64.whl"
    )
    with pytest.raises(WheelUnfit, match="leads out of its folder"):
        compose(dataclasses.replace(JETSON, engine_wheel=wheel))
