"""The list of schedules, and the page of one, with what came of its firings."""

from __future__ import annotations

from collective.clockwork import _
from collective.clockwork.browser.schedulepage import LIST
from collective.clockwork.browser.schedulepage import ONE
from collective.clockwork.browser.schedulepage import SchedulePage
from collective.clockwork.browser.schedulepage import SHOWN_AHEAD
from functools import cached_property
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from typing import TYPE_CHECKING
from zope.i18n import translate

import json


if TYPE_CHECKING:
    from collective.clockwork.schedules.info import FiringInfo
    from collective.clockwork.schedules.info import ScheduleInfo


class SchedulesPage(SchedulePage):
    """All schedules of the site, with the switch of each and that of the site."""

    template = ViewPageTemplateFile("schedules.pt")

    def __call__(self) -> str:
        self.forbid_caching()
        if self.request.method == "POST":
            return self.handle_buttons(self.url(LIST))
        return self.template()

    @cached_property
    def schedules(self) -> list[ScheduleInfo]:
        return self.scheduler.list()

    @property
    def is_enabled(self) -> bool:
        return self.scheduler.is_enabled()


class OneSchedulePage(SchedulePage):
    """One schedule: all it says, its next firings and its last ones; 404 if none."""

    template = ViewPageTemplateFile("schedule.pt")

    def __call__(self) -> str:
        self.forbid_caching()
        (name,) = self.names_sent("name")[:1] or ("",)
        self.schedule = self.scheduler.get(name) if name else None
        if self.request.method == "POST":
            return self.handle_buttons(self.url(ONE, name=name))
        if self.schedule is None:
            self.request.response.setStatus(404)
        return self.template()

    def page_title(self) -> str:
        """Its title, before what stands in the title of the list."""
        if self.schedule is None:
            title = translate(_("No such schedule"), context=self.request)
        else:
            title = self.title(self.schedule)
        return f"{title} — {super().page_title()}"

    @property
    def is_enabled(self) -> bool:
        return self.scheduler.is_enabled()

    def next_firings(self) -> list[dict[str, str]]:
        """The next firings; empty if it does not fire."""
        schedule = self.schedule
        if schedule.next is None:
            return []
        moments = self.scheduler.preview(
            cron=schedule.cron,
            every=schedule.every,
            timezone=schedule.timezone,
            start=schedule.every and schedule.next - schedule.every,
            count=SHOWN_AHEAD,
        )
        return self.ahead(moments)

    @cached_property
    def firings(self) -> list[FiringInfo]:
        return self.scheduler.firings(self.schedule.name)

    def arguments(self) -> str:
        """The arguments in JSON; empty if there are none."""
        if not self.schedule.arguments:
            return ""
        return json.dumps(self.schedule.arguments, ensure_ascii=False, indent=2)

    def message(self, firing: FiringInfo) -> str:
        """What came of a firing, in the viewer's language."""
        return translate(firing.message, context=self.request)

    @property
    def has_firings_over(self) -> bool:
        return any(firing.status not in ("queued", "active") for firing in self.firings)

    def firing_times(self, firing: FiringInfo) -> list[dict[str, str]]:
        """What happened when: label, text for people, ISO for machines."""
        moments = [
            (_("Fired"), firing.fired),
            (_("Started"), firing.began),
            (_("Ended"), firing.ended),
        ]
        times = [
            {"label": label, "text": self.localized(moment), "iso": moment.isoformat()}
            for label, moment in moments
            if moment is not None
        ]
        took = self.time_between(firing.began, firing.ended)
        if took is not None:
            times[-1]["text"] += f", {took}"
        return times
