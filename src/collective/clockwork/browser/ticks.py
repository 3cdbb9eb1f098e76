"""The page of ticks: how often they come, who sends them, and when the last one was."""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork import _
from collective.clockwork.browser import schedulewords
from collective.clockwork.browser.scheduleentries import WHOLE_NUMBER
from collective.clockwork.browser.schedulepage import REFUSED
from collective.clockwork.browser.schedulepage import SchedulePage
from collective.clockwork.browser.schedulepage import TICKS
from collective.clockwork.interfaces import ITickSettings
from collective.clockwork.schedules import ticking
from collective.clockwork.ticks import INTERVAL_RECORD
from collective.clockwork.ticks import tick_interval
from datetime import datetime
from datetime import timedelta
from functools import cached_property
from plone import api
from plone.protect import CheckAuthenticator
from plone.registry.interfaces import IRegistry
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from typing import Any
from typing import TYPE_CHECKING
from zope.component import getMultiAdapter
from zope.component import getUtility
from zope.i18n import translate

import transaction


if TYPE_CHECKING:
    from collective.clockwork.schedules.info import ScheduleInfo
    from zope.i18nmessageid import Message

LONGEST = timedelta(seconds=ITickSettings["tick_interval"].max)


class TicksPage(SchedulePage):
    """Shows how the site is ticked; a POST changes it."""

    template = ViewPageTemplateFile("ticks.pt")

    def __call__(self) -> str:
        self.forbid_caching()
        self.errors: dict[str, Message | str] = {}
        self.texts = self.texts_now()
        if self.request.method == "POST":
            CheckAuthenticator(self.request)
            if self.save():
                return self.request.response.redirect(self.url(TICKS))
        return self.template()

    def page_title(self) -> str:
        return translate(_("Ticks"), context=self.request)

    def texts_now(self) -> dict[str, str]:
        """What the form holds before anything is entered."""
        seconds = timedelta(seconds=tick_interval(self.context))
        interval, unit = schedulewords.split(seconds)
        tick = self.scheduler.get(ticking.TICK)
        user = api.user.get_current().getId() or ""
        return {
            "interval": interval,
            "interval-unit": unit,
            "scheduled": "1" if ticking.is_enabled() else "",
            "user": user if tick is None else tick.user,
        }

    @cached_property
    def schedules(self) -> list[ScheduleInfo]:
        """Those of the schedules that send ticks that this site has."""
        found = map(self.scheduler.get, ticking.FUNCTIONS)
        return [
            schedule
            for schedule in found
            if schedule and schedule.function == ticking.FUNCTIONS[schedule.name]
        ]

    @property
    def is_scheduled(self) -> bool:
        """Whether schedules send the ticks."""
        return ticking.is_enabled()

    @property
    def is_site_off(self) -> bool:
        return not self.scheduler.is_enabled()

    def units(self) -> list[dict[str, Any]]:
        return [
            {
                "value": unit,
                "title": title,
                "chosen": unit == self.texts["interval-unit"],
            }
            for unit, title in schedulewords.UNIT_TITLES.items()
        ]

    def error(self, name: str) -> str | None:
        """What is wrong with a field, in the viewer's language."""
        error = self.errors.get(name)
        return error and translate(error, context=self.request)

    @property
    def last_tick(self) -> datetime | None:
        view = getMultiAdapter((self.context, self.request), name="tick")
        last = view.getLastTick()
        return None if last is None else last.asdatetime()

    @property
    def next_tick(self) -> datetime | None:
        """When the next one comes; of calls from outside, when they count again."""
        if self.is_scheduled:
            tick = self.scheduler.get(ticking.TICK)
            return tick.next
        last = self.last_tick
        interval = timedelta(seconds=tick_interval(self.context))
        return None if last is None else last + interval

    def save(self) -> bool:
        """Change what was changed in the form; False if something of it is wrong."""
        before = self.texts
        self.texts = {name: self.sent(name) for name in before}
        seconds = self.seconds()
        if self.texts["scheduled"] and not self.texts["user"]:
            self.errors["user"] = _("Please fill in this field.")
        if self.errors:
            return False
        savepoint = transaction.savepoint()
        try:
            if seconds != tick_interval(self.context):
                getUtility(IRegistry)[INTERVAL_RECORD] = seconds
            self.switch(before)
        except REFUSED as error:
            savepoint.rollback()
            text = str(error)
            is_user = isinstance(error, Unauthorized) or text.startswith("user ")
            self.errors["user" if is_user else "form"] = text
            return False
        self.tell(_("Changes saved."))
        return True

    def switch(self, before: dict[str, str]) -> None:
        """Have the schedules send the ticks or not, as the chosen user."""
        if not self.texts["scheduled"]:
            ticking.disable()
            return
        user = self.texts["user"]
        if not before["scheduled"]:
            ticking.enable(user)
        for schedule in self.schedules:
            if schedule.user != user:
                self.scheduler.change(schedule.name, user=user)

    def sent(self, name: str) -> str:
        value = self.request.form.get(name)
        return value.strip() if isinstance(value, str) else ""

    def seconds(self) -> int:
        """The interval that was entered; marks what cannot be one."""
        number, unit = self.texts["interval"], self.texts["interval-unit"]
        if WHOLE_NUMBER.fullmatch(number) is None or unit not in schedulewords.UNITS:
            self.errors["interval"] = _("Please enter a whole number, such as 5.")
            return 0
        seconds = int(number) * schedulewords.UNITS[unit].total_seconds()
        if seconds > LONGEST.total_seconds():
            self.errors["interval"] = _(
                "Please enter ${number} days at most.", mapping={"number": LONGEST.days}
            )
        return int(seconds)
