"""What pages, REST and command line see of a job: facts, no persistent objects."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from collective.clockwork import _
from collective.clockwork.engine import progress
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.interfaces import ACTIVE
from collective.clockwork.engine.interfaces import CALLBACKS
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import IJob
from collective.clockwork.engine.interfaces import QUARANTINED
from collective.clockwork.engine.job import isFailure
from collective.clockwork.engine.live import notes_of
from dataclasses import dataclass
from datetime import datetime
from datetime import timezone
from heapq import merge
from itertools import islice
from typing import Any
from ZODB.POSException import ConflictError
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
    #: Why a queued job waits, or who set aside or cancelled it; a text for people.
    reason: str | None
    quota_names: tuple[str, ...]
    #: How often it was taken back or tried again; 0 in the normal case.
    attempt: int
    #: From 0 to 1, if the job tells it.
    progress: float | None
    #: repr of the arguments after the context, cut at TEXT_LIMIT.
    arguments: str


def status_of(job: Any) -> str:
    """One of STATUSES. A job that performs its callbacks has its result already."""
    if job.status in (COMPLETED, CALLBACKS):
        if not isFailure(job.result):
            return "completed"
        return "cancelled" if job.result.check(CancelledError) else "failed"
    if job.status == QUARANTINED:
        return "quarantined"
    return "active" if job.status == ACTIVE else "queued"


def describe(job: Any) -> JobInfo:
    """The facts about a job that the service queued."""
    status = status_of(job)
    queue = job.queue
    ended = status in ENDED
    failure = job.result if status == "failed" else None
    begun = ended or status == "active"
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
        result=_excerpt(job.result) if status == "completed" else None,
        error=None if failure is None else _error(failure),
        traceback=None if failure is None else failure.getTraceback(),
        reason=_reason(job, queue, status),
        quota_names=tuple(job.quota_names),
        attempt=job.attempt,
        progress=_progress(job),
        arguments=_arguments(job.args, job.kwargs if job.context_path else {}),
    )


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
    try:
        job._p_activate()
    except ConflictError:
        raise
    except Exception:
        # Loading runs code of whatever classes were stored with the job. A page
        # must show the others.
        return False
    return True


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


def _repr(value: Any) -> str:
    if IJob.providedBy(value):
        return value.callable_name
    if isinstance(value, tuple) and any(map(IJob.providedBy, value)):
        return f"({', '.join(map(_repr, value))})"
    try:
        return repr(value)
    except Exception:
        # A page must show the job, whatever the value's class does.
        return f"<{type(value).__name__}>"


def _excerpt(value: Any) -> str:
    return _cut(_repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else f"{text[: TEXT_LIMIT - 1]}…"


def _arguments(args: Iterable, kwargs: Mapping[str, Any]) -> str:
    positional = [_repr(value) for value in args]
    named = [f"{name}={_repr(value)}" for name, value in kwargs.items()]
    return _cut(", ".join(positional + named))


def _error(failure: Any) -> str:
    name = failure.typeName.rpartition(".")[2]
    return _cut(f"{name}: {failure.getErrorMessage()}")


def _reason(job: Any, queue: Any, status: str) -> str | None:
    if status == "cancelled":
        return _cancelled(**explain(job).values)
    if status == "quarantined":
        return _(
            "reason_quarantined",
            default="Set aside, because its process died ${deaths} times: release or "
            "discard it",
            mapping={"deaths": explain(job).values["deaths"]},
        )
    if status != "queued":
        return None
    if job.waits_for:
        return job.waits_for
    if queue.paused is not None:
        return _("The queue is paused")
    now = datetime.now(timezone.utc)
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
    """Whether a dispatcher, given by its DispatcherAgents, can run jobs now."""
    return agents.alive
