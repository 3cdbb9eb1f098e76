"""Where queued jobs arrive: one intake for each connection that queues.

An intake is written by one connection only, so queueing never conflicts: the
producer appends, and itself drops what the claimers have passed. How far those
are stands in a separate ``Cursor``, which they alone write::

    producer   writes  Intake.items     reads  Intake.cursor
    claimers   write   Intake.cursor    read   Intake.items

A connection gets its intake, for good, in a transaction of its own; a stock of
unused ones is kept in the queue, so that the connection's present snapshot of
the database contains one already. An intake that was idle for an hour is closed
by a claimer, in two steps: it is retired, which makes its producer take another
one for its next transaction, and ten minutes later closed, with an entry under
the key that its producer would write next. Only a transaction that was open for
all that time and queues then fails, and is done again.
"""

from __future__ import annotations

from .trees import SmallTree
from BTrees.OOBTree import OOBTree
from itertools import islice
from persistent import Persistent
from uuid import uuid4
from weakref import WeakKeyDictionary
from ZODB.POSException import ConflictError
from ZODB.utils import z64

import threading
import transaction


#: Unused intakes that a queue keeps ready.
STOCK = 8
#: How often a producer that conflicts with others tries to reserve its intake.
RESERVING_ATTEMPTS = 50
#: Passed entries that a producer lets gather before it drops them, and how many
#: it drops at once: after a flood was drained no single put pays for all of it.
TRIM = 8
TRIMMED_AT_ONCE = 64


class Cursor(Persistent):
    """How far the claimers have read an intake; written by them alone."""

    #: Key of the last entry that was read.
    position = 0
    #: Keys behind the position of jobs that were taken out by name.
    taken: tuple = ()
    #: Microseconds since when producers should take another intake.
    retired: int | None = None


class Intake(Persistent):
    """Jobs of one producer and one priority, in its order."""

    #: Of all its jobs; written when the intake is handed out.
    priority = 0

    def __init__(self):
        #: Sequence number to job; None as the last value closes the intake.
        self.items = SmallTree()
        self.cursor = Cursor()

    def append(self, job) -> None:
        """Add a job behind the others."""
        items = self.items
        position = self.cursor.position
        last = items.maxKey() if items else 0
        passed = items.keys(None, position) if position else ()
        passed = list(islice(passed, TRIMMED_AT_ONCE))
        if len(passed) >= TRIM:
            for key in passed:
                del items[key]
        items[max(last, position) + 1] = job

    def unread(self):
        """Pairs of key and job that no claimer has read, in order."""
        taken = self.cursor.taken
        for key, job in self.items.items(self.cursor.position + 1):
            if job is not None and key not in taken:
                yield key, job

    def __len__(self) -> int:
        """How many jobs are unread."""
        items = self.items
        if not items:
            return 0
        last = items.maxKey()
        position = self.cursor.position
        if last <= position:
            return 0
        closing = 1 if items[last] is None else 0
        return last - position - closing - len(self.cursor.taken)

    def __bool__(self) -> bool:
        return True

    def read_to(self, key: int) -> None:
        """Note that all up to ``key`` is read."""
        cursor = self.cursor
        cursor.position = key
        if cursor.taken:
            cursor.taken = tuple(k for k in cursor.taken if k > key)

    def take(self, key: int) -> None:
        """Note that the job under this unread key was taken out by name."""
        self.cursor.taken = (*self.cursor.taken, key)

    def retire(self, now_us: int) -> None:
        """Let its producer take another one; what it has still to put arrives here."""
        self.cursor.retired = now_us

    @property
    def usable(self) -> bool:
        """Whether a producer may go on with it."""
        return self.cursor.retired is None and not self.closed

    def close(self) -> None:
        """Accept nothing more."""
        items = self.items
        last = items.maxKey() if items else 0
        items[max(last, self.cursor.position) + 1] = None
        # So that a claimer which is reading on at this moment conflicts.
        self.cursor._p_changed = True

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        items = self.items
        return bool(items) and items[items.maxKey()] is None

    def mark(self) -> tuple:
        """Changes whenever the producer writes."""
        items = self.items
        return (items.minKey(), items.maxKey()) if items else (0, 0)


class Intakes(Persistent):
    """All intakes of a queue, and the names of those that nobody uses yet."""

    def __init__(self):
        #: Name to Intake; entries are added and removed in transactions of
        #: their own, and such changes of different names never conflict.
        self.by_name = OOBTree()
        #: Names of the unused ones; written when one is handed out.
        self.stock: tuple = ()
        self.fill()

    def add(self, priority: int = 0) -> str:
        """Make an intake; returns its name."""
        name = uuid4().hex
        intake = self.by_name[name] = Intake()
        if priority:
            intake.priority = priority
        return name

    def fill(self) -> None:
        """Make as many as are missing in the stock."""
        missing = STOCK - len(self.stock)
        self.stock = (*self.stock, *(self.add() for _ in range(missing)))

    def hand_out(self, wanted) -> str | None:
        """Take one for which ``wanted(name)`` is true out of the stock."""
        for name in self.stock:
            if wanted(name):
                self.stock = tuple(other for other in self.stock if other != name)
                self.fill()
                return name
        return None

    def values(self):
        """The intakes."""
        return self.by_name.values()

    def items(self):
        """Pairs of name and intake."""
        return self.by_name.items()

    def remove(self, name: str) -> None:
        """Close an intake and forget it."""
        self.by_name.pop(name).close()


class _Leases:
    """Which connection of this process writes which intake of one queue."""

    def __init__(self):
        self.lock = threading.Lock()
        self.by_connection: WeakKeyDictionary = WeakKeyDictionary()


_leases: WeakKeyDictionary = WeakKeyDictionary()
_leases_lock = threading.Lock()


def _leases_of(db, oid: bytes) -> _Leases:
    with _leases_lock:
        of_db = _leases.setdefault(db, {})
        return of_db.setdefault(oid, _Leases())


def intake_for(intakes: Intakes, priority: int = 0) -> Intake:
    """The intake, for one priority, of the connection that loaded ``intakes``."""
    connection = intakes._p_jar
    # A ghost has no serial yet, and would look as if it were not committed.
    intakes._p_activate()
    if connection is None or intakes._p_serial == z64:
        # Nobody else can see a queue that is not committed.
        return _unshared(intakes, priority)
    leases = _leases_of(connection.db(), intakes._p_oid)
    with leases.lock:
        leased = leases.by_connection.setdefault(connection, {})
        name = leased.get(priority)
        intake = None if name is None else intakes.by_name.get(name)
        if intake is not None and intake.usable:
            return intake
        name = _lease(connection.db(), intakes, priority)
        if name is None:
            # The stock was used up since this transaction began. Adding one
            # here can conflict, with other additions only, and hardly ever.
            name = intakes.add(priority)
        leased[priority] = name
        return intakes.by_name[name]


def _unshared(intakes: Intakes, priority: int) -> Intake:
    for intake in intakes.values():
        if intake.priority == priority:
            return intake
    return intakes.by_name[intakes.add(priority)]


def _lease(db, intakes: Intakes, priority: int) -> str | None:
    """Reserve an unused intake that the caller's snapshot contains."""
    visible = intakes.by_name
    tm = transaction.TransactionManager()
    connection = db.open(tm)
    try:
        for attempt in range(RESERVING_ATTEMPTS):
            try:
                tm.begin()
                shared = connection.get(intakes._p_oid)
                name = shared.hand_out(lambda name: name in visible)
                if priority and name is not None:
                    shared.by_name[name].priority = priority
                tm.commit()
                return name
            except ConflictError:
                # Other producers are reserving theirs.
                tm.abort()
                if attempt == RESERVING_ATTEMPTS - 1:
                    raise
    finally:
        tm.abort()
        connection.close()
