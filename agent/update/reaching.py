"""Whether a generation on trial still reaches the fleet's collector, judged on the board and with nobody's help.

The rule: it counts only where the generation before was connected when the trial began. A collector that is away fails
nobody: what fails is an agent that stays unconnected while somebody answers where its link leads.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from pathlib import Path

from agent.contract.codec import decode
from agent.contract.errors import ContractError, EdgeError, LinkLost
from agent.contract.link import LinkConfig
from agent.plain_file import read_plain
from agent.processes import process_told
from agent.update.asking import ask
from agent.update.folder import UpdateFolder

LINK_S = 60.0
"""An agent that is not connected for so long, while its broker answers all the time, has lost its link; it tries
again after pauses that grow."""
ASK_S = 5.0
"""From question to question whether the broker answers, and how long it may take to."""
STATUS = "/edge/v1/status"
STATUS_BYTES = 1 << 20


def connected(host: str, port: int) -> bool | None:
    """Whether the agent on `port` says that it is connected to its broker; None where it does not say."""
    try:
        _, said = ask(host, port, "GET", STATUS, timeout_s=ASK_S, limit_bytes=STATUS_BYTES)
        told = json.loads(said)["telemetry"]
        return False if told is None else bool(told["connected"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None


def serving_connected(folder: UpdateFolder, host: str) -> bool:
    """Whether the agent that serves now says that it is connected."""
    port = process_told(folder.running).get("port")
    return isinstance(port, int) and connected(host, port) is True


class Reach:
    """One trial's link, looked at again and again.

    Args:
        folder: the board's. expected: the generation before was connected.

    Attributes:
        settled: there is nothing to wait for: it was connected once, does not say, or was not expected to be.
    """

    def __init__(self, folder: UpdateFolder, *, expected: bool) -> None:
        self.settled = not expected
        self._path = folder.link
        self._asked: _Question | None = None
        self._answers_since: float | None = None

    def look(self, host: str, port: int, *, generation: int) -> EdgeError | None:
        """Ask the agent, and its broker where it is not connected. Why the trial fails, or None."""
        if self.settled or connected(host, port) is not False:
            self.settled = True
            return None
        now = time.monotonic()
        if self._asked is not None and self._asked.answers is None:
            return None
        if self._asked is not None:
            if not self._asked.answers:
                self._answers_since = None
            elif self._answers_since is None:
                self._answers_since = self._asked.at
        waited_s = now - self._answers_since if self._answers_since is not None else 0.0
        if waited_s >= LINK_S and self._asked is not None:
            return LinkLost(generation=generation, waited_s=waited_s, broker=self._asked.whom)
        if self._asked is None or now - self._asked.at >= ASK_S:
            self._asked = _Question(self._path, now)
        return None

    @property
    def nobody_there(self) -> bool:
        """The broker was asked last, and did not answer."""
        return self._asked is not None and self._asked.answers is False


class _Question:
    """Whether somebody answers where the link leads: in a thread, since a name and a handshake may take long.

    Attributes:
        at: when it was asked. whom: host and port. answers: None while it is open.
    """

    def __init__(self, path: Path, at: float) -> None:
        self.at = at
        self.whom = "the broker"
        self.answers: bool | None = None
        threading.Thread(target=self._ask, args=(path,), name="asking the broker", daemon=True).start()

    def _ask(self, path: Path) -> None:
        try:
            host, port = decode(LinkConfig, read_plain(path)).address
            self.whom = f"{host} port {port}"
            self.answers = _speaks_tls(host, port)
        except (OSError, ValueError, ContractError):
            self.answers = False


def _speaks_tls(host: str, port: int) -> bool:
    """Whether the other side takes part in a handshake. A port that is open says little: a tunnel's stays open when
    the laptop sleeps. Nothing is believed and nothing is sent, so no certificate is looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((host, port), timeout=ASK_S) as plain:
        try:
            context.wrap_socket(plain, server_hostname=host).close()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return False
        except ssl.SSLError:  # it answered, if only with a refusal
            return True
    return True
