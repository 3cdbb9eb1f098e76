"""Jobs that store new objects under ids that others have, in a ZEO client."""

from __future__ import annotations

from collective.clockwork.engine.threadlocal import local
from persistent import Persistent


#: How many ids that are taken the storage is still to be given.
left = [0]


def grow(counter, victim, is_loaded=True) -> None:
    """Job: count, and store a new object; first under the id of ``victim``.

    Which is then given out again as often as ``left`` says.
    """
    if is_loaded:
        victim._p_activate()
    counter._p_jar.db().storage._oids.extend([victim._p_oid] * left[0])
    left[0] = 0
    counter.part = Persistent()
    counter.add()


def grow_with_savepoint(counter, victim, is_loaded=True) -> None:
    """Job: the same, but the object is stored before the end of the job."""
    grow(counter, victim, is_loaded)
    counter._p_jar.transaction_manager.savepoint()


def grow_beside(counter, keeper) -> None:
    """Job: the same, with what ``keeper`` has as victim; it counts the second time."""
    is_second = not left[0]
    grow(counter, keeper.child)
    if is_second:
        keeper.add()


def grow_as_self(counter, result=None) -> None:
    """Job or callback: the same, with the job itself as victim."""
    grow(counter, local.getJob())


def commit_and_grow_as_self(counter, result) -> None:
    """Callback: the same, after a commit of its own."""
    counter._p_jar.transaction_manager.commit()
    grow_as_self(counter)


def grow_as_parent(counter, result) -> None:
    """Callback: the same, with the outer job as victim."""
    grow(counter, local.getJob().parent)
