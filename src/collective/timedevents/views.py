"""The views of the ticks, under their old name."""

from __future__ import annotations

from collective.clockwork.ticks import IntervalTicksView
from collective.clockwork.ticks import logger
from collective.clockwork.ticks import LOGGING_LEVEL
from collective.clockwork.ticks import TickTriggerView


#: Both were the name of the package.
package_id = client_id = "collective.timedevents"

#: Whether plone.protect is there, which is always so.
HAS_PROTECT = True

__all__ = [
    "HAS_PROTECT",
    "IntervalTicksView",
    "LOGGING_LEVEL",
    "TickTriggerView",
    "client_id",
    "logger",
    "package_id",
]
