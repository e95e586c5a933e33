"""The fleet for Prometheus, on loopback: `GET /metrics`.

The rule: it listens on loopback alone, answers nothing else, and a question there never disturbs what is stored.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agent.contract.errors import EdgeError, PortTaken

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HERE = "127.0.0.1"

log = logging.getLogger(__name__)


class MetricsServer:
    """Answers with what `text` gives, in threads of its own.

    Attributes:
        port: where it listens.
    """

    def __init__(self, port: int, text: Callable[[], str]) -> None:
        """Listen.

        Raises:
            PortTaken: `port` is in use; 0 takes any free one.
        """

        class Handler(_Handler):
            exposition = staticmethod(text)

        try:
            self._server = _Server((HERE, port), Handler)
        except OSError as error:
            raise PortTaken(port=port, address=HERE) from error
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="edge-metrics", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A caller that went away is no news."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a question could not be answered")


class _Handler(BaseHTTPRequestHandler):
    exposition: Callable[[], str]
    timeout = 10.0

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self._answer(HTTPStatus.NOT_FOUND, "the fleet is at /metrics\n")
            return
        try:
            self._answer(HTTPStatus.OK, self.exposition())
        except EdgeError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")

    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug(format, *arguments)

    def _answer(self, status: HTTPStatus, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
