"""The form in which a schedule is added or changed; its next firings come first.

Nobody saves a time whose next firings she has not seen: where no script has shown them
while she typed, the first "Save" shows them and asks for a second one.
"""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork import _
from collective.clockwork import quotas
from collective.clockwork.browser import scheduleentries
from collective.clockwork.browser import schedulewords
from collective.clockwork.browser.scheduleentries import Entries
from collective.clockwork.browser.schedulepage import LIST
from collective.clockwork.browser.schedulepage import ONE
from collective.clockwork.browser.schedulepage import REFUSED
from collective.clockwork.browser.schedulepage import SchedulePage
from collective.clockwork.browser.schedulepage import SHOWN_AHEAD
from collective.clockwork.schedules import fields
from functools import cached_property
from plone import api
from plone.protect import CheckAuthenticator
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from typing import Any
from typing import TYPE_CHECKING
from zoneinfo import available_timezones
from zope.i18n import translate

import json


if TYPE_CHECKING:
    from collections.abc import Callable
    from collective.clockwork.browser.scheduleentries import Texts
    from datetime import datetime
    from zope.i18nmessageid import Message

#: Times of cron that the form explains.
EXAMPLES = (
    "*/15 * * * *",
    "0 * * * *",
    "30 2 * * *",
    "0 8 * * mon-fri",
    "0 3 * * sun",
    "0 4 1 * *",
)

#: Names of quotas begin so that one schedule alone has.
OWN_QUOTA = "schedule "

#: The fields that are folded away until somebody wants them.
FOLDED_AWAY = {"grace", "overlap", "missed", "jitter", "quota", "keep"}


class PreviewPage(SchedulePage):
    """The next firings of a time alone, without the page around it, for the script."""

    ahead_listing = ViewPageTemplateFile("schedule_ahead.pt")

    #: The time whose next firings are shown, see `timing_shown`; empty if none are.
    shown = ""

    #: The next firings of that time.
    moments: list[dict[str, str]] = []

    def __call__(self) -> str:
        self.forbid_caching()
        self.entries = Entries(scheduleentries.texts_sent(self.request.form))
        self.look_ahead()
        response = self.request.response
        response.setHeader("Content-Type", "text/html; charset=utf-8")
        # Diazo would wrap the fragment into the site's theme.
        response.setHeader("X-Theme-Disabled", "True")
        return self.ahead_listing()

    def look_ahead(self) -> None:
        """Show the next firings of the time in the form, or mark what is wrong."""
        timing = self.entries.timing()
        if "cron" in self.entries.errors:
            return
        try:
            moments = self.scheduler.preview(
                **timing, start=self.start(), count=SHOWN_AHEAD
            )
        except REFUSED as error:
            self.mark(error)
        else:
            self.moments = self.ahead(moments)
            self.shown = scheduleentries.timing_shown(self.entries.texts)

    def start(self) -> datetime | None:
        """From where an interval is counted: a new one from the present moment."""
        return None

    def mark(self, error: Exception) -> None:
        """Tell what was refused at its field, which the text begins with."""
        name = str(error).partition(" ")[0]
        if name in ("timezone", "every"):
            name = "cron"
        elif isinstance(error, Unauthorized):
            name = "user"
        elif name not in (*scheduleentries.PARTS, "name"):
            # A function tells of its arguments in its own words.
            name = "arguments" if isinstance(error, TypeError) else "form"
        self.entries.errors[name] = str(error)

    def error(self, name: str) -> str | None:
        """What is wrong with a field, in the viewer's language."""
        error = self.entries.errors.get(name)
        return error and translate(error, context=self.request)

    def words(self) -> str | None:
        """The time whose firings are shown in words, if there are some for it."""
        timing = self.entries.timing()
        if timing["every"] is None:
            return schedulewords.cron_words(timing["cron"], self.request)
        words = schedulewords.interval_words(timing["every"])
        return translate(words, context=self.request)


class ScheduleFormPage(PreviewPage):
    """The form: adds a schedule, or changes the one that ``schedule`` names."""

    template = ViewPageTemplateFile("schedule_form.pt")

    #: The fields that most schedules leave as they are.
    details = ViewPageTemplateFile("schedule_details.pt")

    #: Whether to ask for another "Save", now that the next firings are shown.
    asks_again = False

    #: Whether somebody has removed the schedule since the form was opened.
    is_gone = False

    def __call__(self) -> str:
        self.forbid_caching()
        self.name = self.sent("schedule") or self.sent("name")
        if self.request.method == "POST":
            CheckAuthenticator(self.request)
            self.name = self.sent("schedule")
            self.find()
            return self.handle_form()
        self.find()
        if self.is_gone:
            self.request.response.setStatus(404)
        self.new_name = self.name
        self.before = self.texts_now()
        self.entries = Entries(dict(self.before))
        self.look_ahead()
        return self.template()

    def find(self) -> None:
        """Find the schedule that is to be changed; a new one has no name yet."""
        self.schedule = self.scheduler.get(self.name) if self.name else None
        self.is_gone = bool(self.name) and self.schedule is None

    def sent(self, name: str) -> str:
        value = self.request.form.get(name)
        return value.strip() if isinstance(value, str) else ""

    def page_title(self) -> str:
        if self.schedule is None:
            title = translate(_("Add a schedule"), context=self.request)
        else:
            title = self.title(self.schedule)
        return f"{title} — {super().page_title()}"

    def texts_now(self) -> Texts:
        """The texts of the schedule as it is, or of a new one."""
        if self.schedule is not None:
            return scheduleentries.texts_of(self.schedule)
        user = api.user.get_current().getId() or ""
        zone = api.portal.get_registry_record("plone.portal_timezone", default=None)
        return scheduleentries.texts_of_new(user, zone or "UTC")

    def start(self) -> datetime | None:
        """An interval that stays as it is goes on as it went."""
        schedule = self.schedule
        if schedule is None or schedule.every is None or schedule.next is None:
            return None
        is_changed = self.entries.is_changed("cron", self.texts_now())
        return None if is_changed else schedule.next - schedule.every

    def handle_form(self) -> str:
        """Save what was sent, or show the form with it once more."""
        self.entries = Entries(scheduleentries.texts_sent(self.request.form))
        self.new_name = self.name if self.is_gone else self.sent("name")
        self.before = self.texts_before()
        if "save" not in self.request.form:
            self.look_ahead()
        elif self.save():
            return self.request.response.redirect(self.url(ONE, name=self.name))
        return self.template()

    def texts_before(self) -> Texts:
        """The texts of the schedule when the form was opened, as the form tells."""
        try:
            texts = json.loads(self.sent("before") or "{}")
        except (ValueError, RecursionError):
            return {}
        return texts if isinstance(texts, dict) else {}

    def save(self) -> bool:
        """Add or change the schedule; False if something is to be said first."""
        entries = self.entries
        if self.schedule is not None:
            now = self.texts_now()
            entries.take_over(self.before, now)
            self.before = now
        else:
            self.check_name()
        values = entries.values()
        if "cron" not in entries.errors:
            self.look_ahead()
        if entries.errors or self.is_gone:
            return False
        if self.sent("shown") != self.shown:
            self.asks_again = True
            return False
        try:
            return self.store(values)
        except (*REFUSED, LookupError, ImportError) as error:
            self.mark(error)
            return False

    def check_name(self) -> None:
        """Mark the name of a new schedule if it cannot be one."""
        try:
            fields.check_name(self.new_name)
        except ValueError:
            self.entries.errors["name"] = _(
                "Please enter a name of 1 to ${length} characters.",
                mapping={"length": fields.NAME_LENGTH},
            )
        else:
            if self.scheduler.get(self.new_name) is not None:
                self.entries.errors["name"] = _(
                    "There is a schedule of this name already."
                )

    def store(self, values: dict[str, Any]) -> bool:
        """Add it, or change the fields that are changed here."""
        if self.schedule is None:
            function = values.pop("function")
            self.scheduler.add(self.new_name, function, **values)
            self.name = self.new_name
            self.tell(_("The schedule was added."))
            return True
        changed = {
            name: values[name]
            for name in scheduleentries.PARTS
            if self.entries.is_changed(name, self.before)
        }
        if "cron" in changed:
            changed |= self.entries.timing()
        if changed:
            self.scheduler.change(self.name, **changed)
        self.tell(_("Changes saved.") if changed else _("Nothing was changed."))
        return True

    def before_as_json(self) -> str:
        """What the form was filled with, for the hidden field that remembers it."""
        return json.dumps(self.before)

    def invalid(self) -> Callable[[str], str]:
        """Tells the class of a field's element, for the templates."""
        return lambda name: "is-invalid" if name in self.entries.errors else ""

    def described(self) -> Callable[[str, str | None], str | None]:
        """Tells the ids of what is said of a field, for the templates."""
        errors = self.entries.errors
        return lambda name, aid: (
            " ".join(filter(None, (f"{name}-error", aid))) if name in errors else aid
        )

    @property
    def has_errors_inside(self) -> bool:
        """Whether something is wrong among the fields that are folded away."""
        return not FOLDED_AWAY.isdisjoint(self.entries.errors)

    def function_choices(self) -> list[dict[str, str]]:
        """The functions to choose from, and the one that it has already."""
        choices = [
            {
                "name": function.name,
                "title": translate(function.title, context=self.request),
                "description": translate(function.description, context=self.request),
            }
            for function in self.functions.values()
        ]
        chosen = self.entries["function"]
        if chosen and chosen not in self.functions:
            choices.append({"name": chosen, "title": chosen, "description": ""})
        return choices

    @cached_property
    def zones(self) -> list[dict]:
        """The time zones by continent, and those that have none."""
        names = {"UTC", self.entries["timezone"]} - {""}
        names |= {
            name
            for name in available_timezones()
            if name[0].isupper() and not name.startswith(("Etc/", "SystemV/"))
        }
        groups: dict[str, list[str]] = {}
        for name in sorted(names):
            continent = name.partition("/")[0] if "/" in name else ""
            groups.setdefault(continent, []).append(name)
        return [{"title": title, "names": group} for title, group in groups.items()]

    def quota_choices(self) -> list[dict]:
        """Names of the quotas of the default queue, in which jobs of schedules run."""
        chosen = self.entries["quota"]
        names = {
            quota.name
            for quota in quotas.list_quotas()
            if not quota.queue and not quota.name.startswith(OWN_QUOTA)
        }
        names |= {chosen} - {""}
        titles = {"": _("That of the function")}
        titles |= {name: name for name in sorted(names)}
        return self.choices(titles, chosen)

    def examples(self) -> list[dict[str, str | None]]:
        """Some times of cron, with their words."""
        return [
            {"cron": cron, "words": schedulewords.cron_words(cron, self.request)}
            for cron in EXAMPLES
        ]

    def choices(self, titles: dict[str, Message], chosen: str) -> list[dict]:
        """What can be chosen of a few words, for the template."""
        return [
            {"value": value, "title": title, "chosen": value == chosen}
            for value, title in titles.items()
        ]

    def overlaps(self) -> list[dict]:
        return self.choices(schedulewords.OVERLAPS, self.entries["overlap"])

    def missed(self) -> list[dict]:
        return self.choices(schedulewords.MISSED, self.entries["missed"])

    def units(self, part: str) -> list[dict]:
        return self.choices(schedulewords.UNIT_TITLES, self.entries[part])

    def back_url(self) -> str:
        """Where the form was opened: the page of the schedule, or the list."""
        if self.schedule is None:
            return self.url(LIST)
        return self.schedule_url(ONE, self.schedule)
