"""The server that is loaded: what it says of its model, and the request that fits it.

The rule: any server of the Open Inference Protocol will do. What only our agent tells, or only the kernel of this
board, is None elsewhere.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from agent.bench import payload
from agent.bench.load import Address
from agent.contract.errors import (
    AgentSilent,
    ModelNotServed,
    ModelVersionNotServed,
    OptionInvalid,
    RequestInvalid,
)

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Server:
    """A server's address. `token`: what it wants to see of its clients, or None."""

    address: Address
    token: str | None = None

    @classmethod
    def at(cls, url: str, token: str | None = None, ca: Path | None = None) -> Server:
        """The server at `http://HOST:PORT` or `https://HOST:PORT`.

        Args:
            url: its address.
            token: sent with each request.
            ca: a file with the certificates that its own is believed by; those of the system unless given.

        Raises:
            OptionInvalid: that is none, or a token would be sent that anybody on the way can read.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise OptionInvalid(option="--url", reason=str(error)) from error
        if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query:
            raise OptionInvalid(option="--url", reason=f"`{url}` is not like http://HOST:PORT")
        if token is not None and parts.scheme == "http":
            raise OptionInvalid(option="--url", reason="a token is sent to https:// alone")
        tls = _trusting(ca) if parts.scheme == "https" else None
        return cls(Address(host, port or (443 if tls else 80), tls), token)

    @property
    def name(self) -> str:
        """`HOST:PORT`."""
        return f"{self.address.host}:{self.address.port}"

    def ask(self, path: str) -> tuple[int, bytes]:
        """`GET path`: status and body.

        Raises:
            AgentSilent: nobody answers.
        """
        address = self.address
        connection = (
            http.client.HTTPSConnection(address.host, address.port, timeout=TIMEOUT_S, context=address.tls)
            if address.tls
            else http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)
        )
        try:
            connection.request("GET", path, headers=self._headers())
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise AgentSilent(device=self.name, reason=str(error) or type(error).__name__) from error
        finally:
            connection.close()

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """The bytes of a `POST`, head and body."""
        fields = {"Host": "agent", **self._headers(), **headers, "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@dataclass(frozen=True)
class Target:
    """A model on a server.

    Attributes:
        server: where. model, version: which; a version of None takes the server's own choice.
        path: below which the model is found. metadata: what the server says of it.
    """

    server: Server
    model: str
    path: str
    metadata: Mapping[str, Any]
    version: str

    @classmethod
    def find(cls, server: Server, model: str, version: str | None) -> Target:
        """Ask the server for the model.

        Raises:
            AgentSilent: nobody answers. ModelNotServed, ModelVersionNotServed: it does not serve it.
            RequestInvalid: what answers is no server of the protocol.
        """
        path = f"/v2/models/{quote(model, safe='')}" + (f"/versions/{version}" if version else "")
        status, body = server.ask(path)
        if status in (401, 403):
            raise RequestInvalid(
                reason=f"{server.name} answers {status}: it wants a token that it knows (`--token-file`)",
                status=status,
            )
        if status == 404 and version:
            raise ModelVersionNotServed(model=model, version=version)
        if status == 404:
            raise ModelNotServed(model=model)
        try:
            metadata = json.loads(body)
            known = version or str((metadata.get("versions") or [""])[-1])
            return cls(server, model, path, {"platform": "", **metadata, "inputs": metadata["inputs"]}, known)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestInvalid(
                reason=f"{server.name} answers {status} to GET {path}, "
                "not with a model's metadata: is it a server of the protocol's version 2?"
            ) from error

    def request(self, way: str) -> bytes:
        """The request that is sent, in one of the ways."""
        inputs = self.metadata["inputs"]
        if way == payload.IMAGE:
            path = self.path.replace("/v2/", "/edge/v1/", 1)
            return self.server.post(f"{path}/infer", payload.picture(), {"Content-Type": "image/png"})
        if way == payload.BINARY:
            body, head = payload.binary_request(inputs)
            fields = {
                "Content-Type": "application/octet-stream",
                "Inference-Header-Content-Length": str(head),
            }
            return self.server.post(f"{self.path}/infer", body, fields)
        return self.server.post(
            f"{self.path}/infer", payload.random_request(inputs), {"Content-Type": "application/json"}
        )

    def runs(self) -> tuple[int, int] | None:
        """Samples and runs of the engine since the server started, or None where it does not count them."""
        status, body = self.server.ask(f"{self.path}/stats")
        if status != 200:
            return None
        try:
            (found,) = json.loads(body)["model_stats"]
            return int(found["inference_count"]), int(found["execution_count"])
        except (ValueError, KeyError, TypeError):
            return None


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # no file, or none with certificates in it
        raise OptionInvalid(option="--ca", reason=f"`{ca}`: {error.strerror or error}") from error
