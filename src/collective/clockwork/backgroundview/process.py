"""Processes: the work of background views, from the request to the last download.

A process is found by its id, which has the number of its job in it and 122 random
bits: who does not know them finds nothing. What is kept for it hangs on its job, so it
goes when the job is swept, and there is no list of processes that could grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from collective.clockwork import _
from collective.clockwork import jobinfo
from collective.clockwork import jobrules
from collective.clockwork.backgroundview import here
from collective.clockwork.backgroundview import running
from collective.clockwork.backgroundview import sent
from collective.clockwork.backgroundview import visitor
from collective.clockwork.backgroundview.answer import Answer
from collective.clockwork.backgroundview.errors import NoSuchProcessError
from collective.clockwork.backgroundview.errors import ThreadDiedBeforeCompletionError
from collective.clockwork.backgroundview.sent import SentRequest
from collective.clockwork.engine import clock
from collective.clockwork.engine import progress
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.interfaces import IQueue
from collective.clockwork.identity import uid_of
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.sitejob import ServiceJob
from dataclasses import dataclass
from datetime import timedelta
from persistent import Persistent
from plone.protect.utils import safeWrite
from typing import Any
from uuid import uuid4
from ZODB.POSException import POSKeyError
from ZODB.utils import p64
from zope.component import getUtility

import hmac
import re


#: Quota of the jobs of background views. It is their own, so that they hold up no
#: other jobs; made with the first of them, and its size can be changed.
QUOTA = "clockwork-views"
QUOTA_SIZE = 3

#: 32 hex digits by chance, and the number of the job.
ID = re.compile(r"([0-9a-f]{32})([0-9a-f]{1,16})")

UNFINISHED = ("queued", "active")


def uid_generator() -> str:
    """32 hex digits that nobody guesses. As in netsight.async."""
    return uuid4().hex


class Process(Persistent):
    """One run of a background view. The argument of its job.

    Written by the request that starts it, then by its job, in the commit that ends it,
    and then by those who fetch an answer that is there once: of two at the same moment
    one has a conflict, is tried again, and finds nothing.
    """

    #: The random part of its id.
    token: str = ""
    view_name: str = ""
    #: Digest of the name of an anonymous starter; see ``visitor``.
    visitor: str | None = None
    #: How long the answer is kept.
    lifetime: timedelta = timedelta(days=1)
    #: Whether the answer can be fetched once only.
    once: bool = True
    #: Whether the one who started it may stop it.
    cancellable: bool = True
    #: Whether an instance may run it while there is no worker.
    runs_here: bool = True
    #: What was sent; None once there is an answer.
    sent: SentRequest | None = None
    #: What came of it; None before, and when it was fetched.
    answer: Answer | None = None
    fetched: bool = False

    def __repr__(self) -> str:
        return f"<process of the view {self.view_name!r}>"

    def id_in(self, job: Any) -> str:
        """The id by which this process, the argument of ``job``, is found."""
        return f"{self.token}{int(job.id):x}"


@dataclass(frozen=True)
class Wishes:
    """What a view asks for its processes."""

    #: Options of the job; see ``service.using``.
    job_options: Mapping[str, Any]
    #: See Process.
    lifetime: timedelta
    once: bool
    cancellable: bool
    runs_here: bool
    #: Bytes that may be sent to it.
    body_limit: int


def start(context: Any, view_name: str, request: Any, wishes: Wishes) -> str:
    """Queue the work of this view in the current transaction; the id of the process.

    Raises what ``service.using`` and ``sent.keep`` raise.
    """
    service = getUtility(IAsyncService)
    queues = service.getQueues()
    connection = queues._p_jar
    _ensure_quota(queues, wishes.job_options.get("queue", ""))
    process = Process()
    process.token = uid_generator()
    process.view_name = view_name
    process.lifetime, process.once = wishes.lifetime, wishes.once
    process.cancellable = wishes.cancellable
    process.runs_here = wishes.runs_here
    connection.add(process)
    process.sent = sent.keep(request, connection, wishes.body_limit)
    if jobrules.current().user_id is None:
        process.visitor = visitor.ensure(request)
    title = _("background_view", default="View ${name}", mapping={"name": view_name})
    options = {
        "title": title,
        "quota": QUOTA,
        "keep_result": wishes.lifetime,
        "keep_failure": wishes.lifetime,
        **wishes.job_options,
    }
    job = service.using(**options).queueJob(running.run, context, process)
    if job.id is None:
        # Whoever started it is led to its page, before the commit that stores it.
        connection.add(job)
    # With on_duplicate="drop" it is one that was queued before.
    process = running.process_of(job)
    here.run_if_needed(service, process)
    return process.id_in(job)


def _ensure_quota(queues: Any, asked: Any) -> None:
    """Make the quota in the queue that was asked for, by its name or as itself."""
    queue = queues.get(asked) if isinstance(asked, str) else asked
    # Of what is no queue the service tells.
    if IQueue.providedBy(queue) and QUOTA not in queue.quotas:
        queue.quotas.create(QUOTA, size=QUOTA_SIZE)


def find(process_id: Any, context: Any, view_name: str, request: Any) -> Found:
    """The process of this view, for the current visitor.

    Raises NoSuchProcessError if there is none, or none that she may see, or if its
    answer was fetched, or has expired.
    """
    found = _find(process_id, request)
    if found is None or not found.is_of(context, view_name) or found.is_over():
        raise NoSuchProcessError(process_id)
    if found.is_unfinished:
        # It may have waited for an instance that was stopped.
        here.run_if_needed(getUtility(IAsyncService), found.process)
    return found


def _find(process_id: Any, request: Any) -> Found | None:
    match = ID.fullmatch(process_id) if isinstance(process_id, str) else None
    if match is None or int(match[2], 16) >= 2**63:
        return None
    try:
        connection = getUtility(IAsyncService).getQueues()._p_jar
        job = connection.get(p64(int(match[2], 16)))
    except POSKeyError:
        return None
    viewer = jobrules.current()
    if not (
        isinstance(job, ServiceJob) and jobinfo.is_loadable(job) and viewer.knows(job)
    ):
        return None
    process = running.process_of(job)
    if process is None or not hmac.compare_digest(process.token, match[1]):
        return None
    is_visitor = (
        process.visitor is not None and visitor.current(request) == process.visitor
    )
    is_starter = is_visitor or viewer.owns(job)
    if not (is_starter or viewer.manages):
        return None
    return Found(process, job, viewer, is_starter)


@dataclass(frozen=True)
class Found:
    """A process that the current visitor may see."""

    process: Process
    job: ServiceJob
    viewer: jobrules.Viewer
    #: Whether she started it herself; else she may manage jobs.
    is_starter: bool

    def is_of(self, context: Any, view_name: str) -> bool:
        """Whether it was started on this view of this object, moved or not."""
        if self.process.view_name != view_name:
            return False
        uid = uid_of(context)
        if uid is not None and self.job.context_uid is not None:
            return uid == self.job.context_uid
        return context.getPhysicalPath() == self.job.context_path

    def is_over(self) -> bool:
        """Whether its answer was fetched, or is older than it is kept.

        The sweep comes somewhat later.
        """
        if self.process.fetched:
            return True
        ended = None if self.is_unfinished else self.job.active_end
        return ended is not None and clock.now() - ended > self.process.lifetime

    @property
    def status(self) -> str:
        """One of ``jobinfo.STATUSES``."""
        return jobinfo.status_of(self.job)

    @property
    def is_unfinished(self) -> bool:
        """Whether it waits or runs."""
        return self.status in UNFINISHED

    @property
    def may_cancel(self) -> bool:
        """Whether it can be stopped now, by this visitor."""
        allowed = self.process.cancellable or self.viewer.manages
        return self.is_unfinished and allowed

    @property
    def said(self) -> progress.Progress:
        """What it says of itself."""
        return progress.of(self.job)

    @property
    def error(self) -> ThreadDiedBeforeCompletionError | None:
        """By what it ended without a result; None if it did not."""
        status = self.status
        if status == "quarantined":
            cause: BaseException = RuntimeError("its processes died of it")
        elif status in ("failed", "cancelled"):
            cause = self.job.stored_result.value
        else:
            return None
        return ThreadDiedBeforeCompletionError(cause, error_id=self.job.id)

    def cancel(self) -> None:
        """Stop it, in the current transaction; nothing happens if it is too late."""
        self.job.cancel(by=self.viewer.user_id)

    def give(self, response: Any, request: Any) -> None:
        """Let the response be its answer; it must be completed.

        Of one that is kept for once nothing is left then. A manager who looks at it
        takes it away from nobody.
        """
        process = self.process
        process.answer.give(response, with_cookies=self.is_starter)
        if process.once and self.is_starter and request.method != "HEAD":
            process.answer, process.fetched = None, True
            # Asked for by GET, and harmless: it takes the id to do that.
            safeWrite(process, request)


def is_cancelled(error: ThreadDiedBeforeCompletionError) -> bool:
    """Whether somebody has stopped it."""
    return isinstance(error.args[0], CancelledError)
