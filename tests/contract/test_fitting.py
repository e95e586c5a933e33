"""Whether a board is what a profile says, a runtime fits a board, and a bundle fits a runtime."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.manifest import BundleManifest, EngineName, ModelFormat, Requirements
from agent.contract.profile import (
    PYTHONS,
    BoardFacts,
    DeviceProfile,
    Sourced,
    accepts,
    bundle_fits,
    runtime_fits,
    version_key,
)
from agent.contract.runtime import Layer, Platform, RuntimeManifest
from tests.contract.samples import sample
from tests.contract.strategies import documents

MIB = 1024 * 1024
FACTS = BoardFacts(
    architecture="aarch64", userland_bits=64, python="3.11", glibc="2.36", page_size_bytes=16384,
    memory_bytes=8192 * MIB, cores=4, disk_free_bytes=10**10, os="Debian GNU/Linux 12 (bookworm)",
    model="Raspberry Pi 5 Model B Rev 1.0", serial="10000000abcdef01",
)  # fmt: skip
PROFILE = DeviceProfile(
    name="raspberry-pi-5", title="Raspberry Pi 5", architecture="aarch64", format=ModelFormat.TFLITE,
    engine=EngineName.LITERT, threads=4, memory_mib=Sourced(8192, "data sheet"),
    cores=Sourced(4, "data sheet"), memory_limit_mib=Sourced(1024, "chosen"),
    page_size_bytes=Sourced(16384, "measured"), pythons=("3.11", "3.13"), glibc="2.36",
    models=("Raspberry Pi 5",),
)  # fmt: skip
RUNTIME = RuntimeManifest(
    platform=Platform("aarch64", "3.11", "2.34"), engine=EngineName.LITERT, engine_version="2.3.0",
    agent_version="0.1.0", contracts=(1,), layers=(Layer("edge-agent", "0.1.0", "0" * 64, 1, 2),),
)  # fmt: skip
BUNDLE = replace(sample(BundleManifest), requires=Requirements({"litert": "2.1.0"}, ("aarch64",)))


def test_a_board_is_accepted_for_what_it_is() -> None:
    assert accepts(PROFILE, FACTS) == ()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(FACTS, architecture="x86_64"), "x86_64"),
        (replace(FACTS, model="Raspberry Pi 4 Model B"), "Raspberry Pi 4"),
        (replace(FACTS, model=""), "`nothing`"),
        (replace(FACTS, memory_bytes=512 * MIB), "512 MiB"),
        (replace(FACTS, python="3.9"), "Python 3.9"),
        (replace(FACTS, python=""), "no Python"),
        (replace(FACTS, glibc=""), "not glibc"),
        (replace(FACTS, userland_bits=32, architecture="armv7l"), "32-bit"),
    ],
)
def test_a_board_is_refused_with_the_fact_that_decides(facts: BoardFacts, words: str) -> None:
    (reason,) = accepts(PROFILE, facts)
    assert words in reason.fact


def test_a_32_bit_system_is_told_the_way_out() -> None:
    (reason,) = accepts(PROFILE, replace(FACTS, userland_bits=32, architecture="armv7l"))
    assert "64-bit system image" in reason.way_out


def test_a_simulated_profile_is_for_simulated_boards() -> None:
    profile = replace(PROFILE, simulated=True, models=())
    assert accepts(profile, FACTS)
    assert accepts(profile, replace(FACTS, simulated=True)) == ()


@settings(derandomize=True, max_examples=100)
@given(documents(DeviceProfile), documents(BoardFacts))
def test_each_reason_is_a_sentence_about_something(profile: DeviceProfile, facts: BoardFacts) -> None:
    reasons = accepts(profile, facts)
    assert all(reason.fact for reason in reasons)
    if not reasons:
        assert facts.architecture == profile.architecture
        assert facts.python in PYTHONS
        assert facts.glibc


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        (replace(RUNTIME, platform=Platform("x86_64", "3.11", "2.34")), "for x86_64"),
        (replace(RUNTIME, platform=Platform("aarch64", "3.13", "2.34")), "Python 3.13"),
        (replace(RUNTIME, platform=Platform("aarch64", "3.11", "2.40")), "glibc 2.40"),
        (replace(RUNTIME, layers=(*RUNTIME.layers, Layer("numpy", "2", "0" * 64, 1, 1, 4096))), "4096"),
    ],
)
def test_a_runtime_that_would_not_run_is_refused(runtime: RuntimeManifest, words: str) -> None:
    (reason,) = runtime_fits(runtime, FACTS)
    assert words in reason.fact


def test_a_runtime_fits_boards_with_larger_glibc_and_smaller_pages() -> None:
    large = replace(RUNTIME, layers=(*RUNTIME.layers, Layer("numpy", "2", "0" * 64, 1, 1, 65536)))
    assert runtime_fits(large, FACTS) == ()
    assert runtime_fits(RUNTIME, replace(FACTS, glibc="2.100")) == ()


@pytest.mark.parametrize(
    ("bundle", "profile", "words"),
    [
        (BUNDLE, "jetson-orin-nano", "made for `raspberry-pi-5`"),
        (replace(BUNDLE, requires=Requirements({"litert": "2.1.0"}, ("x86_64",))), BUNDLE.profile, "x86_64"),
        (replace(BUNDLE, requires=Requirements({"onnxruntime": "1.20"})), BUNDLE.profile, "onnxruntime"),
        (replace(BUNDLE, requires=Requirements({"litert": "2.10.0"})), BUNDLE.profile, "litert 2.10.0"),
    ],
)
def test_a_bundle_that_would_not_run_is_refused(bundle: BundleManifest, profile: str, words: str) -> None:
    (reason,) = bundle_fits(bundle, RUNTIME, profile=profile)
    assert words in reason.fact


def test_a_bundle_fits_its_runtime() -> None:
    assert bundle_fits(BUNDLE, RUNTIME, profile=BUNDLE.profile) == ()


@settings(derandomize=True)
@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), min_size=1, max_size=4)
)
def test_versions_are_compared_as_numbers(first: list[int], second: list[int]) -> None:
    def key(numbers: list[int]) -> tuple[int, ...]:
        return version_key(".".join(map(str, numbers)))

    assert (key(first) < key(second)) == (first < second)
    assert version_key("2.14.0rc1")[:2] == (2, 14)
    assert version_key("1.²") == (1,)
