"""Reading the board's folder: where things lie in it, its configuration, and the generation to serve.

The rule: what is read here was written by the update process or at enrolment; it is still parsed strictly, and
what does not fit is an error that names the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agent.contract.board import BoardConfig
from agent.contract.codec import MAX_DOCUMENT_BYTES, decode
from agent.contract.door import DOOR_FILE
from agent.contract.errors import AgentConfigInvalid, ContractError, StateDamaged
from agent.contract.stream import STREAM_FILE

if TYPE_CHECKING:
    from agent.contract.release import Generation

T = TypeVar("T")

LOG_LEVELS = ("debug", "info", "warning")
LOG_FORMATS = ("text", "json")


@dataclass(frozen=True)
class BoardFolder:
    """Paths inside a board's folder, as `agent.contract.board` names them."""

    root: Path

    @property
    def launcher(self) -> Path:
        return self.root / "bin" / "launch.py"

    @property
    def config(self) -> Path:
        return self.root / "board.json"

    @property
    def running(self) -> Path:
        return self.root / "run" / "agent.json"

    @property
    def socket(self) -> Path:
        """Where programs of the board may ask the agent."""
        return self.root / "run" / "agent.sock"

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def trial(self) -> Path:
        return self.root / "trial"

    @property
    def reported(self) -> Path:
        """The board's signed report; the update process writes it, everybody may read it."""
        return self.root / "state" / "reported.json"

    @property
    def link(self) -> Path:
        """How the board reports."""
        return self.root / "link" / "link.json"

    @property
    def door(self) -> Path:
        """How the agent can be reached from other machines."""
        return self.root / "link" / DOOR_FILE

    @property
    def stream(self) -> Path:
        """What the agent is to look at by itself."""
        return self.root / "link" / STREAM_FILE

    @property
    def stream_state(self) -> Path:
        """What it remembers of that, and says."""
        return self.root / "run" / STREAM_FILE

    @property
    def outbox(self) -> Path:
        """The folder of what is not acknowledged yet; the agent's own."""
        return self.root / "outbox"

    @property
    def mqtt_key(self) -> Path:
        """Key of the agent's MQTT certificate; the agent may read it."""
        return self.root / "mqtt.key"

    @property
    def mqtt_public_key(self) -> Path:
        return self.root / "mqtt.pub"

    def object(self, digest: str) -> Path:
        """Where a layer, a bundle or a runtime lies."""
        return self.root / "objects" / digest

    def generation(self, number: int) -> Path:
        """The folder of a generation."""
        return self.root / "generations" / str(number)


def read_config(folder: BoardFolder) -> BoardConfig:
    """What enrolment wrote.

    Raises:
        AgentConfigInvalid: it is not there or not valid.
    """
    try:
        config = _read(BoardConfig, folder.config)
    except (OSError, ContractError) as error:
        raise AgentConfigInvalid(path=folder.config, reason=_reason(error)) from error
    if config.log_level not in LOG_LEVELS:
        raise AgentConfigInvalid(
            path=folder.config, reason=f"`log_level` must be one of {', '.join(LOG_LEVELS)}"
        )
    if config.log_format not in LOG_FORMATS:
        raise AgentConfigInvalid(
            path=folder.config, reason=f"`log_format` must be one of {', '.join(LOG_FORMATS)}"
        )
    for name in ("threads", "memory_limit_mib", "queue_requests", "queue_mib"):
        if getattr(config, name) < 1:
            raise AgentConfigInvalid(path=folder.config, reason=f"`{name}` must be 1 or more")
    if config.cache_mib < 0:
        raise AgentConfigInvalid(path=folder.config, reason="`cache_mib` must be 0 or more")
    return config


def read_generation(path: Path) -> Generation:
    """The generation in a folder `generations/<n>`, or behind a link to one.

    Raises:
        StateDamaged: its document is not there or not valid.
    """
    from agent.contract.release import Generation  # not before the agent listens: it is large

    document = path / "generation.json"
    try:
        return _read(Generation, document)
    except (OSError, ContractError) as error:
        raise StateDamaged(path=document, reason=_reason(error)) from error


def generation_to_serve(folder: BoardFolder, number: int | None = None) -> Path | None:
    """The folder of generation `number`; without one, what `trial` leads to, else `current`; None on a new board.

    The links are followed once, here: what they lead to later is another start's matter.
    """
    if number is not None:
        return folder.generation(number)
    for link in (folder.trial, folder.current):
        if link.is_symlink():
            return link.resolve()
    return None


def _read(kind: type[T], path: Path) -> T:
    with path.open("rb") as file:
        return decode(kind, file.read(MAX_DOCUMENT_BYTES + 1))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
