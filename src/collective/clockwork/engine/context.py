"""What a job's function can do while it runs: checkpoints, progress, long loops.

A function with a keyword-only parameter ``ctx`` gets its Context; any other code asks
for it with ``current()``::

    def reindex(site, *, ctx):
        for brain in ctx.each(find(site), commit_every=50):
            brain.getObject().reindexObject()
"""

from __future__ import annotations

from . import progress
from .base import identity
from .control import Control
from .loops import Items
from .loops import ItemsBehind
from .loops import Loops
from .threadlocal import local
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from collections.abc import Set
from types import CodeType
from ZODB.utils import u64

import functools


#: Name of the parameter that gets the context.
PARAMETER = "ctx"
#: So many decorators and partials are looked through at most.
DEEPEST = 20


def current() -> Context:
    """The context of the job, or callback, that this thread runs.

    Raises RuntimeError outside of a job.
    """
    run = local.run
    if run is None:
        raise RuntimeError(
            "there is no job in this thread: a context is there only while a job's "
            "function runs, and only in the thread that runs it"
        )
    if run.context is None:
        run.context = Context(run)
    return run.context


def wanted_by(call: Callable) -> bool:
    """Whether this callable has a keyword-only parameter ``ctx``.

    Looks through methods, partials and what ``functools.wraps`` has marked.
    """
    for _ in range(DEEPEST):
        if isinstance(call, functools.partial):
            call = call.func
            continue
        if isinstance(call, type):
            call = call.__init__
        code = getattr(call, "__code__", None)
        if not isinstance(code, CodeType):
            # An instance of a class that can be called.
            call = type(call).__call__
            code = getattr(call, "__code__", None)
            if not isinstance(code, CodeType):
                return False
        if code.co_kwonlyargcount:
            first = code.co_argcount
            names = code.co_varnames[first : first + code.co_kwonlyargcount]
            if PARAMETER in names:
                return True
        call = getattr(call, "__wrapped__", None)
        if call is None:
            return False
    return False


def with_context(call: Callable, kwargs: dict) -> dict:
    """The keyword arguments for a call of a job's function: with ``ctx`` if it asks."""
    if PARAMETER in kwargs or not wanted_by(call):
        return kwargs
    return {**kwargs, PARAMETER: current()}


class Context:
    """One call of a job's function, for that function; see ``current``."""

    def __init__(self, run):
        self._run = run
        self._control = Control() if local.control is None else local.control
        self._loops = Loops(run, self._control, self._report_loop)
        #: Whether the function reports numbers itself; then its loops do not.
        self._reports = False
        #: Whether anything was reported here, by this job itself.
        self._has_reported = False

    @property
    def job(self):
        """The job, or callback, that is being run."""
        return self._run.job

    @property
    def attempt(self) -> int:
        """Which attempt of the job this is, from 1.

        One that was ended by a stop of the worker, before a loop's end, does not
        count; nor does a repetition after a conflict.
        """
        return self.job._tries + 1

    @property
    def idempotency_key(self) -> str:
        """A text that is the same in all attempts of this job, and in no other job.

        For remote systems which do what they are asked only once for each key.
        ValueError for a job that is not stored.
        """
        job = self.job
        if job._p_oid is None:
            raise ValueError(f"{job!r} is not stored, so it has no lasting identity")
        oid, database = identity(job)
        return f"{database}-{u64(oid):x}-{job._queued or 0:x}"

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody has asked for the job to be cancelled."""
        return self._control.cancel is not None

    def checkpoint(self) -> None:
        """Raise CancelledError or JobTimeoutError if the job should end now.

        Costs less than a microsecond.
        """
        self._control.check()

    def progress(
        self,
        done: float | None = None,
        total: float | None = None,
        message: str | None = None,
        percent: float | None = None,
    ) -> None:
        """Say how far the job is; others see it within some 1.5 seconds.

        What is not given stays as it was said before. Costs about a microsecond, so
        it may be called for each item. Raises TypeError or ValueError for what is no
        number from 0 on, and for a percent above 100.
        """
        if done is not None or total is not None or percent is not None:
            self._reports = True
        self._reporter().report(done, total, message, percent)

    def log(self, text: str) -> None:
        """Add a line to the job's log, which others see as soon as its progress.

        The newest 200 lines are there while it runs; of a failed job some 4,000 bytes
        are kept, of others 500.
        """
        self._reporter().log(text)

    def each(
        self,
        iterable: Iterable | Callable,
        commit_every: int = 100,
        name: str = "",
        total: int | None = None,
        key: Callable | None = None,
    ) -> Iterator:
        """Give out the items, and commit after each ``commit_every`` of them.

        A job that is begun again, after a crash for instance, goes on behind what was
        committed: at most ``commit_every`` items are visited twice, and the effects of
        each on the database are there once. So the iterable must give the same items
        in the same order each time.

        If it may change, give a function instead that is called with the key of the
        last item, or None, and returns what follows; ``key`` then makes the key of an
        item, a plain value that is stored::

            ctx.each(
                lambda after: tree.items(after, excludemin=after is not None),
                key=lambda item: item[0],
            )

        With an ordinary iterable ``key`` is not needed; if given, the loop goes on
        behind the item with that key, and not behind so many items.

        ``name`` tells several loops of a function apart; without names they are
        numbered. A loop in another one's body belongs to that one's present item; what
        else stands in that body may be done again for it. ``total`` is how many items
        there are, for the progress.

        The function must not commit or abort itself inside the loop. When the last
        items are done, they are committed with what follows.

        Raises TypeError or ValueError at once for arguments that contradict each
        other, RuntimeError in a ``groupable`` job; LookupError, when it goes on, if the
        iterable has no longer what was done. Inside: ReassignedError if somebody else
        has the job by now, CancelledError, JobTimeoutError, and SystemExit when the
        worker stops, in which case another goes on.
        """
        source = self._source(iterable, key)
        if type(commit_every) is not int or commit_every < 1:
            raise ValueError(
                f"commit_every is {commit_every!r}: it must be a whole number from 1 on"
            )
        if not isinstance(name, str):
            raise TypeError(f"the name of the loop is {name!r}: it must be a text")
        if self.job.groupable:
            raise RuntimeError(
                f"{self.job!r} is groupable: it shares one transaction with others, so "
                "its loops cannot commit. Queue it with groupable=False"
            )
        if total is None and isinstance(iterable, Sequence | Set | dict):
            total = len(iterable)
        return self._loops.visit(source, commit_every, name, total)

    def _source(self, iterable, key: Callable | None):
        if key is not None and not callable(key):
            raise TypeError(f"key is {key!r}: it must be a function of an item")
        if hasattr(type(iterable), "__iter__") or hasattr(
            type(iterable), "__getitem__"
        ):
            return Items(iterable, key)
        if not callable(iterable):
            raise TypeError(
                f"{iterable!r} can neither be iterated over nor called with a key"
            )
        if key is None:
            raise ValueError(
                "a function of the last key needs key=, which makes the key of an "
                "item: for instance key=lambda item: item.id"
            )
        return ItemsBehind(iterable, key)

    # Reporting

    def _reporter(self) -> progress.Reporter:
        self._has_reported = True
        control = self._control
        if control.reporter is None:
            if control.flusher is None:
                control.reporter = progress.Reporter()
            else:
                control.reporter = control.flusher.reporter(control.ticket)
            control.reporter.since_us = self._run.started
        return control.reporter

    def _report_loop(self, done: int, total: int | None, begins: bool = False) -> None:
        if self._reports:
            return
        reporter = self._reporter()
        if begins:
            reporter.resume(done)
        reporter.report(done, total)

    def keep_report(self, failed: bool) -> None:
        """Keep what was reported with the job, in the commit that ends it."""
        if self._has_reported:
            progress.keep(self.job, self._control.reporter, failed)
