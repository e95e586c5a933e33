from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from agent.contract.codec import decode, encode
from agent.contract.errors import (
    ContractError,
    DeviceBusy,
    DeviceExists,
    DeviceUnknown,
    DocumentInvalid,
    NameInvalid,
)
from edge.config import FleetFolder
from edge.inventory import Device, Inventory, new_device_id
from tests.contract.strategies import documents


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    return Inventory(FleetFolder.create(tmp_path / "fleet"))


def device(name: str = "pi", **more: object) -> Device:
    plain = Device(
        name=name, device_id=new_device_id(), host="raspberrypi.local", user="pi",
        host_key="ssh-ed25519 AAAA", fingerprint="SHA256:abc",
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


@settings(derandomize=True, max_examples=100)
@given(documents(Device))
def test_every_device_survives_its_file(device: Device) -> None:
    assert decode(Device, encode(device)) == device


def test_what_was_added_is_there(inventory: Inventory) -> None:
    pi, jetson = device("pi"), device("jetson")
    inventory.add(pi)
    inventory.add(jetson)
    assert inventory.get("pi") == pi
    assert inventory.list() == (jetson, pi)
    inventory.replace(replace(pi, counter_seen=7))
    assert inventory.get("pi").counter_seen == 7
    inventory.remove("pi")
    assert inventory.names() == ("jetson",)


def test_an_unknown_device_is_asked_back(inventory: Inventory) -> None:
    inventory.add(device("kitchen-pi"))
    for act in (inventory.get, inventory.remove):
        with pytest.raises(DeviceUnknown, match="did you mean `kitchen-pi`"):
            act("kichen-pi")
    with pytest.raises(DeviceUnknown):
        inventory.replace(device("other"))


@pytest.mark.parametrize("name", ["../edge", "", ".", "/etc/passwd", "a\0b", "pi@host", "PI"])
def test_a_name_never_becomes_a_path(inventory: Inventory, name: str) -> None:
    inventory.add(device("pi"))
    with pytest.raises(DeviceUnknown):
        inventory.get(name)
    with pytest.raises((NameInvalid, ContractError)):
        device(name)


def test_of_two_who_add_the_same_name_one_wins(inventory: Inventory) -> None:
    def add(_: int) -> bool:
        try:
            inventory.add(device("pi"))
        except DeviceExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(16))) == 1
    assert inventory.names() == ("pi",)


def test_a_damaged_file_is_named(inventory: Inventory, tmp_path: Path) -> None:
    inventory.add(device("pi"))
    path = tmp_path / "fleet" / "devices" / "pi.json"
    path.write_text('{"name": "pi"}')
    with pytest.raises(DocumentInvalid, match=r"pi\.json"):
        inventory.get("pi")
    path.write_bytes(encode(device("jetson")))
    with pytest.raises(DocumentInvalid, match="jetson"):
        inventory.list()


def test_what_a_newer_edge_wrote_is_kept(inventory: Inventory, tmp_path: Path) -> None:
    pi = device("pi")
    inventory.add(pi)
    path = tmp_path / "fleet" / "devices" / "pi.json"
    path.write_bytes(path.read_bytes().replace(b'{"', b'{"colour":"red","', 1))
    inventory.replace(replace(inventory.get("pi"), profile="raspberry-pi-5"))
    assert b'"colour":"red"' in path.read_bytes()


def test_an_address_reads_as_ssh_writes_it() -> None:
    assert device().address == "pi@raspberrypi.local"
    assert device(port=2222).address == "pi@raspberrypi.local:2222"


def test_two_commands_change_different_things_of_one_device(inventory: Inventory) -> None:
    inventory.add(device("pi"))

    def count(number: int) -> None:
        inventory.update("pi", lambda there: replace(there, counter_seen=there.counter_seen + number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, [1] * 40))
    assert inventory.get("pi").counter_seen == 40
    with pytest.raises(DeviceUnknown):
        inventory.update("other", lambda there: there)


def test_one_command_at_a_time_works_on_a_board(inventory: Inventory) -> None:
    inventory.add(device("pi"))
    inventory.add(device("jetson"))
    with inventory.hold("pi"), inventory.hold("jetson"):
        with pytest.raises(DeviceBusy, match="at work on `pi`"), inventory.hold("pi"):
            pass
        inventory.update("pi", lambda there: replace(there, counter_seen=1))
    with inventory.hold("pi"):
        assert inventory.names() == ("jetson", "pi")
