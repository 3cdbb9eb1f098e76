"""The interfaces of the ticks, under their old name."""

from __future__ import annotations

from collective.clockwork.interfaces import IIntervalTicks
from collective.clockwork.interfaces import IIntervalTicks15Event
from collective.clockwork.interfaces import IIntervalTicksDailyEvent
from collective.clockwork.interfaces import IIntervalTicksGenericEvent
from collective.clockwork.interfaces import IIntervalTicksHourlyEvent
from collective.clockwork.interfaces import IIntervalTicksMonthlyEvent
from collective.clockwork.interfaces import IIntervalTicksWeeklyEvent
from collective.clockwork.interfaces import ITickEvent


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
