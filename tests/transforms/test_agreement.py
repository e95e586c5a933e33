"""The two checks of a golden set."""

from __future__ import annotations

import numpy as np
import pytest

from agent.contract.manifest import Task, TensorSpec
from agent.transforms.agreement import agreement, proof_within

INT8 = TensorSpec(name="y", dtype="int8", shape=(1, 3), scale=1 / 256, zero_point=-128)
FLOAT = TensorSpec(name="y", dtype="float32", shape=(1, 3))
STEPPED = TensorSpec(name="y", dtype="float32", shape=(1, 3), scale=0.1)
COUNT = TensorSpec(name="n", dtype="int64", shape=(1,))


def test_two_steps_are_close_and_three_are_not() -> None:
    proof = np.array([[0, 10, 127]], np.int8)

    assert proof_within([proof - np.int8(2)], [proof], [INT8]) == 1.0
    assert proof_within([proof - np.array([[0, 0, 3]], np.int8)], [proof], [INT8]) == pytest.approx(2 / 3)


def test_the_far_ends_of_int8_are_not_close() -> None:
    assert proof_within([np.array([[-128]], np.int8)], [np.array([[127]], np.int8)], [INT8]) == 0.0


def test_floats_are_close_relative_to_the_sample_s_largest_value() -> None:
    proof = np.array([[1000.0, 0.0, 1.0]], np.float32)

    assert proof_within([proof + np.float32(0.9)], [proof], [FLOAT]) == 1.0
    assert proof_within([proof + np.float32(1.1)], [proof], [FLOAT]) == 0.0


def test_a_float_output_behind_a_quantizer_may_differ_by_two_of_its_steps() -> None:
    proof = np.array([[0.1, 0.2, 0.3]], np.float32)

    assert proof_within([proof + np.float32(0.2)], [proof], [STEPPED]) == 1.0
    assert proof_within([proof + np.float32(0.3)], [proof], [STEPPED]) == 0.0


def test_plain_integers_must_be_equal() -> None:
    assert proof_within([np.array([3, 4])], [np.array([3, 5])], [COUNT]) == 0.5


def test_what_is_not_finite_is_close_to_nothing() -> None:
    proof = np.array([[1.0, 2.0]], np.float32)

    assert proof_within([np.full_like(proof, np.nan)], [proof], [FLOAT]) == 0.0
    assert proof_within([np.full_like(proof, np.inf)], [proof], [FLOAT]) == 0.0


def test_another_shape_is_wholly_different() -> None:
    assert proof_within([np.zeros((1, 2), np.int8)], [np.zeros((1, 3), np.int8)], [INT8]) == 0.0
    assert agreement([np.zeros((1, 2))], [np.zeros((1, 3))], [FLOAT], Task.TENSOR) == 0.0


def test_a_classifier_agrees_where_the_best_class_is_the_same() -> None:
    floats = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1]], np.float32)
    stored = np.array([[-100, 90, -128], [0, 1, -128]], np.int8)

    assert agreement([stored], [floats], [INT8], Task.CLASSIFICATION) == 0.5


def test_a_classifier_that_answers_nan_agrees_with_nothing() -> None:
    floats = np.array([[0.9, 0.1, 0.0]], np.float32)

    assert agreement([np.full_like(floats, np.nan)], [floats], [FLOAT], Task.CLASSIFICATION) == 0.0


def test_tensors_agree_by_their_direction() -> None:
    floats = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)

    assert agreement([floats * 3], [floats], [FLOAT], Task.TENSOR) == pytest.approx(1.0)
    assert agreement([-floats], [floats], [FLOAT], Task.TENSOR) == 0.0
    assert agreement([np.array([[1.0, 1.0], [0.0, 1.0]])], [floats], [FLOAT], Task.TENSOR) == pytest.approx(
        0.8536, abs=1e-4
    )


def test_all_outputs_of_a_tensor_model_count() -> None:
    floats = np.array([[1.0, 0.0]], np.float32)

    assert agreement([floats, -floats], [floats, floats], [FLOAT, FLOAT], Task.TENSOR) == pytest.approx(0.5)


def test_nothing_agrees_with_nothing_where_both_are_zero() -> None:
    zero = np.zeros((1, 3), np.float32)

    assert agreement([zero], [zero], [FLOAT], Task.TENSOR) == 1.0
    assert agreement([zero], [zero + 1], [FLOAT], Task.TENSOR) == 0.0


def test_a_quantity_agrees_by_how_it_varies_and_not_by_its_sign() -> None:
    one = TensorSpec(name="y", dtype="float32", shape=(1, 1))
    floats = np.array([[10.0], [20.0], [30.0]], np.float32)

    def agrees(found: list[float], task: Task = Task.REGRESSION) -> float:
        return agreement([np.array(found, np.float32)[:, np.newaxis]], [floats], [one], task)

    assert agrees([10.0, 20.0, 30.0]) == 1.0
    assert agrees([11.0, 19.0, 31.0]) == pytest.approx(1 - 3 / 200)
    assert agrees([20.0, 20.0, 20.0], Task.ANOMALY) == 0.0
    assert agrees([30.0, 20.0, 10.0]) == 0.0
    assert agrees([10.0, float("nan"), 30.0]) == 0.0
    assert agreement([floats[:1] + 1], [floats[:1]], [one], Task.REGRESSION) == 0.0


@pytest.mark.parametrize("task", [Task.TENSOR, Task.CLASSIFICATION, Task.REGRESSION])
def test_one_value_a_sample_that_is_replaced_by_a_constant_does_not_agree(task: Task) -> None:
    one = TensorSpec(name="y", dtype="float32", shape=(1, 1))
    floats = np.array([[0.1], [0.9], [0.2], [0.8]], np.float32)

    assert agreement([np.full_like(floats, 0.5)], [floats], [one], task) == 0.0
    assert agreement([floats + np.float32(0.01)], [floats], [one], task) > 0.99


@pytest.mark.parametrize("samples", [1, 4])
def test_one_constant_value_agrees_where_it_is_close(samples: int) -> None:
    one = TensorSpec(name="y", dtype="float32", shape=(1, 1))
    floats = np.full((samples, 1), 0.7, np.float32)

    assert agreement([floats + np.float32(0.002)], [floats], [one], Task.TENSOR) > 0.99
    assert agreement([floats - np.float32(0.2)], [floats], [one], Task.TENSOR) == 0.0
