from __future__ import annotations

import stat
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.errors import (
    ConfigInvalid,
    ExitCode,
    FleetFolderExists,
    FleetFolderMissing,
    NameInvalid,
)
from edge.config import EDGE_TOML, FleetFolder, cache_dir, fleet_name, name_of_folder
from edge.settings import BROKERS, SETTINGS, FleetConfig, parse, render

TOML = Path("edge.toml")


def values(setting: object) -> st.SearchStrategy[object]:
    kind, least, most = (getattr(setting, name) for name in ("kind", "least", "most"))
    if getattr(setting, "field") == "mqtt_url":  # noqa: B009
        return st.sampled_from(["", "mqtts://broker.example", "mqtts://[::1]:8884"])
    if getattr(setting, "field") == "mqtt_broker":  # noqa: B009
        return st.sampled_from(BROKERS)
    if getattr(setting, "field") == "mqtt_clients":  # noqa: B009
        return st.lists(st.from_regex(r"[d-z][a-z0-9]{0,20}", fullmatch=True), max_size=3).map(tuple)
    if kind is str:
        return st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True)
    if kind is bool:
        return st.booleans()
    if kind is tuple:
        return st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), min_size=1), max_size=3
        ).map(tuple)
    return st.integers(int(least), int(most)) if kind is int else st.floats(least, most)


configs = st.builds(FleetConfig, **{setting.field: values(setting) for setting in SETTINGS})


@settings(derandomize=True, max_examples=100)
@given(configs)
def test_what_is_written_is_what_is_read(config: FleetConfig) -> None:
    assert parse(render(config), path=TOML) == config


def test_every_setting_has_a_line_and_a_comment() -> None:
    assert {setting.field for setting in SETTINGS} == {field.name for field in fields(FleetConfig)}
    text = render(FleetConfig(fleet="f"))
    for setting in SETTINGS:
        assert f"# {setting.comment}\n{setting.key} = " in text


def test_what_is_left_out_has_its_default() -> None:
    assert parse('[fleet]\nname = "f"\n', path=TOML) == FleetConfig(fleet="f")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            '[fleet]\nname = "f"\n[mqtt]\nhome_assistant = 1',
            "`mqtt.home_assistant` must be true or false, found 1",
        ),
        (
            '[fleet]\nname = "f"\n[flash]\nprobation = 3',
            "`flash.probation` is not known, did you mean `probation_s`",
        ),
        ('[fleet]\nname = "f"\n[flsh]\n', "`flsh` is not known, did you mean `flash`"),
        ('[fleet]\nname = "f"\n[ssh]\nzebra = 3', "`ssh.zebra` is not known"),
        ('fleet = "f"', "`fleet` must be a section"),
        ("", "`fleet.name` is missing"),
        ("[fleet]\nname = 3", "`fleet.name` must be a text, found 3"),
        ('[fleet]\nname = "../up"', "can't name a fleet"),
        ('[fleet]\nname = "f"\n[agent]\nport = true', "`agent.port` must be a whole number, found True"),
        ('[fleet]\nname = "f"\n[agent]\nport = 8.5', "`agent.port` must be a whole number"),
        ('[fleet]\nname = "f"\n[agent]\nport = 65536', "`agent.port` must be 0 to 65535, found 65536"),
        ('[fleet]\nname = "f"\n[ssh]\npool = 0', "`ssh.pool` must be 1 to 256"),
        (
            '[fleet]\nname = "f"\n[flash]\nprobation_s = nan',
            "`flash.probation_s` must be 0 to 86400, found nan",
        ),
        ('[fleet]\nname = "f"\n[flash]\nprobation_s = "10"', "`flash.probation_s` must be a number"),
        ('[fleet]\nname = "f"\n[keys]\nfolders = "stick"', "`keys.folders` must be a list of texts"),
        ('[fleet]\nname = "f"\n[keys]\nfolders = [""]', "`keys.folders` must be a list of texts"),
        ("[fleet", "edge.toml"),
    ],
)
def test_a_mistake_is_named(text: str, reason: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, path=TOML)
    assert reason in str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mqtt://broker.example", "without TLS, beyond this machine"),
        ("mqtt://broker.example:1883", "without TLS, beyond this machine"),
        ("http://broker.example", "it must be `mqtts://host`"),
        ("mqtts://", "it must be `mqtts://host`"),
        ("mqtts://me:secret@broker.example", "boards show certificates"),
        ("mqtts://broker.example/path", "it must be `mqtts://host`"),
        ("mqtts://broker.example:0", "it must be `mqtts://host`"),
        ("mqtts://broker.example:99999", "`mqtt.url`"),
        ("mqtts://[::1", "`mqtt.url`"),
    ],
)
def test_plain_mqtt_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse(f'[fleet]\nname = "f"\n[mqtt]\nurl = "{url}"', path=TOML)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_broker_that_is_none_is_named() -> None:
    with pytest.raises(ConfigInvalid, match="brokers are auto, mosquitto, embedded"):
        parse('[fleet]\nname = "f"\n[mqtt]\nbroker = "emqx"', path=TOML)


def test_a_folder_is_found_from_below(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "kitchen")
    below = folder.devices / "deep" / "down"
    below.mkdir(parents=True)
    assert FleetFolder.find(below) == folder == FleetFolder.open(tmp_path / "kitchen")
    with pytest.raises(FleetFolderMissing):
        FleetFolder.find(tmp_path)


def test_two_fleets_of_one_name_are_two(tmp_path: Path) -> None:
    first, second = (FleetFolder.create(tmp_path / part, "kitchen").config.fleet for part in "ab")
    assert first != second
    assert first.startswith("kitchen-")
    assert len(first) == len("kitchen-") + 6


def test_a_fleet_folder_is_made_once(tmp_path: Path) -> None:
    before = FleetFolder.create(tmp_path).edge_toml.read_text()
    with pytest.raises(FleetFolderExists):
        FleetFolder.create(tmp_path)
    assert (tmp_path / EDGE_TOML).read_text() == before


def test_keys_are_for_their_owner(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet")
    assert stat.S_IMODE(folder.keys.stat().st_mode) == 0o700


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / EDGE_TOML).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigInvalid, match=r"edge\.toml"):
        FleetFolder.find(tmp_path)


@settings(derandomize=True)
@given(st.text(alphabet=st.characters(exclude_characters="/\0"), min_size=1, max_size=80))
def test_every_folder_gives_a_name(name: str) -> None:
    assert fleet_name(name_of_folder(Path("/tmp") / name))


@pytest.mark.parametrize("name", ["", "Kitchen", "a/b", "..", "-a", "x" * 58])
def test_a_bad_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(NameInvalid):
        FleetFolder.create(tmp_path / "fleet", name)
    assert not (tmp_path / "fleet").exists()


def test_the_cache_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_dir() == Path("/somewhere/edge")
