"""Firing: a slot becomes a job, in one transaction with the record of it.

The record is what makes a slot fire once. Whoever fires reads it, queues the jobs of
the slots that it does not know, and writes it; of two who do so at the same time one
conflicts and looks again. A worker that is killed before its commit has done nothing.

A job is queued as the schedule's user, in the schedule's site. Who she is, and what she
may do, is looked up anew for each firing and again when the job runs.
"""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.SecurityManagement import setSecurityManager
from collections.abc import Callable
from collections.abc import Iterator
from collective.clockwork import identity
from collective.clockwork import world
from collective.clockwork.engine import clock
from collective.clockwork.engine.base import reading_error
from collective.clockwork.engine.commit import ClientDisconnected
from collective.clockwork.engine.interfaces import UnresolvableError
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.schedules import due
from collective.clockwork.schedules import functions
from collective.clockwork.schedules import model
from collective.clockwork.schedules import outcomes
from collective.clockwork.schedules.events import ScheduleFired
from collective.clockwork.schedules.model import Firing
from collective.clockwork.schedules.model import Schedule
from collective.clockwork.tickevents import notify_each
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from transaction.interfaces import DoomedTransaction
from transaction.interfaces import TransactionError
from transaction.interfaces import TransientError
from typing import Any
from zExceptions import BadRequest
from ZODB.POSException import POSError
from zope.component import getUtility

import logging


logger = logging.getLogger("collective.clockwork.schedules")

#: Microseconds by which a firing is never late: so long may it take until a worker
#: looks, if the one that is first at it is gone.
LEAST_GRACE = 2_000_000

#: How often a look is done anew at once when somebody else wrote the same.
ATTEMPTS = 5

#: Characters of a reason that are kept.
REASON_LENGTH = 500


class Refused(ValueError):
    """A schedule cannot be fired as it is; says why, for people."""


class SiteGone(LookupError):
    """The site of a schedule is not there."""


@dataclass
class Look:
    """What came of a look at one schedule."""

    #: When it is to be looked at again, in microseconds; None if it will not fire.
    next: int | None
    #: Whether something was due, and this look has stored what became of it.
    fired: bool = False
    #: What to log when it is stored: level, and the text with its values.
    notes: list[tuple] = field(default_factory=list)


def fire_due(connection: Any, site_key: str, name: str) -> Look:
    """Do what is due of one schedule, in a transaction of its own.

    The connection is one to the queues' database, with the thread's transaction
    manager. What is too much for one transaction is due at the next look.

    Raises SiteGone if the site is not there, ConflictError if others wrote the same
    again and again, and whatever is wrong with the schedule's record. Nothing is stored
    then.
    """
    manager = connection.transaction_manager
    tells = True
    for attempt in range(1, ATTEMPTS + 1):
        manager.begin()
        try:
            look = _fire(connection, site_key, name, tells)
            break
        except ClientDisconnected:
            raise
        except TransientError:
            if attempt == ATTEMPTS:
                raise
        except DoomedTransaction:
            if attempt == ATTEMPTS:
                raise
            # By a subscriber, which would do the same each time.
            logger.exception(
                "A subscriber of IScheduleFired doomed the transaction of the "
                "schedule %r: it is fired without telling anyone",
                name,
            )
            tells = False
        finally:
            manager.abort()
    for level, *text in look.notes:
        logger.log(level, *text)
    return look


def _fire(connection: Any, site_key: str, name: str, tells: bool) -> Look:
    schedules = model.schedules_in(connection)
    of_site = None if schedules is None else schedules.get(site_key)
    if of_site is None:
        return Look(None)
    require_readable(of_site)
    schedule = of_site.get(name)
    if schedule is None:
        return Look(None)
    require_readable(schedule)
    if not schedule.is_firing:
        return Look(None)
    timing, now = schedule.timing, clock.now_us()
    decision = due.decide(
        timing,
        after=schedule.decided_until,
        now=now,
        grace=_grace(schedule),
        missed=schedule.missed,
    )
    if decision is None:
        return Look(timing.next_after(schedule.decided_until))
    look = Look(timing.next_after(decision.until), fired=True)
    with _world_of(schedule, schedules):
        for read in (schedule, of_site):
            # Changed or switched off at this moment, it is decided anew.
            connection.readCurrent(read)
        _carry_out(schedule, decision, now, look, tells)
        connection.transaction_manager.commit()
    return look


def _grace(schedule: Schedule) -> int:
    return max(schedule.grace, LEAST_GRACE)


def require_readable(stored: Any) -> None:
    """Raise what is wrong with the record of a persistent object, if anything is."""
    error = reading_error(stored)
    if error is not None:
        raise error


@contextmanager
def _world_of(schedule: Schedule, schedules: model.Schedules) -> Iterator[None]:
    """Have the schedule's site as the current one, in a request of its own."""
    of_site = schedule.site
    before, app = world.leave_thread(identity.application(schedule._p_jar))
    try:
        try:
            site = identity.find_site(app, of_site.site_path, of_site.site_uid)
        except BadRequest as error:
            raise SiteGone(str(error)) from error
        if schedules.of_site(site) is not of_site:
            raise SiteGone(
                f"{'/'.join(of_site.site_path)} is gone, and another site with its UID "
                "has schedules of its own"
            )
        root = schedule.virtual_root
        if root is not None:
            root = identity.rebased(root, of_site.site_path, site.getPhysicalPath())
        host = world.VirtualHost(schedule.virtual_url, root)
        world.enter_site(app, site, host=host, language=schedule.language)
        yield
    finally:
        world.restore_thread(before)


def _carry_out(
    schedule: Schedule, decision: due.Decision, now: int, look: Look, tells: bool
) -> None:
    """Do what was decided."""
    record = schedule.record
    where = "/".join(schedule.site.site_path)
    gone = decision.missed
    if gone is not None:
        firing = Firing(
            gone.last, now, model.MISSED, count=gone.count, first=gone.first
        )
        record.add(firing, schedule.keep)
        look.notes.append(
            (
                logging.WARNING,
                "%d firings of the schedule %r of %s were missed, %s to %s",
                gone.count,
                schedule.name,
                where,
                clock.from_us(gone.first),
                clock.from_us(gone.last),
            )
        )
    for slot in decision.fire:
        level, text, *values = _fire_slot(schedule, slot, now, tells)
        moment = clock.from_us(slot)
        look.notes.append((level, text, schedule.name, where, moment, *values))
    record.decide_until(decision.until)


def _fire_slot(schedule: Schedule, slot: int, now: int, tells: bool) -> tuple[Any, ...]:
    """Fire one slot; level and text to log with name, site and slot, and more values.

    Late slots that are all made up for are never skipped: they would all overlap.
    """
    record = schedule.record
    made_up_for = schedule.missed == "all" and slot < now - _grace(schedule)
    skips = schedule.overlap == "skip" and not made_up_for
    if skips and outcomes.is_busy(record):
        record.add(Firing(slot, now, model.SKIPPED), schedule.keep)
        return logging.INFO, "Skipped %r of %s at %s: the last job is not finished"
    try:
        queue_firing(schedule, slot=slot, tells=tells)
    except Refused as error:
        reason = str(error)[:REASON_LENGTH]
        known = bool(record.firings) and record.firings[-1].reason == reason
        record.add(Firing(slot, now, model.REFUSED, reason=reason), schedule.keep)
        # It may be refused every second from now on.
        level = logging.DEBUG if known else logging.ERROR
        return level, "Refused to fire %r of %s at %s: %s", reason
    return logging.INFO, "Fired %r of %s at %s"


def queue_firing(
    schedule: Schedule,
    *,
    slot: int | None = None,
    by: str | None = None,
    tells: bool = True,
) -> Any:
    """Queue the schedule's job in the current site, and record it; the job.

    In the caller's transaction. ``slot`` is when it was due, in microseconds; None for
    a run by hand, and ``by`` is who does that then. The times at which it fires are as
    they were. IScheduleFired is sent as the schedule's user; a subscriber that raises
    is logged, and what it wrote is rolled back.

    Refused, with nothing stored, if the user, the context or the function is gone, or
    the service refuses the call.
    """
    site = identity.current_site()
    with _refusing(BadRequest):
        user = _user_of(schedule, site)
        context = _context_of(schedule, site)
    function = _function_of(schedule)
    with _as_user(user):
        with _refusing(ValueError, TypeError, LookupError):
            job = _queue(schedule, function, context, slot)
        firing = Firing(slot, clock.now_us(), model.JOB, by, job)
        schedule.record.add(firing, schedule.keep)
        outcomes.note_job(schedule.record, job)
        if tells:
            moment = clock.from_us(slot)
            notify_each(ScheduleFired(schedule.name, moment, job))
    return job


def _queue(
    schedule: Schedule, function: Callable, context: Any, slot: int | None
) -> Any:
    service = getUtility(IAsyncService)
    quota = (schedule.quota,)
    if _is_one_by_one(schedule):
        quotas = service.getQueues()[""].quotas
        own = own_quota(schedule)
        if own not in quotas:
            quotas.create(own, size=1)
        quota = (*quota, own)
    asked: dict[str, Any] = {"title": schedule.label, "quota": quota}
    if slot is not None and schedule.jitter:
        off = due.put_off(schedule.site.key, schedule.name, slot, schedule.jitter)
        asked["begin_after"] = clock.from_us(slot + off)
    return service.using(**asked).queueJob(function, context, **schedule.arguments)


def _is_one_by_one(schedule: Schedule) -> bool:
    """Whether its jobs wait for each other, also those that are made up for at once."""
    makes_up = schedule.overlap == "skip" and schedule.missed == "all"
    return makes_up or schedule.overlap == "queue"


def own_quota(schedule: Schedule) -> str:
    """Name of the quota under which jobs of this schedule alone run one by one."""
    return f"schedule {schedule.site.key} {schedule.name}"


def drop_own_quota(schedule: Schedule) -> None:
    """Remove that quota, before the schedule is removed; nothing if there is none."""
    quotas = getUtility(IAsyncService).getQueues()[""].quotas
    name = own_quota(schedule)
    if name in quotas:
        quotas.remove(name)


def _function_of(schedule: Schedule) -> Callable:
    try:
        return functions.resolve(schedule.function)
    except UnresolvableError as error:
        raise Refused(str(error)) from error


def _user_of(schedule: Schedule, site: Any) -> Any:
    if schedule.user_id is None:
        raise Refused("The schedule has no user")
    path = identity.rebased(
        schedule.userfolder_path, schedule.site.site_path, site.getPhysicalPath()
    )
    return identity.find_user(site.getPhysicalRoot(), path, schedule.user_id)


def _context_of(schedule: Schedule, site: Any) -> Any:
    steps = filter(None, schedule.context.split("/"))
    path = (*site.getPhysicalPath(), *steps)
    return identity.find_context(site, path, schedule.context_uid)


@contextmanager
def _refusing(*kinds: type[Exception]) -> Iterator[None]:
    """Have these errors refuse the firing; those of the database are none of them."""
    try:
        yield
    except (Refused, TransactionError, POSError):
        raise
    except kinds as error:
        raise Refused(str(error)) from error


@contextmanager
def _as_user(user: Any) -> Iterator[None]:
    before = getSecurityManager()
    newSecurityManager(None, user)
    try:
        yield
    finally:
        setSecurityManager(before)
