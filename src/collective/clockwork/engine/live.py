"""Live annotations: notes on a running job that others see before it ends.

They are written on a connection of their own, to a record beside the job, so
they neither wait for the job's commit nor conflict with it. When the job is
swept they become ordinary annotations.
"""

from __future__ import annotations

from contextlib import contextmanager
from persistent import Persistent
from transaction.interfaces import TransactionError
from ZODB.utils import u64

import time
import transaction


#: How often a note that conflicts is written again before that is an error.
ATTEMPTS = 20


class Live(Persistent):
    """Notes on one running job; written by whoever annotates it."""

    def __init__(self):
        self.notes: dict = {}


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
    live.notes = {**live.notes, name: value}


def notes_of(job) -> dict:
    """The live notes on a job; empty when it is not running."""
    if job._p_oid is None or job._status >= 2 or job.queue is None:
        return {}
    holder = job.queue.holder(job)
    if holder is None:
        return {}
    live = holder.live.get(u64(job._p_oid))
    return {} if live is None else live.notes


def keep(agent, job) -> None:
    """Make the notes on a job that leaves this agent ordinary annotations."""
    if agent.live and job._p_oid is not None:
        live = agent.live.pop(u64(job._p_oid), None)
        if live is not None:
            job.annotations.update(live.notes)


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
