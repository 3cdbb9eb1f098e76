"""What others see of a stored schedule, and why one cannot fire."""

from __future__ import annotations

from collections.abc import Iterator
from collective.clockwork import _
from collective.clockwork import identity
from collective.clockwork.engine import clock
from collective.clockwork.engine.interfaces import UnresolvableError
from collective.clockwork.schedules import editing
from collective.clockwork.schedules import model
from collective.clockwork.schedules import outcomes
from collective.clockwork.schedules import timing
from collective.clockwork.schedules.events import ScheduleChanged
from collective.clockwork.schedules.info import ScheduleInfo
from datetime import datetime
from typing import Any
from zExceptions import BadRequest
from zope.event import notify
from zope.i18nmessageid import Message


def describe(site: Any, schedule: model.Schedule) -> ScheduleInfo:
    """The facts about a schedule of this site."""
    every = schedule.every
    return ScheduleInfo(
        name=schedule.name,
        title=schedule.label,
        function=schedule.function,
        cron=schedule.cron,
        every=None if every is None else every * clock.MICROSECOND,
        timezone=schedule.timezone,
        user=schedule.user_id or "",
        context=_context_path(site, schedule),
        arguments=dict(schedule.arguments),
        grace=schedule.grace * clock.MICROSECOND,
        overlap=schedule.overlap,
        missed=schedule.missed,
        jitter=schedule.jitter * clock.MICROSECOND,
        keep=schedule.keep,
        quota=schedule.quota,
        active=schedule.active,
        origin=schedule.origin,
        next=_next(schedule),
        problem=problem_of(site, schedule),
        last=outcomes.last(schedule),
    )


def tell_of_change(site: Any, schedule: model.Schedule) -> ScheduleInfo:
    """Send the event about a new or changed schedule; returns what it tells."""
    info = describe(site, schedule)
    notify(ScheduleChanged(schedule.name, info))
    return info


def problem_of(site: Any, schedule: model.Schedule) -> Message | str | None:
    """Why it cannot fire, or would not if it were active; None if nothing is wrong."""
    return next(_problems(site, schedule), None)


def _problems(site: Any, schedule: model.Schedule) -> Iterator[Message | str]:
    if schedule.problem is not None:
        yield schedule.problem
    if schedule.user_id is None:
        yield _("Choose the user as whom it is to run.")
    elif not _has_user(site, schedule):
        yield _("There is no user ${user}.", mapping={"user": schedule.user_id})
    try:
        editing.check_call(site, schedule.function, schedule.arguments)
    except UnresolvableError:
        yield _(
            "There is no function ${function}: choose another one, or install the "
            "add-on that has it.",
            mapping={"function": schedule.function},
        )
    except TypeError as error:
        yield _(
            "The function does not take these arguments: ${error}",
            mapping={"error": str(error)},
        )
    try:
        editing.find_context(site, schedule.context, schedule.context_uid)
    except ValueError:
        yield _("There is nothing at ${path}.", mapping={"path": schedule.context})
    if schedule.quota not in editing.quota_names(site):
        yield _("There is no quota ${quota}.", mapping={"quota": schedule.quota})
    try:
        timing.zone(schedule.timezone)
    except ValueError:
        zone = {"timezone": schedule.timezone}
        yield _("The time zone ${timezone} is not known here.", mapping=zone)


def _context_path(site: Any, schedule: model.Schedule) -> str:
    """Where the context is now, if it is there; else where it was."""
    try:
        found = editing.find_context(site, schedule.context, schedule.context_uid)
    except ValueError:
        return schedule.context
    return "/".join(found.getPhysicalPath()[len(site.getPhysicalPath()) :])


def _has_user(site: Any, schedule: model.Schedule) -> bool:
    folder = editing.present_folder(site, schedule.userfolder_path)
    try:
        identity.find_user(site.getPhysicalRoot(), folder, schedule.user_id)
    except BadRequest:
        return False
    return True


def _next(schedule: model.Schedule) -> datetime | None:
    """The next moment at which it fires, in its zone; None if it does not."""
    if not schedule.is_firing:
        return None
    after = max(clock.now_us(), schedule.decided_until)
    try:
        moment = schedule.timing.next_after(after)
        return None if moment is None else schedule.timing.in_zone(moment)
    except ValueError:
        return None
