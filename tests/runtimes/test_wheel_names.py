"""What a wheel's name promises."""

from __future__ import annotations

import pytest

from edge.runtimes.wheel import WheelName


@pytest.mark.parametrize(
    ("file", "python", "fits"),
    [
        ("numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl", "3.11", True),
        ("numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl", "3.12", False),
        ("cryptography-50.0.2-cp39-abi3-manylinux_2_28_aarch64.whl", "3.13", True),
        ("cryptography-50.0.2-cp311-abi3-manylinux_2_28_aarch64.whl", "3.10", False),
        ("tuf-7.0.1-py3-none-any.whl", "3.10", True),
        ("six-1.17.0-py2.py3-none-any.whl", "3.10", True),
        ("numpy-2.4.6-cp313-cp313t-manylinux_2_28_aarch64.whl", "3.13", False),
        ("numpy-2.4.6-pp311-pypy311_pp73-manylinux_2_28_aarch64.whl", "3.11", False),
    ],
)
def test_a_wheel_is_for_some_pythons(file: str, python: str, fits: bool) -> None:
    assert WheelName.parse(file).runs_on_python(python) is fits


@pytest.mark.parametrize(
    ("platform", "glibc"),
    [
        ("manylinux_2_27_aarch64.manylinux_2_28_aarch64", "2.27"),
        ("manylinux2014_aarch64.manylinux_2_17_aarch64", "2.17"),
        ("manylinux1_x86_64.manylinux_2_28_x86_64.manylinux_2_5_x86_64", None),
        ("manylinux_2_9_aarch64.manylinux_2_17_aarch64", "2.9"),
        ("linux_aarch64", ""),
        ("any", ""),
        ("musllinux_1_2_aarch64", None),
        ("macosx_11_0_arm64", None),
        ("win_arm64", None),
    ],
)
def test_a_wheel_promises_a_least_glibc(platform: str, glibc: str | None) -> None:
    assert WheelName.parse(f"numpy-2.4.6-cp311-cp311-{platform}.whl").least_glibc("aarch64") == glibc


def test_a_name_is_normalised_as_packages_are() -> None:
    assert (
        WheelName.parse("ai_edge.litert-2.3.0-1-cp311-cp311-linux_x86_64.whl").distribution
        == "ai-edge-litert"
    )


@pytest.mark.parametrize("file", ["model.tflite", "numpy.whl", "numpy-2.4.6.whl", "a--cp311-cp311-any.whl"])
def test_another_file_is_no_wheel(file: str) -> None:
    with pytest.raises(ValueError, match="not that of a wheel"):
        WheelName.parse(file)
