"""From an address to an authenticated SSH connection, with a deadline for every phase.

The rule: Fabric reads `~/.ssh/config` and knows jump hosts; but its connection accepts any host key and resolves
names without a deadline, so the policy is replaced, the pinned key alone is known, and the socket is our own.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fabric
import paramiko

from agent.contract.errors import (
    AuthenticationFailed,
    ConfigInvalid,
    DeadlinePassed,
    EdgeError,
    HostKeyChanged,
    HostUnknown,
    HostUnreachable,
)
from edge.fleet.address import Address
from edge.fleet.host_keys import HostKey, OnlyPinned, entry_of, fingerprint, keys_in, parse_host_key
from edge.fleet.ssh_config import read_ssh_config
from edge.fleet.timeouts import Timeouts
from edge.fleet.watchdog import Watchdog

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Asked for first: a third less work than the library's own first choice."""
LATER_S = 1.0
"""The whole handshake's deadline behind the greeting's, so that the sentence names what did not come."""
ATTEMPTS = 4
"""Connections tried when sshd closes before its greeting, as it does above `MaxStartups`."""

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else it writes to stderr by itself


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a board shows.

    Attributes:
        key: its host key. known: keys by which the user's own known_hosts knows it, none where it does not.
        entry: how known_hosts calls it.
    """

    key: HostKey
    known: tuple[HostKey, ...]
    entry: str


def fabric_connection(address: Address, timeouts: Timeouts) -> Any:
    """A Fabric connection that is not open yet: `~/.ssh/config` is read, no key is accepted unseen.

    Raises:
        ConfigInvalid: `~/.ssh/config` can't be understood.
    """
    try:
        config = fabric.Config(lazy=True, ssh_config=read_ssh_config())
        connection = fabric.Connection(
            address.host, user=address.user, port=address.port, config=config, connect_timeout=None
        )
    except (paramiko.ConfigParseError, ValueError) as error:
        raise ConfigInvalid(path="~/.ssh/config", reason=str(error)) from error
    connection.connect_timeout = None  # `ConnectTimeout` of ~/.ssh/config; the deadlines here are our own
    connection.client.set_missing_host_key_policy(OnlyPinned(connection.host))
    gateway = connection.gateway
    while isinstance(gateway, fabric.Connection):
        _known_to_the_user(gateway, timeouts)
        gateway = gateway.gateway
    return connection


def open_connection(
    address: Address,
    *,
    key_files: Sequence[Path],
    password: str | None,
    timeouts: Timeouts,
    others: bool = True,
) -> Any:
    """An open, authenticated Fabric connection to `address`, whose host key is the pinned one.

    Args:
        address: where, and which host key.
        key_files: the fleet folder's own keys, tried first.
        password: where it is given, nothing else is tried, so that the server's patience is not spent on keys.
        timeouts: for each phase.
        others: the user's own keys and agent are tried too.

    Raises:
        HostUnknown, HostUnreachable, DeadlinePassed: the way there.
        HostKeyUnknown, HostKeyChanged: another key than the pinned one.
        AuthenticationFailed: the board does not let this user in.
    """
    connection = fabric_connection(address, timeouts)
    named = connection.connect_kwargs.get("key_filename", []) if others else []
    keys = _existing([*key_files, *named])
    connection.connect_kwargs = {
        "key_filename": [str(key) for key in keys] if password is None else [],
        "allow_agent": others and password is None,
        "look_for_keys": others and password is None,
        "password": password,
        "banner_timeout": timeouts.handshake_s,
        "auth_timeout": timeouts.auth_s,
        "channel_timeout": timeouts.command_s,
        "timeout": timeouts.handshake_s + LATER_S,
        "transport_factory": _transport_factory(timeouts),
    }
    if address.host_key is not None:
        pinned = parse_host_key(address.host_key)
        entry = entry_of(connection.host, connection.port)
        connection.client.get_host_keys().add(entry, pinned.get_name(), pinned)
    tried = _tried(key_files, password)
    with _as_errors(address, connection, tried, timeouts):
        _open_patiently(connection, timeouts)
    connection.transport.set_keepalive(int(timeouts.keepalive_s) or 1)
    return connection


def scan(address: Address, timeouts: Timeouts) -> Shown:
    """The host key that a board shows, without authenticating. Seen, not trusted.

    Raises:
        HostUnknown, HostUnreachable, DeadlinePassed: the way there.
    """
    connection = fabric_connection(address, timeouts)
    entry = entry_of(connection.host, connection.port)
    known = keys_in(_known_hosts_of(connection), entry)
    with _as_errors(address, connection, "nothing", timeouts):
        transport = _transport_factory(timeouts)(_way_to(connection, timeouts))
        _ask_first_for(transport, [key.kind for key in known])
        try:
            with Watchdog(timeouts.handshake_s + 2 * LATER_S, transport.close):
                transport.start_client(timeout=timeouts.handshake_s + LATER_S)
                shown = HostKey.of(transport.get_remote_server_key())
                return Shown(key=shown, known=known, entry=entry)
        finally:
            transport.close()
            if isinstance(connection.gateway, fabric.Connection):
                connection.gateway.close()


def _known_hosts_of(connection: Any) -> list[Path]:
    """The user's known_hosts files, as `~/.ssh/config` names them."""
    named = str(connection.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"))
    return [Path(name).expanduser() for name in named.split()]


def _ask_first_for(transport: paramiko.Transport, kinds: list[str]) -> None:
    """Ask for host keys of these kinds first: who is known by one kind can't hide behind another."""
    offered = transport.get_security_options()
    wanted = [
        name for kind in kinds for name in ({"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}.get(kind, (kind,)))
    ]
    first = tuple(name for name in wanted if name in offered.key_types)
    offered.key_types = first + tuple(name for name in offered.key_types if name not in first)


def _known_to_the_user(gateway: Any, timeouts: Timeouts) -> None:
    """A jump host is no board: its key must stand in the user's own known_hosts."""
    gateway.client.load_system_host_keys()
    gateway.client.set_missing_host_key_policy(OnlyPinned(gateway.host))
    gateway.connect_timeout = None
    keys = _existing(list(gateway.connect_kwargs.get("key_filename", [])))
    gateway.connect_kwargs = {
        "key_filename": [str(key) for key in keys],
        "timeout": timeouts.connect_s,
        "banner_timeout": timeouts.handshake_s,
        "auth_timeout": timeouts.auth_s,
        "channel_timeout": timeouts.connect_s,
    }


def _open_patiently(connection: Any, timeouts: Timeouts) -> None:
    """Open; where sshd closed before it greeted, wait a little and try again."""
    longest = timeouts.connect_s + timeouts.handshake_s + 6 * timeouts.auth_s
    for attempt in range(ATTEMPTS):
        kwargs = dict(connection.connect_kwargs)
        began = time.monotonic()
        if not connection.gateway:
            connection.connect_kwargs["sock"] = _socket(connection.host, connection.port, timeouts.connect_s)
        try:
            with Watchdog(longest, connection.client.close):
                connection.open()
            return
        except paramiko.SSHException as error:
            connection.client.close()
            closed_early = "banner" in str(error) and time.monotonic() - began < timeouts.handshake_s / 2
            if not closed_early or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.2 * 2**attempt * (1 + random.random()))
        except BaseException:
            connection.client.close()
            raise
        finally:
            connection.connect_kwargs = kwargs


def _way_to(connection: Any, timeouts: Timeouts) -> Any:
    if connection.gateway:
        return connection.open_gateway()
    return _socket(connection.host, connection.port, timeouts.connect_s)


def _socket(host: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection to the first of the host's addresses that answers.

    Raises:
        HostUnknown: no such name. HostUnreachable: nobody answers, with the last reason.
    """
    deadline = time.monotonic() + seconds
    last: OSError | None = None
    for family, kind, protocol, _, where in _resolved(host, port, seconds):
        link = socket.socket(family, kind, protocol)
        try:
            link.settimeout(max(0.1, deadline - time.monotonic()))
            link.connect(where)
        except OSError as error:
            link.close()
            last = error
            continue
        except BaseException:
            link.close()
            raise
        _notice_silence(link)
        return link
    reason = f"no answer within {seconds:g} s" if isinstance(last, TimeoutError) else _words(last)
    raise HostUnreachable(host=host, port=port, reason=reason) from last


def _resolved(host: str, port: int, seconds: float) -> list[Any]:
    """Addresses of a name; the system's look-up has no deadline, so it runs aside."""
    answer: queue.Queue[Any] = queue.Queue()

    def look_up() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=look_up, name="edge-resolve", daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except queue.Empty:
        raise HostUnreachable(
            host=host, port=port, reason=f"its name was not resolved in {seconds:g} s"
        ) from None
    if isinstance(found, Exception):
        raise HostUnknown(host=host) from found
    return list(found)


def _notice_silence(link: socket.socket) -> None:
    """Let the kernel end a connection whose other side is gone, where it can."""
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    silence = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 35_000}
    for name, value in silence.items():  # the last one, in ms, holds while something sent is unanswered
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _transport_factory(timeouts: Timeouts) -> Callable[..., paramiko.Transport]:
    def make(sock: Any, **options: Any) -> paramiko.Transport:
        transport = paramiko.Transport(sock, **options)
        transport.banner_timeout = timeouts.handshake_s
        transport.handshake_timeout = timeouts.handshake_s
        offered = transport.get_security_options()
        first = tuple(cipher for cipher in CIPHERS if cipher in offered.ciphers)
        offered.ciphers = first + tuple(cipher for cipher in offered.ciphers if cipher not in first)
        return transport

    return make


@contextmanager
def _as_errors(address: Address, connection: Any, tried: str, timeouts: Timeouts) -> Iterator[None]:
    """Everything that goes wrong on the way, as the tree's errors."""
    host, port, user = connection.host, connection.port, connection.user
    try:
        yield
    except EdgeError:
        raise
    except paramiko.BadHostKeyException as error:
        raise HostKeyChanged(
            device=address.name or host,
            pinned=fingerprint(error.expected_key.asbytes()),
            shown=fingerprint(error.key.asbytes()),
        ) from error
    except paramiko.AuthenticationException as error:
        if "timeout" in str(error).lower():
            raise DeadlinePassed(host=host, doing="authentication", timeout_s=timeouts.auth_s) from error
        raise AuthenticationFailed(host=host, user=user, tried=tried) from error
    except paramiko.SSHException as error:
        if "No authentication methods" in str(error):
            raise AuthenticationFailed(host=host, user=user, tried=tried) from error
        raise HostUnreachable(host=host, port=port, reason=_ssh_words(error, timeouts)) from error
    except (OSError, EOFError) as error:
        raise HostUnreachable(host=host, port=port, reason=_words(error)) from error


def _ssh_words(error: Exception, timeouts: Timeouts) -> str:
    text = str(error)
    if "banner" in text:
        return "the port is open, but no SSH server greets"
    if "No existing session" in text:
        return f"the key exchange was not done within {timeouts.handshake_s:g} s"
    return text or type(error).__name__


def _words(error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


def _tried(key_files: Sequence[Path], password: str | None) -> str:
    """What was offered, in words."""
    if password is not None:
        return "the password"
    own = "the user's own keys and agent"
    return f"the fleet folder's key and {own}" if any(file.is_file() for file in key_files) else own


def _existing(files: list[Any]) -> list[Path]:
    """The key files that are there: one that `~/.ssh/config` names in vain is passed over, as ssh does."""
    paths = [Path(file).expanduser() for file in files if file]
    return [path for path in dict.fromkeys(paths) if path.is_file() and os.access(path, os.R_OK)]
