"""One claim at a time on one machine.

Two dispatchers that claim at the same moment write the same records, so one of them
has worked for nothing. Those of one machine keep apart by a lock on a file. It is a
courtesy and no protection: who does not get it soon claims without it, so a process
that is frozen while it has the lock holds nobody up, and where there are no such locks
all goes on as between machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from ZODB.interfaces import IMVCCStorage

import os
import tempfile
import time


try:
    import fcntl
except ImportError:  # Not on this system.
    fcntl = None


#: Seconds after which a claim is made without the lock; it takes some milliseconds.
PATIENCE = 0.1
#: Seconds between two tries.
PAUSE = 0.001


class ClaimLock:
    """The lock of one database, for all processes of one user on this machine."""

    def __init__(self, db):
        name = sha256(str(db.storage.sortKey()).encode()).hexdigest()[:20]
        user = os.getuid() if hasattr(os, "getuid") else 0
        folder = Path(tempfile.gettempdir())
        self.path = folder / f"clockwork-claims-{user}-{name}.lock"
        self._db = db
        # Storages with transaction isolation of their own learn of others' commits
        # when a transaction begins.
        self._hears = not IMVCCStorage.providedBy(db.storage)
        self._file: int | None = None

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Have the lock inside; gives whether that is so."""
        file = self._open()
        locked = file is not None and _lock(file)
        if locked:
            self._catch_up(file)
        try:
            yield locked
        finally:
            if locked:
                os.pwrite(file, self._db.lastTransaction(), 0)
                fcntl.flock(file, fcntl.LOCK_UN)

    def _catch_up(self, file: int) -> None:
        """Wait until this process has heard of what was claimed last."""
        last = os.pread(file, 8, 0)
        deadline = time.monotonic() + PATIENCE
        while self._hears and self._db.lastTransaction() < last:
            if time.monotonic() >= deadline:
                return
            time.sleep(PAUSE)

    def _open(self) -> int | None:
        if self._file is None and fcntl is not None:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                self._file = os.open(self.path, flags, 0o600)
            except OSError:
                return None
        return self._file

    def close(self) -> None:
        """Give up the file; the next use opens it again."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _lock(file: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() >= deadline:
                return False
        time.sleep(PAUSE)
