"""``crons.xml`` of collective.cron is imported: its crons become schedules.

A cron was known by its uid, so that is the schedule's name; its name is the title. What
the name stood for cannot be kept, an ``IJobRunner`` or a script: it must be the name of
a registered function. As long as it is not, the schedule is there and does not fire.

As in collective.cron, elements count in their order, what is known already is edited,
and what isn't said of a new one is: not activated.
"""

from __future__ import annotations

from collections.abc import Mapping
from collective.clockwork import identity
from collective.clockwork.engine.interfaces import UnresolvableError
from collective.clockwork.schedules import editing
from collective.clockwork.schedules import fields
from collective.clockwork.schedules import setupfiles
from collective.clockwork.schedules import timing
from collective.clockwork.schedules.setupelements import Element
from collective.clockwork.schedules.setupelements import read
from collective.clockwork.schedules.setupelements import SetupFileError
from collective.clockwork.schedules.setupfiles import DeclaredSchedule
from dataclasses import dataclass
from datetime import timedelta
from Products.GenericSetup.interfaces import IImportContext
from typing import Any

import re
import transaction


FILENAME = "crons.xml"
ROOT = "crons"
OF_CRON = ("uid", "name", "periodicity", "activated", "remove")

#: What counted as true there, in any case.
TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0", "")

#: Key among the environ with which a request was made; a job has its own.
REQUEST = "REQUEST"

#: Words in place of the five fields.
WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

#: Seconds that all minutes have, in the sixth field: each one, or each nth one.
SECONDS = re.compile(r"\*(?:/([1-9][0-9]?))?")


@dataclass(frozen=True)
class Cron:
    """One element of a file: what it says of a schedule, or that it is to go."""

    uid: str
    #: The fields; None for one that is to go.
    given: Mapping[str, Any] | None
    #: What it called what is to be run; None if it doesn't say.
    function: str | None
    element: Element


def import_crons(context: IImportContext) -> None:
    """Import step: make schedules of the crons of the profile's file.

    Raises SetupFileError, with nothing changed, for what makes no sense.
    """
    body = context.readDataFile(FILENAME)
    if body is None:
        return
    site = identity.current_site()
    logger = context.getLogger(setupfiles.LOGGER)
    root = read(FILENAME, body, ROOT)
    root.check((), "cron")
    known = set(editing.schedules_of(site) or ())
    crons = [_cron(element, known, logger) for element in root.children()]
    # What an element does may be refused because of what those above it have done.
    savepoint = transaction.savepoint(optimistic=True)
    try:
        for cron in crons:
            values = None if cron.given is None else _values(site, cron)
            setupfiles.apply(site, DeclaredSchedule(cron.uid, values, False), logger)
    except SetupFileError:
        savepoint.rollback()
        raise
    logger.info("Crons imported.")


def periodicity(text: str) -> dict[str, Any]:
    """The fields for this time; ValueError if no schedule has it.

    A sixth field counts seconds, and is the last one. It can be 0, or an interval.
    """
    parts = WORDS.get(text.strip().lower(), text).split()
    if len(parts) != 6:
        cron = " ".join(parts)
        timing.make(cron=cron)
        return {"cron": cron, "every": None}
    *minutes, seconds = parts
    if seconds in ("0", "00"):
        return periodicity(" ".join(minutes))
    interval = SECONDS.fullmatch(seconds)
    step = int(interval[1] or 1) if interval else 0
    if minutes == ["*"] * 5 and step and not 60 % step:
        return {"cron": None, "every": timedelta(seconds=step)}
    raise ValueError(
        f"{text!r} has a sixth field, for seconds, which no schedule has: leave it "
        "out, or write the schedule in schedules.xml with every"
    )


def _cron(element: Element, known: set[str], logger: Any) -> Cron:
    """What an element says, checked; ``known`` are the schedules there are by then."""
    element.check(OF_CRON, "environ")
    uid = element.need("uid")
    if _truth(element, "remove"):
        known.discard(uid)
        return Cron(uid, None, None, element)
    if uid not in known:
        element.need("name")
        element.need("periodicity")
        known.add(uid)
    given: dict[str, Any] = {}
    try:
        fields.check_name(uid)
        if element.get("name") is not None:
            given["title"] = element.need("name")
        if element.get("periodicity") is not None:
            given.update(periodicity(element.need("periodicity")))
        if element.get("activated") is not None:
            given["active"] = _truth(element, "activated")
        for child in element.children():
            child.check((), None)
            if child.text:
                given["arguments"] = _arguments(uid, child, logger)
        fields.check(given)
    except SetupFileError:
        raise
    except (TypeError, ValueError) as error:
        raise element.error(str(error)) from error
    return Cron(uid, given, element.get("name"), element)


def _arguments(uid: str, element: Element, logger: Any) -> dict[str, Any]:
    environ = element.json_object()
    if environ.pop(REQUEST, None) is not None:
        logger.warning(
            f"Schedule {uid!r} is made without the {REQUEST} of its environ: a job has "
            "a request for the site as its visitors see it."
        )
    return environ


def _truth(element: Element, name: str) -> bool:
    text = (element.get(name) or "").strip().lower()
    if text not in (*TRUE, *FALSE):
        raise element.error(f'{name} is {text!r}: it must be "true" or "false"')
    return text in TRUE


def _values(site: Any, cron: Cron) -> dict[str, Any]:
    """The attributes of the cron's schedule."""
    given = dict(cron.given or {})
    present = editing.find(site, cron.uid)
    if present is None:
        given = {**fields.DEFAULTS, "active": False, **given}
        values = editing.attributes(site, given)
    else:
        changed = editing.attributes(site, given, present)
        values = {**editing.values_of(present), **changed}
    if cron.function is not None:
        # With a colon it would be looked up as a module's, whichever that is.
        values["function"] = cron.function.replace(":", ".")
    try:
        editing.check_call(site, values["function"], values["arguments"])
    except (UnresolvableError, TypeError):
        values["active"] = False
    return setupfiles.answered_for(site, values, present, cron.element)
