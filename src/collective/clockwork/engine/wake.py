"""How a dispatcher learns that there is something to do.

* A put in the same process tells it right after the commit.
* For commits of other processes it watches ``db.lastTransaction()``, which
  ZEO's invalidations keep current without a network call.
* RelStorage moves that only when a connection polls, so there the dispatcher
  looks into the database at intervals.

Whatever fails of this, the dispatcher looks every ``poll_interval`` seconds.
"""

from __future__ import annotations

from ZODB.interfaces import IMVCCStorage

import threading
import time
import weakref


#: Seconds between two looks at ``lastTransaction``: measured, 5 ms wake a
#: worker after 5.2 ms (median) and cost about 1 % of a core.
WATCH_INTERVAL = 0.005
#: Seconds between two looks into a database that does not tell.
POLL_WITHOUT_NEWS = 0.02

_wakers: weakref.WeakSet = weakref.WeakSet()


class Waker:
    """Wakes one dispatcher. ``db`` is the database that it was given.

    Its queues may be in another one that was opened together with that.
    """

    def __init__(self, db):
        self.db = db
        self.event = threading.Event()
        #: Last transactions that the dispatcher has taken into account.
        self.seen: tuple = ()
        #: Whether ``lastTransaction`` moves with the commits of others.
        self.tells = not any(map(_is_silent, self.databases()))
        _wakers.add(self)

    def databases(self) -> list:
        """The databases that its queues may be in."""
        return list(self.db.databases.values())

    def last_transactions(self) -> tuple:
        """Changes with every commit that this process knows of."""
        return tuple(database.lastTransaction() for database in self.databases())

    def set(self) -> None:
        """Wake it now."""
        self.event.set()

    def look(self) -> None:
        """Called before looking into the database: later commits wake again."""
        self.event.clear()
        self.seen = self.last_transactions()

    def wait(self, seconds: float, watch: bool = True) -> None:
        """Return when something happened, at the latest after ``seconds``.

        Without ``watch`` commits of others count for nothing: there is no room
        for more jobs anyway.
        """
        if not watch:
            self.event.wait(seconds)
            return
        if not self.tells:
            self.event.wait(min(seconds, POLL_WITHOUT_NEWS))
            return
        # Of the real clock, which goes on when tests freeze ours; and not a sum
        # of intervals, each of which takes longer on a busy machine.
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.last_transactions() != self.seen:
                return
            if self.event.wait(min(WATCH_INTERVAL, left)):
                return


def _is_silent(database) -> bool:
    # Storages with transaction isolation of their own, as RelStorage, learn of
    # others' commits only when a connection asks.
    return IMVCCStorage.providedBy(database.storage)


def after_commit(connection) -> None:
    """Wake the dispatchers of this process when the transaction is committed."""
    if not _wakers:
        return
    database = connection.db()
    connection.transaction_manager.get().addAfterCommitHook(_wake, (database,))


def _wake(success: bool, database) -> None:
    if success:
        for waker in list(_wakers):
            if any(database is mine for mine in waker.databases()):
                waker.set()
