"""Clients that ask without a pause while something else happens, and count what fails."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType

import numpy as np

ROW = [0.5] * 64
JSON_BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": ROW}]}
).encode()
_HEAD = json.dumps(
    {
        "inputs": [
            {
                "name": "x",
                "shape": [1, 64],
                "datatype": "FP32",
                "parameters": {"binary_data_size": 256},
            }
        ]
    }
).encode()
BINARY_BODY = _HEAD + np.full(64, 0.5, np.float32).tobytes()
BINARY_HEADERS = {"Inference-Header-Content-Length": str(len(_HEAD))}
WAIT_S = 60.0


class Clients:
    """Some keep their connection, some come anew for each request; JSON and binary.

    Attributes:
        answered: requests answered well. versions: those that answered each client, one after the other.
        failures: what went wrong, in words.
    """

    def __init__(self, port: int, *, kept: int = 2, new: int = 1, name: str = "digits") -> None:
        self._port = port
        self._path = f"/v2/models/{name}/infer"
        self.answered = 0
        self.versions: list[list[str]] = [[] for _ in range(kept + new)]
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(number, number % 2 == 0, number < kept))
            for number in range(kept + new)
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        self.wait_for(20)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many more were answered."""
        wanted = self.answered + more
        self.wait_until(lambda: self.answered >= wanted)

    def wait_for_version(self, version: str) -> None:
        """Until it answers each client."""
        self.wait_until(lambda: all(seen[-1:] == [version] for seen in self.versions))

    def wait_until(self, what: Callable[[], bool]) -> None:
        """Until it is so, or something has failed."""
        end = time.monotonic() + WAIT_S
        while not what() and not self.failures:
            assert time.monotonic() < end, (
                f"{self.answered} answered, versions {[one[-3:] for one in self.versions]}"
            )
            time.sleep(0.002)

    def _ask(self, number: int, binary: bool, keeps: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        body, headers = (BINARY_BODY, BINARY_HEADERS) if binary else (JSON_BODY, {})
        while not self._stop.is_set():
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request("POST", self._path, body, headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.status == 200:
                    length = answer.headers.get("Inference-Header-Content-Length")
                    self._count(number, json.loads(said[: int(length)] if length else said)["model_version"])
                else:
                    self.failures.append(f"{answer.status} {said[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{'kept' if keeps else 'new'}: {error!r}")
                connection.close()
                connection = None
            if not keeps and connection is not None:
                connection.close()
                connection = None

    def _count(self, number: int, version: str) -> None:
        self.answered += 1
        seen = self.versions[number]
        if seen[-1:] != [version]:
            seen.append(version)
