"""Jobs whose function returns a Twisted Deferred.

Such a job is committed as active, with what its function has changed so far, and
keeps its place in the agent and its quotas, but no thread. When the Deferred fires,
a thread made for it stores the result. The thread in which it fired does not: that
one may be a reactor's, which must not wait for a commit, or another job's, in the
middle of a transaction.

Nothing here imports Twisted: where nobody has imported it, there are no Deferreds.
"""

from __future__ import annotations

from .base import database_name
from .failure import Failure
from .failure import TRACEBACK_LIMIT
from .threadlocal import local
from collections.abc import Callable

import sys
import threading


#: Claims of the jobs that wait for a Deferred of this process.
_open: set[tuple] = set()


def is_deferred(value) -> bool:
    """Whether this is a Deferred of Twisted."""
    module = sys.modules.get("twisted.internet.defer")
    return module is not None and isinstance(value, module.Deferred)


class Promise:
    """A job's begun attempt, and the Deferred that its result will come from."""

    def __init__(self, job, deferred, control=None):
        self.deferred = deferred
        #: What others want of the job; None outside of a worker.
        self.control = control
        self.db = job._p_jar.db()
        self.oid = job._p_oid
        self.database = database_name(job)
        self.attempt = job.attempt
        self.started = job._active_start
        #: Runs from when the Deferred has fired.
        self.thread: threading.Thread | None = None

    @property
    def claim(self) -> tuple:
        """Identity and attempt, as in the reports of a pool."""
        return (self.oid, self.database, self.attempt)

    def is_open(self, job) -> bool:
        """Whether the job waits for this Deferred still, and for no other."""
        return (
            job._deferred
            and job.attempt == self.attempt
            and job._active_start == self.started
        )

    def watch(self, settle: Callable) -> None:
        """Call ``settle(self, value)`` in a thread of its own when it fires.

        ``value`` is a Failure of the engine for one of Twisted.
        """

        def run(value):
            try:
                settle(self, value)
            finally:
                _open.discard(self.claim)

        def fired(value):
            name = f"clockwork-deferred-{int.from_bytes(self.oid, 'big')}"
            self.thread = threading.Thread(
                target=run, args=(as_result(value),), name=name, daemon=True
            )
            self.thread.start()
            # Others may be behind in the chain; a failure is taken care of.
            return None if is_twisted_failure(value) else value

        reactor = running_reactor()
        if reactor is None:
            self.deferred.addBoth(fired)
        else:
            # A Deferred is not safe against two threads at once.
            reactor.callFromThread(self.deferred.addBoth, fired)


def running_reactor():
    """The reactor of this thread's dispatcher, or the process's; None if none runs."""
    installed = sys.modules.get("twisted.internet.reactor")
    for reactor in (local.getReactor(), installed):
        if getattr(reactor, "running", False):
            return reactor
    return None


def is_twisted_failure(value) -> bool:
    """Whether this is a Failure of Twisted."""
    module = sys.modules.get("twisted.python.failure")
    return module is not None and isinstance(value, module.Failure)


def as_result(value):
    """What a Deferred gave; Twisted's Failure becomes one that can be stored."""
    if not is_twisted_failure(value):
        return value
    failure = Failure(value.value)
    # Twisted takes the traceback off the exception, and keeps it as frames.
    failure.traceback = value.getTraceback()[-TRACEBACK_LIMIT:]
    return failure


def seen_from(job, value):
    """A stored object as the job's own connection has it; other values as they are."""
    jar = getattr(value, "_p_jar", None)
    if jar is None or jar is job._p_jar or value._p_oid is None:
        return value
    return job._p_jar.get_connection(database_name(value)).get(value._p_oid)


def expect(job, deferred, control=None) -> None:
    """Remember that this thread's job, which is committed, waits for ``deferred``.

    ``control`` is what others want of it, also in its callbacks.
    """
    if local.promises is None:
        local.promises = []
    promise = Promise(job, deferred, control)
    _open.add(promise.claim)
    local.promises.append(promise)


def is_expected(job) -> bool:
    """Whether the job waits for a Deferred that is in this process."""
    return job._deferred and (job._p_oid, database_name(job), job.attempt) in _open


def take_promises() -> list[Promise]:
    """What was expected in this thread since the last call."""
    promises, local.promises = local.promises or [], None
    return promises
