"""Records of the jobs that a dispatcher claimed, newest last, in memory.

Making one must cost next to nothing beside a job, so it only takes hold of
what cannot change; texts are made when somebody asks. It keeps no persistent
object, which would belong to the connection of a thread.
"""

from __future__ import annotations

from . import clock
from .attempt import DEFERRED
from .attempt import DONE
from .attempt import WAITING
from .callables import PLAIN_TYPES
from .commit import log
from .errors import CancelledError
from .failure import Failure
from .polls import checked_size
from .run import brief
from collections.abc import Iterator
from collections.abc import Mapping
from ZODB.utils import u64

import reprlib
import threading


#: Characters of a result that are kept.
RESULT_LIMIT = 10_000
#: Characters of an argument that are kept.
ARGUMENT_LIMIT = 200
#: Items of a container that is small.
_FEW = 10
#: Bits of a number that is written out: Python refuses very long ones.
_BITS = 4_000


class _Text(str):
    """A text that stands for the value that it was made from."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class _Reference:
    """A persistent object, without holding it."""

    __slots__ = ("kind", "oid", "database")

    def __init__(self, value):
        jar = value._p_jar
        self.kind = type(value)
        self.oid = value._p_oid
        self.database = None if jar is None else jar.db().database_name

    def __repr__(self) -> str:
        oid = "?" if self.oid is None else u64(self.oid)
        database = "?" if self.database is None else repr(self.database)
        kind = self.kind
        return f"{kind.__module__}.{kind.__name__} (oid {oid}, db {database})"


class _BoundedRepr(reprlib.Repr):
    """A repr of bounded cost that loads nothing from the database."""

    def __init__(self):
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = 100
        self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 100
        self.maxstring = self.maxother = RESULT_LIMIT
        self.maxlong = 1_000

    def repr_int(self, x, level):
        if x.bit_length() > _BITS:
            return f"<int of {x.bit_length()} bits>"
        return super().repr_int(x, level)

    def repr_instance(self, x, level):
        if hasattr(type(x), "_p_oid"):
            return brief(x)
        return super().repr_instance(x, level)


_bounded = _BoundedRepr()


def _hold(value, limit: int):
    """What to keep of a value: something whose repr is that of the value."""
    kind = type(value)
    if kind in PLAIN_TYPES:
        if kind in (str, bytes) and len(value) > limit:
            return _Text(repr(value[:limit]) + "...")
        if kind is int and value.bit_length() > _BITS:
            return _Text(_bounded.repr(value))
        return value
    if hasattr(kind, "_p_oid"):
        return _Reference(value)
    text = repr(value) if _is_small(value) else _bounded.repr(value)
    return _Text(text[:limit])


def _is_small(value) -> bool:
    """Whether the builtin repr, much faster than the bounded one, will do."""
    kind = type(value)
    if kind in (str, bytes):
        return len(value) <= ARGUMENT_LIMIT
    if kind in PLAIN_TYPES:
        return kind is not int or value.bit_length() <= _BITS
    if kind in (list, tuple):
        return len(value) <= _FEW and all(map(_is_small, value))
    if kind is dict:
        return (
            len(value) <= _FEW
            and all(map(_is_small, value))
            and all(map(_is_small, value.values()))
        )
    return False


class JobRecord:
    """One job of one claim."""

    __slots__ = (
        "id",
        "attempt",
        "queue",
        "agent",
        "poll",
        "kind",
        "owner",
        "name",
        "arguments",
        "keywords",
        "quota_names",
        "thread",
        "started",
        "ended",
        "failed",
        "cancelled",
        "result",
        "reassigned",
        "waiting",
    )

    def __init__(self, id: tuple, attempt: int, queue: str, agent: str, poll):
        #: Pair of oid, as an int, and name of the database.
        self.id = id
        self.attempt = attempt
        self.queue = queue
        self.agent = agent
        #: Key of the poll that claimed it; None if that is not known.
        self.poll = poll
        self.kind = None
        self.quota_names = ()
        self.thread = None
        #: Microseconds since 1970.
        self.started = None
        self.ended = None
        self.failed = False
        self.cancelled = False
        self.result = None
        self.reassigned = False
        #: Whether it was begun and waits for an inner job, in no thread.
        self.waiting = False

    def begin(self, job, thread: str) -> None:
        """Note that a thread is at it."""
        self.kind = type(job)
        owner, self.name = job._callable, job._method
        self.owner = owner if type(owner) is str else _hold(owner, ARGUMENT_LIMIT)
        self.arguments = [_hold(value, ARGUMENT_LIMIT) for value in job._args]
        keywords = job._kwargs
        self.keywords = keywords and {
            name: _hold(value, ARGUMENT_LIMIT) for name, value in keywords.items()
        }
        self.quota_names = job._quota_names
        self.thread = thread
        self.started = clock.now_us()

    def end(self, result) -> None:
        """Note that it is completed."""
        if isinstance(result, Failure):
            self.cancelled = bool(result.check(CancelledError))
            self.failed = not self.cancelled
            self.result = _Text(result.getTraceback()[-RESULT_LIMIT:])
        else:
            self.result = _hold(result, RESULT_LIMIT)
        self.reassigned = self.waiting = False
        self.ended = clock.now_us()

    def call(self) -> str | None:
        """The job's repr; None before it was begun."""
        if self.kind is None:
            return None
        if self.name is not None:
            called = f"{self.owner!r} :{self.name}"
        elif isinstance(self.owner, str):
            called = self.owner.replace(":", ".")
        else:
            called = f"{self.owner!r}"
        arguments = [repr(value) for value in self.arguments]
        arguments += [
            f"{key}={value!r}" for key, value in (self.keywords or {}).items()
        ]
        oid, database = self.id
        return (
            f"<{self.kind.__module__}.{self.kind.__name__} (oid {oid}, db "
            f"{database!r}) ``{called}({', '.join(arguments)})``>"
        )

    def info(self) -> dict:
        """What zc.async kept of a job; times are aware datetimes."""
        return {
            "agent": self.agent,
            "queue": self.queue,
            "call": self.call(),
            "quota names": self.quota_names,
            "poll id": self.poll,
            "started": clock.from_us(self.started),
            "completed": clock.from_us(self.ended),
            "thread": self.thread,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "result": None if self.ended is None else repr(self.result)[:RESULT_LIMIT],
            "reassigned": self.reassigned,
        }


class JobRecords(Mapping):
    """The newest records: pair of oid and database to what is known of the job."""

    def __init__(self, size: int = 200):
        self._lock = threading.Lock()
        self._records: dict[tuple, JobRecord] = {}
        self._size = checked_size("jobs_size", size)

    @property
    def size(self) -> int:
        """How many are kept."""
        return self._size

    @size.setter
    def size(self, value: int):
        self._size = checked_size("jobs_size", value)
        with self._lock:
            self._trim()

    def _trim(self) -> None:
        records = self._records
        while len(records) > self._size:
            del records[next(iter(records))]

    def add(self, record: JobRecord) -> JobRecord:
        """Keep this one as the newest; it replaces an older one of its job."""
        with self._lock:
            self._records.pop(record.id, None)
            self._records[record.id] = record
            self._trim()
        return record

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._records.clear()

    def begin(self, pool, ticket, job) -> JobRecord:
        """Note that this thread, of ``pool``, begins the job of ``ticket``."""
        id = (u64(ticket.oid), ticket.database)
        record = self._records.get(id)
        if record is None or record.attempt < ticket.attempt:
            record = self.add(
                JobRecord(id, ticket.attempt, pool.queue, pool.name, None)
            )
        elif record.attempt > ticket.attempt:
            # The newer claim of the same job has the place.
            record = JobRecord(id, ticket.attempt, pool.queue, pool.name, None)
        try:
            record.begin(job, threading.current_thread().name)
        except Exception:
            # Whatever is wrong with an argument's repr, the job may run.
            log.warning("the begin of %r is not noted", id, exc_info=True)
        return record

    def end(self, record: JobRecord, job, outcome: str, finished: list) -> None:
        """Note what became of a job, and of those that had waited for it."""
        if outcome in (WAITING, DEFERRED):
            record.waiting = True
        ended = [(record, job)] if outcome == DONE else []
        for outer in finished:
            found = self._records.get((u64(outer._p_oid), record.id[1]))
            if found is not None:
                ended.append((found, outer))
        for found, ended_job in ended:
            try:
                found.end(ended_job._result)
            except Exception:
                # The job is settled: neither a storage that is away nor a broken
                # repr may look like an error of its run.
                log.warning("the end of %r is not noted", found.id, exc_info=True)

    def end_deferred(self, claim: tuple, job, finished: list) -> None:
        """Note the end of a job whose result came when it was in no thread."""
        oid, database, attempt = claim
        record = self._records.get((u64(oid), database))
        if record is not None and record.attempt == attempt:
            self.end(record, job, DONE, finished)

    def given_up(self, claim: tuple) -> None:
        """Note that this claim was ended although its thread is at it."""
        oid, database, attempt = claim
        record = self._records.get((u64(oid), database))
        if record is not None and record.attempt == attempt and record.ended is None:
            record.reassigned = True

    def taken_away(self, queue: str) -> None:
        """Note that others have taken over what was claimed from this queue."""
        for record in self.records():
            if record.queue == queue and record.ended is None:
                record.reassigned = True

    def records(self) -> list[JobRecord]:
        """The records, oldest first."""
        with self._lock:
            return list(self._records.values())

    def record(self, id: tuple) -> JobRecord | None:
        """The record of a job; None if there is none any more."""
        return self._records.get(id)

    def __getitem__(self, id: tuple) -> dict:
        return self._records[id].info()

    def __iter__(self) -> Iterator[tuple]:
        with self._lock:
            return iter(list(self._records))

    def __len__(self) -> int:
        return len(self._records)
