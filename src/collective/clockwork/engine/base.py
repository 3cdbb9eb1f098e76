"""What all persistent objects of the engine share: a place in a tree."""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from collections.abc import Iterator
from collections.abc import Mapping
from persistent import Persistent
from transaction.interfaces import TransactionError
from ZODB.broken import Broken


class Base(Persistent):
    """Persistent, with the object above it.

    ``__parent__`` is the same thing under Zope's name, as in zc.async, where
    setting it had no effect.
    """

    #: The object above; written when the object is put into it or taken out.
    parent = None

    @property
    def __parent__(self):
        return self.parent

    @__parent__.setter
    def __parent__(self, value):
        self.parent = value


class TreeMapping(Base, Mapping):
    """A mapping whose items are in a tree; it is equal to itself alone.

    What is put in and taken out, and by whom, is for the class that uses it: this
    one only reads.
    """

    def __init__(self):
        #: Key to item; changed by the methods of the class that uses this.
        self._data = OOBTree()

    def __getitem__(self, key):
        return self._data[key]

    def __iter__(self) -> Iterator:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        return bool(self._data)

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)


def same(one, other) -> bool:
    """Whether two persistent objects are the same one, whatever the connection."""
    if one is other:
        return True
    oid = getattr(one, "_p_oid", None)
    return (
        oid is not None
        and oid == getattr(other, "_p_oid", None)
        and database_name(one) == database_name(other)
    )


def database_name(obj) -> str | None:
    """Name of the database that holds ``obj``; None while it is in none."""
    jar = getattr(obj, "_p_jar", None)
    return None if jar is None else jar.db().database_name


def reading_error(obj) -> Exception | None:
    """Why the record of a persistent object cannot be loaded here and now; None if it
    can.

    Loading runs code of the application's classes, which may be gone or may have
    changed since. A storage that is away, and a conflict, are not the record's fault:
    the TransactionError is raised.
    """
    try:
        obj._p_activate()
    except TransactionError:
        raise
    except Exception as error:
        return error
    if isinstance(obj, Broken):
        return ImportError(f"the class {type(obj).__name__!r} cannot be imported")
    return None


def identity(obj) -> tuple:
    """What tells persistent objects apart in memory: oid and database."""
    oid = obj._p_oid
    return (id(obj), None) if oid is None else (oid, database_name(obj))
