"""From a claim, a call by hand or an interruption to a job's end.

``attempt`` makes the attempts; here stands what comes before and after them,
above all the callbacks.
"""

from __future__ import annotations

from . import clock
from .attempt import DEFERRED
from .attempt import DONE
from .attempt import due_of
from .attempt import LOST
from .attempt import manager
from .attempt import PUT_OFF
from .attempt import return_to_queue
from .attempt import Run
from .attempt import UNRESOLVABLE
from .attempt import WAITING
from .base import database_name
from .commit import log
from .commit import never_fail
from .commit import trace
from .commit import wait_for_system_recovery
from .deferred import is_expected
from .deferred import Promise
from .deferred import seen_from
from .deferred import take_promises
from .errors import CancelledError
from .failure import isFailure
from .interfaces import IAgent
from .interfaces import ICallbackProxy
from .interfaces import IJob
from .interfaces import NEW
from .interfaces import ReassignedError
from .interfaces import TimeoutError
from .retry import ask
from .returning import fail
from .threadlocal import local
from collections.abc import Callable
from datetime import datetime
from datetime import timedelta
from ZODB.utils import u64

import logging
import threading
import transaction


def run_claimed(job, attempt: int, agent) -> str:
    """Run a job that a dispatcher claimed; see ``Run.go``.

    The caller has begun the transaction and compared the attempt.
    """
    if job._suspect and job._begun_attempt != attempt:
        # Its last process died with it in hand. Whether it did that is known
        # next time, because it is now on record that this attempt began.
        never_fail(lambda: mark_begun(job, attempt), f"marking {job!r}", manager(job))
        manager(job).begin()
    if job._status == 2:
        run_callbacks(job)
        if job._outer is not None and job._outer._status >= 2:
            # Whoever called the callback that ended it may not have come to this.
            report_finished(job._outer)
        return DONE
    if job.is_expired(clock.now_us()):
        late = TimeoutError(f"it was not begun within {job.begin_by}")
        fail(job, late, agent, attempt)
        outcome = DONE
    elif job.aborted is not None:
        fail(job, job.aborted.value, agent, attempt)
        outcome = DONE
    elif local.control is not None and local.control.cancel is not None:
        # Asked for when a worker had it, but had not begun it.
        fail(job, CancelledError(*local.control.cancel), agent, attempt)
        outcome = DONE
    else:
        outcome = Run(job, claimed_attempt=attempt, agent=agent).go()
    if outcome == DONE and job._status == 2:
        run_callbacks(job)
    return outcome


def mark_begun(job, attempt: int) -> None:
    """Record that a suspect's attempt began."""
    if job.attempt != attempt or job._status not in (0, 2):
        raise ReassignedError(repr(job))
    job._begun_attempt = attempt
    job._begun_thread = threading.current_thread().name


def call_by_hand(job, args: tuple, kwargs: dict):
    """What ``job()`` does: run it in this thread, and the jobs it completes."""
    tm = manager(job)

    def begin():
        if job.status not in (NEW, "assigned-status"):
            raise ReassignedError(repr(job))
        job._status = 1

    never_fail(begin, f"beginning {job!r}", tm)
    previous, local.finished = local.finished, []
    try:
        tm.begin()
        agent = job.parent if IAgent.providedBy(job.parent) else None
        outcome = Run(job, args, kwargs, agent=agent).go()
        if outcome == DONE and job._status == 2:
            run_callbacks(job)
        finish_outer_jobs()
        if agent is not None and job._status == 3:
            never_fail(lambda: agent.jobCompleted(job), f"sweeping {job!r}", tm)
    finally:
        local.finished = previous
    for promise in follow_promises():
        if outcome == DEFERRED and promise.oid == job._p_oid:
            return promise.deferred
    return job if outcome in (PUT_OFF, UNRESOLVABLE) else job.result


def follow_promises(report: Callable | None = None) -> list[Promise]:
    """Have the results stored that this thread's jobs get from Deferreds.

    ``report`` is called, in another thread, with the claim, what became of the
    job, the job, and a list of outer jobs that ended with it; without it, the job's
    agent is told.
    """
    place = (local.dispatcher, local.agent_name, local.stopping)
    promises = take_promises()
    for promise in promises:
        promise.watch(lambda kept, value: _keep_in_thread(kept, value, place, report))
    return promises


def _keep_in_thread(promise: Promise, value, place: tuple, report) -> None:
    local.dispatcher, local.agent_name, local.stopping = place
    local.finished, local.control = [], promise.control
    tm = transaction.manager
    connection = wait_for_system_recovery(promise.db.open, "opening", tm)
    if isFailure(connection):
        return
    try:
        tm.begin()
        job = connection.get(promise.oid)
        try:
            outcome = keep_promise(promise, job, value)
        except ReassignedError:
            log.error("what %r got from a Deferred is thrown away", promise.claim)
            outcome = LOST
        if report is not None:
            report(promise.claim, outcome, job, local.finished)
        elif outcome == DONE and IAgent.providedBy(job._parent):
            agent = job._parent
            never_fail(lambda: agent.jobCompleted(job), f"sweeping {job!r}", tm)
        follow_promises(report)
    except BaseException:
        # It stays active until the dispatcher stops, and is interrupted then.
        log.critical("%r is not finished", promise.claim, exc_info=True)
    finally:
        if promise.control is not None:
            promise.control.end()
        tm.abort()
        connection.close()


def keep_promise(promise: Promise, job, value) -> str:
    """Store what a Deferred gave, and run the callbacks; see ``Run.go``.

    Raises ReassignedError when the job is somebody else's by now.
    """
    tm = manager(job)

    def store(result) -> None:
        if not promise.is_open(job):
            raise ReassignedError(repr(job))
        if IJob.providedBy(result) and result._status != 3:
            job.wait_for(result)
        else:
            job.settle(result._result if IJob.providedBy(result) else result)

    what = f"storing what the Deferred of {promise.claim!r} gave"
    local.job = job
    try:
        refused = wait_for_system_recovery(
            lambda: store(seen_from(job, value)), what, tm
        )
        if isFailure(refused):
            tm.begin()
            never_fail(lambda: store(refused), what, tm)
    finally:
        local.job = None
    tm.begin()
    if job.is_waiting:
        return WAITING
    if isFailure(job._result):
        level = job.failure_log_level
        level = logging.ERROR if level is None else level
        log.log(level, "%s failed:\n%s", repr(job), job._result.getTraceback())
    else:
        trace(logging.INFO, "%s succeeded with what a Deferred gave", job)
    if job._status == 2:
        run_callbacks(job)
    finish_outer_jobs()
    return DONE


def report_finished(job) -> None:
    """Tell this thread that it brought ``job``, which it is not running, to its end."""
    if local.finished is not None and all(job is not other for other in local.finished):
        local.finished.append(job)


def finish_outer_jobs() -> list:
    """Run the callbacks of outer jobs that ended with a job of this thread."""
    finished = local.finished
    position = 0
    while position < len(finished):
        if finished[position]._status == 2:
            run_callbacks(finished[position])
        position += 1
    return finished


def run_callbacks(job) -> None:
    """Run the callbacks that are not finished, then complete the job."""
    tm = manager(job)
    attempt = job.attempt
    tm.begin()

    def complete() -> bool:
        if job.attempt != attempt:
            log.error("%s was reassigned while it performed callbacks", repr(job))
            raise ReassignedError(repr(job))
        if job._status == 3:
            # Another thread, to which it was given, was at them too.
            return True
        if any(not_called(callback) for callback in job._callbacks):
            return False
        job._callbacks_end = clock.now_us()
        job._status = 3
        return True

    while True:
        for callback in job._callbacks:
            call_callback(callback, job._result)
        tm.begin()
        if never_fail(complete, f"completing {job!r}", tm):
            tm.begin()
            return


def not_called(callback) -> bool:
    """Whether this callback, or what it chose, was not begun."""
    if ICallbackProxy.providedBy(callback):
        return callback.job is None or not_called(callback.job)
    return callback._status == 0


def call_callback(callback, result) -> None:
    """Run one callback, unless it is finished or waits for a job of its own."""
    tm = manager(callback)
    tm.begin()
    if ICallbackProxy.providedBy(callback):
        chosen = never_fail(
            lambda: callback.getJob(result), f"choosing of {callback!r}", tm
        )
        call_callback(chosen, result)
        return
    if callback._status == 0 and callback.is_expired(clock.now_us()):
        fail(callback, TimeoutError(f"it was not begun within {callback.begin_by}"))
    elif callback._status == 0 or is_broken_off(callback):
        trace(logging.DEBUG, "starting callback %s of %s", callback, callback.parent)
        try:
            Run(callback, (result,)).go()
        except (SystemExit, KeyboardInterrupt) as error:
            break_off(callback, error)
    if callback._status == 2:
        run_callbacks(callback)


def is_broken_off(callback) -> bool:
    """Whether it was begun, and nothing will end it any more."""
    return callback._status == 1 and not (callback.is_waiting or is_expected(callback))


def break_off(callback, error: BaseException) -> None:
    """End a callback that raised SystemExit or the like in a worker.

    The job itself is done, so it must not be lost with its thread. Raises
    ``error`` again when the worker stops, or when there is none.
    """
    stopping = local.stopping
    if stopping is None or stopping.is_set():
        raise error
    log.critical("callback %s broke off with %r", repr(callback), error)
    manager(callback).begin()
    fail(callback, error)


def call_late_callback(job, callback) -> None:
    """Run a callback that was added to a job which is completed already."""
    tm = manager(job)
    tm.commit()
    previous = local.finished
    if previous is None:
        local.finished = []
    try:
        call_callback(callback, job._result)
        finish_outer_jobs()
    finally:
        local.finished = previous
    if previous is None:
        follow_promises()


def decide_interrupt(job) -> str:
    """Ask the policy of an interrupted job and change the job accordingly.

    Returns "again", "later" or "abort"; commits nothing.
    """
    decision = ask(job.getRetryPolicy(), "interrupted")
    due = None
    if isinstance(decision, datetime | timedelta):
        due = due_of(decision)
    elif not decision:
        job.put_off(None)
        job.abort_next()
        trace(logging.INFO, "aborting interrupted %s", job)
        return "abort"
    job.put_off(due)
    trace(logging.INFO, "retrying interrupted %s", job)
    return "again" if due is None else "later"


def handle_interrupt(job) -> None:
    """What ``job.handleInterrupt()`` does, for a job that no dispatcher has."""
    tm = manager(job)

    def decide() -> str:
        verdict = decide_interrupt(job)
        if verdict != "abort":
            return_to_queue(job)
        return verdict

    if never_fail(decide, f"interrupting {job!r}", tm) == "abort":
        tm.begin()
        fail(job, job.aborted.value)
        if job._status == 2:
            run_callbacks(job)


def describe(job) -> str:
    """The repr of a job: class, oid, database, and the call."""
    kind = type(job)
    oid = "?" if job._p_oid is None else u64(job._p_oid)
    name = database_name(job)
    name = "?" if name is None else repr(name)
    owner = job._callable
    call = job.callable_name
    if job._method is not None:
        call = f"{brief(owner)} :{job._method}"
    arguments = [brief(value) for value in job._args]
    arguments += [f"{key}={brief(value)}" for key, value in (job._kwargs or {}).items()]
    return (
        f"<{kind.__module__}.{kind.__name__} (oid {oid}, db {name}) "
        f"``{call}({', '.join(arguments)})``>"
    )


def brief(value) -> str:
    """A repr that loads nothing from the database and is never long."""
    oid = getattr(value, "_p_oid", None)
    if hasattr(type(value), "_p_oid"):
        kind = type(value)
        number = "?" if oid is None else u64(oid)
        name = database_name(value)
        name = "?" if name is None else repr(name)
        return f"{kind.__module__}.{kind.__name__} (oid {number}, db {name})"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
