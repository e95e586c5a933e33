"""What a board says of itself: `state/reported.json`, signed, readable by everybody on the board.

The rule: a signature's counter is durable before the signature exists, and no two reports share one. Reading needs
the standard library only; signing imports the key's library when it happens.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agent.config import read_generation
from agent.contract.board import BoardConfig
from agent.contract.codec import decode, encode
from agent.contract.errors import ContractError, EdgeError, StateDamaged
from agent.contract.messages import Reported, Signed
from agent.contract.release import Generation
from agent.system import clock_synchronised
from agent.update.clock import Clock
from agent.update.files import DISK, Files
from agent.update.folder import UpdateFolder
from agent.update.hardware import disk_free_bytes, disk_total_bytes
from agent.update.record import UpdateRecord, save
from agent.update.room import RoomReader
from agent.update.trusted import trusted_roles


class Journal:
    """The record in memory and on disk, and the reports made from it."""

    def __init__(
        self, folder: UpdateFolder, config: BoardConfig, record: UpdateRecord, *, files: Files = DISK
    ) -> None:
        self.folder = folder
        self.config = config
        self.record = record
        self._files = files
        self._counter_is_new = False
        self._room = RoomReader(folder)

    @property
    def clock(self) -> Clock:
        """The board's clock as the record knows it."""
        record = self.record
        return Clock(floor=record.clock_floor, root=record.clock_root, seen=record.clock_seen)

    def save(self, record: UpdateRecord) -> None:
        """Make `record` durable. What it says is acted on after this returns."""
        seen = max(record.clock_seen, int(self.clock.system()))
        record = replace(record, signed=self.record.signed + 1, clock_seen=seen)
        save(self.folder, record, files=self._files)
        self.record = record
        self._counter_is_new = True

    def publish(self) -> None:
        """Write the signed report of the record as it stands."""
        from agent.update.identity import sign

        if not self._counter_is_new:
            self.save(self.record)
        payload = encode(self._reported()).decode()
        signed = sign(self.folder, device=self.config.device, counter=self.record.signed, payload=payload)
        self._counter_is_new = False
        self._files.replace(self.folder.reported, encode(signed), mode=0o644)

    def commit(self, record: UpdateRecord) -> None:
        """Save and report: for what needs no act."""
        self.save(record)
        self.publish()

    def generation(self, number: int | None) -> Generation | None:
        """A generation that is on the board, or None."""
        if number is None:
            return None
        try:
            return read_generation(self.folder.generation(number))
        except StateDamaged:
            return None

    def _reported(self) -> Reported:
        record = self.record
        desired = record.desired
        room = self._room.of(record)
        return Reported(
            device=self.config.device,
            counter=record.counter,
            state=record.state,
            nonce=desired.nonce if desired else "",
            wall=int(self.clock.system()),
            current=self.generation(record.current),
            previous=self.generation(record.previous),
            trial=self.generation(record.trial) if record.in_progress else None,
            since=record.since,
            verified=record.current_verified,
            checks=record.checks,
            code=record.code,
            message=record.message,
            hint=record.hint,
            code_at=record.code_at,
            attempts=record.attempts,
            max_attempts=desired.terms.max_attempts if desired else 0,
            clock_floor=record.clock_floor,
            clock_synchronised=clock_synchronised(),
            clock_doubt=self.clock.doubt(),
            disk_free_bytes=disk_free_bytes(self.folder.root),
            disk_total_bytes=disk_total_bytes(self.folder.root),
            objects_bytes=room.objects_bytes,
            reclaimable_bytes=room.reclaimable_bytes,
            trust=trusted_roles(self.folder.tuf_metadata),
            contact=record.contact,
            history=record.history,
            request=record.request,
            in_progress=record.in_progress,
        )


def read_signed(path: Path) -> Signed | None:
    """The envelope at `path`, or None where there is none.

    Raises:
        StateDamaged: it can't be read.
    """
    try:
        return decode(Signed, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ContractError) as error:
        raise StateDamaged(path=path, reason=str(error)) from error


def last_signed_counter(folder: UpdateFolder) -> int:
    """Counter of the last report that is on the disk; 0 where none can be read."""
    try:
        signed = read_signed(folder.reported)
    except EdgeError:
        return 0
    return signed.counter if signed else 0
