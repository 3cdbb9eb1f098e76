"""How the processes of a run open the database, whose server may be away just then."""

from __future__ import annotations

from collections.abc import Callable
from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected

import time
import ZODB


def open_database(port: int, patience: int, kind: type = ClientStorage) -> ZODB.DB:
    """The database "main", once the server gives it.

    ``patience`` is how many seconds each later call waits for a server that is
    away; ``kind`` is a class of client storages.
    """

    def try_it() -> ZODB.DB:
        storage = kind(
            ("127.0.0.1", port), storage="main", wait=True, wait_timeout=patience
        )
        try:
            return ZODB.DB(storage, database_name="main", pool_size=20)
        except ClientDisconnected:
            storage.close()
            raise

    return insist(try_it)


def insist(call: Callable):
    """What ``call`` gives, once the server is there for all of it."""
    while True:
        try:
            return call()
        except ClientDisconnected:
            time.sleep(0.2)
