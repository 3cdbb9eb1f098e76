"""How a dispatcher learns that there is something to do.

* A put in the same process tells it right after the commit.
* Commits of other processes reach it with ZEO's invalidations: at once while little
  happens, and some milliseconds later, several at a time, while much does.
* RelStorage learns of others' commits only when a connection polls, so there the
  dispatcher looks into the database at intervals.

Whatever fails of this, the dispatcher looks every ``poll_interval`` seconds.
"""

from __future__ import annotations

from ZODB.interfaces import IMVCCStorage
from ZODB.mvccadapter import MVCCAdapter

import threading
import time
import weakref


#: Seconds between two looks for commits while there are many: each look may be a
#: claim, and claims that take several jobs cost less.
WATCH_INTERVAL = 0.005
#: The same while there are none and the next one wakes at once: for those commits of
#: this process that are no puts, of which no storage tells.
CALM_INTERVAL = 0.05
#: Seconds without news after which the next one wakes at once.
CALM = 0.025
#: Seconds between two looks into a database that does not tell.
POLL_WITHOUT_NEWS = 0.02

_wakers: weakref.WeakSet = weakref.WeakSet()
_relays: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_relays_lock = threading.Lock()


class Relay:
    """Stands between a storage and its database, and tells of invalidations.

    An IStorageWrapper that hands everything on. ``told`` counts the invalidations.
    """

    def __init__(self, wrapper):
        self._wrapper = wrapper
        self.told = 0

    def __getattr__(self, name: str):
        return getattr(self._wrapper, name)

    def invalidate(self, transaction_id, oids) -> None:
        """Called by the storage, in its own thread, for a commit of somebody else."""
        self._wrapper.invalidate(transaction_id, oids)
        self.told += 1
        for waker in list(_wakers):
            waker.tell(self)


def relay_of(database) -> Relay | None:
    """The relay of this database, put in place at the first call.

    None for a storage that does not tell of others' commits in this way.
    """
    with _relays_lock:
        relay = _relays.get(database)
        wrapper = getattr(database, "_mvcc_storage", None)
        if relay is None and type(wrapper) is MVCCAdapter:
            relay = _relays[database] = Relay(wrapper)
            database.storage.registerDB(relay)
        return relay


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
        #: Whether the next commit of others wakes it at once.
        self._eager = False
        #: When commits of others last woke it, on the monotonic clock.
        self._woken_at = 0.0
        _wakers.add(self)

    def databases(self) -> list:
        """The databases that its queues may be in."""
        return list(self.db.databases.values())

    def last_transactions(self) -> tuple:
        """Changes with every commit that this process knows of."""
        return tuple(
            (database.lastTransaction(), relay and relay.told)
            for database, relay in self._relayed()
        )

    def _relayed(self) -> list[tuple]:
        return [(database, relay_of(database)) for database in self.databases()]

    def set(self) -> None:
        """Wake it now."""
        self.event.set()

    def tell(self, relay: Relay) -> None:
        """Somebody else has committed to the database of this relay."""
        if self._eager and any(relay is mine for _database, mine in self._relayed()):
            self._eager = False
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
        told_of_all = all(relay for _database, relay in self._relayed())
        try:
            while (left := deadline - time.monotonic()) > 0:
                calm = told_of_all and time.monotonic() - self._woken_at > CALM
                # Before the look: what comes between the two must wake.
                self._eager = calm
                if self.last_transactions() != self.seen:
                    self._woken_at = time.monotonic()
                    return
                interval = CALM_INTERVAL if calm else WATCH_INTERVAL
                if self.event.wait(min(interval, left)):
                    self._woken_at = time.monotonic()
                    return
        finally:
            self._eager = False


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
