"""The agent's log, on standard error: lines for people, or JSON lines for programs.

The rule: requests that were answered are counted, not logged. One that failed is a line of level debug, with its code
and never with what it held; a line's facts are the same in both forms.
"""

from __future__ import annotations

import json
import logging
import sys

from agent.contract.board import BoardConfig


def begin(config: BoardConfig) -> None:
    """Log from now on as the board's configuration says."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines() if config.log_format == "json" else logging.Formatter("%(levelname)s %(message)s")
    )
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler], force=True)


class JsonLines(logging.Formatter):
    """One JSON object a line: time (seconds since 1970), level, message, and a record's `facts` beside them."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": record.created, "level": record.levelname.lower(), "message": record.getMessage()}
        line.update(getattr(record, "facts", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
