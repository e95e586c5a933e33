"""A real OpenSSH server per board, on loopback, up in a fraction of a second.

As root, on Linux, a board is a thin container: its own processes, host name, user ``pi`` with
password, empty /home, /root, /run and /tmp, and its own copy-on-write layer over /etc, /opt, /usr and
/var, so that a test may use sudo and install files without touching this machine. Other folders are
the machine's own: it is no jail. A power cut ends everything that runs on the board and keeps its files.

As an ordinary user the board is that user: key only, no sudo, daemons outlive a power cut, and a
command's working folder is the real home, although ``HOME`` and sftp are the board's.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shlex
import signal
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.beds.board import (
    PASSWORD,
    USER,
    BedBoard,
    BedBroken,
    BedUnavailable,
    bed_key,
    children,
    find_tool,
    fingerprint,
    free_port,
    make_key,
    need_tools,
    own_network,
    remember_process,
    remove_tree,
    run,
    run_folder,
    wait_for_login,
)
from tests.beds.link import Link

UID = 61001  # of `pi` on every board of this bed: above the range that useradd hands out
INSIDE = Path("/run/bed")  # the board's folder as the board sees it
LAYERED = ("etc", "opt", "usr", "var")
EMPTIED = {"/home": "755", "/root": "700", "/tmp": "1777"}
TOOLS = {"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}


@dataclass(frozen=True)
class SshdOptions:
    """What the board's sshd refuses or allows."""

    password: bool = True
    """Whether the password opens the board (as root only: others cannot check passwords)."""
    forwarding: bool = True
    """Whether ports may be forwarded, either way."""
    sftp: bool = True
    sudo: str = "no"
    """``no``, ``password`` or ``nopasswd`` (as root only, and where sudo is installed)."""
    max_sessions: int = 10
    own_network: bool = False
    """A network of its own with loopback only: agents on two boards may use the same port, and there
    is no internet. Costs a relay in the test's process (as root only)."""
    extra: tuple[str, ...] = ()
    """More lines of sshd_config."""


class SshdBoard:
    """One board with sshd. A context manager; ``home`` is its home folder as this machine sees it."""

    def __init__(self, name: str, options: SshdOptions | None = None) -> None:
        need_tools("the sshd bed", TOOLS)
        self.name = name
        self.options = options or SshdOptions()
        if self.options.sudo != "no":
            need_tools("sudo on the sshd bed", {"sudo": "sudo"})
        self.isolated = os.geteuid() == 0 and os.uname().sysname == "Linux"
        if self.options.own_network:
            need_tools("a network of its own on the sshd bed", {"ip": "iproute2"})
        if not self.isolated and (self.options.own_network or self.options.sudo != "no"):
            raise BedUnavailable("sudo and a network of its own on the sshd bed need root on Linux")
        self.folder = run_folder(name)
        self.home = self.folder / "home"
        self.log = self.folder / "sshd.log"
        self._port = free_port()
        self._server: subprocess.Popen[bytes] | None = None
        self._relay: Link | None = None
        self._lay_out()

    @property
    def board(self) -> BedBoard:
        """The address, the same after each boot."""
        uses_password = self.isolated and (self.options.password or self.options.sudo == "password")
        return BedBoard(
            name=self.name,
            host="127.0.0.1",
            port=self._port,
            user=USER if self.isolated else getpass.getuser(),
            key_path=bed_key(),
            password=PASSWORD if uses_password else None,
            host_key_fingerprint=fingerprint(self.folder / "host_key.pub"),
        )

    def start(self) -> None:
        """Boot: the user can log in when this returns."""
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                self._argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        remember_process(self.folder, self._server.pid)
        try:
            if self.options.own_network:
                self._relay = Link(22, port=self._port, namespace=own_network(self._server.pid))
                self._relay.start()
            wait_for_login(self.board, seconds=60, alive=self._alive, log=self.log)
        except BaseException:
            self.power_cut()
            raise

    boot = start

    def power_cut(self) -> None:
        """End sshd and, as root, every process of the board, without a word to any of them."""
        if self._relay is not None:
            self._relay.stop()
            self._relay = None
        if self._server is None:
            return
        if not self.isolated:
            self._kill_sessions()
        # The first process of a process namespace takes all others with it; `unshare` waits for that
        for pid in children(self._server.pid) if self.isolated else [self._server.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            self._server.wait(timeout=30)
        except subprocess.TimeoutExpired as error:
            raise BedBroken(f"{self.name} outlived its power cut") from error
        finally:
            self._server.kill()
            self._server = None

    def stop(self) -> None:
        """Take the board away, files and all."""
        self.power_cut()
        remove_tree(self.folder)

    def give(self, folder: Path) -> None:
        """Let a folder, with all that is in it, belong to the board's user where that is another than this one."""
        if self.isolated:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, UID, UID, follow_symlinks=False)

    def __enter__(self) -> SshdBoard:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- how it is made -------------------------------------------------------------------------------

    def _alive(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def _kill_sessions(self) -> None:
        assert self._server is not None
        for session in children(self._server.pid):
            for pid in (*children(session), session):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _lay_out(self) -> None:
        """Write the board's files: keys, home folder, accounts, configuration."""
        self.home.mkdir()
        (self.folder / "authorized_keys").write_text(bed_key().with_suffix(".pub").read_text())
        make_key(self.folder / "host_key")
        (self.folder / "sshd_config").write_text("\n".join(self._config()) + "\n")
        if not self.isolated:
            return
        os.chown(self.home, UID, UID)
        for name in LAYERED:
            for layer in ("upper", "work"):
                (self.folder / layer / name).mkdir(parents=True)
        self._write_accounts(self.folder / "upper" / "etc")
        script = self.folder / "boot.sh"
        script.write_text("\n".join(self._boot_script()) + "\n")

    def _config(self) -> list[str]:
        options = self.options
        listen = "127.0.0.1:22" if options.own_network else f"127.0.0.1:{self._port}"
        folder = INSIDE if self.isolated else self.folder
        lines = [
            f"ListenAddress {listen}",
            f"HostKey {folder / 'host_key'}",
            f"AuthorizedKeysFile {folder / 'authorized_keys'}" + (" .ssh/authorized_keys" * self.isolated),
            "PidFile none",
            "StrictModes no",  # the folders above the keys belong to whoever runs the tests
            "UsePAM no",
            "KbdInteractiveAuthentication no",
            f"PasswordAuthentication {_yes(options.password and self.isolated)}",
            f"DisableForwarding {_yes(not options.forwarding)}",
            f"MaxSessions {options.max_sessions}",
            "MaxStartups 100",
            "UseDNS no",
            "PrintMotd no",
        ]
        if options.sftp:
            lines.append("Subsystem sftp internal-sftp" + ("" if self.isolated else f" -d {self.home}"))
        if not self.isolated:
            lines.append(f"SetEnv HOME={self.home}")
        if _openssh_version() >= (9, 8):  # wrong passwords on purpose must not lock the test out
            lines.append("PerSourcePenalties no")
        return [*lines, *options.extra]

    def _write_accounts(self, etc: Path) -> None:
        """The account files of this machine with `pi` added; only the board sees them."""
        hashed = run(["openssl", "passwd", "-6", "-stdin"], stdin=PASSWORD).strip()
        mine = {
            "passwd": f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/bash",
            "shadow": f"{USER}:{hashed}:20000:0:99999:7:::",
            "group": f"{USER}:x:{UID}:",
        }
        for name, line in mine.items():
            source, copy = Path("/etc") / name, etc / name
            others = [old for old in source.read_text().splitlines() if not old.startswith(f"{USER}:")]
            copy.write_text("\n".join([*others, line]) + "\n")
            copy.chmod(0o600 if name == "shadow" else 0o644)
        tag = {"password": "", "nopasswd": "NOPASSWD: "}.get(self.options.sudo)
        rules = etc / "sudoers.d"
        rules.mkdir(mode=0o755)
        (rules / "bed").write_text(f"{USER} ALL=(ALL) {tag}ALL\n" if tag is not None else "")
        (rules / "bed").chmod(0o440)
        (etc / "machine-id").write_text(uuid.uuid4().hex + "\n")
        (etc / "hostname").write_text(self.name + "\n")
        names = [
            line for line in Path("/etc/hosts").read_text().splitlines() if self.name not in line.split()
        ]
        (etc / "hosts").write_text("\n".join([*names, f"127.0.1.1 {self.name}"]) + "\n")

    def _boot_script(self) -> list[str]:
        """What runs inside the namespaces before sshd."""
        lines = [
            "set -e",
            f"hostname {shlex.quote(self.name)}",
            "mount -t tmpfs -o mode=755 tmpfs /run",
            f"mkdir -p /run/sshd {INSIDE}",
            # From here on the folder's parents may be closed to `pi`
            f"mount --bind {shlex.quote(str(self.folder))} {INSIDE}",
        ]
        for name in LAYERED:
            if not self.folder.is_relative_to(f"/{name}"):  # a layer cannot lie below what it covers
                layers = f"lowerdir=/{name},upperdir={INSIDE}/upper/{name},workdir={INSIDE}/work/{name}"
                lines.append(f"mount -t overlay -o {layers} overlay /{name}")
        lines += [f"mount -t tmpfs -o mode={mode} tmpfs {name}" for name, mode in EMPTIED.items()]
        lines += [f"mkdir /home/{USER}", f"mount --bind {INSIDE}/home /home/{USER}"]
        if self.options.own_network:
            lines.append("ip link set lo up")
        return [*lines, f"exec {find_tool('sshd')} -D -e -f {INSIDE}/sshd_config"]

    def _argv(self) -> list[str]:
        if not self.isolated:
            return [str(find_tool("sshd")), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        network = ["--net"] if self.options.own_network else []
        return [
            "unshare", "--mount", "--uts", "--ipc", "--pid", *network, "--fork", "--kill-child",
            "--mount-proc", "sh", str(self.folder / "boot.sh"),
        ]  # fmt: skip


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _openssh_version() -> tuple[int, int]:
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)
