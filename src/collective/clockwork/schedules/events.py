"""Events of schedules."""

from __future__ import annotations

from collective.clockwork.schedules.info import ScheduleInfo
from collective.clockwork.schedules.interfaces import IScheduleChanged
from collective.clockwork.schedules.interfaces import IScheduleFired
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zope.interface import implementer


@implementer(IScheduleChanged)
@dataclass(frozen=True)
class ScheduleChanged:
    """See IScheduleChanged."""

    name: str
    info: ScheduleInfo | None


@implementer(IScheduleFired)
@dataclass(frozen=True)
class ScheduleFired:
    """See IScheduleFired."""

    name: str
    slot: datetime | None
    job: Any
