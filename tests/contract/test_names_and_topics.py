from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract import targets
from agent.contract.errors import NameInvalid
from agent.contract.names import check_digest, check_name, check_path, is_release, parse_release
from agent.contract.topics import (
    FROM_DEVICE,
    RETAINED,
    WITH_ID,
    Topic,
    TopicKind,
    parse,
    part,
    subscription,
    topic,
)
from tests.contract.strategies import digests, names, paths, releases

MANY = settings(derandomize=True, max_examples=150)
nasty = st.text(alphabet=st.sampled_from("ab1./\\-_@+#$ \n\0%~é:*"), max_size=12) | st.text(max_size=12)


@MANY
@given(nasty)
def test_a_name_never_escapes(text: str) -> None:
    try:
        name = check_name(text, what="device")
    except NameInvalid:
        return
    assert PurePosixPath("folder", name).parent == PurePosixPath("folder")
    assert ".." not in name
    assert name.isprintable()
    assert name[0] not in "-."
    assert not set(name) & set("/\\ +#$%*~:@")


@MANY
@given(nasty)
def test_a_path_never_escapes(text: str) -> None:
    try:
        path = PurePosixPath(check_path(text, what="file"))
    except NameInvalid:
        return
    assert not path.is_absolute()
    assert not {"..", "."} & set(path.parts)
    assert not any(character.isspace() or character in "\\\0" for character in text)


@MANY
@given(names, paths, digests)
def test_good_ones_pass(name: str, path: str, digest: str) -> None:
    assert check_name(name, what="device") == name
    assert check_path(path, what="file") == path
    assert check_digest(digest, what="digest") == digest


@pytest.mark.parametrize("name", ["a\n", "é", "a" * 65, "a..b", "A", ".a", "a.", "-a", "a-", " a", "a/b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(NameInvalid):
        check_name(name, what="device")


@pytest.mark.parametrize(
    "path", ["a\n", "/a", "a//b", "a/", "a/../b", "./a", ".hidden", "a/" * 8 + "a", "a\\b"]
)
def test_bad_paths(path: str) -> None:
    with pytest.raises(NameInvalid):
        check_path(path, what="file")


@MANY
@given(releases)
def test_a_release_is_read_as_it_is_written(title: str) -> None:
    name, version = parse_release(title)
    assert f"{name}@{version}" == title
    assert is_release(title)


@pytest.mark.parametrize(
    "title", ["digits", "digits@", "digits@0", "digits@01", "@1", "a@b@1", "digits@1\n", "A@1"]
)
def test_what_is_no_release(title: str) -> None:
    assert not is_release(title)
    with pytest.raises(NameInvalid):
        parse_release(title)


topics = st.builds(
    lambda fleet, device, kind, id: Topic(fleet, device, kind, id if kind in WITH_ID else None),
    names, names, st.sampled_from(TopicKind), names,
)  # fmt: skip


@MANY
@given(topics)
def test_a_topic_is_read_as_it_is_written(one: Topic) -> None:
    text = topic(one.fleet, one.device, one.kind, one.id)
    assert parse(text) == one
    assert not set(text) & set("+#$")


@MANY
@given(topics)
def test_a_subscription_matches_its_topics_and_no_others(one: Topic) -> None:
    text = topic(one.fleet, one.device, one.kind, one.id)
    for kind in TopicKind:
        assert matches(subscription(one.fleet, kind), text) == (kind is one.kind)
    assert matches(subscription(one.fleet, one.kind, partition=part(one.device)), text)


def matches(wanted: str, found: str) -> bool:
    first, second = wanted.split("/"), found.split("/")
    return len(first) == len(second) and all(a in ("+", b) for a, b in zip(first, second, strict=True))


@MANY
@given(st.text(alphabet=st.sampled_from("edge/v1kt0bi+#-"), max_size=40))
def test_what_is_no_topic_is_refused(text: str) -> None:
    with pytest.raises(NameInvalid):
        parse(text)


def test_a_topic_in_another_partition_is_refused() -> None:
    text = topic("f", "d", TopicKind.BIRTH)
    with pytest.raises(NameInvalid):
        parse(text.replace(f"/{part('d')}/", "/zz/"))


def test_an_id_stands_exactly_where_it_belongs() -> None:
    with pytest.raises(NameInvalid):
        topic("f", "d", TopicKind.COMMAND)
    with pytest.raises(NameInvalid):
        topic("f", "d", TopicKind.BIRTH, "1")


def test_every_kind_is_retained_from_the_device_or_to_it_as_the_design_says() -> None:
    to_device = set(TopicKind) - FROM_DEVICE
    assert to_device == {TopicKind.DESIRED, TopicKind.ACK, TopicKind.COMMAND, TopicKind.INFER}
    assert not RETAINED & WITH_ID


@MANY
@given(names, digests, st.integers(1, 10**6))
def test_desired_states_have_paths_that_nothing_else_has(device: str, digest: str, version: int) -> None:
    folder = targets.DESIRED_PATHS.removesuffix("*")
    path = targets.desired_target(device)
    assert path.startswith(folder)
    assert path.count("/") == 1
    for other in (
        targets.bundle_target(digest), targets.runtime_target(digest), targets.release_target(device, version),
    ):  # fmt: skip
        assert not other.startswith(folder)
