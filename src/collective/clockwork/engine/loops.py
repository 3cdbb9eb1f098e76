"""Loops that can be gone on with: ``ctx.each``.

After each so many items the loop commits what was done, together with the place where
it is, the cursor. The cursors of a job are in its own record, so that commit fails when
somebody else has taken the job over meanwhile, as the one that ends the job does.

A cursor counts what is done, and knows the key of the last item if the loop has keys.
A loop inside another's body belongs to the item that the outer one is at, and is
forgotten when that goes on. Every commit stores the cursors of all loops that are open.
"""

from __future__ import annotations

from .commit import explained
from .commit import SYSTEM_ERRORS
from .commit import TakenId
from .places import give_back
from .threadlocal import local
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import chain
from itertools import islice
from persistent import Persistent
from transaction.interfaces import TransactionError
from typing import NamedTuple

import random
import time


#: How often the items of one commit that conflicts are visited again by the loop; then
#: the job's retry policy decides.
AGAIN = 8
#: Seconds: half the longest pause after a first conflict; doubled each time.
CONFLICT_PAUSE = 0.005


class Cursor(NamedTuple):
    """How far a loop is; stored as a plain tuple."""

    done: int = 0
    #: Key of the last item that is done; None without keys, and before the first.
    key: object = None
    ended: bool = False


class Stopped(SystemExit):
    """The worker stops: the job was given back, and goes on where it is in another."""


class Items:
    """The items of an ordinary iterable; a job that goes on skips what is done."""

    def __init__(self, iterable: Iterable, key: Callable | None):
        self._iterable = iterable
        self._key = key
        self._items: Iterator | None = None

    def key_of(self, item):
        """What is stored of the last item; None without ``key``."""
        return None if self._key is None else _plain_key(self._key(item))

    def behind(self, cursor: Cursor) -> Iterator:
        """The items that are left."""
        if self._items is None:
            self._items = iter(self._iterable)
            self._skip(cursor)
        return self._items

    def repeat(self, items: list) -> None:
        """Give these again, before the others."""
        self._items = chain(items, self._items)

    def _skip(self, cursor: Cursor) -> None:
        if self._key is not None and cursor.done:
            if any(self._key(item) == cursor.key for item in self._items):
                return
            raise LookupError(
                f"no item has the key {cursor.key!r} any more, behind which the loop "
                "has to go on: the iterable changed. Give a function of the last key "
                "instead"
            )
        skipped = sum(1 for _ in islice(self._items, cursor.done))
        if skipped < cursor.done:
            raise LookupError(
                f"{cursor.done} items are done, but now there are only {skipped}: the "
                "iterable changed, so it is unknown where to go on. Give a function of "
                "the last key instead"
            )


class ItemsBehind:
    """The items that a function gives for the key of the last one.

    It is asked anew after each commit, so it sees what others have changed.
    """

    def __init__(self, function: Callable, key: Callable):
        self._function = function
        self._key = key

    def key_of(self, item):
        """What is stored of the last item."""
        return _plain_key(self._key(item))

    def behind(self, cursor: Cursor) -> Iterator:
        """The items that come after the cursor."""
        last = cursor.key if cursor.done else None
        for number, item in enumerate(self._function(last)):
            if number == 0 and cursor.done and self._key(item) == last:
                raise ValueError(
                    f"the function was asked for what comes after {last!r}, and gave "
                    "an item with that key: it must begin behind it, for instance by "
                    "tree.keys(after, excludemin=after is not None)"
                )
            yield item

    def repeat(self, items: list) -> None:
        """Nothing to do: the function is asked again."""


def _plain_key(key):
    if key is None or isinstance(key, Persistent):
        raise TypeError(
            f"the key of an item is {key!r}: it must be a plain value that finds the "
            "place again, for instance an id, a path or a number"
        )
    return key


class Loop:
    """One loop of a running job."""

    def __init__(self, path: tuple, cursor: Cursor):
        self.path = path
        self.cursor = cursor
        #: Items that are done, but not committed.
        self.fresh: list = []
        #: Whether something was committed since it was asked for its items.
        self.moved = False
        #: Whether its present item may have loops of its own, and how many of them
        #: have no name. Those of an earlier attempt count.
        self.has_inner = True
        self.unnamed = 0
        #: How often its last commit conflicted.
        self.conflicts = 0


class Loops:
    """The loops of one call of a job's function, and what they commit."""

    def __init__(self, run, control, report: Callable):
        self._run = run
        self._control = control
        self._report = report
        self._cursors = self._stored()
        #: Open loops, the outermost first.
        self._open: list[Loop] = []
        #: Paths that are taken.
        self._used: set[tuple] = set()
        self._unnamed = 0
        #: The transaction that the loops are in, and the loop that began it.
        self._transaction = None
        self._begun_by: Loop | None = None

    # Around a loop

    def visit(self, source, every: int, name: str, total) -> Iterator:
        """Give out the items; see ``Context.each``."""
        loop = self._enter(name)
        try:
            if not loop.cursor.ended:
                yield from self._visit(loop, source, every, total)
            self._end(loop)
        except GeneratorExit:
            # The function has left the loop early, and does not come back.
            if self._is_current():
                self._end(loop)
            raise
        finally:
            if loop in self._open:
                del self._open[self._open.index(loop) :]

    def _enter(self, name: str) -> Loop:
        outer = self._open[-1] if self._open else None
        prefix = () if outer is None else outer.path
        path = (*prefix, name or self._next_number(outer))
        if path in self._used or any(name == loop.path[-1] for loop in self._open):
            raise ValueError(
                f"the name {name!r} belongs to another loop of this job: give each "
                "loop a name of its own, or none"
            )
        if outer is None:
            self._transaction = self._run.tm.get()
            self._begun_by = None
        else:
            self._assert_current()
            outer.has_inner = True
        self._used.add(path)
        loop = Loop(path, self._cursors.get(path, Cursor()))
        self._open.append(loop)
        return loop

    def _next_number(self, outer: Loop | None) -> int:
        if outer is None:
            self._unnamed += 1
            return self._unnamed
        outer.unnamed += 1
        return outer.unnamed

    def _visit(self, loop: Loop, source, every: int, total) -> Iterator:
        is_outermost = self._open[0] is loop
        if is_outermost:
            self._report(loop.cursor.done, total, begins=True)
        while True:
            for item in source.behind(loop.cursor):
                key = source.key_of(item)
                yield item
                self._assert_innermost(loop)
                self._go_on(loop, item, key)
                if is_outermost:
                    self._report(loop.cursor.done, total)
                if len(loop.fresh) >= every or self._control.is_due:
                    self._commit(loop, source)
                if loop.moved:
                    break
            else:
                return
            loop.moved = False

    def _go_on(self, loop: Loop, item, key) -> None:
        loop.cursor = Cursor(loop.cursor.done + 1, key)
        loop.fresh.append(item)
        if loop.has_inner:
            self._forget_within(loop)

    def _forget_within(self, loop: Loop) -> None:
        """Forget the loops that its last item had."""
        loop.has_inner = False
        loop.unnamed = 0
        size = len(loop.path)

        def is_outside(path: tuple) -> bool:
            return len(path) <= size or path[:size] != loop.path

        self._used = set(filter(is_outside, self._used))
        self._cursors = {
            path: cursor for path, cursor in self._cursors.items() if is_outside(path)
        }

    def _end(self, loop: Loop) -> None:
        """Note that it is not to be visited again, for whatever is committed next."""
        self._forget_within(loop)
        self._cursors[loop.path] = Cursor(loop.cursor.done, None, True)
        self._store()

    # Refusing what cannot work

    def _is_current(self) -> bool:
        return (
            local.run is self._run
            and self._transaction is not None
            and self._run.tm.get() is self._transaction
        )

    def _assert_current(self) -> None:
        if not self._is_current():
            raise RuntimeError(
                "the transaction was committed or aborted inside a loop of ctx.each, "
                "which has to do that itself to know what is done: use commit_every, "
                "and a savepoint to undo one item"
            )

    def _assert_innermost(self, loop: Loop) -> None:
        self._assert_current()
        if self._open[-1] is not loop:
            raise RuntimeError(
                "two loops of ctx.each take turns: a loop may stand inside another's "
                "body, but must have ended, or been closed, when that one goes on"
            )

    # Committing

    def _commit(self, loop: Loop, source) -> None:
        """Commit what was done, and begin anew; or have the items visited again.

        Raises Stopped, CancelledError and JobTimeoutError where they are due, and the
        conflict when it is not this loop alone that has to be repeated.
        """
        run, control = self._run, self._control
        # Past its timeout nothing more is stored.
        control.check_timeout()
        run._assert_owned()
        stops = control.is_stopping
        self._write(stops)
        try:
            run.tm.commit()
        except Exception as error:
            self._repeat(loop, source, explained(error, committing=True))
            return
        loop.conflicts = 0
        if stops:
            run.tm.begin()
            raise Stopped("the worker stops")
        self._begin(loop)
        for each in self._open:
            each.fresh = []
            each.moved = True
        for connection in run.jar.connections.values() if run.jar else ():
            connection.cacheGC()
        control.check()

    def _write(self, stops: bool) -> None:
        job = self._run.job
        for loop in self._open:
            self._cursors[loop.path] = loop.cursor
        self._store()
        if stops:
            give_back(job)
        elif job._active_start != self._run.started:
            self._run._mark()

    def _stored(self) -> dict[tuple, Cursor]:
        stored = self._run.job._cursors or {}
        return {path: Cursor(*cursor) for path, cursor in stored.items()}

    def _store(self) -> None:
        # Without our class a worker with older code can read the job.
        self._run.job._cursors = {
            path: tuple(cursor) for path, cursor in self._cursors.items()
        }

    def _begin(self, loop: Loop) -> None:
        run = self._run
        run.tm.begin()
        self._transaction = run.tm.get()
        self._begun_by = loop
        # Somebody may have taken the job over since.
        run._assert_owned()
        run.job.begin_again()

    def _repeat(self, loop: Loop, source, error: Exception) -> None:
        """After a failed commit: visit the items again, or raise the error."""
        run = self._run
        alone = self._begun_by is loop
        run.tm.abort()
        run.tm.begin()
        conflict = isinstance(error, TransactionError) and not isinstance(
            error, (*SYSTEM_ERRORS, TakenId)
        )
        loop.conflicts += 1
        if not (conflict and alone) or loop.conflicts > AGAIN:
            raise error
        self._pause(random.uniform(0, CONFLICT_PAUSE * 2**loop.conflicts))
        run.tm.begin()
        self._transaction = run.tm.get()
        run._assert_owned()
        run.job.begin_again()
        self._cursors = self._stored()
        loop.cursor = self._cursors.get(loop.path, Cursor())
        source.repeat(loop.fresh)
        loop.fresh = []
        loop.moved = True
        self._forget_within(loop)

    def _pause(self, seconds: float) -> None:
        stopping = self._control.stopping
        if stopping is None:
            time.sleep(seconds)
        else:
            stopping.wait(seconds)
