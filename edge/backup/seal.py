"""A backup's seal: the format of age (age-encryption.org/v1) under a passphrase, by `pyrage`, so that a backup can be
opened without edge too: `age --decrypt FILE | tar --extract`.

The rule: what is not authentic to its last byte is not handed out, and both is in memory alone, since what is plain
holds private keys. Where there is too little memory, that is said before.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from agent.contract.errors import BackupBeyondMachine, BackupDamaged, BackupLocked

COPIES = 3
"""What is sealed, the sealed, and one of them once more on its way between `pyrage` and Python."""
MOST_LOG_N = 22
"""Of a file that is opened, as `age` itself has it: 2^22 KiB, 4 GiB, for one guess. `pyrage` writes what takes 1 s."""
TRIES = 5
_HEADER = re.compile(rb"age-encryption\.org/v1\n-> scrypt [A-Za-z0-9+/]{22} ([1-9][0-9]?)\n")
_PASSPHRASE = "Decryption failed"
_TOO_SLOW = "Excessive work parameter"


def seal(plain: bytes, passphrase: str) -> bytes:
    """What opens with `passphrase` alone."""
    from pyrage import passphrase as sealing

    sealed: bytes = sealing.encrypt(plain, passphrase)
    return sealed


def unseal(path: Path, data: bytes, passphrase: str) -> bytes:
    """What was sealed in the file's `data`.

    Raises:
        BackupLocked: the passphrase does not open it, or the lines were changed that say how one does.
        BackupDamaged: it is changed, cut or no backup.
        BackupBeyondMachine: this machine is too slow for its passphrase, or has too little memory.
    """
    from pyrage import DecryptError
    from pyrage import passphrase as sealing

    log_n = _log_n(path, data)
    see_memory(path, 1024 << log_n)
    for _ in range(TRIES):  # `pyrage` measures anew each time how fast this machine is, for a millisecond
        try:
            plain: bytes = sealing.decrypt(data, passphrase)
            return plain
        except DecryptError as error:
            if str(error) == _PASSPHRASE:
                raise BackupLocked(path=path) from error
            if not str(error).startswith(_TOO_SLOW):
                raise BackupDamaged(path=path, reason=f"it was changed or cut ({error})") from error
    raise BackupBeyondMachine(
        path=path, reason=f"one guess at its passphrase takes 2^{log_n} rounds of scrypt, minutes here"
    )


def see_memory(path: Path, needed_bytes: int) -> None:
    """See that there is memory for a backup, rather than be killed for want of it.

    Raises:
        BackupBeyondMachine: there is not.
    """
    free_bytes = free_memory_bytes()
    if needed_bytes > free_bytes:
        reason = f"it takes {needed_bytes / 1e9:.1f} GB of memory, and {free_bytes / 1e9:.1f} GB are free"
        raise BackupBeyondMachine(path=path, reason=reason)


def free_memory_bytes() -> int:
    """What programs can still take, swap included; where the system does not say it (macOS): all that there is."""
    try:
        said = Path("/proc/meminfo").read_text()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 1024 * sum(int(kib) for kib in re.findall(r"^(?:MemAvailable|SwapFree): +(\d+) kB$", said, re.M))


def _log_n(path: Path, data: bytes) -> int:
    """The rounds of scrypt that a file asks for, as a power of two."""
    header = _HEADER.match(data)
    if header is None:
        raise BackupDamaged(path=path, reason="it does not begin as a backup does")
    if (log_n := int(header[1])) > MOST_LOG_N:
        reason = f"its passphrase would take 2^{log_n} rounds of scrypt, at most 2^{MOST_LOG_N} are taken"
        raise BackupDamaged(path=path, reason=reason)
    return log_n
