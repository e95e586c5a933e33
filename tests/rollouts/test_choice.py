"""Which bundle, which engine, and whether what stays on the board still fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.contract.errors import (
    BoardRefused,
    ModelsApart,
    NoPrimary,
    PlatformUnsupported,
    ReleaseLacksProfile,
    WrongBoard,
)
from agent.contract.manifest import EngineName, Requirements
from agent.contract.release import Generation, GenerationModel, ModelRole, Release
from edge.rollouts.choice import (
    bundle_for,
    check_beside,
    check_board,
    check_fit,
    check_role,
    engine_for,
    next_generation,
    runtime_request,
)
from tests.contract.test_fitting import BUNDLE, FACTS, PROFILE, RUNTIME

ONNX = replace(BUNDLE, requires=Requirements({"onnxruntime": "1.15"}))
EITHER = replace(BUNDLE, requires=Requirements({"tflite-runtime": "2.11", "litert": "1.0"}))
OLD = replace(BUNDLE, requires=Requirements({"tflite-runtime": "2.11"}))


def model(name: str, version: int = 1) -> GenerationModel:
    return GenerationModel(name, f"{name}@{version}", f"{version}" * 64)


def test_a_board_that_does_not_fit_is_told_the_way_out() -> None:
    check_board(PROFILE, FACTS, device="pi")
    with pytest.raises(BoardRefused, match="x86_64") as caught:
        check_board(PROFILE, replace(FACTS, architecture="x86_64"), device="pi")
    assert caught.value.hint


def test_the_profile_chooses_the_bundle() -> None:
    release = Release("digits", 1, {"raspberry-pi-5": "a" * 64})
    assert bundle_for(release, PROFILE) == "a" * 64
    with pytest.raises(ReleaseLacksProfile, match="it has: raspberry-pi-5"):
        bundle_for(release, replace(PROFILE, name="jetson-orin-nano"))


@pytest.mark.parametrize(
    ("bundle", "beside", "engine"),
    [
        (BUNDLE, (), EngineName.LITERT),
        (ONNX, (), EngineName.ONNXRUNTIME),
        (EITHER, (), EngineName.LITERT),
        (EITHER, (OLD,), EngineName.TFLITE_RUNTIME),
        (EITHER, (OLD, EITHER), EngineName.TFLITE_RUNTIME),
        (EITHER, (ONNX,), EngineName.LITERT),
    ],
)
def test_the_engine_suits_what_stays_too(bundle, beside, engine: EngineName) -> None:  # type: ignore[no-untyped-def]
    assert engine_for(bundle, PROFILE, beside=beside) is engine


def test_two_models_that_need_two_engines_are_refused_here() -> None:
    check_beside("digits@2", {"faces@1": BUNDLE}, RUNTIME, PROFILE, device="pi")
    with pytest.raises(ModelsApart, match="`digits@2` can't be served together with `faces@1`") as caught:
        check_beside("digits@2", {"faces@1": ONNX}, RUNTIME, PROFILE, device="pi")
    assert "--only" in (caught.value.hint or "")


def test_what_the_board_would_refuse_is_refused_here() -> None:
    check_fit(BUNDLE, RUNTIME, FACTS, PROFILE, device="pi")
    with pytest.raises(PlatformUnsupported, match=r"3\.13"):
        check_fit(BUNDLE, RUNTIME, replace(FACTS, python="3.13"), PROFILE, device="pi")
    with pytest.raises(WrongBoard, match="onnxruntime"):
        check_fit(ONNX, RUNTIME, FACTS, PROFILE, device="pi")


def test_the_runtime_is_the_boards_own() -> None:
    request = runtime_request(FACTS, PROFILE, EngineName.LITERT, None)
    assert (request.architecture, request.python, request.page_size_bytes) == ("aarch64", "3.11", 16384)


def test_a_profile_that_states_its_engines_version_gets_a_runtime_of_it() -> None:
    stated = replace(PROFILE, engine_version="1.18.1")
    assert runtime_request(FACTS, stated, PROFILE.engine, None).engine_version == "1.18.1"
    other = EngineName.ONNXRUNTIME if PROFILE.engine is not EngineName.ONNXRUNTIME else EngineName.LITERT
    assert runtime_request(FACTS, stated, other, None).engine_version == ""


def test_a_challenger_and_a_shadow_stand_beside_the_version_that_answers_until_another_one_does() -> None:
    current = Generation(4, "a" * 64, (model("digits"), model("faces")))
    shadow = replace(model("digits", 2), role=ModelRole.SHADOW, share=0)
    watched = next_generation(5, runtime="b" * 64, model=shadow, current=current)
    assert [(m.release, m.role.value) for m in watched.models] == [
        ("digits@1", "primary"),
        ("faces@1", "primary"),
        ("digits@2", "shadow"),
    ]
    challenger = replace(model("digits", 2), role=ModelRole.CHALLENGER, share=10)
    shared = next_generation(6, runtime="b" * 64, model=challenger, current=watched)
    assert shared.models == (model("digits"), model("faces"), challenger)
    check_role("digits@2", ModelRole.CHALLENGER, current, device="pi")
    answers = next_generation(7, runtime="b" * 64, model=model("digits", 2), current=shared)
    assert answers.models == (model("digits", 2), model("faces"))


@pytest.mark.parametrize("release", ["digits@1", "cats@2"])
def test_where_no_other_version_answers_nothing_is_challenged(release: str) -> None:
    current = Generation(4, "a" * 64, (model("digits"),))
    for serving in (current, None):
        with pytest.raises(NoPrimary, match=f"`{release}` can't be a shadow on `pi`"):
            check_role(release, ModelRole.SHADOW, serving, device="pi")


def test_a_model_takes_the_place_of_the_one_of_its_name() -> None:
    current = Generation(4, "a" * 64, (model("digits"), model("faces")))
    after = next_generation(5, runtime="b" * 64, model=model("digits", 2), current=current)
    assert [m.release for m in after.models] == ["digits@2", "faces@1"]
    again = next_generation(6, runtime="b" * 64, model=model("digits", 2), current=after)
    assert again.same_content(after)
    more = next_generation(7, runtime="b" * 64, model=model("cats"), current=after)
    assert [m.release for m in more.models] == ["digits@2", "faces@1", "cats@1"]
    assert next_generation(1, runtime="b" * 64, model=model("digits"), current=None).models == (
        model("digits"),
    )
