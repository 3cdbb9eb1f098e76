"""A job that failed for good is run once more, because somebody asked for it.

It stays the same job: what calls it makes with its idempotency key are still the same
to remote systems, and its loops go on behind what they have committed. How it ended
before is kept. Written by who asks, in places that claimers write, as by a release from
quarantine: it may conflict with one.
"""

from __future__ import annotations

from . import clock
from . import unique
from .commit import log
from .errors import CancelledError
from .failure import isFailure
from .interfaces import BadStatusError
from .interfaces import ICallbackProxy
from .times import FINISHED
from .times import NOT_BEGUN
from typing import NamedTuple


#: Ends that are remembered: the newest.
KEPT = 5
#: Characters of a message that are.
MESSAGE_LENGTH = 500


class Ending(NamedTuple):
    """How a job ended that was retried since; stored as it is."""

    #: When, in microseconds since 1970.
    at_us: int | None
    #: Dotted name of the exception, and its message, perhaps cut.
    kind: str
    message: str


def retry(job) -> None:
    """Let a failed job wait again, in front of the others and with fresh counts.

    In the caller's transaction. Its callbacks are called again. BadStatusError if it is
    not finished, has not failed, or was cancelled; LookupError if its queue is gone;
    DuplicateJobError if another unfinished job has its unique key by now. A job that is
    set aside is released instead; see ``quarantine``.
    """
    _require_failed(job)
    queue = job.queue
    if queue is None:
        raise LookupError(
            f"{job!r} has no queue any more, so it cannot be retried: queue the call "
            "anew"
        )
    unique.retake(queue, job)
    _take_from_finished(queue, job)
    failure = job._result
    ending = Ending(job._active_end, failure.typeName, failure.message[:MESSAGE_LENGTH])
    job._endings = (*job._endings, ending)[-KEPT:]
    for callback in job._callbacks:
        _reset_callback(callback)
    _reset(job)
    job._tries += 1
    if job.is_held(clock.now_us()):
        # It was ended before its time had come.
        job._begin_after = None
    queue.take_back(job, front=True)
    log.info("%s is retried after %s", repr(job), ending.kind)


def _require_failed(job) -> None:
    if job._status != FINISHED:
        raise BadStatusError(
            f"{job!r} cannot be retried in status {job.status}: it has not ended"
        )
    if not isFailure(job._result):
        raise BadStatusError(f"{job!r} has not failed, so it cannot be retried")
    if job._result.check(CancelledError):
        raise BadStatusError(
            f"{job!r} was cancelled, so it cannot be retried: queue the call anew"
        )


def _take_from_finished(queue, job) -> None:
    """Take a finished job out of wherever it is; nobody may file it afterwards."""
    holder = queue.holder(job)
    if holder is not None:
        # It ended a moment ago. Its worker's next sweep conflicts with this.
        holder.release(job)
        return
    agent = job.agent
    if agent is not None and agent.completed.remove(job):
        return
    for agents in queue.dispatchers.values():
        # Ended by somebody else than the one that files it.
        if any(other.completed.remove(job) for other in agents.values()):
            return
    queue._take_out(job)


def _reset(job) -> None:
    """Make of a finished job one that was never begun, except for its loops."""
    job.attempt += 1
    job._status = NOT_BEGUN
    job._result = None
    job._deferred = False
    job._aborting = False
    job._active_start = job._active_end = job._callbacks_end = None
    job._retry_policy = None
    job._report = None
    job.waits_for = None
    if job._deaths is not None:
        # What is known of them stays; they count anew.
        job._deaths.count = 0


def _reset_callback(callback) -> None:
    """Let a callback, and what follows on it, be called again."""
    if not ICallbackProxy.providedBy(callback):
        _reset(callback)
        for following in callback._callbacks:
            _reset_callback(following)
        return
    chosen = callback.job
    if chosen is not None:
        _reset_callback(chosen)
        chosen._callbacks = tuple(
            each for each in chosen._callbacks if each not in callback._waiting
        )
        callback.job = None
