"""A fleet folder whose store says what a test wants, as of now."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from agent.contract.codec import encode
from agent.contract.messages import Birth, ServedModel
from agent.contract.topics import TopicKind
from edge.config import FleetFolder
from edge.inventory import Device, Inventory
from edge.telemetry.boards import KnownDevice
from edge.telemetry.ingest import Received
from edge.telemetry.records import LinkState
from edge.telemetry.store import Store
from tests.telemetry.boards import model, received, sample, telemetry

UP = LinkState(tunnel="up", reason=None, silent_s=0.0, backlog=False)
SECONDS = 12
"""That each board has reported for, once a second."""


def device_id(name: str) -> str:
    return f"b-{sum(map(ord, name)):04x}{name.encode().hex():0<12.12}"


class Fleet:
    """A fleet folder with boards that report to its store."""

    def __init__(self, path: Path, names: Sequence[str], *, interval_s: float = 1.0) -> None:
        folder = FleetFolder.create(path, "kitchen")
        self.folder = FleetFolder(folder.path, dataclasses.replace(folder.config, interval_s=interval_s))
        for name in names:
            self.add(name)

    def add(self, name: str, *, enrolled: bool = True) -> None:
        """Take a board into the inventory."""
        Inventory(self.folder).add(
            Device(
                name=name, device_id=device_id(name), host="192.0.2.7", user="pi",
                host_key="ssh-ed25519 AAAA", fingerprint="SHA256:x", profile="raspberry-pi-5",
                public_key="ab" * 32 if enrolled else None,
            )
        )  # fmt: skip

    def writer(self) -> Store:
        """The store, as its collector."""

        def known(device: str) -> KnownDevice:
            return KnownDevice(name="?", device_id=device, public_key=None)

        return Store.open(self.folder.store, writer=True, known=known)

    def report(
        self,
        store: Store,
        name: str,
        *,
        release: str = "digits@1",
        per_s: int = 20,
        failed: int = 0,
        latency_ms: float = 4.0,
        link: LinkState | None = UP,
        ago_s: float = 0.0,
        seconds: int = SECONDS,
        boot: str = "0123456789abcdef",
    ) -> None:
        """A board was born and reported once a second until `ago_s` ago; `failed` of its requests each second."""
        now = time.time() - ago_s
        device = device_id(name)
        samples = [
            sample(
                n,
                models=[model(per_s * n, release=release, failed=failed * n, latency_ms=latency_ms)],
            )
            for n in range(1, seconds + 1)
        ]
        store.ingest(
            [
                self.birth(name, release=release, boot=boot, rx=now - seconds),
                *(telemetry([one], device=device, boot=boot, rx=now - seconds + one.seq) for one in samples),
            ]
        )
        if link is not None:
            store.write_links({device: link})

    def birth(self, name: str, *, release: str, boot: str, rx: float) -> Received:
        message = Birth(
            device=device_id(name), boot=boot, connection=1, agent_version="0.1.0", contracts=(1,),
            profile="raspberry-pi-5", hardware={}, models=(ServedModel("digits", release, "ab" * 32),),
        )  # fmt: skip
        return received(TopicKind.BIRTH, encode(message), device=device_id(name), rx=rx)
