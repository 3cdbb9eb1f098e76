"""Live annotations: notes on a running job that others see before it ends.

They are written on a connection of their own, to a record beside the job, so
they neither wait for the job's commit nor conflict with it. When the job is
swept they become ordinary annotations.
"""

from __future__ import annotations

from .base import database_name
from contextlib import contextmanager
from persistent import Persistent
from transaction.interfaces import TransactionError
from ZODB.utils import u64

import time
import transaction


#: How often a note that conflicts is written again before that is an error.
ATTEMPTS = 20


class Live(Persistent):
    """Notes on the running jobs of one oid; written by whoever annotates them.

    That is one job, except where an agent has jobs of several databases.
    """

    #: Database to notes, for a job in another one than the agent's.
    elsewhere: dict | None = None

    def __init__(self):
        #: On the job in the agent's own database.
        self.notes: dict = {}

    def of(self, database: str | None) -> dict:
        """The notes on the job in that database; None is the agent's own."""
        if database is None:
            return self.notes
        return (self.elsewhere or {}).get(database, {})

    def put(self, database: str | None, notes: dict) -> None:
        """Replace the notes on the job in that database."""
        if database is None:
            self.notes = notes
        else:
            self.elsewhere = {**(self.elsewhere or {}), database: notes}

    def is_shared(self, database: str | None) -> bool:
        """Whether there are notes on a job in another database than this one."""
        notes = {None: self.notes, **(self.elsewhere or {})}
        return any(noted for name, noted in notes.items() if name != database)


def _database_of(job, agent) -> str | None:
    """Where the job is: None for the agent's own database, else the name."""
    own, name = database_name(agent), database_name(job)
    return None if name == own else name


@contextmanager
def _elsewhere(job):
    """The job on a fresh connection with a transaction manager of its own."""
    tm = transaction.TransactionManager()
    connection = job._p_jar.db().open(tm)
    try:
        yield connection.get(job._p_oid), tm
    finally:
        tm.abort()
        connection.close()


def set_annotation(job, name: str, value) -> None:
    """Note ``value`` under ``name``, and commit that.

    Raises the last ConflictError if others keep writing to the same job.
    """
    with _elsewhere(job) as (fresh, tm):
        for attempt in range(ATTEMPTS):
            try:
                _note(fresh, name, value)
                tm.commit()
                return
            except TransactionError:
                tm.abort()
                if attempt == ATTEMPTS - 1:
                    raise
                tm.begin()


def _note(job, name: str, value) -> None:
    queue = job.queue
    holder = None
    if queue is not None and job._status < 2:
        holder = queue.holder(job)
    if holder is None:
        job.annotations[name] = value
        return
    number = u64(job._p_oid)
    live = holder.live.get(number)
    if live is None:
        live = holder.live[number] = Live()
    database = _database_of(job, holder)
    live.put(database, {**live.of(database), name: value})


def notes_of(job) -> dict:
    """The live notes on a job; empty when it is not running."""
    if job._p_oid is None or job._status >= 2 or job.queue is None:
        return {}
    holder = job.queue.holder(job)
    if holder is None:
        return {}
    live = holder.live.get(u64(job._p_oid))
    return {} if live is None else live.of(_database_of(job, holder))


def keep(agent, job) -> None:
    """Make the notes on a job that leaves this agent ordinary annotations."""
    if not agent.live or job._p_oid is None:
        return
    number = u64(job._p_oid)
    live = agent.live.get(number)
    if live is None:
        return
    database = _database_of(job, agent)
    if live.of(database):
        job.annotations.update(live.of(database))
    if live.is_shared(database):
        live.put(database, {})
    else:
        del agent.live[number]


def get_annotation(job, name: str, default, timeout: float, poll: float):
    """What is noted under ``name`` in the database of now."""
    deadline = time.monotonic() + timeout
    missing = object()
    while True:
        with _elsewhere(job) as (fresh, _tm):
            found = fresh.annotations.get(name, missing)
            if found is missing:
                found = notes_of(fresh).get(name, missing)
        left = deadline - time.monotonic()
        if found is not missing:
            return found
        if left <= 0:
            return default
        time.sleep(min(poll, left))
