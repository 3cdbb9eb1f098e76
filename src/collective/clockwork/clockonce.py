"""Which of several processes makes the call of a time slice.

The root of Zope's main database has an `OOBTree` at `ROOT_KEY`: name and method of
a clock to the plain tuple (start of the last slice that was taken, period), both in
seconds. A process that is about to call writes it, in a transaction of its own and
before the call; nobody else writes it. Two that write the record of one clock
conflict, and the second one then sees that the slice is taken. Records of different
clocks are merged by the BTree's conflict resolution.

A process that is killed between the record and the call takes the slice with it.
"""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from datetime import timedelta
from transaction import TransactionManager
from typing import Any
from ZODB.POSException import ConflictError


#: Key in the root of the main database.
ROOT_KEY = "collective.clockwork.clocks"

#: A record that has been due for longer than this belongs to a clock that is gone,
#: and is dropped when the first record of another clock is written.
FORGET_AFTER = timedelta(days=30)

#: Seconds, if the period is not longer, by which the time of another process may be
#: ahead of ours. A record from later than that was written when its time was wrong.
MOST_AHEAD = 60


def take_slice(db: Any, name: str, method: str, start: int, period: int) -> bool:
    """Whether this process is the first one that asks for this slice of the clock.

    `start` is the beginning of the slice in seconds since the epoch. A record from
    the future, by a process whose time was wrong, is replaced.
    """
    manager = TransactionManager()
    connection = db.open(manager)
    try:
        while True:
            manager.begin()
            try:
                return _take(connection.root(), (name, method), start, period, manager)
            except ConflictError:
                manager.abort()
    finally:
        manager.abort()
        connection.close()


def _take(root, key, start, period, manager) -> bool:
    if ROOT_KEY not in root:
        root[ROOT_KEY] = OOBTree()
    records = root[ROOT_KEY]
    if key in records:
        taken, _period = records[key]
        if start <= taken <= start + max(period, MOST_AHEAD):
            return False
    else:
        _drop_forgotten(records, start)
    records[key] = (start, period)
    manager.commit()
    return True


def _drop_forgotten(records: OOBTree, now: int) -> None:
    oldest = now - FORGET_AFTER.total_seconds()
    forgotten = [
        key for key, (taken, period) in records.items() if taken + period < oldest
    ]
    for key in forgotten:
        del records[key]
