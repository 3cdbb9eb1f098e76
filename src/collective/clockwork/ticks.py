"""Ticks: a call from outside, by cron for instance, becomes events in Plone.

Two kinds, as in collective.timedevents:

- ``@@tick`` sends one `ITickEvent` at most once per interval, however often it is
  called. When it last did so is kept in the database.
- ``@@tick_fifteen``, ``@@tick_hourly``, ``@@tick_daily``, ``@@tick_weekly`` and
  ``@@tick_monthly`` send their event at each call; the timing is the caller's.

``send_tick`` and the other functions of this kind do the same in jobs, for schedules.

Not here: what calls these views, and the queue. A subscriber that has much to do
queues a job.

The views carry no browser layer. A tick is called on the Zope root too, where no
profile is installed and so no layer is set, and a site that loads this module is
to answer cron without any set-up of its own, as it did with collective.timedevents.
"""

from __future__ import annotations

from Acquisition import aq_chain
from Acquisition import aq_inner
from collections.abc import Mapping
from collective.clockwork.interfaces import IIntervalTicks
from collective.clockwork.interfaces import ITickSettings
from collective.clockwork.tickevents import IntervalTicks15Event
from collective.clockwork.tickevents import IntervalTicksDailyEvent
from collective.clockwork.tickevents import IntervalTicksGenericEvent
from collective.clockwork.tickevents import IntervalTicksHourlyEvent
from collective.clockwork.tickevents import IntervalTicksMonthlyEvent
from collective.clockwork.tickevents import IntervalTicksWeeklyEvent
from collective.clockwork.tickevents import logger
from collective.clockwork.tickevents import LOGGING_LEVEL
from collective.clockwork.tickevents import logging_level
from collective.clockwork.tickevents import notify_each
from collective.clockwork.tickevents import tick_logger
from collective.clockwork.tickevents import TickEvent
from collective.clockwork.ticktimes import FORGET_AFTER
from collective.clockwork.ticktimes import ROOT_KEY
from collective.clockwork.ticktimes import TickTimes
from DateTime import DateTime
from functools import cached_property
from plone.protect.interfaces import IDisableCSRFProtection
from plone.registry.interfaces import IRegistry
from Products.Five.browser import BrowserView
from types import MappingProxyType
from typing import Any
from zope.component import getMultiAdapter
from zope.component import queryUtility
from zope.component.hooks import site
from zope.component.interfaces import ISite
from zope.globalrequest import getRequest
from zope.interface import alsoProvides
from zope.interface import implementer

import time


#: Name of the record in a site's registry that holds the interval, in seconds.
INTERVAL_RECORD = "collective.clockwork.tick_interval"

#: Seconds, without that record.
DEFAULT_INTERVAL = ITickSettings["tick_interval"].default

#: `@@tick` fires when this part of the interval has passed, so that a trigger that
#: comes once per interval, now and then a little early, is not turned away.
#: As in collective.timedevents.
DUE_FRACTION = 0.9

#: `DateTime` counts in days.
SECONDS_PER_DAY = 86400


def tick_interval(context: Any) -> float:
    """Seconds from one `ITickEvent` to the next, as the context's site has set it.

    300 where our profile is not installed, and on the Zope root.
    """
    chain = aq_chain(aq_inner(context))
    nearest = next((parent for parent in chain if ISite.providedBy(parent)), None)
    # A registry is not found from within another site.
    with site(nearest):
        registry = queryUtility(IRegistry, default={})
        interval = registry.get(INTERVAL_RECORD)
    return DEFAULT_INTERVAL if interval is None else interval


class TickTriggerView(BrowserView):
    """`@@tick`: sends an `ITickEvent`, at most one per interval and context."""

    @cached_property
    def interval(self) -> float:
        """Seconds from one tick to the next, see `tick_interval`.

        A subclass may have a number instead, as in collective.timedevents. A negative
        one counts as 0, with which every call fires.
        """
        return tick_interval(self.context)

    def __call__(self) -> str:
        """Answer OK, whether an event was due or not. As in collective.timedevents."""
        _allow_writes(self.request)
        self.tick()
        return "OK"

    def tick(self) -> bool:
        """Send the event if it is due; whether it was."""
        now = DateTime()
        last = self.getLastTick()
        interval = self.getInterval()
        if isinstance(last, DateTime):
            elapsed = now.timeTime() - last.timeTime()
            if -interval <= elapsed < DUE_FRACTION * interval:
                return False
            if elapsed < -interval < 0:
                logger.warning(
                    "The last tick on %r lies in the future, at %s: the time was wrong "
                    "then or is wrong now. It does not count.",
                    self.context,
                    last.ISO(),
                )
        # Written first: whoever ticks at the same time conflicts with this, and a
        # subscriber that reads the last tick sees this one.
        self.setLastTick(now)
        notify_each(TickEvent(now, self.getNextTickEstimation(now, interval)))
        return True

    def getTickData(self) -> Mapping[str, Any]:
        """`interval` and `last_tick` of this context, read-only."""
        return MappingProxyType(
            {"interval": self.getInterval(), "last_tick": self.getLastTick()}
        )

    def getInterval(self) -> float:
        """Seconds from one tick to the next, 0 or more.

        ValueError if the attribute `interval` is not a number.
        """
        try:
            return max(self.interval, 0)
        except TypeError as error:
            raise ValueError(
                f"The interval of {type(self).__name__} is {self.interval!r}; "
                "it has to be a number of seconds."
            ) from error

    def getLastTick(self) -> DateTime | None:
        """When the last tick was sent on this context; None if there was none."""
        last = TickTimes(self.context).get()
        return None if last is None else DateTime(last)

    def setLastTick(self, time: Any) -> None:
        """Record `time` (anything `DateTime` takes) as the last tick; None forgets it.

        ValueError if neither the context nor a parent of it is stored in a database.
        """
        times = TickTimes(self.context)
        if time is None:
            times.remove()
        else:
            times.set(DateTime(time).timeTime(), self.getInterval())

    def getNextTickEstimation(
        self, last_tick: Any = None, interval: float | None = None
    ) -> DateTime:
        """When the next tick is due: `last_tick` plus `interval` seconds.

        Both default to those of this context; without a last tick it counts from now.
        """
        if last_tick is None:
            last_tick = self.getLastTick()
        if interval is None:
            interval = self.getInterval()
        start = DateTime() if last_tick is None else DateTime(last_tick)
        return start + interval / SECONDS_PER_DAY


@implementer(IIntervalTicks)
class IntervalTicksView(BrowserView):
    """See `IIntervalTicks`. Each call sends its event and says so."""

    def fifteenMinutes(self) -> str:
        return self._send(IntervalTicks15Event)

    def hourly(self) -> str:
        return self._send(IntervalTicksHourlyEvent)

    def daily(self) -> str:
        return self._send(IntervalTicksDailyEvent)

    def weekly(self) -> str:
        return self._send(IntervalTicksWeeklyEvent)

    def monthly(self) -> str:
        return self._send(IntervalTicksMonthlyEvent)

    def _send(self, event_class: type[IntervalTicksGenericEvent]) -> str:
        _allow_writes(self.request)
        _send(event_class, self.context)
        return f"done: {time.strftime('%Y%m%d-%H:%M')}"


def send_tick(context: Any) -> bool:
    """Send an `ITickEvent` if it is due; whether it was. For schedules.

    It is what the view `@@tick` of this context does, with its interval and its record
    of the last tick: whoever calls that view besides makes no more events of it.
    """
    return getMultiAdapter((context, getRequest()), name="tick").tick()


def send_fifteen(context: Any) -> None:
    """Send an `IIntervalTicks15Event`. For schedules, as are the next four."""
    _send(IntervalTicks15Event, context)


def send_hourly(context: Any) -> None:
    """Send an `IIntervalTicksHourlyEvent`."""
    _send(IntervalTicksHourlyEvent, context)


def send_daily(context: Any) -> None:
    """Send an `IIntervalTicksDailyEvent`."""
    _send(IntervalTicksDailyEvent, context)


def send_weekly(context: Any) -> None:
    """Send an `IIntervalTicksWeeklyEvent`."""
    _send(IntervalTicksWeeklyEvent, context)


def send_monthly(context: Any) -> None:
    """Send an `IIntervalTicksMonthlyEvent`."""
    _send(IntervalTicksMonthlyEvent, context)


def _send(event_class: type[IntervalTicksGenericEvent], context: Any) -> None:
    path = "/".join(context.getPhysicalPath())
    logger.log(LOGGING_LEVEL, "%s on %s", event_class.__name__, path or "/")
    notify_each(event_class(context))


def _allow_writes(request: Any) -> None:
    # plone.protect drops the writes of a GET by somebody logged in, and the answer is
    # still 200. Cron has no token to send. What a forged link can do is a tick.
    alsoProvides(request, IDisableCSRFProtection)
    request.response.setHeader("Cache-Control", "no-store")


__all__ = [
    "DUE_FRACTION",
    "FORGET_AFTER",
    "INTERVAL_RECORD",
    "IntervalTicks15Event",
    "IntervalTicksDailyEvent",
    "IntervalTicksGenericEvent",
    "IntervalTicksHourlyEvent",
    "IntervalTicksMonthlyEvent",
    "IntervalTicksView",
    "IntervalTicksWeeklyEvent",
    "LOGGING_LEVEL",
    "ROOT_KEY",
    "TickEvent",
    "TickTimes",
    "TickTriggerView",
    "logger",
    "logging_level",
    "notify_each",
    "send_daily",
    "send_fifteen",
    "send_hourly",
    "send_monthly",
    "send_tick",
    "send_weekly",
    "tick_interval",
    "tick_logger",
]
