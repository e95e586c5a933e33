"""Requests that look alike: what was read once is kept, and is never taken for something else."""

from __future__ import annotations

import json

import numpy as np

from agent.serving.v2.plans import PLANS_KEPT
from tests.agent.boards import digits
from tests.agent.conftest import RunningAgent

HEADER = "Inference-Header-Content-Length"


def body(values: np.ndarray, *, size: int | None = None, **more: object) -> tuple[bytes, dict[str, str]]:
    """A v2 request whose one tensor stands behind its JSON."""
    tensor = {
        "name": "x", "shape": list(values.shape), "datatype": "FP32",
        "parameters": {"binary_data_size": values.nbytes if size is None else size},
    }  # fmt: skip
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return head + values.tobytes(), {HEADER: str(len(head))}


def send(served: RunningAgent, sent: tuple[bytes, dict[str, str]]) -> tuple[int, bytes]:
    connection = served.connect()
    connection.request("POST", "/v2/models/digits/infer", *sent)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def scores(served: RunningAgent, sent: tuple[bytes, dict[str, str]]) -> list[float]:
    status, answer = send(served, sent)
    assert status == 200, answer
    found: list[float] = json.loads(answer)["outputs"][0]["data"]
    return found


def test_requests_with_the_same_json_are_answered_each_by_its_own_numbers(served: RunningAgent) -> None:
    images = digits(6)
    first = [scores(served, body(image[np.newaxis])) for image in images]
    again = [scores(served, body(image[np.newaxis])) for image in images[::-1]]

    assert first == again[::-1]
    assert len({tuple(one) for one in first}) == len(images)


def test_the_same_json_before_a_body_of_another_length_is_refused(served: RunningAgent) -> None:
    whole, headers = body(digits(1))
    assert send(served, (whole, headers))[0] == 200

    for other in (whole[:-4], whole + b"\0\0\0\0", whole[: int(headers[HEADER])]):
        assert send(served, (other, headers))[0] == 400
    assert send(served, (whole, headers))[0] == 200


def test_json_that_was_refused_is_refused_again(served: RunningAgent) -> None:
    for _ in range(2):
        assert send(served, body(digits(1)[:, :63]))[0] == 400


def test_each_request_keeps_its_own_id(served: RunningAgent) -> None:
    for identity in ("a", "b", "a"):
        status, answer = send(served, body(digits(1), id=identity))
        assert (status, json.loads(answer)["id"]) == (200, identity)


def test_more_kinds_of_requests_than_are_kept_are_all_answered(served: RunningAgent) -> None:
    image = digits(1)
    wanted = scores(served, body(image))
    for number in range(2 * PLANS_KEPT + 3):
        assert scores(served, body(image, parameters={f"a-{number}": number})) == wanted


# --- numbers in the JSON


def in_json(
    values: object, *, shape: tuple[int, ...] = (1, 64), **more: object
) -> tuple[bytes, dict[str, str]]:
    """A v2 request whose one tensor stands in its JSON."""
    tensor = {"name": "x", "shape": list(shape), "datatype": "FP32", "data": values}
    return json.dumps({"inputs": [tensor], **more}).encode(), {}


def test_requests_that_differ_in_their_numbers_alone_are_answered_each_by_its_own(
    served: RunningAgent,
) -> None:
    images = digits(4)
    whole = [
        scores(served, in_json([image.tolist()])) for image in images
    ]  # nested lists are always read as a whole

    for _ in range(2):
        assert [scores(served, in_json(image.tolist())) for image in images] == whole


def test_numbers_that_are_wrong_are_refused_after_right_ones_as_before(served: RunningAgent) -> None:
    row = digits(1)[0].tolist()
    wrong: list[object] = [
        row[:-1], [*row, 0.5], [*row[:-1], "1"], [*row[:-1], None], [*row[:-1], []], [*row[:-1], "]"], [], [row, row],
    ]  # fmt: skip
    before = [send(served, in_json(values, outputs=[])) for values in wrong]
    assert {status for status, _ in before} <= {400, 500}

    assert send(served, in_json(row, outputs=[]))[0] == 200
    assert send(served, in_json(row, outputs=[]))[0] == 200
    assert [send(served, in_json(values, outputs=[])) for values in wrong] == before
    cut = in_json(row, outputs=[])[0]
    assert send(served, (cut.replace(b"]", b"", 1), {}))[0] == 400


def test_numbers_under_a_second_key_of_the_same_name_are_what_the_whole_json_says(
    served: RunningAgent,
) -> None:
    first, second = ([round(float(value), 4) for value in image] for image in digits(2))
    expected = scores(served, in_json([second]))

    for _ in range(3):
        body = in_json(first)[0].replace(b'"data": ', b'"data":').replace(b"}]}", b', "data" : %b}]}')
        assert scores(served, (body % json.dumps(second).encode(), {})) == expected
        first = first[::-1]
