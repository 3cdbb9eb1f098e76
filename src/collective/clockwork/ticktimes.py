"""When ``@@tick`` last fired, kept in the database."""

from __future__ import annotations

from Acquisition import aq_base
from Acquisition import aq_chain
from Acquisition import aq_inner
from BTrees.OOBTree import OOBTree
from datetime import timedelta
from persistent import Persistent
from typing import Any

import time
import transaction


#: Key in the root of each database that holds ticked objects, see `TickTimes`.
ROOT_KEY = "collective.clockwork.ticks"

#: A timing record that has been due for longer than this belongs to an object that
#: is gone or that nobody ticks any more, and is dropped.
FORGET_AFTER = timedelta(days=30)


class TickTimes:
    """When `@@tick` last fired on `context`, kept in the context's database.

    All records of a database are in one `OOBTree` at `ROOT_KEY` of its root: oid of
    the ticked object to the plain tuple (last tick in seconds since the epoch,
    interval in seconds). Written by a tick that fires, and by nothing else. Two
    transactions that write the record of one object conflict, which is what makes
    two simultaneous ticks fire once; records of different objects are merged by the
    BTree's conflict resolution.

    Not an annotation, because the Zope root takes none, a copy of the object would
    inherit it, and a database is to stay readable without this package. By oid and
    not by URL or path, so that a site under two host names has one timer, which a
    rename keeps and a copy does not get.

    An object that is not stored itself has the timer of its nearest stored parent.
    """

    def __init__(self, context: Any):
        self.context = context
        self.stored = _nearest_stored(context)

    def get(self) -> float | None:
        """Seconds since the epoch; None if there was no tick."""
        if self.stored is None:
            return None
        times = self.stored._p_jar.root().get(ROOT_KEY, {})
        last, _interval = times.get(self.stored._p_oid, (None, None))
        return last

    def set(self, last: float, interval: float) -> None:
        """Record a tick, both in seconds; ValueError for an object nowhere stored."""
        if self.stored is None:
            raise ValueError(
                f"{self.context!r} cannot be ticked: neither it nor a parent of it "
                "is stored in a database. Call @@tick on a site or on the Zope root."
            )
        root = self.stored._p_jar.root()
        if ROOT_KEY not in root:
            root[ROOT_KEY] = OOBTree()
        times = root[ROOT_KEY]
        if self.stored._p_oid not in times:
            _drop_forgotten(times)
        times[self.stored._p_oid] = (last, interval)

    def remove(self) -> None:
        """Forget the last tick: the next call of `@@tick` fires."""
        if self.get() is not None:
            del self.stored._p_jar.root()[ROOT_KEY][self.stored._p_oid]


def _nearest_stored(context: Any) -> Persistent | None:
    if isinstance(aq_base(context), Persistent) and aq_base(context)._p_jar is None:
        # Made in this transaction: a savepoint gives it its oid.
        transaction.savepoint(optimistic=True)
    for parent in aq_chain(aq_inner(context)):
        base = aq_base(parent)
        if getattr(base, "_p_jar", None) is not None:
            return base
    return None


def _drop_forgotten(times: OOBTree) -> None:
    oldest = time.time() - FORGET_AFTER.total_seconds()
    forgotten = [
        oid for oid, (last, interval) in times.items() if last + interval < oldest
    ]
    for oid in forgotten:
        del times[oid]
