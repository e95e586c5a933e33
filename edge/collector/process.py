"""The background collector of a fleet folder: `python -m edge.collector.process FOLDER`.

The rule: one a folder, for as long as the folder is there. It ends when it is told to, when its folder is gone, or when
nothing happened for so long as `edge.toml` says; being killed costs nothing, since what it had not committed it had not
acknowledged.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.contract.codec import encode, to_plain
from agent.contract.errors import CollectorBusy, CollectorFailed, EdgeError, ExitCode, FleetFolderMissing
from edge import config, durable
from edge.certificates import CertificateAuthority
from edge.collector import broker, control, records
from edge.collector.boards import Boards
from edge.collector.control import Control
from edge.collector.ingest_loop import IngestLoop
from edge.collector.members import Members
from edge.collector.metrics_server import MetricsServer
from edge.collector.records import CollectorStatus, Running
from edge.config import FleetFolder
from edge.telemetry.alerting import Alerts
from edge.telemetry.alerts import ALERTS_TOML
from edge.telemetry.home_assistant import Shown
from edge.telemetry.ingest import StreamAck
from edge.telemetry.store import Store

if TYPE_CHECKING:
    from edge.collector.tunnels import Tunnels

LOOK_S = 2.0
"""How often the inventory, the folder and the idle time are looked at."""
PRUNE_S = 600.0
"""How long nothing is deleted after there was nothing left to delete."""
LOG_BYTES = 1024 * 1024

log = logging.getLogger("edge.collector.process")  # which is not `__main__`


class Collector:
    """All parts of one collector, wired."""

    def __init__(self, fleet: FleetFolder, ending: threading.Event) -> None:
        """Nothing is begun yet. `ending`: set when it is time to end."""
        self._fleet = fleet
        self._ending = ending
        self._settings_seen = _written(fleet)
        self._id = records.enrolled_id(fleet)
        self._authority = CertificateAuthority(fleet.keys)
        self._began = time.time()
        self._used_at = time.monotonic()
        self._prune_at = time.monotonic()
        self._members = Members(fleet)
        self._members.refresh()
        self._boards = Boards(self._members, self._make_tunnels, interval_s=fleet.config.interval_s)
        self._loop = IngestLoop(
            fleet=fleet.config.fleet,
            collector_id=self._id,
            open_store=self._open_store,
            start_broker=self._start_broker,
            heard=self._heard,
            tick=self._tick,
        )
        self._alerts = Alerts(fleet.path / ALERTS_TOML, self._loop.say)
        self._shown = Shown(fleet.config.fleet)

    def run(self) -> bool:
        """Collect until it is time to end.

        Returns:
            Whether to begin anew at once: `edge.toml` says something else now, or commands can't reach it.

        Raises:
            PortTaken: the port for Prometheus is in use.
            CollectorFailed: the part that stores ended.
        """
        metrics = MetricsServer(self._fleet.config.metrics_port, self._exposition)
        answers = {"ping": self._ping, "status": self._status, "stop": self._stop, "changed": self._changed}
        try:
            with Control(answers) as socket:
                self._running = Running(os.getpid(), str(socket.path), metrics.port)
                self._write_running()
                self._loop.start()
                return self._watch(socket)
        finally:
            metrics.close()
            self._loop.stop()
            self._boards.close()
            (self._fleet.telemetry / records.RUNNING).unlink(missing_ok=True)

    def _watch(self, socket: Control) -> bool:
        """Follow the inventory and the folder until it is time to end; whether to begin anew."""
        while not self._ending.is_set():
            self._boards.follow()
            self._ending.wait(LOOK_S)
            if not self._loop.alive():
                raise CollectorFailed(path=self._fleet.path, reason="storing ended", log=self._log)
            if not self._fleet.edge_toml.exists():
                log.info("ends: the fleet folder is gone")
                return False
            if self._idle():
                log.info("ends: nothing happened for %.0f s", self._fleet.config.idle_stop_s)
                return False
            if self._settings_changed():
                log.info("begins anew: edge.toml changed")
                return True
            if not socket.reachable:
                log.warning("begins anew: commands can't reach `%s`", socket.path)
                return True
        return False

    def _settings_changed(self) -> bool:
        """Whether `edge.toml` says something else, and can be read; what can't be read is said once."""
        written = _written(self._fleet)
        if written == self._settings_seen:
            return False
        self._settings_seen = written
        try:
            return FleetFolder.open(self._fleet.path).config != self._fleet.config
        except EdgeError as error:
            log.warning("goes on as before: %s", error)
            return False

    def _idle(self) -> bool:
        after = self._fleet.config.idle_stop_s
        return after > 0 and time.monotonic() - self._used_at > after

    @property
    def _log(self) -> Path:
        return self._fleet.telemetry / records.LOG

    def _open_store(self) -> Store:
        self._check_folder()
        self._boards.forget_written()
        return Store.open(self._fleet.store, writer=True, known=self._members.known)

    def _check_folder(self) -> None:
        """Where the folder was moved away, nothing is made anew at its old place: no store, no keys."""
        if not self._fleet.edge_toml.exists():
            raise FleetFolderMissing(start=self._fleet.path)

    def _start_broker(self) -> broker.Broker:
        self._check_folder()
        started = broker.start(self._fleet, self._id, self._authority)
        self._running = replace(self._running, broker_port=started.port)
        self._write_running()
        return started

    def _make_tunnels(self) -> Tunnels:
        from edge.collector.tunnels import Tunnels

        return Tunnels(self._fleet, lambda: self._loop.broker, self._id, self._authority)

    def _heard(self, acks: Sequence[StreamAck], rx: float) -> None:
        if acks:
            self._used_at = time.monotonic()
            self._boards.heard(acks, rx)

    def _tick(self, store: Store) -> None:
        store.write_links(self._boards.tick(connected=self._loop.connected))
        names = {device_id: device.name for device_id, device in self._members.enrolled.items()}
        self._alerts.tick(store, names)
        if self._fleet.config.home_assistant:
            boards = {device_id: (d.name, d.profile) for device_id, d in self._members.enrolled.items()}
            for topic, payload in self._shown.news(boards):
                self._loop.say(topic, payload, retained=True)
        if time.monotonic() > self._prune_at and not store.prune(
            self._fleet.config.keep_days, now=time.time()
        ):
            self._prune_at = time.monotonic() + PRUNE_S

    def _write_running(self) -> None:
        """Say where this collector is."""
        durable.write(self._fleet.telemetry / records.RUNNING, encode(self._running) + b"\n", mode=0o600)

    def _exposition(self) -> str:
        from edge.telemetry.exposition import exposition

        with Store.open(self._fleet.store) as store:
            names = {device.device_id: device.name for device in self._members.enrolled.values()}
            return exposition(store, names=names)

    def _status(self, _: Mapping[str, Any]) -> Any:
        loop = self._loop
        status = CollectorStatus(
            pid=os.getpid(),
            collector=self._id,
            since=self._began,
            broker_kind=loop.broker.kind if loop.broker else None,
            broker_address=loop.broker.address if loop.broker else None,
            connected=loop.connected,
            waits_for=loop.waits_for,
            metrics_url=self._running.metrics_url,
            messages=loop.messages,
            stored=loop.stored,
            batches=loop.batches,
            repeated=loop.repeated,
            lag_s=loop.lag_s,
            refused=dict(loop.refused),
            boards=self._boards.status(),
        )
        return to_plain(status)

    def _ping(self, _: Mapping[str, Any]) -> Any:
        return {"folder": str(self._fleet.path)}

    def _stop(self, _: Mapping[str, Any]) -> Any:
        log.info("ends: it was told to")
        self._ending.set()
        return {"pid": os.getpid()}

    def _changed(self, asked: Mapping[str, Any]) -> Any:
        self._used_at = time.monotonic()
        self._boards.changed(str(asked["device"]))
        return {}


def collect(fleet: FleetFolder) -> None:
    """Be the collector of a fleet folder until it is time to end.

    Raises:
        CollectorBusy: another process is.
        EdgeError: it can't start.
    """
    records.make_folder(fleet)
    running = records.read_running(fleet)
    busy = CollectorBusy(path=fleet.path, pid=running.pid if running else "unknown")
    with config.lock(fleet.telemetry, wait_s=0, file=records.LOCK, busy=busy):
        if running is not None:
            control.clear(Path(running.control))
        ending = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: ending.set())
        while Collector(fleet, ending).run():
            fleet = FleetFolder.open(fleet.path)


def _written(fleet: FleetFolder) -> tuple[int, int] | None:
    """When `edge.toml` was written, and its number; None where it is gone."""
    try:
        status = fleet.edge_toml.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def main(arguments: list[str]) -> int:
    """Run the collector of the folder named by the only argument; its words go to `telemetry/collector.log`."""
    fleet = FleetFolder.open(Path(arguments[0]))
    handler = logging.handlers.RotatingFileHandler(
        records.make_folder(fleet) / records.LOG, maxBytes=LOG_BYTES, backupCount=1
    )
    listen(handler)
    try:
        collect(fleet)
    except CollectorBusy as error:
        log.warning("%s", error)
        return records.BUSY_STATUS
    except EdgeError as error:
        log.error("%s [%s]", error, error.code)
        return error.exit_code
    except Exception:
        log.exception("a fault of ours")
        return ExitCode.FAILED
    return ExitCode.DONE


def listen(handler: logging.Handler) -> None:
    """Have what the collector says written by `handler`, and of its libraries only what nobody else says."""
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("edge").setLevel(logging.INFO)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
