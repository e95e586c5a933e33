"""Locks: one for each platform and engine, each wheel one that fits, and no address."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.manifest import EngineName
from agent.contract.profile import PYTHONS, version_key
from edge.profiles import load_profiles
from edge.runtimes.lock import (
    AGENT_REQUIREMENTS,
    ARCHITECTURES,
    ENGINE_PYTHONS,
    GLIBC,
    KEPT,
    OLDER_REQUIREMENTS,
)
from edge.runtimes.lockfile import ENGINE_PACKAGES, LOCKS, engine_versions, lock_path, read_lock, write_lock

TARGETS = [
    (python, architecture, engine, version)
    for engine, version in [*((engine, "") for engine in ENGINE_PACKAGES), *OLDER_REQUIREMENTS]
    for python, architecture in itertools.product(
        ENGINE_PYTHONS.get((engine, version), PYTHONS), ARCHITECTURES
    )
]


@pytest.mark.parametrize(("python", "architecture", "engine", "version"), TARGETS)
def test_every_wheel_fits_its_target(
    python: str, architecture: str, engine: EngineName, version: str
) -> None:
    wheels = read_lock(lock_path(python, architecture, engine, version))
    for wheel in wheels:
        glibc = wheel.name.least_glibc(architecture)
        assert wheel.name.runs_on_python(python), wheel
        assert glibc is not None, wheel
        assert version_key(glibc) <= version_key(GLIBC.replace("_", ".")), wheel


@pytest.mark.parametrize(("python", "architecture", "engine", "version"), TARGETS)
def test_a_lock_holds_what_the_agent_imports_and_nothing_else(
    python: str, architecture: str, engine: EngineName, version: str
) -> None:
    wheels = read_lock(lock_path(python, architecture, engine, version))
    names = [wheel.name.distribution for wheel in wheels]
    needed = {requirement.split(">")[0].split("[")[0] for requirement in AGENT_REQUIREMENTS}
    assert needed | {ENGINE_PACKAGES[engine]} <= set(names) <= KEPT | {ENGINE_PACKAGES[engine]}
    assert len(set(names)) == len(names)


def test_there_is_no_lock_beside_these() -> None:
    assert {path.name for path in LOCKS.iterdir()} == {lock_path(*target).name for target in TARGETS}


def test_engines_that_were_made_against_numpy_1_have_it() -> None:
    for python, architecture, engine, version in TARGETS:
        if engine is EngineName.TFLITE_RUNTIME or version:
            wheels = read_lock(lock_path(python, architecture, engine, version))
            numpy = next(wheel for wheel in wheels if wheel.name.distribution == "numpy")
            assert numpy.name.version.startswith("1.")


def test_an_older_lock_holds_the_version_that_it_is_named_for() -> None:
    for python, architecture, engine, version in TARGETS:
        found = next(
            wheel
            for wheel in read_lock(lock_path(python, architecture, engine, version))
            if wheel.name.distribution == ENGINE_PACKAGES[engine]
        )
        assert version in ("", found.name.version)


def test_a_profile_that_states_a_version_has_boards_of_that_version() -> None:
    profile = replace(load_profiles(None)["linux-x86-64"], engine_version="1.18.1")
    assert engine_versions(profile, profile.engine) == ("1.18.1",)
    assert engine_versions(profile, EngineName.LITERT) == ("2.3.0",)


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
