"""The utility for the schedules of a site: who may do what is decided here.

Those who may manage the background jobs of the site may manage its schedules. They
cannot get at rights by it that they don't have: see ``users.require_may_name``, and
``functions`` for what can be scheduled.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collective.clockwork import identity
from collective.clockwork import jobrules
from collective.clockwork.engine import clock
from collective.clockwork.schedules import adoption
from collective.clockwork.schedules import describing
from collective.clockwork.schedules import editing
from collective.clockwork.schedules import firing
from collective.clockwork.schedules import functions
from collective.clockwork.schedules import outcomes
from collective.clockwork.schedules import timing
from collective.clockwork.schedules import users
from collective.clockwork.schedules.info import FiringInfo
from collective.clockwork.schedules.info import FunctionInfo
from collective.clockwork.schedules.info import ScheduleInfo
from collective.clockwork.schedules.interfaces import IScheduler
from collective.clockwork.sitejob import ServiceJob
from datetime import datetime
from datetime import timedelta
from typing import Any
from zExceptions import BadRequest
from zope.interface import implementer


#: How many moments a preview gives at most.
LONGEST_PREVIEW = 1000


@implementer(IScheduler)
class Scheduler:
    """See IScheduler."""

    def add(self, name: str, function: Callable | str, **given: Any) -> ScheduleInfo:
        """See IScheduler."""
        site = users.managed_site()
        if given.get("user") is None:
            given["user"] = users.current(site)[1]
        values = editing.checked(site, name, {**given, "function": function})
        _require_may_name(site, values)
        return describing.tell_of_change(site, editing.put(site, name, values))

    def change(self, name: str, **given: Any) -> ScheduleInfo:
        """See IScheduler."""
        site = users.managed_site()
        schedule = editing.existing(site, name)
        values = editing.checked_change(site, schedule, given)
        if editing.differ(schedule, values, editing.POWERS):
            # Whoever says what is done must be able to do it herself.
            _require_may_name(site, {**editing.values_of(schedule), **values})
        if editing.set_values(schedule, values):
            return describing.tell_of_change(site, schedule)
        return describing.describe(site, schedule)

    def remove(self, name: str) -> None:
        """See IScheduler."""
        site = users.managed_site()
        schedule = editing.existing(site, name)
        if schedule.origin == "zcml" and adoption.is_declared(site, name):
            raise ValueError(
                f"The schedule {name!r} is declared in ZCML, so it would come back "
                "when a worker starts: deactivate it instead"
            )
        editing.remove(site, name)

    def get(self, name: str) -> ScheduleInfo | None:
        """See IScheduler."""
        site = users.managed_site()
        schedule = editing.find(site, name)
        return None if schedule is None else describing.describe(site, schedule)

    def list(self) -> list[ScheduleInfo]:
        """See IScheduler."""
        site = users.managed_site()
        schedules = editing.schedules_of(site) or {}
        return [describing.describe(site, each) for each in schedules.values()]

    def activate(self, name: str) -> None:
        """See IScheduler."""
        self.change(name, active=True)

    def deactivate(self, name: str) -> None:
        """See IScheduler."""
        self.change(name, active=False)

    def run_now(self, name: str) -> ServiceJob:
        """See IScheduler."""
        site = users.managed_site()
        schedule = editing.existing(site, name)
        return firing.queue_firing(schedule, by=jobrules.current().user_id)

    def firings(self, name: str) -> list[FiringInfo]:
        """See IScheduler."""
        return outcomes.firings(editing.existing(users.managed_site(), name))

    def forget_firings(self, name: str) -> None:
        """See IScheduler."""
        outcomes.forget(editing.existing(users.managed_site(), name).record)

    def preview(
        self,
        *,
        cron: str | None = None,
        every: timedelta | None = None,
        timezone: str | None = None,
        start: datetime | None = None,
        count: int = 5,
    ) -> list[datetime]:
        """See IScheduler."""
        identity.current_site()
        if type(count) is not int or not 0 <= count <= LONGEST_PREVIEW:
            raise ValueError(
                f"count is {count!r}: it must be a whole number, {LONGEST_PREVIEW} or "
                "less"
            )
        timezone = timezone or editing.default_zone()
        try:
            made = timing.make(cron=cron, every=every, timezone=timezone, start=start)
            moments = made.upcoming(made.start, count)
            return [made.in_zone(moment) for moment in moments]
        except OverflowError as error:
            raise ValueError(
                f"count is {count}: so many reach beyond the year 9999"
            ) from error

    def functions(self) -> list[FunctionInfo]:
        """See IScheduler."""
        identity.current_site()
        return functions.list_functions()

    def is_enabled(self) -> bool:
        """See IScheduler."""
        schedules = editing.schedules_of(identity.current_site())
        return schedules is None or schedules.enabled

    def enable(self) -> None:
        """See IScheduler."""
        schedules = editing.schedules_of(users.managed_site())
        if schedules is not None:
            schedules.enable(clock.now_us())

    def disable(self) -> None:
        """See IScheduler."""
        editing.make_schedules_of(users.managed_site()).disable()


def _require_may_name(site: Any, values: Mapping[str, Any]) -> None:
    """Raise Unauthorized if the current user may not have these values' user work.

    ValueError if that one is gone.
    """
    if values["user_id"] is not None:
        folder = editing.present_folder(site, values["userfolder_path"])
        try:
            users.require_may_name(site, folder, values["user_id"])
        except BadRequest as error:
            raise ValueError(
                f"user is {values['user_id']!r}, who is gone: choose another one"
            ) from error
