"""What the pages about schedules share: their words, and what their buttons do."""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork import _
from collective.clockwork.browser import schedulewords
from collective.clockwork.browser.jobs import JobPage
from collective.clockwork.browser.jobs import last_name
from collective.clockwork.schedules.interfaces import IScheduler
from functools import cached_property
from plone.protect import CheckAuthenticator
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from Products.statusmessages.interfaces import IStatusMessage
from typing import TYPE_CHECKING
from zExceptions import BadRequest
from zope.component import getUtility
from zope.i18n import translate


if TYPE_CHECKING:
    from collective.clockwork.schedules.info import FiringInfo
    from collective.clockwork.schedules.info import FunctionInfo
    from collective.clockwork.schedules.info import ScheduleInfo
    from datetime import datetime
    from zope.i18nmessageid import Message

LIST = "@@background-schedules"
ONE = "@@background-schedule"
FORM = "@@background-schedule-edit"
PREVIEW = "@@background-schedule-preview"
TICKS = "@@background-ticks"

#: How many of the next firings are shown.
SHOWN_AHEAD = 5

#: What the scheduler raises for what cannot be done; its text says why.
REFUSED = (ValueError, TypeError, BadRequest, Unauthorized)


class SchedulePage(JobPage):
    """A page about schedules.

    Text that people or programs have given them goes into the templates as plain
    strings, which escape it.
    """

    #: The page that asks once more before schedules are removed.
    confirmation = ViewPageTemplateFile("schedule_remove.pt")

    @property
    def scheduler(self) -> IScheduler:
        """The service, which alone knows the schedules of this site."""
        return getUtility(IScheduler)

    @property
    def no_worker(self) -> bool:
        return self.service.workersAlive() == 0

    @cached_property
    def functions(self) -> dict[str, FunctionInfo]:
        """The functions that can be scheduled, by name."""
        return {function.name: function for function in self.scheduler.functions()}

    def function_title(self, name: str) -> str:
        """What people know a function by."""
        if name in self.functions:
            return translate(self.functions[name].title, context=self.request)
        return last_name(name.replace(":", "."))

    def schedule_url(self, view: str, schedule: ScheduleInfo) -> str:
        return self.url(view, name=schedule.name)

    def title(self, schedule: ScheduleInfo) -> str:
        return translate(schedule.title or schedule.name, context=self.request)

    def when(self, schedule: ScheduleInfo) -> str:
        """When it fires, in words where there are some, else in those of cron."""
        if schedule.every is not None:
            words = schedulewords.interval_words(schedule.every)
            return translate(words, context=self.request)
        return schedulewords.cron_words(schedule.cron, self.request) or schedule.cron

    def cron(self, schedule: ScheduleInfo) -> str | None:
        """Its fields of cron, unless that is what it is told by already."""
        return None if self.when(schedule) == schedule.cron else schedule.cron

    def other_zone(self, schedule: ScheduleInfo) -> str | None:
        """The time zone that its times are meant in, if it is not the viewer's."""
        if schedule.cron is None or schedule.timezone == str(self.zone):
            return None
        return schedule.timezone

    def length(self, interval) -> str:
        """How long an interval is, in words."""
        return translate(schedulewords.length_words(interval), context=self.request)

    def overlap_title(self, overlap: str) -> Message:
        return schedulewords.OVERLAPS[overlap]

    def missed_title(self, missed: str) -> Message:
        return schedulewords.MISSED[missed]

    def problem(self, schedule: ScheduleInfo) -> str | None:
        """Why it cannot fire, in the viewer's language."""
        return schedule.problem and translate(schedule.problem, context=self.request)

    def firing_title(self, firing: FiringInfo) -> Message:
        return schedulewords.STATUSES[firing.status][0]

    def firing_colour(self, firing: FiringInfo) -> str:
        return schedulewords.STATUSES[firing.status][1]

    def ahead(self, moments: list[datetime]) -> list[dict[str, str]]:
        """Moments to come, each in its own zone: text for people, ISO for machines."""
        return [
            {
                "day": schedulewords.weekday_words(moment, self.request),
                "date": self.date_words(moment),
                "time": f"{moment:%H:%M:%S}",
                "offset": schedulewords.offset_words(moment),
                "iso": moment.isoformat(),
            }
            for moment in moments
        ]

    def date_words(self, moment: datetime) -> str:
        """The date that it is in the moment's own zone, as Plone writes it."""
        return self.day(moment.replace(tzinfo=self.zone))

    def names_sent(self, field: str) -> list[str]:
        """Names of schedules that a form has sent, one or many."""
        value = self.request.form.get(field)
        values = value if isinstance(value, list) else [value]
        return [name for name in values if isinstance(name, str) and name]

    def handle_buttons(self, back: str) -> str:
        """Do what the pressed button says, and go back to this address.

        The form has to hold the authenticator of plone.protect.
        """
        CheckAuthenticator(self.request)
        form = self.request.form
        if "remove" in form or "remove-selected" in form:
            return self.confirm_removal(back)
        if "enable" in form:
            self.scheduler.enable()
            self.tell(_("Schedules of this site fire from now on."))
        elif "disable" in form:
            self.scheduler.disable()
            self.tell(_("Schedules of this site fire no more."))
        elif "removal" in form:
            self.remove(self.names_sent("name"))
            back = self.url(LIST)
        else:
            self.handle_one()
        return self.request.response.redirect(back)

    def handle_one(self) -> None:
        """Do what the button of one schedule says; tell if that is not possible."""
        done = {
            "activate": (
                self.scheduler.activate,
                _("${title} fires from now on."),
            ),
            "deactivate": (
                self.scheduler.deactivate,
                _("${title} fires no more."),
            ),
            "run": (
                self.scheduler.run_now,
                _("${title} was queued and runs as soon as a worker is free."),
            ),
            "forget": (
                self.scheduler.forget_firings,
                _("The firings that are over were forgotten."),
            ),
        }
        for button, (act, message) in done.items():
            for name in self.names_sent(button):
                schedule = self.scheduler.get(name)
                if schedule is None:
                    self.tell_gone(name)
                    continue
                try:
                    act(name)
                except REFUSED as error:
                    self.tell(str(error), "error")
                else:
                    mapping = {"title": self.title(schedule)}
                    self.tell(_(message, mapping=mapping))

    def confirm_removal(self, back: str) -> str:
        """Ask before anything is removed; changes nothing."""
        names = self.names_sent("remove")
        if "remove-selected" in self.request.form:
            names = self.names_sent("selected")
        found = [self.scheduler.get(name) for name in dict.fromkeys(names)]
        self.leaving = [schedule for schedule in found if schedule is not None]
        self.back = back
        if self.leaving:
            return self.confirmation()
        self.tell(_("Please select the schedules to remove."), "warning")
        return self.request.response.redirect(back)

    def remove(self, names: list[str]) -> None:
        for name in dict.fromkeys(names):
            schedule = self.scheduler.get(name)
            if schedule is None:
                self.tell_gone(name)
                continue
            try:
                self.scheduler.remove(name)
            except REFUSED as error:
                self.tell(str(error), "error")
            else:
                mapping = {"title": self.title(schedule)}
                self.tell(_("${title} was removed.", mapping=mapping))

    def tell_gone(self, name: str) -> None:
        mapping = {"name": name}
        self.tell(_("There is no schedule ${name} any more.", mapping=mapping), "error")

    def tell(self, message: Message | str, kind: str = "info") -> None:
        """Show this above the next page."""
        text = translate(message, context=self.request)
        IStatusMessage(self.request).add(text, type=kind)

    def page_title(self) -> str:
        return translate(_("Schedules"), context=self.request)
