"""The events of the ticks, under their old name."""

from __future__ import annotations

from collective.clockwork.ticks import IntervalTicks15Event
from collective.clockwork.ticks import IntervalTicksDailyEvent
from collective.clockwork.ticks import IntervalTicksGenericEvent
from collective.clockwork.ticks import IntervalTicksHourlyEvent
from collective.clockwork.ticks import IntervalTicksMonthlyEvent
from collective.clockwork.ticks import IntervalTicksWeeklyEvent
from collective.clockwork.ticks import logger
from collective.clockwork.ticks import LOGGING_LEVEL
from collective.clockwork.ticks import tick_logger
from collective.clockwork.ticks import TickEvent


__all__ = [
    "IntervalTicks15Event",
    "IntervalTicksDailyEvent",
    "IntervalTicksGenericEvent",
    "IntervalTicksHourlyEvent",
    "IntervalTicksMonthlyEvent",
    "IntervalTicksWeeklyEvent",
    "LOGGING_LEVEL",
    "TickEvent",
    "logger",
    "tick_logger",
]
