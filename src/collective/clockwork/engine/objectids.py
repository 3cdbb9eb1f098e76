"""Ids for new objects, which ZEO may give out twice.

A ZEO client asks for a hundred ids at a time. A server that was started again
knows nothing of those that are not used yet, and gives them to others too. Who
then stores a new object second gets a conflict about it, again and again until
the hundred are used up; or, if the other object is in the connection's memory,
an error by which the connection lets go of that object, whatever it is.

So ids of before are given up when a client is connected again, and whatever a
connection has in memory when an id turns out to be taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import weakref


#: Storages that give up their ids by themselves.
_watched: weakref.WeakSet = weakref.WeakSet()


def give_up_when_connected(db) -> None:
    """From now on, let the client storages of ``db`` give up ids at a connection.

    Does nothing for other storages, nor a second time.
    """
    for database in db.databases.values():
        for storage in _clients(database):
            if storage not in _watched:
                _watched.add(storage)
                _watch(storage)


def _watch(storage) -> None:
    connected = storage.notify_connected
    ids = storage._oids

    def notify_connected(*args) -> None:
        # Called before anybody can reach the new server by this storage.
        ids.clear()
        connected(*args)

    storage.notify_connected = notify_connected


def start_over(connection) -> None:
    """Give up ids and all that is in memory, because an id was taken.

    The transaction must have been aborted. Objects that are held elsewhere may
    have lost their connection, and be nobody's any more.
    """
    for other in connection.connections.values():
        for storage in _clients(other.db()):
            storage._oids.clear()
        other.cacheMinimize()


def _clients(database) -> Iterator:
    """The ZEO client that a database stands on; compression may be in between."""
    storage = database.storage
    while storage is not None:
        if isinstance(getattr(storage, "__dict__", {}).get("_oids"), list):
            yield storage
        storage = getattr(storage, "base", None)
