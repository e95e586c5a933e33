"""Locks: one for each platform and engine, each wheel one that fits, and no address."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from agent.contract.manifest import EngineName
from agent.contract.profile import PYTHONS, version_key
from edge.profiles import load_profiles
from edge.runtimes.lock import AGENT_REQUIREMENTS, ARCHITECTURES, ENGINE_PYTHONS, GLIBC, KEPT
from edge.runtimes.lockfile import ENGINE_PACKAGES, LOCKS, engine_versions, lock_path, read_lock, write_lock

TARGETS = [
    (python, architecture, engine)
    for engine in ENGINE_PACKAGES
    for python, architecture in itertools.product(ENGINE_PYTHONS.get(engine, PYTHONS), ARCHITECTURES)
]


@pytest.mark.parametrize(("python", "architecture", "engine"), TARGETS)
def test_every_wheel_fits_its_target(python: str, architecture: str, engine: EngineName) -> None:
    wheels = read_lock(lock_path(python, architecture, engine))
    for wheel in wheels:
        glibc = wheel.name.least_glibc(architecture)
        assert wheel.name.runs_on_python(python), wheel
        assert glibc is not None, wheel
        assert version_key(glibc) <= version_key(GLIBC.replace("_", ".")), wheel


@pytest.mark.parametrize(("python", "architecture", "engine"), TARGETS)
def test_a_lock_holds_what_the_agent_imports_and_nothing_else(
    python: str, architecture: str, engine: EngineName
) -> None:
    names = [wheel.name.distribution for wheel in read_lock(lock_path(python, architecture, engine))]
    needed = {requirement.split(">")[0].split("[")[0] for requirement in AGENT_REQUIREMENTS}
    assert needed | {ENGINE_PACKAGES[engine]} <= set(names) <= KEPT | {ENGINE_PACKAGES[engine]}
    assert len(set(names)) == len(names)


def test_there_is_no_lock_beside_these() -> None:
    assert {path.name for path in LOCKS.iterdir()} == {lock_path(*target).name for target in TARGETS}


def test_tflite_runtime_has_numpy_1() -> None:
    for python, architecture, engine in TARGETS:
        if engine is EngineName.TFLITE_RUNTIME:
            numpy = next(
                wheel
                for wheel in read_lock(lock_path(python, architecture, engine))
                if wheel.name.distribution == "numpy"
            )
            assert numpy.name.version.startswith("1.")


def test_a_lock_names_no_address() -> None:
    for path in LOCKS.iterdir():
        assert "/" not in path.read_text(), path.name


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    wheels = read_lock(lock_path("3.11", "aarch64", EngineName.LITERT))
    write_lock(tmp_path / "lock.txt", wheels)
    assert read_lock(tmp_path / "lock.txt") == wheels


def test_the_engine_versions_that_boards_of_a_profile_run_are_known() -> None:
    profiles = load_profiles(None)

    pi, jetson = profiles["raspberry-pi-5"], profiles["jetson-orin-nano"]

    assert len(engine_versions(pi, pi.engine)) == 1
    assert "1.23.2" in engine_versions(jetson, jetson.engine)
