"""What pages, REST and command line see of a job: facts, no persistent objects."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from collective.clockwork import _
from collective.clockwork import identity
from collective.clockwork.engine import clock
from collective.clockwork.engine import progress
from collective.clockwork.engine.base import reading_error
from collective.clockwork.engine.callables import dotted_name
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.interfaces import ACTIVE
from collective.clockwork.engine.interfaces import CALLBACKS
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import QUARANTINED
from collective.clockwork.engine.job import isFailure
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.live import notes_of
from collective.clockwork.sitejob import BatchJob
from collective.clockwork.sitejob import SiteJob
from dataclasses import dataclass
from datetime import datetime
from datetime import timezone
from heapq import merge
from itertools import islice
from reprlib import Repr
from transaction.interfaces import TransactionError
from typing import Any
from ZODB.utils import u64


#: Statuses that a JobInfo can have.
STATUSES = ("queued", "active", "completed", "failed", "cancelled", "quarantined")

#: Statuses of jobs that have ended.
ENDED = ("completed", "failed", "cancelled")

#: How many jobs of one queue, or of one agent's history, are looked at for one
#: answer. It bounds the work that a page causes, whatever waits in the queue.
SCAN_LIMIT = 1000

#: How many characters of a result or of arguments are shown.
TEXT_LIMIT = 2000

#: How many members of a batch are named.
NAMED_MEMBERS = 20

#: Name of the agent of an instance that runs background views only.
VIEWS_AGENT = "views"


@dataclass(frozen=True)
class JobInfo:
    """One job of a site, as it was when it was asked for.

    All times are aware and in UTC.
    """

    #: The object id in the queues' database, as a decimal number.
    id: str
    #: Name of the queue that it is in, or came from.
    queue: str
    #: Dotted name of the function.
    function: str
    #: Path of the context when it was queued; None for a batch.
    context: str | None
    #: Id of the user; None for anonymous.
    user: str | None
    #: Path of the site when it was queued.
    site: str
    #: One of STATUSES.
    status: str
    queued_at: datetime | None
    #: Not begun before this moment.
    due: datetime | None
    started: datetime | None
    ended: datetime | None
    #: repr of what the function returned, cut at TEXT_LIMIT.
    result: str | None
    #: "Type: message" of a failed job.
    error: str | None
    traceback: str | None
    #: Why a queued job waits, who set aside or cancelled it, or how many jobs of a
    #: batch failed; a text for people.
    reason: str | None
    quota_names: tuple[str, ...]
    #: How often it was taken back or tried again; 0 in the normal case.
    attempt: int
    #: From 0 to 1, if the job tells it.
    progress: float | None
    #: repr of the arguments after the context, cut at TEXT_LIMIT; of a batch the names
    #: of its first members.
    arguments: str
    #: What the function calls this job, a text for people; None if it has no title.
    title: str | None = None
    #: How it ended before it was retried, "Type: message", oldest first.
    earlier_errors: tuple[str, ...] = ()
    #: How many jobs of a batch failed; 0 until it is completed, and for other jobs.
    failed_members: int = 0


def status_of(job: Any) -> str:
    """One of STATUSES. A job that performs its callbacks has its result already."""
    if job.status in (COMPLETED, CALLBACKS):
        result = job.stored_result
        if not isFailure(result):
            return "completed"
        return "cancelled" if result.check(CancelledError) else "failed"
    if job.status == QUARANTINED:
        return "quarantined"
    return "active" if job.status == ACTIVE else "queued"


def describe(job: Any) -> JobInfo:
    """The facts about a job that the service queued."""
    status = status_of(job)
    queue = job.queue
    ended = status in ENDED
    failure = job.stored_result if status == "failed" else None
    begun = ended or status == "active"
    failed = _failed_members(job) if status == "completed" else 0
    return JobInfo(
        id=str(u64(job._p_oid)),
        queue="" if queue is None else queue.name,
        function=job.callable_name,
        context="/".join(job.context_path) or None,
        user=job.user_id,
        site="/".join(job.site_path),
        status=status,
        queued_at=_utc(job.queued_at),
        due=_utc(job.begin_after),
        started=_utc(_begun(job)) if begun else None,
        ended=_utc(job.active_end) if ended else None,
        result=excerpt(job.stored_result) if status == "completed" else None,
        error=None if failure is None else _error(failure),
        traceback=None if failure is None else failure.getTraceback(),
        reason=_reason(job, queue, status, failed),
        quota_names=tuple(job.quota_names),
        attempt=job.attempt,
        progress=_progress(job),
        arguments=_arguments(job),
        title=job.title,
        earlier_errors=tuple(
            _cut(f"{ending.kind.rpartition('.')[2]}: {ending.message}")
            for ending in job.endings
        ),
        failed_members=failed,
    )


def matcher(
    user: str | None, function: Callable | str | None, context: Any
) -> Callable[[Any], bool]:
    """Whether a job is what was asked for; None asks for nothing in particular.

    ``function`` is one, or its dotted name; ``context`` an object, or its path.
    ValueError for a function without a name of its own.
    """
    if function is not None and not isinstance(function, str):
        function = dotted_name(function).replace(":", ".")
    path = uid = None
    if isinstance(context, str):
        path = tuple(context.split("/"))
    elif context is not None:
        path, uid = context.getPhysicalPath(), identity.uid_of(context)

    def is_about(job: Any) -> bool:
        if uid is not None and job.context_uid is not None:
            return job.context_uid == uid
        return job.context_path == path

    def matches(job: Any) -> bool:
        return (
            (user is None or job.user_id == user)
            and (function is None or job.callable_name == function)
            and (path is None or is_about(job))
        )

    return matches


def find(
    queues: Mapping[str, Any],
    is_wanted: Callable[[Any], bool],
    statuses: Sequence[str],
    limit: int | None = None,
) -> list:
    """Jobs that are wanted and have one of these statuses, each once, unsorted.

    Of finished ones at most ``limit``, the newest.
    """

    def matches(job: Any) -> bool:
        return is_loadable(job) and is_wanted(job) and status_of(job) in statuses

    found = {job._p_oid: job for job in _unfinished(queues, statuses) if matches(job)}
    if not set(statuses).isdisjoint(ENDED):
        finished = filter(matches, _finished(queues))
        found.update((job._p_oid, job) for job in islice(finished, limit))
    return list(found.values())


def _agents(queues: Mapping[str, Any]) -> list:
    return [
        agent
        for queue in queues.values()
        for agents in queue.dispatchers.values()
        for agent in agents.values()
    ]


def _unfinished(queues: Mapping[str, Any], statuses: Sequence[str]) -> Iterator:
    """Jobs that wait or run, and those that ended a moment ago."""
    for queue in queues.values():
        # A job that was cancelled while it waited stays there until the next claim.
        if not {"queued", "cancelled"}.isdisjoint(statuses):
            yield from islice(queue, SCAN_LIMIT)
        if "quarantined" in statuses:
            yield from islice(queue.quarantine, SCAN_LIMIT)
        yield from islice(queue.waiting.values(), SCAN_LIMIT)
    for agent in _agents(queues):
        yield from list(agent)


def _finished(queues: Mapping[str, Any]) -> Iterator:
    """Jobs that ended, the last one first."""
    histories = [agent.completed for agent in _agents(queues)]
    return islice(merge(*histories, key=_age), SCAN_LIMIT)


def is_loadable(job: Any) -> bool:
    """Whether the job's record can be read here; the worker's log says why not."""
    return reading_error(job) is None


def running_first(job: Any) -> tuple[bool, float]:
    """Sort key: what runs comes first, then the job that was queued last."""
    queued_at = job.queued_at
    age = 0.0 if queued_at is None else -queued_at.timestamp()
    return status_of(job) != "active", age


def _age(job: Any) -> float:
    ended = job.active_end
    return 0.0 if ended is None else -ended.timestamp()


def _begun(job: Any) -> datetime | None:
    """When it began: before its commit only its agent knows that."""
    if job.active_start is not None:
        return job.active_start
    agent = job.agent
    return None if agent is None else agent.running_since(job)


def _progress(job: Any) -> float | None:
    """What the job reports, or notes as ``progress``, live or with its commit."""
    value = job.annotations.get("progress")
    if value is None:
        value = notes_of(job).get("progress")
    if value is None:
        percent = progress.of(job).percent
        value = None if percent is None else percent / 100
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(timezone.utc)


class _Excerpt(Repr):
    """A repr that reads no more values than would be shown of a container."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 20
        self.maxlist = self.maxtuple = self.maxarray = self.maxdeque = TEXT_LIMIT
        self.maxset = self.maxfrozenset = TEXT_LIMIT
        # So that it is cut at its end, and not by Repr in its middle.
        self.maxstring = self.maxlong = 3 * TEXT_LIMIT
        self._left = TEXT_LIMIT

    def repr1(self, x: Any, level: int) -> str:
        """See Repr. Jobs are shown by their names."""
        self._left -= 1
        if self._left < 0:
            return "…"
        try:
            return _name(x) if isinstance(x, Job) else super().repr1(x, level)
        except TransactionError:
            raise
        except Exception:
            # A page must show the job, whatever the value's class does.
            return f"<{type(x).__name__}>"

    def repr_dict(self, x: Mapping, level: int) -> str:
        """See Repr, which would sort it."""
        if level <= 0:
            return "{…}"
        items = islice(x.items(), TEXT_LIMIT)
        shown = [
            f"{self.repr1(name, level - 1)}: {self.repr1(value, level - 1)}"
            for name, value in items
        ]
        return f"{{{', '.join(shown)}}}"

    def repr_bytes(self, x: bytes, level: int) -> str:
        """See Repr."""
        return repr(x[:TEXT_LIMIT])

    def repr_instance(self, x: Any, level: int) -> str:
        """See Repr."""
        return repr(x)

    # Their own repr is that of what they hold.
    repr_PersistentMapping = repr_dict
    repr_PersistentList = Repr.repr_list


def _repr(value: Any) -> str:
    return _Excerpt().repr(value)


def excerpt(value: Any) -> str:
    """repr of any value, cut at TEXT_LIMIT, whatever its class does."""
    if isinstance(value, tuple) and value and isinstance(value[0], Job):
        return _cut(f"({_names(value)})")
    return _cut(_repr(value))


def _name(job: Any) -> str:
    if isinstance(job, Job) and is_loadable(job):
        return job.callable_name
    return f"<{type(job).__name__}>"


def _names(jobs: Sequence) -> str:
    names = [_name(job) for job in islice(jobs, NAMED_MEMBERS)]
    return ", ".join(names if len(jobs) <= NAMED_MEMBERS else [*names, "…"])


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else f"{text[: TEXT_LIMIT - 1]}…"


def _arguments(job: Any) -> str:
    if isinstance(job, BatchJob):
        return _cut(_names(job.args))
    positional = [_repr(value) for value in islice(job.args, TEXT_LIMIT)]
    named = [f"{name}={_repr(value)}" for name, value in job.kwargs.items()]
    return _cut(", ".join(positional + named))


def _error(failure: Any) -> str:
    name = failure.typeName.rpartition(".")[2]
    return _cut(f"{name}: {failure.getErrorMessage()}")


def _reason(job: Any, queue: Any, status: str, failed: int) -> str | None:
    if status == "cancelled":
        return _cancelled(**explain(job).values)
    if status == "quarantined":
        return _(
            "reason_quarantined",
            default="Set aside, because its process died ${deaths} times: release or "
            "discard it",
            mapping={"deaths": explain(job).values["deaths"]},
        )
    if status == "completed":
        return _some_failed(failed, job) if failed else None
    if status != "queued":
        return None
    if queue is None:
        return _("It is in no queue: its batch has not come to it, or it was taken out")
    if job.waits_for:
        return job.waits_for
    if queue.paused is not None:
        return _("The queue is paused")
    now = clock.now()
    if job.begin_after is not None and job.begin_after > now:
        return _("Its time has not come")
    if not any(is_alive(agents) for agents in queue.dispatchers.values()):
        return _("No worker is alive")
    for name in job.quota_names:
        quota = queue.quotas.get(name)
        if quota is not None and quota.filled:
            return _(
                "reason_quota",
                default="No place is free in the quota ${quota}",
                mapping={"quota": name},
            )
    return _("It is next, or other jobs are before it")


def _failed_members(job: Any) -> int:
    """How many failed of those members of a batch that can be read."""
    members = job.args if isinstance(job, BatchJob) else ()
    return sum(
        isinstance(member, SiteJob)
        and is_loadable(member)
        and isFailure(member.stored_result)
        for member in members
    )


def _some_failed(failed: int, job: Any) -> str:
    return _(
        "reason_failed_members",
        default="${failed} of the ${count} jobs of this batch failed",
        mapping={"failed": failed, "count": len(job.args)},
    )


def _cancelled(by: str | None = None, reason: str | None = None, **_others) -> str:
    details = ": ".join(filter(None, (by, reason)))
    if not details:
        return _("It was cancelled")
    return _(
        "reason_cancelled",
        default="It was cancelled: ${details}",
        mapping={"details": details},
    )


def is_alive(agents: Any) -> bool:
    """Whether a dispatcher, given by its DispatcherAgents, can run any job now."""
    return agents.alive and VIEWS_AGENT not in agents
