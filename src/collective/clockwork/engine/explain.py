"""Why a job waits, or what it does: one sentence, and the same as code and values.

It reads the job, what holds its quotas and what the workers have claimed; never the
other jobs that wait. What it says is as new as the caller's transaction.
"""

from __future__ import annotations

from . import clock
from .base import identity
from .base import reading_error
from .errors import CancelledError
from .errors import JobTimeoutError
from .errors import QuarantinedError
from .failure import isFailure
from .interfaces import AbortedError
from .interfaces import ICallbackProxy
from .interfaces import IJob
from .interfaces import TimeoutError
from .places import lane_names
from .places import LENT
from .places import without_priority
from .quota import holds_place
from .run import brief
from collections.abc import Callable
from datetime import datetime
from transaction.interfaces import TransactionError
from typing import NamedTuple
from ZODB.utils import u64


#: Code to sentence. A code's meaning never changes: user interfaces translate by it.
TEXTS = {
    # It is in no queue
    "new": "It was made, but not queued.",
    "removed": "It was taken out of its queue.",
    "callback": "It is a callback, and waits for the end of {of}.",
    # It waits
    "unreadable": "Its record cannot be read here: code that it needs is missing, or "
    "has changed. It is tried again from time to time.",
    "unresolvable": "It waits until its function can be imported: {missing}. The next "
    "try is at {at}.",
    "quarantined": "It is set aside since {since}, because processes died under it "
    "{deaths} times; somebody has to release or discard it.",
    "due": "It is to begin at {at}.",
    "retry": "It came to nothing {tries} times, and is tried again at {at}.",
    "snoozed": "It asked to be run again at {at}.",
    "late": "It was to begin by {by}, which has passed: the next free worker ends it.",
    "paused": "Its queue is paused by {by} since {since}: {reason}.",
    "no-worker": "No worker is alive; the last sign of life was at {last}.",
    "quota": "The quota {quota} has no place free: its size is {size}, and {holder} "
    "holds a place.",
    "quota-zero": "No job of the quota {quota} is run: its size is 0.",
    "no-agent": "Workers are alive, but none has an agent for this queue.",
    "not-accepted": "No agent of a worker that is alive accepts it.",
    "agent-paused": "The agent {agent}, which would take it, is paused by {by} since "
    "{since}: {reason}.",
    "busy": "All workers are busy: {places} jobs run or are about to.",
    "next": "It is taken as soon as its turn has come.",
    # A worker has it
    "claimed": "The worker {worker} has claimed it, and begins it soon.",
    "running": "It runs in the worker {worker} since {since}.",
    "by-hand": "It was begun at {since}, by a process that is no worker.",
    "cancelling": "It runs in the worker {worker}; {by} asked it to stop at {since}: "
    "{reason}.",
    "silent": "The worker {worker} had it, and has given no sign of life since {last}: "
    "another one takes it over.",
    "inner": "It was begun, and waits for the job {inner}.",
    "deferred": "It was begun, and waits for the result that it promised.",
    "callbacks": "Its own work is done since {at}, its callbacks are being run.",
    # It has ended
    "succeeded": "It was completed at {at}.",
    "failed": "It failed at {at}: {error}.",
    "cancelled": "It was cancelled at {at} by {by}: {reason}.",
    "expired": "It was not begun in time, and ended at {at}.",
    "timed-out": "It ran longer than {seconds} s, and was ended at {at}.",
    "aborted": "Its process ended or lost it too often; it was ended at {at}.",
    "discarded": "It was set aside after {deaths} deaths of its process, and discarded "
    "at {at}.",
}
CODES = tuple(TEXTS)

#: What a sentence says where nothing is known.
_UNKNOWN = {"by": "somebody", "reason": "no reason was given", "last": "no time"}


class Reason(NamedTuple):
    """Why a job waits, or what it does.

    ``code`` is one of CODES, ``values`` the variables of its sentence (None where not
    known; datetimes are aware), ``text`` the sentence.
    """

    code: str
    values: dict
    text: str

    def __str__(self) -> str:
        return self.text


def explain(job, now: datetime | None = None) -> Reason:
    """What keeps this job from being done, at ``now``; by default the present."""
    now_us = clock.now_us() if now is None else clock.to_us(now)
    if reading_error(job) is not None:
        return _reason("unreadable")
    if job._status >= 2:
        return _ended(job)
    above = job._parent
    if IJob.providedBy(above) or ICallbackProxy.providedBy(above):
        return _reason("callback", of=_name(_top(above)))
    if job._status == 1 and job.is_waiting:
        return _reason("inner", inner=_name(job._result))
    queue = job.queue
    agent = None if queue is None else queue.holder(job)
    if job._status == 1 and job._deferred and (agent is None or agent.parent.alive):
        return _reason("deferred")
    if agent is not None:
        return _with_worker(queue, agent, job)
    if job._status == 1:
        return _reason("by-hand", since=job.active_start)
    if queue is None:
        return _reason("new" if job._queued is None else "removed")
    return _set_aside(queue, job) or _waits(queue, job, now_us)


def _reason(code: str, **values) -> Reason:
    shown = {name: _shown(name, value) for name, value in values.items()}
    return Reason(code, values, TEXTS[code].format(**shown))


def _shown(name: str, value) -> str:
    if value is None:
        return _UNKNOWN.get(name, "unknown")
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    # The sentence has its own full stop.
    return str(value).rstrip(". \n")


def _name(job) -> str:
    """What a job calls, and its oid; one that cannot be read is named all the same."""
    if reading_error(job) is not None:
        return brief(job)
    oid = "not stored" if job._p_oid is None else f"oid {u64(job._p_oid)}"
    return f"{job.callable_name} ({oid})"


def _top(above):
    """The job that a callback, perhaps through proxies, belongs to."""
    while ICallbackProxy.providedBy(above):
        above = above.parent
    return above


def _ended(job) -> Reason:
    at, result = job.active_end, job._result
    if job._status == 2 and job._active_start is not None:
        return _reason("callbacks", at=at)
    if not isFailure(result):
        return _reason("succeeded", at=at)
    if result.check(CancelledError):
        error = result.value
        by, reason = getattr(error, "by", None), getattr(error, "reason", None)
        return _reason("cancelled", at=at, by=by, reason=reason)
    if result.check(TimeoutError):
        return _reason("expired", at=at)
    if result.check(JobTimeoutError):
        seconds = getattr(result.value, "seconds", None)
        return _reason("timed-out", at=at, seconds=seconds)
    if result.check(AbortedError):
        return _reason("aborted", at=at)
    if result.check(QuarantinedError):
        deaths = getattr(result.value, "deaths", None)
        return _reason("discarded", at=at, deaths=deaths)
    error = f"{result.typeName}: {result.message}"
    return _reason("failed", at=at, error=error)


def _with_worker(queue, agent, job) -> Reason:
    worker = agent.parent
    if not worker.alive:
        return _reason("silent", worker=str(worker.UUID), last=worker.last_ping)
    requests = queue.cancels
    oid, database = identity(job)
    request = requests.get((database, oid)) if requests else None
    if request is not None:
        return _reason(
            "cancelling",
            worker=str(worker.UUID),
            by=request.by,
            since=clock.from_us(request.at_us),
            reason=request.reason,
        )
    since = job.active_start or agent.running_since(job)
    if since is None:
        return _reason("claimed", worker=str(worker.UUID))
    return _reason("running", worker=str(worker.UUID), since=since)


def _set_aside(queue, job) -> Reason | None:
    quarantine = queue._quarantine
    if quarantine is not None and job in quarantine:
        return _reason(
            "quarantined", since=quarantine.since(job), deaths=job._deaths.count
        )
    if job.waits_for is not None:
        return _reason("unresolvable", missing=job.waits_for, at=job.begin_after)
    return None


def _waits(queue, job, now_us: int) -> Reason:
    if job.is_held(now_us):
        at = job.begin_after
        if job._tries:
            return _reason("retry", at=at, tries=job._tries)
        return _reason("snoozed" if job._snoozed else "due", at=at)
    paused = queue.paused
    if paused is not None:
        return _reason("paused", **_pause(paused))
    workers = [each for each in queue.dispatchers.values() if each.alive]
    if not workers:
        pings = [each.last_ping for each in queue.dispatchers.values()]
        return _reason("no-worker", last=max(filter(None, pings), default=None))
    agents = [agent for each in workers for agent in each.values() if agent.size]
    if job.is_expired(now_us) and any(agent.paused is None for agent in agents):
        # Whatever their filters say: any agent ends it.
        return _reason("late", by=clock.from_us(job.latest_begin()))
    takers = [agent for agent in agents if _would_take(agent, job)]
    if takers and all(agent.paused is not None for agent in takers):
        first = takers[0]
        return _reason("agent-paused", agent=first.name, **_pause(first.paused))
    return _held_by_quota(queue, job) or _what_agents_do(agents, takers)


def _pause(paused) -> dict:
    return {
        "by": paused.by,
        "since": clock.from_us(paused.at_us),
        "reason": paused.reason,
    }


def _held_by_quota(queue, job) -> Reason | None:
    for name in without_priority(lane_names(queue, job)):
        plain = name.removeprefix(LENT)
        quota = queue.quotas[plain]
        room = quota.room if name == plain else quota.lent_room
        if room >= 1:
            continue
        if quota.size == 0:
            return _reason("quota-zero", quota=plain)
        holder = next(filter(_is_reason(name), quota.running))
        return _reason("quota", quota=plain, size=quota.size, holder=_name(holder))
    return None


def _is_reason(name: str) -> Callable:
    """Whether a job that has a place is why there is none; see Quota's rooms."""

    def is_reason(job) -> bool:
        return holds_place(job) and not (name.startswith(LENT) and job.is_waiting)

    return is_reason


def _what_agents_do(agents: list, takers: list) -> Reason:
    if not agents:
        return _reason("no-agent")
    if not takers:
        return _reason("not-accepted")
    awake = [agent for agent in takers if agent.paused is None]
    if all(len(agent) >= agent.size for agent in awake):
        return _reason("busy", places=sum(len(agent) for agent in awake))
    return _reason("next")


def _would_take(agent, job) -> bool:
    if agent.chooser is not None:
        # Nobody can tell what it would choose.
        return True
    try:
        return agent.accepts(job)
    except TransactionError:
        raise
    except Exception:
        # The filter is the application's. The worker cannot claim with it either.
        return False
