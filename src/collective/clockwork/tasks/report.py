"""What a task did, skipped and could not do.

The report is an annotation of the job, so each chunk's part of it is committed together
with the chunk: it is right when the job goes on after a crash, when a chunk has to be
done again, and when the job is cancelled.
"""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl.Permissions import view as VIEW
from collections.abc import Callable
from collective.clockwork.engine.commit import SYSTEM_ERRORS
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.interfaces import ReassignedError
from collective.clockwork.tasks.tree import Found
from collective.clockwork.tasks.tree import Tree
from plone.locking.interfaces import ILockable
from Products.CMFCore.indexing import processQueue
from transaction.interfaces import TransactionError
from typing import Any
from zExceptions import Unauthorized
from ZODB.POSException import POSKeyError

import logging
import transaction


logger = logging.getLogger("collective.clockwork")

#: Name of the annotation.
ANNOTATION = "collective.clockwork.tasks"
#: So many objects of each kind are named; of others there is only the number.
NAMED = 100
#: Characters of a text in the report.
TEXT_LENGTH = 300

#: Reasons for which an object is skipped.
GONE = "gone"
LOCKED = "locked"
UNAUTHORIZED = "unauthorized"
#: The same for an object that the user may not see; it is counted, and not named.
HIDDEN = "hidden"

#: The kinds of entries that are lists.
LISTS = ("skipped", "failed", "broken", "unchecked")

#: Errors that are not the object's: the job ends, or the chunk is done again.
PASSING_ERRORS = (
    TransactionError,
    *(error for error in SYSTEM_ERRORS if error is not POSKeyError),
    CancelledError,
    JobTimeoutError,
    ReassignedError,
)


class Skip(Exception):
    """Raised for an object that is to be left as it is; says why, by one of our words.

    It has to be raised before anything is changed: nothing is rolled back for it.
    ``reason`` is one of those above, or a word of the task.
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Report:
    """The report of the job that runs.

    Its entries: ``done`` counts objects; ``skipped`` and ``failed`` are lists of path
    and reason, at most NAMED long; ``skipped_total`` and so on count them all;
    ``hidden`` counts what was skipped and may not be seen by the job's user,
    ``removed`` entries that a catalog had without an object.
    """

    def __init__(self, job: Any):
        self._job = job

    def as_dict(self) -> dict[str, Any]:
        """A copy, as the task returns it."""
        return report_of(self._job)

    def count(self, name: str, number: int = 1) -> None:
        """Count so many objects as ``done``, ``hidden`` or ``removed``."""
        entries = self.as_dict()
        entries[name] += number
        self._job.annotations[ANNOTATION] = entries

    def note(self, name: str, *texts: str) -> None:
        """Add path and reason, or more texts, to one of LISTS."""
        entries = self.as_dict()
        entries[f"{name}_total"] += 1
        if len(entries[name]) < NAMED:
            cut = tuple(text[:TEXT_LENGTH] for text in texts)
            entries[name] = [*entries[name], cut]
        self._job.annotations[ANNOTATION] = entries


def report_of(job: Any) -> dict[str, Any]:
    """What the job has reported by now, as far as it was committed."""
    kept = job.annotations.get(ANNOTATION, {})
    empty = {name: [] for name in LISTS}
    totals = {f"{name}_total": 0 for name in LISTS}
    return {"done": 0, "hidden": 0, "removed": 0, **empty, **totals, **kept}


def go_through(
    tree: Tree,
    work: Callable[[Any], None],
    ctx: Any,
    *,
    commit_every: int,
) -> dict[str, Any]:
    """Do ``work`` with each object; the report.

    ``work`` raises Skip for an object that it leaves alone. Any other error of its
    own, or of the indexing that follows, is reported as failed: nothing of what was
    done to that object remains. ``work`` is then called again for those before it
    that are not committed yet.
    """
    report = Report(ctx.job)

    def do(found: Found) -> bool:
        if found.obj is None:
            raise Skip(GONE)
        require_visible(found.obj)
        ctx.progress(message=found.path)
        work(found.obj)
        return True

    visits = Visits(report, do, counted="done")
    for found in ctx.each(
        tree.behind,
        commit_every=commit_every,
        key=lambda found: found.key,
        total=tree.estimate(),
    ):
        visits.visit(found.path, found)
    return report.as_dict()


class Visits:
    """Calls ``work`` for one object after the other, and reports what came of it.

    A savepoint writes all that was changed before it, the order of a large folder and
    parts of the catalog for instance. So there is one for each transaction, and only
    when an error comes up it is rolled back to, and each object of that transaction
    gets a savepoint of its own, which finds the one at fault.

    ``work`` is given the object, and says whether it is to be counted, as ``counted``.
    The report is rolled back together with the rest, so all are counted once.
    """

    def __init__(self, report: Report, work: Callable[[Any], bool], *, counted: str):
        self._report = report
        self._work = work
        self._counted = counted
        #: The transaction, its savepoint, and what was visited since.
        self._transaction: Any = None
        self._savepoint: Any = None
        self._visited: list[tuple[str, Any]] = []
        #: Whether an error came up in it.
        self._one_by_one = False

    def visit(self, path: str, item: Any) -> None:
        """Call ``work`` with the item; ``path`` names it in the report.

        Raises errors that are not the object's, and no others.
        """
        if transaction.get() is not self._transaction:
            self._begin()
        if self._one_by_one:
            self._visit_alone(path, item)
            return
        self._visited.append((path, item))
        try:
            self._visit(path, item)
        except PASSING_ERRORS:
            raise
        except Exception:
            # Whose error it is, and whether it comes up again, is found out one by one.
            self._savepoint.rollback()
            self._one_by_one = True
            for visited in self._visited:
                self._visit_alone(*visited)

    def _begin(self) -> None:
        self._transaction = transaction.get()
        self._savepoint = transaction.savepoint(optimistic=True)
        self._visited = []
        self._one_by_one = False

    def _visit_alone(self, path: str, item: Any) -> None:
        savepoint = transaction.savepoint(optimistic=True)
        try:
            self._visit(path, item)
        except PASSING_ERRORS:
            raise
        except Unauthorized:
            savepoint.rollback()
            self._report.note("skipped", path, UNAUTHORIZED)
        except Exception as error:
            # Subscribers and indexers of any add-on run in here: one of them must not
            # end what was asked for a thousand objects.
            logger.warning("A task left out %s", path, exc_info=True)
            savepoint.rollback()
            self._report.note("failed", path, f"{type(error).__name__}: {error}")

    def _visit(self, path: str, item: Any) -> None:
        try:
            counts = self._work(item)
        except Skip as skip:
            if skip.reason == HIDDEN:
                self._report.count("hidden")
            else:
                self._report.note("skipped", path, skip.reason)
            return
        # Here, as an error in it belongs to this object and not to the whole chunk.
        processQueue()
        if counts:
            self._report.count(self._counted)


def may(permission: str, obj: Any) -> bool:
    """Whether the job's user has the permission on this object."""
    return bool(getSecurityManager().checkPermission(permission, obj))


def require_visible(obj: Any) -> None:
    """Raise Skip unless the job's user may see the object."""
    if not may(VIEW, obj):
        raise Skip(HIDDEN)


def require(permission: str, obj: Any) -> None:
    """Raise Skip unless the job's user has the permission."""
    if not may(permission, obj):
        raise Skip(UNAUTHORIZED)


def require_unlocked(obj: Any) -> None:
    """Raise Skip if somebody else edits the object, or an application locked it."""
    lockable = ILockable(obj, None)
    if lockable is not None:
        if not lockable.can_safely_unlock():
            raise Skip(LOCKED)
    elif getattr(obj, "wl_isLocked", bool)():
        raise Skip(LOCKED)
