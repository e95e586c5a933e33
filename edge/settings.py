"""`edge.toml`: what it may say, written and read.

The rule: a setting that edge does not know is an error that says which one was meant, never ignored; and what is
written is what is read.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.contract.errors import BrokerPlain, ConfigInvalid, EdgeError, NameInvalid, OptionInvalid
from agent.contract.names import check_name
from edge.suggestion import did_you_mean

BROKERS = ("auto", "mosquitto", "embedded")
NOT_CLIENTS = ("b-", "c-", "ask-")
"""How the broker's names of boards, collectors and their commands begin."""


@dataclass(frozen=True, kw_only=True)
class FleetConfig:
    """What `edge.toml` says.

    Attributes:
        fleet: the fleet's name with its random suffix.
        probation_s: how long a new generation must serve well before a board confirms it, in seconds.
        check_timeout_s: deadline of the check beside the old model, in seconds.
        start_timeout_s: deadline from switching to the first healthy answer, in seconds.
        agent_port: where agents listen on the board's loopback; 0 takes any free port.
        connect_timeout_s: deadline for an SSH connection, in seconds.
        pool: how many boards are worked on at once.
        interval_s: how often boards report, in seconds.
        outbox_mb: how much a board keeps while nobody acknowledges, in 10**6 bytes.
        keep_days: how long the store keeps samples; 0 for ever.
        mqtt_url: `mqtts://host[:port]` of a broker of one's own; empty for a tunnel through SSH to a broker here.
        mqtt_ca: PEM file of the authority of that broker's certificate, from the fleet folder; empty for the system's.
        mqtt_broker: the broker here: `mosquitto`, `embedded`, or `auto`: mosquitto where it is installed.
        mqtt_clients: names of those who may ask boards' models through the broker.
        home_assistant: boards are shown to a Home Assistant at that broker.
        idle_stop_s: the collector ends after so long without a board or a command; 0 never.
        metrics_port: where the collector shows the fleet to Prometheus, on loopback; 0 takes any free port.
        key_folders: further folders that hold private keys: a stick, or another person's; from the fleet folder.
    """

    fleet: str
    probation_s: float = 10.0
    check_timeout_s: float = 300.0
    start_timeout_s: float = 120.0
    agent_port: int = 8470
    connect_timeout_s: float = 10.0
    pool: int = 16
    interval_s: float = 10.0
    outbox_mb: int = 64
    keep_days: int = 30
    mqtt_url: str = ""
    mqtt_ca: str = ""
    mqtt_broker: str = "auto"
    mqtt_clients: tuple[str, ...] = ()
    home_assistant: bool = False
    idle_stop_s: float = 0.0
    metrics_port: int = 0
    key_folders: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of `edge.toml`.

    Attributes:
        section, key: where it stands. field: its name in `FleetConfig`.
        kind: `str`, `bool`, `int`, `float`, or `tuple` for a list of texts.
        least, most: bounds of a number, both allowed.
        check: of a text, or of each in a list; raises an EdgeError when it can't be.
        comment: for people, written above it.
    """

    section: str
    key: str
    field: str
    kind: type
    comment: str
    least: float = 0
    most: float = 0
    check: Callable[[str], object] = str


def _check_fleet(name: str) -> None:
    check_name(name, what="fleet")


def _check_url(url: str) -> None:
    """An empty text, or `mqtts://host[:port]`."""
    if not url:
        return
    if "@" in url:  # it may be a password: not to be shown
        raise OptionInvalid(option="what stands before `@`", reason="boards show certificates, take it out")
    try:
        found = urlsplit(url)
        host, port = found.hostname, found.port
    except ValueError as error:
        raise OptionInvalid(option=url, reason=str(error)) from error
    if found.scheme == "mqtt" and host:
        raise BrokerPlain(url=url)
    if found.scheme != "mqtts" or not host or port == 0 or found.path or found.query:
        raise OptionInvalid(option=url, reason="it must be `mqtts://host` or `mqtts://host:port`")


def check_client(name: str) -> None:
    """A client's name: one that no board, no collector and no command of ours can have.

    Raises:
        NameInvalid: it is none.
    """
    check_name(name, what="client")
    if name.startswith(NOT_CLIENTS):
        raise NameInvalid(what="client", name=name, rule=f"not beginning with {' or '.join(NOT_CLIENTS)}")


def _check_broker(name: str) -> None:
    if name not in BROKERS:
        raise OptionInvalid(option=name, reason=f"brokers are {', '.join(BROKERS)}")


SETTINGS = (
    Setting(
        section="fleet", key="name", field="fleet", kind=str, check=_check_fleet,
        comment="Boards belong to the fleet of this name. Don't change it: they would refuse this folder.",
    ),
    Setting(
        section="flash", key="probation_s", field="probation_s", kind=float, least=0, most=86400,
        comment="A new generation must serve well for this long before a board confirms it.",
    ),
    Setting(
        section="flash", key="check_timeout_s", field="check_timeout_s", kind=float, least=1, most=86400,
        comment="The check beside the old model must be done by then.",
    ),
    Setting(
        section="flash", key="start_timeout_s", field="start_timeout_s", kind=float, least=1, most=86400,
        comment="The new generation's first healthy answer must come by then.",
    ),
    Setting(
        section="agent", key="port", field="agent_port", kind=int, least=0, most=65535,
        comment="Where agents listen on the board's loopback; 0 takes any free port.",
    ),
    Setting(
        section="ssh", key="connect_timeout_s", field="connect_timeout_s", kind=float, least=0.1, most=3600,
        comment="A board that did not answer by then is unreachable.",
    ),
    Setting(
        section="ssh", key="pool", field="pool", kind=int, least=1, most=256,
        comment="How many boards are worked on at once.",
    ),
    Setting(
        section="telemetry", key="interval_s", field="interval_s", kind=float, least=0.1, most=86400,
        comment="How often boards report.",
    ),
    Setting(
        section="telemetry", key="outbox_mb", field="outbox_mb", kind=int, least=1, most=16384,
        comment="How much a board keeps while nobody acknowledges; the oldest samples go first, and it says which.",
    ),
    Setting(
        section="telemetry", key="keep_days", field="keep_days", kind=int, least=0, most=36500,
        comment="How long the store on this machine keeps samples; 0 for ever.",
    ),
    Setting(
        section="mqtt", key="url", field="mqtt_url", kind=str, check=_check_url,
        comment="A broker of your own, mqtts://host[:port]; empty: a tunnel through SSH to a broker here.",
    ),
    Setting(
        section="mqtt", key="ca", field="mqtt_ca", kind=str,
        comment="PEM file of the authority of its certificate; empty: the system's.",
    ),
    Setting(
        section="mqtt", key="broker", field="mqtt_broker", kind=str, check=_check_broker,
        comment="The broker here: mosquitto, embedded, or auto (mosquitto where it is installed).",
    ),
    Setting(
        section="mqtt", key="clients", field="mqtt_clients", kind=tuple, check=check_client,
        comment="Names of clients that may ask boards' models; `edge broker client` gives each its certificate.",
    ),
    Setting(
        section="mqtt", key="home_assistant", field="home_assistant", kind=bool,
        comment="Show the boards to a Home Assistant that uses the same broker.",
    ),
    Setting(
        section="collector", key="idle_stop_s", field="idle_stop_s", kind=float, least=0, most=31536000,
        comment="The collector ends after so long without a board or a command; 0: never.",
    ),
    Setting(
        section="collector", key="metrics_port", field="metrics_port", kind=int, least=0, most=65535,
        comment="Where it shows the fleet to Prometheus, on loopback; 0: any free port.",
    ),
    Setting(
        section="keys", key="folders", field="key_folders", kind=tuple,
        comment="Further folders that hold private keys: a stick, another person's. What is not there is passed over.",
    ),
)  # fmt: skip
"""Every setting there is: `edge.toml` is written and read by this list alone."""


def render(config: FleetConfig) -> str:
    """`edge.toml` with comments. Law: `parse(render(config)) == config`."""
    lines = [
        "# This folder's fleet. `edge` finds this file from every folder below.",
        "# Times are in seconds.",
    ]
    section = ""
    for setting in SETTINGS:
        if setting.section != section:
            section = setting.section
            lines += ["", f"[{section}]"]
        value = getattr(config, setting.field)
        lines.append(f"# {setting.comment}")
        lines.append(
            f"{setting.key} = {json.dumps(value, ensure_ascii=False)}"
            if setting.kind in (str, bool, tuple)
            else f"{setting.key} = {value!r}"
        )
    return "\n".join(lines) + "\n"


def parse(text: str, *, path: Path) -> FleetConfig:
    """The text of `edge.toml` to its settings; `path` is named in errors.

    Raises:
        ConfigInvalid: no TOML, a key that is not known or missing, a value of another kind or out of bounds.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(path=path, reason=str(error)) from error
    values: dict[str, Any] = {}
    sections = {setting.section for setting in SETTINGS}
    for section, content in document.items():
        if section not in sections:
            raise ConfigInvalid(
                path=path, reason=f"`{section}` is not known{did_you_mean(section, sections)}"
            )
        if not isinstance(content, dict):
            raise ConfigInvalid(path=path, reason=f"`{section}` must be a section, `[{section}]`")
        known = {setting.key: setting for setting in SETTINGS if setting.section == section}
        for key, value in content.items():
            if key not in known:
                raise ConfigInvalid(
                    path=path, reason=f"`{section}.{key}` is not known{did_you_mean(key, known)}"
                )
            values[known[key].field] = _checked(known[key], value, path)
    if "fleet" not in values:
        raise ConfigInvalid(path=path, reason="`fleet.name` is missing")
    return FleetConfig(**values)


def _checked(setting: Setting, value: Any, path: Path) -> Any:
    where = f"`{setting.section}.{setting.key}`"
    if setting.kind is str:
        if not isinstance(value, str):
            raise ConfigInvalid(path=path, reason=f"{where} must be a text, found {value!r}")
        return _checked_text(setting, value, where, path)
    if setting.kind is bool:
        if not isinstance(value, bool):
            raise ConfigInvalid(path=path, reason=f"{where} must be true or false, found {value!r}")
        return value
    if setting.kind is tuple:
        if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
            raise ConfigInvalid(path=path, reason=f"{where} must be a list of texts, found {value!r}")
        return tuple(_checked_text(setting, text, where, path) for text in value)
    wanted = (int, float) if setting.kind is float else int
    if isinstance(value, bool) or not isinstance(value, wanted):
        word = "a number" if setting.kind is float else "a whole number"
        raise ConfigInvalid(path=path, reason=f"{where} must be {word}, found {value!r}")
    if not setting.least <= value <= setting.most:
        bounds = f"{setting.least:g} to {setting.most:g}"
        raise ConfigInvalid(path=path, reason=f"{where} must be {bounds}, found {value!r}")
    return setting.kind(value)


def _checked_text(setting: Setting, text: str, where: str, path: Path) -> str:
    try:
        setting.check(text)
    except EdgeError as error:
        raise ConfigInvalid(path=path, reason=f"{where}: {error}") from error
    return text
