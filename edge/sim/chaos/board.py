"""A board of a run: a folder as enrolment leaves it, a real agent, and a link that can be cut.

The rule: the agent is a board's own, without models; only its way to the broker is a relay of ours instead of an SSH
tunnel, so that no SSH server is needed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig, RunningAgent
from agent.contract.codec import decode, encode
from agent.contract.errors import ChaosFailed, EdgeError
from agent.contract.link import BROKER_NAME, LinkConfig
from agent.contract.messages import Reported, Signed, signed_bytes
from agent.contract.states import UpdateState
from edge import durable
from edge.certificates import CertificateAuthority
from edge.config import FleetFolder
from edge.fleet.host_keys import HostKey, parse_host_key
from edge.inventory import Device, Inventory, new_device_id
from edge.ports import free_port
from edge.sim.chaos.parts import last_words
from edge.sim.relay import Relay

QUIET_INTERVAL_S = 86_400.0
"""A board that measures once a day: what it has made already is all that it will send."""
ANSWER_S = 1.0


class Told(NamedTuple):
    """What an agent says of its telemetry: its boot, the highest number given, and what its outbox holds."""

    boot: str
    given: int
    held_bytes: int


class Board:
    """One board: a folder as enrolment leaves it, the agent that runs there, and its cable.

    Args:
        name: `board-1`.
        root: its folder; made here.
        fleet: that it is taken into.
    """

    def __init__(self, name: str, root: Path, fleet: FleetFolder) -> None:
        self.name = name
        self.root = root
        self.device_id = new_device_id()
        self.relay = Relay(free_port(), 0)
        self._wanted = False
        self._agent: subprocess.Popen[bytes] | None = None
        self._link: LinkConfig | None = None
        self._report = 0
        self._key = Ed25519PrivateKey.generate()
        for folder in ("bin", "link", "outbox", "run", "state"):
            durable.make_folder(root / folder)
        config = BoardConfig(
            fleet=fleet.config.fleet, device=self.device_id, serial="chaos", profile="chaos",
            service=SERVICE_SUPERVISOR, port=0, log_level="warning",
        )  # fmt: skip
        durable.write(root / "board.json", encode(config))
        key = CertificateAuthority(fleet.keys).client(self.device_id)
        durable.write(root / "mqtt.key", key.key.encode(), mode=0o600)
        self._certificate = key.certificate
        public_key = self._key.public_key().public_bytes_raw().hex()
        Inventory(fleet).add(_device(name, self.device_id, public_key, root))

    @property
    def outbox(self) -> Path:
        """What it made and still holds."""
        return self.root / "outbox" / "outbox.sqlite"

    def link(self, *, collector: str, authority: str, interval_s: float, outbox_bytes: int) -> None:
        """Tell the board how to report, as the collector does over SSH."""
        self._link = LinkConfig(
            collector=collector,
            url=f"mqtts://127.0.0.1:{self.relay.port}",
            certificate=self._certificate,
            ca=authority,
            server_name=BROKER_NAME,
            interval_s=interval_s,
            outbox_bytes=outbox_bytes,
        )
        durable.write(self.root / "link" / "link.json", encode(self._link))

    def be_quiet(self) -> None:
        """Make no more samples."""
        assert self._link is not None
        self._link = replace(self._link, interval_s=QUIET_INTERVAL_S)
        durable.write(self.root / "link" / "link.json", encode(self._link))

    def report(self) -> None:
        """Change the board's signed report, as the update process does; the agent tells it as an event."""
        self._report += 1
        reported = Reported(
            device=self.device_id,
            counter=self._report,
            state=UpdateState.CONFIRMED,
            nonce="chaos",
            wall=int(time.time()),
        )
        payload = encode(reported).decode()
        signature = self._key.sign(signed_bytes(self.device_id, self._report, payload)).hex()
        signed = Signed(self.device_id, self._report, payload, signature)
        durable.write(self.root / "state" / "reported.json", encode(signed))

    def start(self) -> None:
        with (self.root / "agent.log").open("ab") as log:
            self._agent = subprocess.Popen(
                [sys.executable, "-m", "agent", "--root", str(self.root), "run"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wanted = True

    def kill(self) -> None:
        self._wanted = False
        if self._agent is not None:
            self._agent.kill()
            self._agent.wait()

    def stall(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def told(self) -> Told | None:
        """What the agent that runs says of itself now; None where none answers."""
        try:
            running = decode(RunningAgent, (self.root / "run" / "agent.json").read_bytes())
            with closing(HTTPConnection("127.0.0.1", running.port, timeout=ANSWER_S)) as link:
                link.request("GET", "/edge/v1/status")
                status = json.loads(link.getresponse().read())
            if status["device"] != self.device_id or status["telemetry"] is None:
                return None  # the port is another board's by now, or the link has not begun
            telemetry = status["telemetry"]
            return Told(str(status["boot"]), int(telemetry["given"]), int(telemetry["outbox_bytes"]))
        except (OSError, HTTPException, ValueError, KeyError, EdgeError):
            return None

    def check(self) -> None:
        """See that the agent did not end by itself.

        Raises:
            ChaosFailed: it did.
        """
        status = self._agent.poll() if self._agent is not None else None
        if status is not None and self._wanted:  # looked at last: it may have been killed meanwhile
            words = last_words(self.root / "agent.log")
            raise ChaosFailed(part=self.name, reason=f"its agent ended by itself with {status}: {words}")

    def _signal(self, number: signal.Signals) -> None:
        if self._agent is not None and self._agent.poll() is None:
            self._agent.send_signal(number)


def _device(name: str, device_id: str, public_key: str, root: Path) -> Device:
    """A board that is enrolled, at an address where nobody answers: its telemetry comes through the relay."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    host_key = HostKey.of(parse_host_key(key.decode()))
    return Device(
        name=name, device_id=device_id, host="127.0.0.1", port=1, user="nobody", host_key=host_key.text,
        fingerprint=host_key.fingerprint, profile="chaos", serial="chaos", public_key=public_key,
        service=SERVICE_SUPERVISOR, root=str(root), added_at=int(time.time()), simulated=True,
    )  # fmt: skip
