"""What the form of a schedule holds: texts, what they mean, and what is wrong there.

A field may have several parts, as a number and its unit. A field is changed only if one
of its parts was: what others have changed meanwhile is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from collective.clockwork import _
from collective.clockwork.browser import schedulewords
from collective.clockwork.schedules import fields
from collective.clockwork.schedules.info import MISSED
from collective.clockwork.schedules.info import OVERLAPS
from dataclasses import dataclass
from dataclasses import field
from datetime import timedelta
from typing import Any
from typing import TYPE_CHECKING

import json
import re


if TYPE_CHECKING:
    from collective.clockwork.schedules.info import ScheduleInfo
    from zope.i18nmessageid import Message

#: The fields, each with its parts in the form.
PARTS = {
    "title": ("title",),
    "function": ("function",),
    "user": ("user",),
    "cron": ("when", "cron", "every", "every-unit", "timezone"),
    "context": ("context",),
    "arguments": ("arguments",),
    "grace": ("grace", "grace-unit"),
    "overlap": ("overlap",),
    "missed": ("missed",),
    "jitter": ("jitter", "jitter-unit"),
    "quota": ("quota",),
    "keep": ("keep",),
    "active": ("active",),
}

#: The time of a new schedule: it is in the form to be changed.
FIRST_CRON = "30 2 * * *"
FIRST_INTERVAL = timedelta(hours=1)

NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")

Texts = dict[str, str]


def texts_of_new(user: str, timezone: str) -> Texts:
    """The texts of a form that nobody has filled in."""
    every, every_unit = schedulewords.split(FIRST_INTERVAL)
    grace, grace_unit = schedulewords.split(fields.DEFAULTS["grace"])
    jitter, jitter_unit = schedulewords.split(fields.DEFAULTS["jitter"])
    return {
        "title": "",
        "function": "",
        "user": user,
        "when": "cron",
        "cron": FIRST_CRON,
        "every": every,
        "every-unit": every_unit,
        "timezone": timezone,
        "context": fields.DEFAULTS["context"],
        "arguments": "",
        "grace": grace,
        "grace-unit": grace_unit,
        "overlap": fields.DEFAULTS["overlap"],
        "missed": fields.DEFAULTS["missed"],
        "jitter": jitter,
        "jitter-unit": jitter_unit,
        "quota": "",
        "keep": str(fields.DEFAULTS["keep"]),
        "active": "1",
    }


def texts_of(schedule: ScheduleInfo) -> Texts:
    """The texts that mean what a schedule is."""
    every, every_unit = schedulewords.split(schedule.every or FIRST_INTERVAL)
    grace, grace_unit = schedulewords.split(schedule.grace)
    jitter, jitter_unit = schedulewords.split(schedule.jitter)
    arguments = json.dumps(schedule.arguments, ensure_ascii=False, indent=2)
    return {
        "title": "" if schedule.title == schedule.name else str(schedule.title),
        "function": schedule.function,
        "user": schedule.user,
        "when": "cron" if schedule.every is None else "every",
        "cron": schedule.cron or FIRST_CRON,
        "every": every,
        "every-unit": every_unit,
        "timezone": schedule.timezone,
        "context": schedule.context,
        "arguments": arguments if schedule.arguments else "",
        "grace": grace,
        "grace-unit": grace_unit,
        "overlap": schedule.overlap,
        "missed": schedule.missed,
        "jitter": jitter,
        "jitter-unit": jitter_unit,
        "quota": schedule.quota,
        "keep": str(schedule.keep),
        "active": "1" if schedule.active else "",
    }


def texts_sent(form: Mapping[str, Any]) -> Texts:
    """The texts of a form that was sent; empty for what was not, or is no text.

    Browsers send the ends of lines as a carriage return and a line feed.
    """
    sent = {part: form.get(part) for parts in PARTS.values() for part in parts}
    texts = {
        part: text.replace("\r\n", "\n").strip() if isinstance(text, str) else ""
        for part, text in sent.items()
    }
    texts["active"] = "1" if texts["active"] else ""
    return texts


def timing_shown(texts: Texts) -> str:
    """Names the time of these texts, to tell whether its firings were shown."""
    if texts["when"] == "every":
        return f"{texts['every']} {texts['every-unit']}"
    return f"{' '.join(texts['cron'].split())} {texts['timezone']}"


@dataclass
class Entries:
    """The texts in the form, and what is wrong with them."""

    texts: Texts
    #: Field to what is wrong there; "form" for what belongs to none of them.
    errors: dict[str, Message | str] = field(default_factory=dict)

    def __getitem__(self, part: str) -> str:
        return self.texts[part]

    def is_changed(self, name: str, before: Texts) -> bool:
        """Whether a part of this field has another text than before."""
        return any(self.texts[part] != before.get(part) for part in PARTS[name])

    def take_over(self, before: Texts, now: Texts) -> None:
        """Take what others have changed between ``before`` and ``now``.

        A field that was changed here, too, is marked, unless both mean the same.
        """
        present = Entries(now)
        for name, parts in PARTS.items():
            if not present.is_changed(name, before):
                continue
            if not self.is_changed(name, before):
                self.texts.update((part, now[part]) for part in parts)
            elif self.is_changed(name, now):
                self.errors[name] = _(
                    "Somebody has set it to ${value} meanwhile. Save once more to set "
                    "it to what is here.",
                    mapping={"value": present.shown(name)},
                )

    def shown(self, name: str) -> str:
        """The text of a field in brief, to tell it in a sentence."""
        if name == "cron":
            return timing_shown(self.texts)
        return " ".join(self.texts[part] for part in PARTS[name]) or "–"

    def timing(self) -> dict[str, Any]:
        """``cron`` or ``every``, and ``timezone``; marks what cannot be one."""
        timezone = self.texts["timezone"]
        if self.texts["when"] == "every":
            every = self._interval("every", "cron")
            return {"cron": None, "every": every, "timezone": timezone}
        if not self.texts["cron"]:
            self.errors["cron"] = _("Please enter when it is to fire.")
        return {"cron": self.texts["cron"], "every": None, "timezone": timezone}

    def values(self) -> dict[str, Any]:
        """The fields as ``IScheduler.add`` takes them; marks what cannot be one."""
        return {
            **self.timing(),
            "title": self.texts["title"] or None,
            "function": self._chosen("function", None),
            "user": self._required("user"),
            "context": self.texts["context"].strip("/"),
            "arguments": self._arguments(),
            "grace": self._interval("grace", "grace"),
            "overlap": self._chosen("overlap", OVERLAPS),
            "missed": self._chosen("missed", MISSED),
            "jitter": self._interval("jitter", "jitter"),
            "quota": self.texts["quota"] or None,
            "keep": self._keep(),
            "active": bool(self.texts["active"]),
        }

    def _required(self, name: str) -> str:
        if not self.texts[name]:
            self.errors[name] = _("Please fill in this field.")
        return self.texts[name]

    def _chosen(self, name: str, choices: tuple[str, ...] | None) -> str:
        chosen = self.texts[name]
        if not chosen or (choices is not None and chosen not in choices):
            self.errors[name] = _("Please choose one.")
        return chosen

    def _interval(self, part: str, name: str) -> timedelta | None:
        number, unit = self.texts[part], self.texts[f"{part}-unit"]
        if NUMBER.fullmatch(number) is None or unit not in schedulewords.UNITS:
            self.errors[name] = _("Please enter a number, such as 5 or 0.5.")
            return None
        try:
            interval = float(number) * schedulewords.UNITS[unit]
        except OverflowError:
            interval = timedelta.max
        longest = fields.LONGEST
        if interval > longest:
            self.errors[name] = _(
                "Please enter ${number} days at most.", mapping={"number": longest.days}
            )
        elif part == "every" and interval < timedelta(seconds=1):
            self.errors[name] = _("Please enter one second or more.")
        return interval

    def _arguments(self) -> dict[str, Any]:
        text = self.texts["arguments"]
        try:
            arguments = json.loads(text) if text else {}
        except json.JSONDecodeError as error:
            self.errors["arguments"] = _(
                "This is no JSON: look at line ${line}, column ${column}.",
                mapping={"line": error.lineno, "column": error.colno},
            )
            return {}
        except (ValueError, RecursionError):
            # Numbers of thousands of digits, and lists that are nested as deeply.
            self.errors["arguments"] = _("This JSON is too large.")
            return {}
        if not isinstance(arguments, dict):
            self.errors["arguments"] = _(
                'Please enter names and values in braces, such as {"days": 7}.'
            )
            return {}
        return arguments

    def _keep(self) -> int:
        fewest, most = fields.KEEP
        text = self.texts["keep"]
        number = int(text) if WHOLE_NUMBER.fullmatch(text) else 0
        if not fewest <= number <= most:
            self.errors["keep"] = _(
                "Please enter a whole number from ${fewest} to ${most}.",
                mapping={"fewest": fewest, "most": most},
            )
        return number
