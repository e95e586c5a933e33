"""Metrics: what they say where the answer is known, and how sure a difference is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from agent.contract.errors import OptionInvalid
from agent.contract.manifest import Task
from agent.transforms.boxes import Boxes, intersection_over_union
from converters.metrics.detection import OVERLAPS, Counted, boxes_of, matched
from converters.metrics.metric import Answers, check, compare, default
from converters.metrics.scores import auc, cosine_each, rmse, sqnr_db, top_each


def precision(found: list[Boxes], truth: list[Boxes], overlaps: tuple[float, ...] = OVERLAPS) -> float:
    pairs = zip(found, truth, strict=True)
    return Counted([matched(mine, true, overlaps) for mine, true in pairs]).mean_average_precision()


def boxes(*rows: tuple[float, ...]) -> Boxes:
    """(class, score, left, top, right, bottom) each."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Boxes(table[:, 2:], table[:, 1], table[:, 0].astype(np.int64))


def test_top_k_counts_a_class_among_the_k_largest_scores() -> None:
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [np.nan, 0.2, 0.1]])
    y = np.array([1, 2, 0])

    assert top_each(scores, y, 1).tolist() == [False, True, False]
    assert top_each(scores, y, 2).tolist() == [True, True, False]


def test_the_area_under_the_curve_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    y = random.integers(0, 2, 300)
    scores = np.round(y + random.normal(0, 1, 300), 1)

    assert auc(scores, y) == pytest.approx(roc_auc_score(y, scores), abs=1e-12)
    assert auc(np.stack([-scores, scores], axis=1), y) == pytest.approx(roc_auc_score(y, scores), abs=1e-12)


def test_quantities_and_vectors_are_compared_by_their_values() -> None:
    expected = np.array([[3.0, 4.0], [0.0, 0.0]])

    assert rmse(np.array([1.0, 3.0]), np.array([1.0, 1.0])) == pytest.approx(2**0.5)
    assert cosine_each(2 * expected, expected).tolist() == [1.0, 1.0]
    assert sqnr_db(expected * 1.1, expected) == pytest.approx(20.0)
    assert sqnr_db(np.full(2, np.nan), np.ones(2)) == 0.0


def test_mean_average_precision_is_what_coco_counts() -> None:
    truth = [boxes((0, 1, 0, 0, 10, 10), (0, 1, 20, 20, 30, 30)), boxes((1, 1, 0, 0, 8, 8))]
    perfect = [boxes((0, 0.9, 0, 0, 10, 10), (0, 0.8, 20, 20, 30, 30)), boxes((1, 0.7, 0, 0, 8, 8))]
    # Class 0: a hit, a miss with a better score than the second hit. Precision is 1 up to recall 0.5, then 2 / 3.
    worse = [boxes((0, 0.9, 0, 0, 10, 10), (0, 0.8, 50, 50, 60, 60), (0, 0.7, 20, 20, 30, 30)), boxes()]

    assert precision(perfect, truth) == pytest.approx(1.0)
    assert precision(worse, truth) == pytest.approx((51 * 1.0 + 50 * 2 / 3) / 101 / 2)
    # 10 by 8 in 10 by 10 overlaps 0.8: a hit at seven of the ten overlaps.
    near = [boxes((0, 0.9, 0, 0, 10, 8)), boxes()]
    alone = [boxes((0, 1, 0, 0, 10, 10)), boxes()]
    assert precision(near, alone) == pytest.approx(0.7)
    assert precision(near, alone, (0.5,)) == pytest.approx(1.0)
    assert intersection_over_union(near[0].corners, alone[0].corners)[0, 0] == pytest.approx(0.8)
    assert precision([boxes()], [boxes()]) == 0.0


def test_pictures_that_are_drawn_twice_count_twice() -> None:
    random = np.random.default_rng(3)

    def some(scale: float) -> Boxes:
        corners = random.random((6, 2)) * 20
        rows = np.concatenate([corners, corners + 4 + 4 * random.random((6, 2))], axis=1)
        kinds = random.integers(0, 2, 6)
        return Boxes((rows + scale).astype(np.float32), random.random(6).astype(np.float32), kinds)

    pictures = [matched(some(1.0), some(0.0), (0.2,)) for _ in range(12)]
    drawn = random.integers(0, 12, 12)
    again = Counted([pictures[place] for place in drawn]).mean_average_precision()
    assert 0 < again < 1
    assert Counted(pictures).mean_average_precision(drawn) == pytest.approx(again)


def test_a_model_that_finds_nothing_proves_nothing() -> None:
    thing = boxes((0, 0.9, 0, 0, 10, 10))
    y = np.tile(np.array([[[0, 50, 50, 60, 60]]], np.float32), (40, 1, 1))
    found = Answers(outputs=[y], boxes=[thing] * 40)

    with pytest.raises(OptionInvalid, match="finds none of the true boxes"):
        compare("map", found, found, y)
    y[..., 0] = -1
    with pytest.raises(OptionInvalid, match="at least one true box"):
        compare("map", found, found, y)


def test_a_second_box_on_the_same_thing_is_no_hit() -> None:
    truth = [boxes((0, 1, 0, 0, 10, 10), (0, 1, 20, 20, 30, 30))]
    twice = [boxes((0, 0.9, 0, 0, 10, 10), (0, 0.8, 0, 0, 10, 10))]

    assert precision(twice, truth) == pytest.approx(51 / 101)


def test_true_boxes_are_read_from_an_array_with_empty_places() -> None:
    y = np.array([[[2, 1, 1, 3, 3], [-1, 0, 0, 0, 0]]], np.float32)

    found = boxes_of(y)[0]
    assert found.classes.tolist() == [2]
    assert found.corners.tolist() == [[1, 1, 3, 3]]


def test_without_labels_no_metric_is_judged() -> None:
    y = np.zeros(3, np.int64)

    assert default(Task.CLASSIFICATION, None, 10) is None
    assert default(Task.CLASSIFICATION, y, 10) == "top-1"
    assert default(Task.REGRESSION, y, 10) == "rmse"
    assert default(Task.ANOMALY, y, 10) == "auc"
    assert default(Task.DETECTION, y, 10) == "map"
    assert default(Task.TENSOR, y, 10) is None


def test_one_score_with_labels_is_judged_by_the_area_under_the_curve() -> None:
    assert default(Task.TENSOR, np.zeros(3, np.int64), 1) == "auc"


def test_a_worse_root_mean_squared_error_is_lost_in_per_cent_with_an_interval() -> None:
    random = np.random.default_rng(0)
    y = random.normal(size=(500, 1))
    noise = random.normal(size=(500, 1))

    found = compare("rmse", Answers(outputs=[y + 1.1 * noise]), Answers(outputs=[y + noise]), y)

    assert found.drop_points == pytest.approx(10.0)
    assert found.low == pytest.approx(10.0)
    assert found.verdict(5.0) == "outside"
    assert found.verdict(11.0) == "within"
    assert "bootstrap" in found.method


def test_the_bootstrap_leaves_open_what_the_samples_leave_open() -> None:
    random = np.random.default_rng(0)
    y = random.normal(size=(60, 1))
    answers = [y + random.normal(size=(60, 1)) for _ in range(2)]

    found = compare("rmse", Answers(outputs=[answers[0]]), Answers(outputs=[answers[1]]), y)
    assert found.low < found.drop_points < found.high
    assert found.verdict(found.drop_points + 0.1) == "undecided"
    few = compare("rmse", Answers(outputs=[y[:20]]), Answers(outputs=[y[:20]]), y[:20])
    assert few.verdict(50.0) == "undecided"


def test_average_precision_and_areas_are_lost_in_points() -> None:
    y = np.tile(np.array([[[0, 0, 0, 10, 10]]], np.float32), (40, 1, 1))
    good = Answers(outputs=[], boxes=[boxes((0, 0.9, 0, 0, 10, 10))] * 40)
    missed = Answers(outputs=[], boxes=[boxes((0, 0.9, 0, 0, 10, 10))] * 30 + [boxes()] * 10)

    lost = compare("map50", missed, good, y)
    assert lost.float_value == pytest.approx(1.0)
    assert lost.drop_points == pytest.approx(100 * (1 - 76 / 101))
    assert lost.verdict(1.0) == "outside"


def test_a_metric_of_the_users_own_is_a_function_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def near(outputs, y):\n    return (abs(outputs[0][:, 0] - y) < 0.5)\n")
    name, y = f"{file}:near", np.arange(100.0)

    found = compare(
        name, Answers(outputs=[y[:, None] + (y[:, None] >= 90)]), Answers(outputs=[y[:, None]]), y
    )
    assert found.value == pytest.approx(0.9)
    assert found.float_value == 1.0
    assert found.verdict(1.0) == "outside"


def test_a_metric_that_ends_the_program_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import sys\n\ndef leave(outputs, y):\n    sys.exit()\n")
    answers = Answers(outputs=[np.zeros((3, 1))])

    with pytest.raises(OptionInvalid, match="leave: SystemExit"):
        compare(f"{file}:leave", answers, answers, np.zeros(3))


def test_a_metric_that_does_not_exist_is_told_before_anything_is_done(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("near = 1\n")
    for good in ("top-1", "top-3", "statistics:mean"):
        check(good)
    check("map50", Task.DETECTION)
    for bad in ("top-0", "f1", "top-", f"{file}:near", f"{file}:far", "statistics:far", "no_such_module:far"):
        with pytest.raises(OptionInvalid, match=bad):
            check(bad)


def test_an_interval_of_half_the_width_takes_four_times_the_samples() -> None:
    random = np.random.default_rng(1)
    y, noise = random.standard_normal((40, 1)), random.standard_normal((2, 40, 1))
    floats = y + 0.5 * noise[0]
    few = compare("rmse", Answers(outputs=[floats + 0.2 * noise[1]]), Answers(outputs=[floats]), y)
    over, under = few.high - few.drop_points, few.drop_points - few.low

    assert few.needed(few.drop_points + over / 2) == pytest.approx(160, abs=1)
    assert few.needed(few.drop_points - under / 2) == pytest.approx(160, abs=1)
    assert few.needed(few.drop_points) is None


@pytest.mark.parametrize(
    ("name", "shape", "y"),
    [
        ("auc", (6, 10), np.arange(6)),
        ("auc", (6, 1), np.arange(6)),
        ("rmse", (6, 10), np.zeros(6)),
        ("map", (6, 10), np.arange(6)),
        ("top-1", (6, 1), np.zeros(6, np.int64)),
        ("top-1", (6, 10), np.zeros(6)),
    ],
)
def test_a_metric_of_other_outputs_or_labels_is_refused(
    name: str, shape: tuple[int, ...], y: np.ndarray
) -> None:
    answers = Answers(outputs=[np.zeros(shape, np.float32)])

    with pytest.raises(OptionInvalid, match=f"--metric {name}: it takes"):
        compare(name, answers, answers, y)


def test_answers_that_overflow_on_some_samples_are_outside() -> None:
    y = np.linspace(1.0, 2.0, 100)
    floats = y[:, np.newaxis] + 0.1
    found = np.where(np.arange(100)[:, np.newaxis] < 3, np.inf, floats)

    with np.errstate(invalid="ignore"):
        comparison = compare("rmse", Answers(outputs=[found]), Answers(outputs=[floats]), y)

    assert comparison.verdict(1.0) == "outside"
    assert comparison.needed(1.0) is None
