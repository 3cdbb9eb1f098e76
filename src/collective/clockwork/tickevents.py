"""The events of ticks, and how they are sent to their subscribers."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collective.clockwork.interfaces import IIntervalTicks15Event
from collective.clockwork.interfaces import IIntervalTicksDailyEvent
from collective.clockwork.interfaces import IIntervalTicksGenericEvent
from collective.clockwork.interfaces import IIntervalTicksHourlyEvent
from collective.clockwork.interfaces import IIntervalTicksMonthlyEvent
from collective.clockwork.interfaces import IIntervalTicksWeeklyEvent
from collective.clockwork.interfaces import ITickEvent
from DateTime import DateTime
from transaction._transaction import Status
from transaction.interfaces import DoomedTransaction
from transaction.interfaces import TransactionError
from transaction.interfaces import TransientError
from typing import Any
from zope.component import getSiteManager
from zope.interface import implementer
from zope.interface import providedBy

import logging
import os
import transaction
import zope.component.event
import zope.event


#: All that concerns ticks is logged under one name.
logger = logging.getLogger("collective.clockwork.ticks")

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
    DoomedTransaction is raised if a subscriber dooms the transaction, and
    TransactionError if it aborts it: what others wrote is lost then, too.
    """
    for subscriber in _subscribers(event):
        current = transaction.get()
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
            if savepoint.valid:
                savepoint.rollback()
            else:
                # It has ended the transaction by itself. This is what came after.
                transaction.abort()
        _check_transaction(current, subscriber)


def _check_transaction(begun: Any, subscriber: Callable[[Any], object]) -> None:
    if transaction.isDoomed():
        # The publisher would abort without a word and answer 200.
        raise DoomedTransaction(
            f"The subscriber {_dotted_name(subscriber)} doomed the transaction: "
            "nothing of it is stored."
        )
    if transaction.get() is not begun and begun.status != Status.COMMITTED:
        raise TransactionError(
            f"The subscriber {_dotted_name(subscriber)} aborted the transaction: "
            "nothing of it is stored. A subscriber that has to undo what it wrote "
            "uses a savepoint, or raises an exception."
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
