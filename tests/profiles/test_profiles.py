"""Profiles: those that come with edge, those of the fleet folder, and which one a board gets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.contract.errors import BoardRefused, ProfileInvalid, ProfileUndecided, ProfileUnknown
from agent.contract.manifest import EngineName
from agent.contract.profile import BoardFacts, DeviceProfile, accepts
from edge.config import FleetFolder
from edge.profiles import BUILT_IN, choose, load_profiles, profile_named

PI_5 = BoardFacts(
    architecture="aarch64",
    userland_bits=64,
    python="3.13",
    glibc="2.41",
    page_size_bytes=16384,
    memory_bytes=4 * 1024**3,
    cores=4,
    disk_free_bytes=10**10,
    os="Debian GNU/Linux 13 (trixie)",
    model="Raspberry Pi 5 Model B Rev 1.0",
    serial="1000000012345678",
)
PROFILES = load_profiles()

NUMBERS = ("memory_mib", "cores", "memory_limit_mib", "page_size_bytes")


def board(**changes: object) -> BoardFacts:
    return dataclasses.replace(PI_5, **changes)  # type: ignore[arg-type]


@pytest.fixture
def fleet(tmp_path: Path) -> FleetFolder:
    folder = FleetFolder.create(tmp_path / "fleet")
    folder.profiles.mkdir()
    return folder


def write(fleet: FleetFolder, name: str, text: str) -> Path:
    path = fleet.profiles / f"{name}.toml"
    path.write_text(text)
    return path


def test_the_boards_of_the_design_are_there() -> None:
    assert {
        "raspberry-pi-zero-2-w", "raspberry-pi-3b-plus", "raspberry-pi-4", "raspberry-pi-5", "jetson-orin-nano",
        "jetson-agx-orin", "linux-arm64", "linux-x86-64", "sim-tflite", "sim-onnx", "emulated-arm64",
    } <= set(PROFILES)  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES.values(), ids=str)
def test_every_number_has_a_source(profile: DeviceProfile) -> None:
    sources = [getattr(profile, number).source for number in NUMBERS]
    assert all(len(source) > 20 for source in sources), sources


def test_a_raspberry_pi_5_has_pages_of_16_kib() -> None:
    assert PROFILES["raspberry-pi-5"].page_size_bytes.value == 16384


def test_a_jetson_says_cpu_only_unless_a_gpu_wheel_is_given() -> None:
    for name in ("jetson-orin-nano", "jetson-agx-orin"):
        assert "CPU only" in (PROFILES[name].accelerator or "")
        assert "--engine-wheel" in (PROFILES[name].accelerator or "")


@pytest.mark.parametrize(
    ("model", "profile"),
    [
        ("Raspberry Pi Zero 2 W Rev 1.0", "raspberry-pi-zero-2-w"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberry-pi-3b-plus"),
        ("Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4"),
        ("Raspberry Pi Compute Module 4 Rev 1.0", "raspberry-pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "jetson-orin-nano"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "jetson-agx-orin"),
        ("linux,dummy-virt", "emulated-arm64"),
        ("Radxa ROCK 5B", "linux-arm64"),
        ("", "linux-arm64"),
    ],
)
def test_what_a_board_calls_itself_chooses_its_profile(model: str, profile: str) -> None:
    facts = board(model=model, memory_bytes=40 * 1024**3)
    chosen, why = choose(facts, PROFILES)
    assert chosen.name == profile
    assert f"`{profile}`" in why
    assert accepts(chosen, facts) == ()


def test_an_x86_machine_gets_the_general_profile() -> None:
    assert choose(board(architecture="x86_64", model="OptiPlex"), PROFILES)[0].name == "linux-x86-64"


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_simulated_board_gets_a_simulated_profile_only(kind: str) -> None:
    facts = board(architecture="x86_64", model=f"edge simulated board ({kind})", simulated=True)
    chosen, _ = choose(facts, PROFILES)
    assert chosen.name == f"sim-{kind}"
    with pytest.raises(ProfileUndecided):
        choose(dataclasses.replace(facts, model="Raspberry Pi 5 Model B"), PROFILES)


def test_a_real_board_never_gets_a_simulated_profile() -> None:
    facts = board(architecture="x86_64", model="edge simulated board (tflite)")
    assert choose(facts, PROFILES)[0].name == "linux-x86-64"


def test_a_32_bit_system_is_refused_with_the_way_out() -> None:
    facts = board(architecture="armv7l", userland_bits=32)
    with pytest.raises(BoardRefused, match="32-bit") as refused:
        choose(facts, PROFILES, device="gate")
    assert refused.value.facts["profile"] == "raspberry-pi-5"
    assert "64-bit system image" in (refused.value.hint or "")
    with pytest.raises(BoardRefused, match="32-bit"):
        choose(dataclasses.replace(facts, model="Some Board"), PROFILES)


def test_an_architecture_that_nothing_is_for_is_undecided() -> None:
    with pytest.raises(ProfileUndecided, match="riscv64"):
        choose(board(architecture="riscv64", model="VisionFive"), PROFILES)


def test_the_fleet_folders_profile_takes_the_place_of_the_built_in_one(fleet: FleetFolder) -> None:
    write(fleet, "raspberry-pi-5", 'extends = "raspberry-pi-5"\nthreads = 4\n')
    profiles = load_profiles(fleet)
    assert profiles["raspberry-pi-5"].threads == 4
    assert profiles["raspberry-pi-5"].page_size_bytes.value == 16384
    assert set(profiles) == set(PROFILES)


def test_a_profile_extends_one_that_was_replaced(fleet: FleetFolder) -> None:
    write(fleet, "linux-arm64", 'extends = "linux-arm64"\naccelerator = "our own"\n')
    assert load_profiles(fleet)["raspberry-pi-5"].accelerator == "our own"


def test_of_two_that_fit_alike_the_fleet_folders_wins(fleet: FleetFolder) -> None:
    write(fleet, "gate", 'extends = "raspberry-pi-5"\ntitle = "At the gate"\n')
    assert choose(PI_5, load_profiles(fleet))[0].name == "gate"


def test_two_of_the_fleet_folder_that_fit_alike_are_not_decided_by_chance(fleet: FleetFolder) -> None:
    for name in ("gate", "roof"):
        write(fleet, name, 'extends = "raspberry-pi-5"\n')
    with pytest.raises(ProfileUndecided, match="gate and roof fit it alike"):
        choose(PI_5, load_profiles(fleet))


def test_tflite_runtime_has_to_be_asked_for() -> None:
    facts = board(model="Raspberry Pi Zero 2 W Rev 1.0", memory_bytes=420 * 1024**2)
    assert choose(facts, PROFILES)[0].engine is EngineName.LITERT
    asked = profile_named("raspberry-pi-zero-2-w-tflite-runtime", PROFILES)
    assert accepts(asked, facts) == ()


WHOLE = (BUILT_IN / "linux-arm64.toml").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('extends = "raspberry-pi-5"\nengin = "litert"', "`engin` is not known, did you mean `engine`?"),
        ('extends = "raspberry-pi-5"\nengine = "litrt"', "found `litrt`, did you mean `litert`?"),
        (
            'extends = "raspberry-pi-5"\nengine = "onnxruntime"',
            "engine onnxruntime does not run tflite files",
        ),
        (
            'extends = "raspberry-pi-5"\narchitecture = "arm64"',
            "`architecture` must be one of aarch64, x86_64",
        ),
        ('extends = "raspberry-pi-5"\nthreads = "2"', "`threads` must be an integer, found '2'"),
        ('extends = "raspberry-pi-5"\nthreads = 0', "`threads` must be 1 or more"),
        ('extends = "raspberry-pi-5"\npythons = ["3.9"]', "`pythons` names 3.9"),
        ('extends = "raspberry-pi-5"\npythons = []', "`pythons` is empty"),
        ('extends = "raspberry-pi-5"\ncores = 4', "must be a section with `value` and `source`"),
        ('extends = "raspberry-pi-5"\n[cores]\nvalue = 4', "`cores.source` is missing"),
        ('extends = "raspberry-pi-5"\n[cores]\nvalue = 4\nsource = " "', "`cores.source` must say where"),
        ('extends = "raspberry-pi-5"\n[cores]\nvalue = 0\nsource = "none"', "`cores.value` must be above 0"),
        (
            'extends = "raspberry-pi-5"\n[cores]\nvalu = 0\nsource = "none"',
            "`cores.valu` is not known, did you mean",
        ),
        ('extends = "raspberry-pi-5"\n[page_size_bytes]\nvalue = 5000\nsource = "none"', "a power of two"),
        ('extends = "raspberry-pi-5"\n[memory_mib]\nvalue = 5\nsource = "none"', "larger than `memory_mib`"),
        ('extends = "mine"', "`extends` names the profile itself"),
        ("extends = 5", "`extends` must be a profile's name"),
        (WHOLE.replace("threads = 1", ""), "`threads` is missing"),
        ("title = ", "Invalid value"),
    ],
)
def test_a_wrong_profile_says_which_field_of_which_file(fleet: FleetFolder, text: str, said: str) -> None:
    path = write(fleet, "mine", text)
    with pytest.raises(ProfileInvalid) as invalid:
        load_profiles(fleet)
    assert said in str(invalid.value)
    assert str(path) in str(invalid.value)


def test_profiles_that_extend_each_other_are_a_circle(fleet: FleetFolder) -> None:
    write(fleet, "one", 'extends = "two"')
    write(fleet, "two", 'extends = "one"')
    with pytest.raises(ProfileInvalid, match="one extends two extends one"):
        load_profiles(fleet)


def test_an_unknown_profile_says_which_one_was_meant(fleet: FleetFolder) -> None:
    with pytest.raises(ProfileUnknown, match="did you mean `raspberry-pi-5`"):
        profile_named("rasperry-pi-5", PROFILES)
    write(fleet, "mine", 'extends = "rasberry-pi-5"')
    with pytest.raises(ProfileUnknown, match="did you mean `raspberry-pi-5`"):
        load_profiles(fleet)
