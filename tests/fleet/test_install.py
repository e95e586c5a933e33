"""The steps before and behind the agent's installer, with a small layer in its place; on real sshd."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.board import BoardConfig
from agent.contract.errors import BoardForeign, DigestMismatch, InstallFailed, SudoRefused
from agent.contract.install import InstallRequest
from agent.contract.manifest import EngineName
from agent.contract.profile import BoardFacts
from agent.contract.runtime import Layer, Platform, RuntimeManifest
from edge.fleet.install import Placement, choose_placement, enrol, send_runtime, stage
from edge.fleet.services import remove
from tests.beds.fixtures import or_skip
from tests.beds.sshd import SshdBoard, SshdOptions
from tests.fleet.conftest import Open

ANSWERS = """
import json, os, sys
request = json.load(sys.stdin)
device = request["config"]["device"]
print("unpacking")
print(json.dumps({"device": device, "fleet": "f", "serial": str(os.getuid()), "public_key": "ab" * 32,
                  "service": "supervisor", "persistent": True, "notes": sys.argv[1:]}))
"""
REFUSES = """
import json, sys
error = {"code": "board.foreign", "message": "", "hint": "", "facts": {"host": "raspberrypi", "fleet": "other"}}
print(json.dumps({"error": error}))
sys.exit(1)
"""
CRASHES = "raise RuntimeError('the card is broken')"


def layer(main: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("__main__.py", main)
    return data.getvalue()


def prepared(main: str, folder: Path) -> tuple[InstallRequest, dict[str, Path]]:
    """An InstallRequest whose agent layer runs `main`, and its blobs."""
    agent = layer(main)
    digest = hashlib.sha256(agent).hexdigest()
    runtime = RuntimeManifest(
        platform=Platform(architecture="x86_64", python="3.11", glibc="2.28"),
        engine=EngineName.LITERT,
        engine_version="2.3.0",
        agent_version="0.1.0",
        contracts=(1,),
        layers=(
            Layer(name="edge-agent", version="0", sha256=digest, size_bytes=len(agent), unpacked_bytes=9),
        ),
    )
    (folder / digest).write_bytes(agent)
    config = BoardConfig(fleet="f", device="b-1", serial="1", profile="p", service="supervisor")
    request = InstallRequest(
        config=config, runtime=runtime, runtime_digest="0" * 64, root_metadata="{}", user="pi"
    )
    return request, {digest: folder / digest}


@pytest.fixture
def placement(open_board: Open, bed: SshdBoard) -> Iterator[Placement]:
    home = open_board().run(["sh", "-c", "echo $HOME"]).stdout.decode().strip()
    yield Placement(root=f"{home}/.edge", service="supervisor", sudo=False)
    open_board().run(["rm", "-rf", f"{home}/.edge"])


def test_the_installer_of_the_layer_is_run_and_its_answer_read(
    open_board: Open, placement: Placement, tmp_path: Path
) -> None:
    board = open_board()
    request, blobs = prepared(ANSWERS, tmp_path)
    stage(board, placement)
    stage(board, placement)
    send_runtime(board, placement, request=request, blobs=blobs)
    enrolment = enrol(board, placement, request)
    assert enrolment.device == "b-1"
    assert enrolment.notes == ("install", "--root", placement.root)
    assert board.run(["sh", "-c", "ls -d /tmp/edge-install-* 2>/dev/null"]).stdout == b""


def test_a_layer_that_is_not_what_was_sent_is_never_run(
    open_board: Open, placement: Placement, tmp_path: Path
) -> None:
    board = open_board()
    request, blobs = prepared("open('ran', 'w')", tmp_path)
    stage(board, placement)
    send_runtime(board, placement, request=request, blobs=blobs)
    (digest,) = blobs
    board.run(["sh", "-c", f"cat >> {placement.root}/inbox/blobs/{digest}"], input=b"more")
    with pytest.raises(DigestMismatch) as refused:
        enrol(board, placement, request)
    assert refused.value.facts["expected"] == digest
    assert board.run(["test", "-e", "ran"]).status == 1


def test_an_error_of_the_installer_is_raised_here_as_what_it_is(
    open_board: Open, placement: Placement, tmp_path: Path
) -> None:
    board = open_board()
    stage(board, placement)
    for main, expected in ((REFUSES, BoardForeign), (CRASHES, InstallFailed)):
        request, blobs = prepared(main, tmp_path)
        send_runtime(board, placement, request=request, blobs=blobs)
        with pytest.raises(expected, match=r"the fleet `other`|RuntimeError: the card is broken"):
            enrol(board, placement, request)


def test_a_staged_board_that_was_never_enrolled_is_cleared(open_board: Open, placement: Placement) -> None:
    board = open_board()
    stage(board, placement)
    remove(board, placement, wipe=True)
    assert board.run(["test", "-e", placement.root]).status == 1
    remove(board, placement, wipe=True)


def test_a_folder_that_holds_something_else_is_never_cleared(open_board: Open, placement: Placement) -> None:
    board = open_board()
    stage(board, placement)
    board.run(["touch", f"{placement.root}/thesis.txt"])
    with pytest.raises(InstallFailed, match="is still there"):
        remove(board, placement, wipe=True)
    assert board.run(["test", "-e", f"{placement.root}/thesis.txt"]).status == 0


@pytest.mark.parametrize("kind", ["password", "nopasswd"])
def test_root_stages_and_installs_by_sudo_and_the_user_pushes(
    kind: str, open_board: Open, tmp_path: Path
) -> None:
    with or_skip(lambda: SshdBoard("sudo", SshdOptions(sudo=kind))) as bed:
        board = open_board(bed.board, sudo_password=bed.board.password if kind == "password" else None)
        system = Placement(root="/opt/edge", service="systemd", sudo=True)
        request, blobs = prepared(ANSWERS, tmp_path)
        stage(board, system)
        send_runtime(board, system, request=request, blobs=blobs)
        assert enrol(board, system, request).serial == "0"
        said = board.run(["stat", "-c", "%U", "/opt/edge", "/opt/edge/inbox", "/opt/edge/inbox/blobs"])
        assert said.stdout.split() == [b"root", b"pi", b"pi"]


def test_sudo_says_why_it_refuses_and_no_password_is_seen_on_the_board(open_board: Open) -> None:
    with or_skip(lambda: SshdBoard("sudo", SshdOptions(sudo="password"))) as bed:
        with pytest.raises(SudoRefused, match="the password is wrong"):
            open_board(bed.board, sudo_password="guessed").run(["id"], sudo=True)
        with pytest.raises(SudoRefused, match="asks for a password and none was given"):
            open_board(bed.board).run(["id"], sudo=True)
        board = open_board(bed.board, sudo_password=bed.board.password)
        seen = board.run(["sh", "-c", "cat /proc/[0-9]*/cmdline; cat; id -u"], input=b"given", sudo=True)
        assert seen.stdout.endswith(b"given0\n")
        assert str(bed.board.password).encode() not in seen.stdout + seen.stderr


def test_a_user_without_sudo_is_told_so(open_board: Open) -> None:
    with or_skip(lambda: SshdBoard("none", SshdOptions(sudo="nopasswd"))) as bed:
        rules = bed.folder / "upper/etc/sudoers.d/bed"
        rules.write_text("")
        with pytest.raises(SudoRefused, match="this user may not use it"):
            open_board(bed.board, sudo_password=bed.board.password or "x").run(["id"], sudo=True)


FACTS = BoardFacts(
    architecture="aarch64", userland_bits=64, python="3.11", glibc="2.36", page_size_bytes=4096,
    memory_bytes=1 << 30, cores=4, disk_free_bytes=1 << 33, os="", model="", serial="1", user="pi", home="/home/pi",
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "user_install", "expected"),
    [
        ({"systemd": True, "sudo": "password"}, False, ("/opt/edge", "systemd", True)),
        ({"systemd": True, "sudo": "free"}, False, ("/opt/edge", "systemd", True)),
        (
            {"systemd": True, "sudo": "root", "user": "root", "home": "/root"},
            False,
            ("/opt/edge", "systemd", False),
        ),
        ({"systemd": True, "sudo": "free"}, True, ("/home/pi/.edge", "systemd-user", False)),
        ({"systemd": True, "sudo": "none"}, False, ("/home/pi/.edge", "systemd-user", False)),
        ({"systemd": False, "sudo": "free"}, False, ("/home/pi/.edge", "supervisor", False)),
        (
            {"systemd": True, "sudo": "free", "simulated": True},
            False,
            ("/home/pi/.edge", "supervisor", False),
        ),
    ],
)
def test_the_place_follows_from_the_facts(
    change: dict[str, object], user_install: bool, expected: tuple[str, str, bool]
) -> None:
    placement = choose_placement(replace(FACTS, **change), user_install=user_install)
    assert (placement.root, placement.service, placement.sudo) == expected
