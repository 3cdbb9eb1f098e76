"""Ticks from schedules: with these, a site needs neither cron nor a clock-server.

Six schedules, each of which sends one of the events of ``ticks``. They are ordinary
ones: a manager may give them other times. Enabled, those that are missing are added,
and those that are there are activated; disabled, they are kept, and fire no more.

``@@tick`` and its schedule share the record of the last tick. So a site that is ticked
by a clock-server, too, gets no more events of that kind; of the other five it does.
"""

from __future__ import annotations

from collections.abc import Collection
from collective.clockwork import identity
from collective.clockwork import quotas
from collective.clockwork import ticks
from collective.clockwork.schedules import describing
from collective.clockwork.schedules import editing
from collective.clockwork.schedules import model
from collective.clockwork.schedules import users
from collective.clockwork.schedules.interfaces import ISchedulable
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from zope.component import getUtility


#: Quota of all ticks: one at a time, and beside all other jobs.
QUOTA = "clockwork-ticks"

#: Name of the schedule of ``ITickEvent``, which goes by an interval.
TICK = "tick"

#: Shortest interval of a schedule; with 0 each tick sends an event.
SHORTEST = timedelta(seconds=1)

#: The other ones: name to cron, and to how late it still counts as in time, which is
#: its period. The times are those of the example in docs/ticks.rst.
CRONS = MappingProxyType(
    {
        "tick_fifteen": ("*/15 * * * *", timedelta(minutes=15)),
        "tick_hourly": ("0 * * * *", timedelta(hours=1)),
        "tick_daily": ("10 3 * * *", timedelta(days=1)),
        "tick_weekly": ("20 3 * * 1", timedelta(days=7)),
        "tick_monthly": ("30 3 1 * *", timedelta(days=28)),
    }
)

#: Name of a schedule to the registered name of its function.
FUNCTIONS = MappingProxyType(
    {
        name: f"{ticks.__name__}.send_{name.rpartition('_')[2]}"
        for name in (TICK, *CRONS)
    }
)


def enable(user: str | None = None) -> None:
    """Have the current site ticked by schedules.

    New ones run as this user, by default the current one. Unauthorized for those who
    may not manage schedules, or not name that user; ValueError if there is no such
    user, or a schedule that does something else has one of the names.
    """
    site = users.managed_site()
    check_names(site)
    if user is None:
        user = users.current(site)[1]
    users.require_may_name(site, users.folder_of(site, user), user)
    make(site, user)


def disable() -> None:
    """Have the schedules of ticks fire no more; they are kept for the next time.

    Unauthorized for those who may not manage schedules.
    """
    switch_off(users.managed_site())


def is_enabled() -> bool:
    """Whether the schedule of ``ITickEvent`` is there and active."""
    schedule = editing.find(identity.current_site(), TICK)
    return schedule is not None and _is_ours(schedule) and schedule.active


def check_names(site: Any) -> None:
    """Raise ValueError if a schedule that does something else has one of the names."""
    for name in FUNCTIONS:
        schedule = editing.find(site, name)
        if schedule is not None and not _is_ours(schedule):
            raise ValueError(
                f"The schedule {name!r} of this site does something else: remove it, "
                "and add it again with another name"
            )


def make(site: Any, user: str | None, leave: Collection[str] = ()) -> None:
    """Add the schedules that are missing, as this user's, and activate the others.

    Those of nobody are not active. Schedules of the names to ``leave`` are left as they
    are. Asks for no permission: who calls it does.
    """
    ensure_quota(site)
    for name in FUNCTIONS:
        if name in leave:
            continue
        schedule = editing.find(site, name)
        if schedule is None:
            values = editing.attributes(site, _fields(site, name, user))
            values["active"] = values["user_id"] is not None
            schedule = editing.put(site, name, values)
        elif not editing.set_values(schedule, {"active": True}):
            continue
        describing.tell_of_change(site, schedule)


def ensure_quota(site: Any) -> None:
    """Add the quota of the ticks if it isn't there; a size that was set is kept."""
    if QUOTA not in editing.quota_names(site):
        quotas.create("", QUOTA, 1)


def switch_off(site: Any) -> None:
    """Have the schedules fire no more. Asks for no permission: who calls it does."""
    for name in FUNCTIONS:
        schedule = editing.find(site, name)
        if schedule is None or not _is_ours(schedule):
            continue
        if editing.set_values(schedule, {"active": False}):
            describing.tell_of_change(site, schedule)


def follow_interval(settings: Any, event: Any) -> None:
    """Handler of IRecordModifiedEvent: the interval of the site's ticks is another.

    A schedule to which somebody gave other times by hand is left alone.
    """
    site = identity.current_site()
    schedule = editing.find(site, TICK)
    if schedule is None or not _is_ours(schedule):
        return
    if schedule.every != editing.in_microseconds(_interval(event.oldValue)):
        return
    fields = _times_of_tick(event.newValue)
    values = editing.attributes(site, fields, schedule)
    if editing.set_values(schedule, values):
        describing.tell_of_change(site, schedule)


def _is_ours(schedule: model.Schedule) -> bool:
    return FUNCTIONS[schedule.name] == schedule.function


def _fields(site: Any, name: str, user: str | None) -> dict[str, Any]:
    """The fields of a new schedule."""
    function = FUNCTIONS[name]
    fields = {
        "function": function,
        "title": getUtility(ISchedulable, function).title,
        "user": user,
        "quota": QUOTA,
    }
    if name == TICK:
        # Late ones are as good as none: the next one follows soon.
        return {**fields, **_times_of_tick(ticks.tick_interval(site)), "missed": "skip"}
    cron, period = CRONS[name]
    return {**fields, "cron": cron, "grace": period, "missed": "once"}


def _times_of_tick(seconds: float | None) -> dict[str, Any]:
    interval = _interval(seconds)
    return {"every": interval, "grace": interval}


def _interval(seconds: float | None) -> timedelta:
    """The interval of the schedule for that of a site; None where none was set."""
    if seconds is None:
        seconds = ticks.DEFAULT_INTERVAL
    return max(SHORTEST, timedelta(seconds=seconds))
