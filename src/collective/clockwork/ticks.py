"""Ticks: a call from outside, by cron for instance, becomes events in Plone.

Two kinds, as in collective.timedevents:

- ``@@tick`` sends one `ITickEvent` at most once per interval, however often it is
  called. When it last did so is kept in the database.
- ``@@tick_fifteen``, ``@@tick_hourly``, ``@@tick_daily``, ``@@tick_weekly`` and
  ``@@tick_monthly`` send their event at each call; the timing is the caller's.

Not here: what calls these views, and the queue. A subscriber that has much to do
queues a job.

The views carry no browser layer. A tick is called on the Zope root too, where no
profile is installed and so no layer is set, and a site that loads this module is
to answer cron without any set-up of its own, as it did with collective.timedevents.
"""

from __future__ import annotations

from Acquisition import aq_base
from Acquisition import aq_chain
from Acquisition import aq_inner
from BTrees.OOBTree import OOBTree
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collective.clockwork.interfaces import IIntervalTicks
from collective.clockwork.interfaces import IIntervalTicks15Event
from collective.clockwork.interfaces import IIntervalTicksDailyEvent
from collective.clockwork.interfaces import IIntervalTicksGenericEvent
from collective.clockwork.interfaces import IIntervalTicksHourlyEvent
from collective.clockwork.interfaces import IIntervalTicksMonthlyEvent
from collective.clockwork.interfaces import IIntervalTicksWeeklyEvent
from collective.clockwork.interfaces import ITickEvent
from DateTime import DateTime
from datetime import timedelta
from persistent import Persistent
from plone.protect.interfaces import IDisableCSRFProtection
from Products.Five.browser import BrowserView
from transaction.interfaces import DoomedTransaction
from transaction.interfaces import TransientError
from types import MappingProxyType
from typing import Any
from zope.component import getSiteManager
from zope.interface import alsoProvides
from zope.interface import implementer
from zope.interface import providedBy

import logging
import os
import time
import transaction
import zope.component.event
import zope.event


logger = logging.getLogger(__name__)

#: Key in the root of each database that holds ticked objects, see `TickTimes`.
ROOT_KEY = "collective.clockwork.ticks"

#: `@@tick` fires when this part of the interval has passed, so that a trigger that
#: comes once per interval, now and then a little early, is not turned away.
#: As in collective.timedevents.
DUE_FRACTION = 0.9

#: A timing record that has been due for longer than this belongs to an object that
#: is gone or that nobody ticks any more, and is dropped.
FORGET_AFTER = timedelta(days=30)

#: `DateTime` counts in days.
SECONDS_PER_DAY = 86400

LEVELS = {
    name: getattr(logging, name)
    for name in ("DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL")
}


def logging_level(environ: Mapping[str, str]) -> int:
    """The level named by TICK_LOGGER_LEVEL in any case, INFO when it is not set.

    An unknown name is logged as a warning, and INFO is used.
    """
    name = environ.get("TICK_LOGGER_LEVEL") or "INFO"
    level = LEVELS.get(name.strip().upper())
    if level is None:
        logger.warning(
            "TICK_LOGGER_LEVEL is %r and has to be one of %s. INFO is used.",
            name,
            ", ".join(LEVELS),
        )
        return logging.INFO
    return level


LOGGING_LEVEL = logging_level(os.environ)


@implementer(ITickEvent)
class TickEvent:
    """See `ITickEvent`. Both moments are given as anything `DateTime` takes."""

    def __init__(self, date_time: Any, next_tick: Any):
        self.date_time = DateTime(date_time)
        self.next_tick = DateTime(next_tick)

    @property
    def last_tick(self) -> DateTime:
        return self.date_time


@implementer(IIntervalTicksGenericEvent)
class IntervalTicksGenericEvent:
    """See `IIntervalTicksGenericEvent`."""

    def __init__(self, context: Any):
        self.context = context


@implementer(IIntervalTicks15Event)
class IntervalTicks15Event(IntervalTicksGenericEvent):
    """Fifteen minutes have passed."""


@implementer(IIntervalTicksHourlyEvent)
class IntervalTicksHourlyEvent(IntervalTicksGenericEvent):
    """An hour has passed."""


@implementer(IIntervalTicksDailyEvent)
class IntervalTicksDailyEvent(IntervalTicksGenericEvent):
    """A day has passed."""


@implementer(IIntervalTicksWeeklyEvent)
class IntervalTicksWeeklyEvent(IntervalTicksGenericEvent):
    """A week has passed."""


@implementer(IIntervalTicksMonthlyEvent)
class IntervalTicksMonthlyEvent(IntervalTicksGenericEvent):
    """A month has passed."""


def tick_logger(tick_event: ITickEvent) -> None:
    """Log the moment of an `ITickEvent`."""
    logger.log(LOGGING_LEVEL, "tick at %s", tick_event.date_time.ISO())


def notify_each(event: Any) -> None:
    """Send `event` to all its subscribers, each in a savepoint of its own.

    What a subscriber that raises has written is rolled back, and its name and
    traceback are logged; the others still run. A `TransientError`, such as a
    conflict, is raised, as the publisher has to repeat the whole request then.
    DoomedTransaction is raised if a subscriber dooms the transaction.
    """
    for subscriber in _subscribers(event):
        savepoint = transaction.savepoint(optimistic=True)
        try:
            subscriber(event)
        except TransientError:
            raise
        except Exception:
            logger.exception(
                "The subscriber %s failed on %s. What it wrote is rolled back; "
                "the other subscribers are called.",
                _dotted_name(subscriber),
                type(event).__name__,
            )
            savepoint.rollback()
        if transaction.isDoomed():
            # The publisher would abort without a word and answer 200.
            raise DoomedTransaction(
                f"The subscriber {_dotted_name(subscriber)} doomed the transaction: "
                "nothing of this tick is stored."
            )


def _subscribers(event: Any) -> Iterator[Callable[[Any], object]]:
    # All registered handlers hang on a single zope.event subscriber, within which
    # the first exception would end the calls.
    for subscriber in list(zope.event.subscribers):
        if subscriber is zope.component.event.dispatch:
            required = (providedBy(event),)
            yield from getSiteManager().adapters.subscriptions(required, None)
        else:
            yield subscriber


def _dotted_name(subscriber: Callable[[Any], object]) -> str:
    function = getattr(subscriber, "func", subscriber)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


class TickTimes:
    """When `@@tick` last fired on `context`, kept in the context's database.

    All records of a database are in one `OOBTree` at `ROOT_KEY` of its root: oid of
    the ticked object to the plain tuple (last tick in seconds since the epoch,
    interval in seconds). Written by a tick that fires, and by nothing else. Two
    transactions that write the record of one object conflict, which is what makes
    two simultaneous ticks fire once; records of different objects are merged by the
    BTree's conflict resolution.

    Not an annotation, because the Zope root takes none, a copy of the object would
    inherit it, and a database is to stay readable without this package. By oid and
    not by URL or path, so that a site under two host names has one timer, which a
    rename keeps and a copy does not get.

    An object that is not stored itself has the timer of its nearest stored parent.
    """

    def __init__(self, context: Any):
        self.context = context
        self.stored = _nearest_stored(context)

    def get(self) -> float | None:
        """Seconds since the epoch; None if there was no tick."""
        if self.stored is None:
            return None
        times = self.stored._p_jar.root().get(ROOT_KEY, {})
        last, _interval = times.get(self.stored._p_oid, (None, None))
        return last

    def set(self, last: float, interval: float) -> None:
        """Record a tick, both in seconds; ValueError for an object nowhere stored."""
        if self.stored is None:
            raise ValueError(
                f"{self.context!r} cannot be ticked: neither it nor a parent of it "
                "is stored in a database. Call @@tick on a site or on the Zope root."
            )
        root = self.stored._p_jar.root()
        if ROOT_KEY not in root:
            root[ROOT_KEY] = OOBTree()
        times = root[ROOT_KEY]
        if self.stored._p_oid not in times:
            _drop_forgotten(times)
        times[self.stored._p_oid] = (last, interval)

    def remove(self) -> None:
        """Forget the last tick: the next call of `@@tick` fires."""
        if self.get() is not None:
            del self.stored._p_jar.root()[ROOT_KEY][self.stored._p_oid]


def _nearest_stored(context: Any) -> Persistent | None:
    if isinstance(aq_base(context), Persistent) and aq_base(context)._p_jar is None:
        # Made in this transaction: a savepoint gives it its oid.
        transaction.savepoint(optimistic=True)
    for parent in aq_chain(aq_inner(context)):
        base = aq_base(parent)
        if getattr(base, "_p_jar", None) is not None:
            return base
    return None


def _drop_forgotten(times: OOBTree) -> None:
    oldest = time.time() - FORGET_AFTER.total_seconds()
    forgotten = [
        oid for oid, (last, interval) in times.items() if last + interval < oldest
    ]
    for oid in forgotten:
        del times[oid]


class TickTriggerView(BrowserView):
    """`@@tick`: sends an `ITickEvent`, at most one per interval and context."""

    #: Seconds from one tick to the next. A negative number counts as 0, with which
    #: every call fires. collective.timedevents promised 300 and had 10.
    interval: float = 300

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
            if elapsed < DUE_FRACTION * interval:
                return False
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
        return self._send(IntervalTicks15Event(self.context))

    def hourly(self) -> str:
        return self._send(IntervalTicksHourlyEvent(self.context))

    def daily(self) -> str:
        return self._send(IntervalTicksDailyEvent(self.context))

    def weekly(self) -> str:
        return self._send(IntervalTicksWeeklyEvent(self.context))

    def monthly(self) -> str:
        return self._send(IntervalTicksMonthlyEvent(self.context))

    def _send(self, event: IntervalTicksGenericEvent) -> str:
        _allow_writes(self.request)
        path = "/".join(self.context.getPhysicalPath())
        logger.log(LOGGING_LEVEL, "%s on %s", type(event).__name__, path or "/")
        notify_each(event)
        return f"done: {time.strftime('%Y%m%d-%H:%M')}"


def _allow_writes(request: Any) -> None:
    # plone.protect drops the writes of a GET by somebody logged in, and the answer is
    # still 200. Cron has no token to send. What a forged link can do is a tick.
    alsoProvides(request, IDisableCSRFProtection)
    request.response.setHeader("Cache-Control", "no-store")
