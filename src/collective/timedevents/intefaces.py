"""The interfaces, as the examples of the old documentation misspell their module."""

from __future__ import annotations

from collective.timedevents.interfaces import IIntervalTicks
from collective.timedevents.interfaces import IIntervalTicks15Event
from collective.timedevents.interfaces import IIntervalTicksDailyEvent
from collective.timedevents.interfaces import IIntervalTicksGenericEvent
from collective.timedevents.interfaces import IIntervalTicksHourlyEvent
from collective.timedevents.interfaces import IIntervalTicksMonthlyEvent
from collective.timedevents.interfaces import IIntervalTicksWeeklyEvent
from collective.timedevents.interfaces import ITickEvent


__all__ = [
    "IIntervalTicks",
    "IIntervalTicks15Event",
    "IIntervalTicksDailyEvent",
    "IIntervalTicksGenericEvent",
    "IIntervalTicksHourlyEvent",
    "IIntervalTicksMonthlyEvent",
    "IIntervalTicksWeeklyEvent",
    "ITickEvent",
]
