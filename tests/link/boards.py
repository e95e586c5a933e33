"""A board's folder with the link's files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.contract.codec import encode
from agent.contract.link import BROKER_NAME, LinkConfig
from edge.certificates import CertificateAuthority
from tests.agent.boards import TestBoard
from tests.link.collector import NAME

DEVICE = "d-0123456789"


class LinkedBoard(TestBoard):
    """A board with a key, which can be told where to report."""

    __test__ = False

    def __init__(self, root: Path, authority: CertificateAuthority) -> None:
        super().__init__(root)
        (root / "link").mkdir()
        (root / "outbox").mkdir(mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (root / "mqtt.key").write_bytes(pem)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.certificate = authority.certify(DEVICE, public.decode())
        self.authority = authority

    def report_to(self, port: int, **changed: object) -> None:
        """Write `link.json`, as the collector does: by renaming a new one."""
        options: dict[str, object] = {
            "collector": NAME,
            "url": f"mqtts://127.0.0.1:{port}",
            "certificate": self.certificate,
            "ca": self.authority.certificate,
            "server_name": BROKER_NAME,
            "interval_s": 0.02,
        }
        self.write_link(encode(LinkConfig(**{**options, **changed})))  # type: ignore[arg-type]

    def given(self) -> dict[str, int]:
        """The highest number that each boot ever gave."""
        return self._streams("given")

    def acknowledged(self) -> dict[str, int]:
        """Up to which number each boot was acknowledged."""
        return self._streams("acknowledged")

    def _streams(self, column: str) -> dict[str, int]:
        try:
            return self._read(column)
        except sqlite3.OperationalError:
            return {}  # it is not made yet

    def _read(self, column: str) -> dict[str, int]:
        with closing(sqlite3.connect(f"file:{self.root}/outbox/outbox.sqlite?mode=ro", uri=True)) as file:
            return dict(file.execute(f"SELECT boot, {column} FROM streams"))

    def write_link(self, data: bytes) -> None:
        fresh = self.root / "link" / ".link.json"
        fresh.write_bytes(data)
        fresh.rename(self.root / "link" / "link.json")
