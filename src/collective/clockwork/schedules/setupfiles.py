"""The GenericSetup file ``schedules.xml``: the schedules of a site.

A file is read and checked as a whole before anything is changed. What stands in it is
described in ``docs/schedules.rst``. It can name registered functions alone, because
files come from archives, too, that somebody uploads.
"""

from __future__ import annotations

from collections.abc import Mapping
from collective.clockwork import identity
from collective.clockwork.engine import clock
from collective.clockwork.schedules import adoption
from collective.clockwork.schedules import declaring
from collective.clockwork.schedules import describing
from collective.clockwork.schedules import durations
from collective.clockwork.schedules import editing
from collective.clockwork.schedules import fields
from collective.clockwork.schedules import ticking
from collective.clockwork.schedules import users
from collective.clockwork.schedules.model import Schedule
from collective.clockwork.schedules.setupelements import Element
from collective.clockwork.schedules.setupelements import read
from dataclasses import dataclass
from lxml import etree
from Products.GenericSetup.interfaces import IExportContext
from Products.GenericSetup.interfaces import IImportContext
from typing import Any
from zope.i18n import translate

import json
import re


FILENAME = "schedules.xml"
ROOT = "schedules"

#: Name of the logger whose lines the set-up tool shows after an import. It shows them
#: without their arguments, so they are made before.
LOGGER = "clockwork"

#: Attributes that are texts, as the fields of these names.
TEXTS = (
    "title",
    "function",
    "cron",
    "timezone",
    "user",
    "context",
    "overlap",
    "missed",
)
DURATIONS = ("every", *fields.DURATIONS)

OF_SCHEDULE = (
    "name",
    *TEXTS,
    *DURATIONS,
    "quota",
    "keep",
    "active",
    "overwrite",
    "remove",
)
#: Characters that JSON may hold as they are, and XML not at all.
NOT_IN_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")

OF_ROOT = ("enabled", "ticks", "ticks_user", "purge")


@dataclass(frozen=True)
class DeclaredSchedule:
    """What a file says of one schedule."""

    name: str
    #: The attributes that it is to have; None for one that is to go.
    values: Mapping[str, Any] | None
    overwrite: bool


def import_schedules(context: IImportContext) -> None:
    """Import step: make the schedules of the profile's file.

    Raises SetupFileError, with nothing changed, for what makes no sense.
    """
    body = context.readDataFile(FILENAME)
    if body is None:
        return
    site = identity.current_site()
    root = read(FILENAME, body, ROOT)
    root.check(OF_ROOT, "schedule")
    ticks, purge = root.truth("ticks"), root.truth("purge")
    enabled = root.truth("enabled")
    declared = read_schedules(site, root)
    logger = context.getLogger(LOGGER)
    if ticks:
        ticking.check_names(site)
        ticking.ensure_quota(site)
    for schedule in declared.values():
        apply(site, schedule, logger)
    if ticks:
        user = root.get("ticks_user") or users.current_id(site)
        stored = editing.user_values(site, user)["userfolder_path"]
        user = user if _may_name(site, stored, user) else None
        ticking.make(site, user, leave=declared)
    elif ticks is not None:
        ticking.switch_off(site)
    if purge:
        kept = {*declared, *(ticking.FUNCTIONS if ticks else ())}
        for name in sorted(set(editing.schedules_of(site) or ()) - kept):
            remove(site, name, logger)
    if enabled is not None:
        _enable(site, enabled)
    logger.info("Schedules imported.")


def export_schedules(context: IExportContext) -> None:
    """Export step: write all schedules of the site."""
    site = identity.current_site()
    schedules = editing.schedules_of(site)
    enabled = schedules is None or schedules.enabled
    root = etree.Element(ROOT, enabled=_truth(enabled))
    root.set("ticks", _truth(ticking.is_enabled()))
    for name in sorted(schedules or ()):
        _write(root, schedules[name])
    body = etree.tostring(
        root, pretty_print=True, xml_declaration=True, encoding="utf-8"
    )
    context.writeDataFile(FILENAME, body, "text/xml")
    context.getLogger(LOGGER).info("Schedules exported.")


def read_schedules(site: Any, root: Element) -> dict[str, DeclaredSchedule]:
    """What a file says, by name; SetupFileError if that makes no sense."""
    found: dict[str, DeclaredSchedule] = {}
    for element in root.children():
        element.check(OF_SCHEDULE, "arguments")
        name = element.need("name")
        try:
            fields.check_name(name)
        except ValueError as error:
            raise element.error(str(error)) from error
        if name in found:
            raise element.error("there is a schedule of that name above it")
        found[name] = _schedule(site, name, element)
    return found


def apply(site: Any, declared: DeclaredSchedule, logger: Any) -> None:
    """Do what a file says of a schedule."""
    name = declared.name
    if declared.values is None:
        remove(site, name, logger)
        return
    kept = declaring.declare(
        site, name, declared.values, origin="site", overwrite=declared.overwrite
    )
    if kept:
        logger.warning(
            f"Schedule {name!r} keeps what was changed by hand ({', '.join(kept)}): "
            'add overwrite="true" to have what the file says.'
        )
    problem = describing.problem_of(site, editing.existing(site, name))
    if problem is not None:
        text = translate(problem)
        logger.warning(f"Schedule {name!r} cannot fire as it is: {text}")


def remove(site: Any, name: str, logger: Any) -> None:
    """Remove a schedule, unless ZCML declares it; nothing if it isn't there."""
    schedule = editing.find(site, name)
    if schedule is None:
        return
    if schedule.origin == "zcml" and adoption.is_declared(site, name):
        logger.warning(
            f"Schedule {name!r} was not removed, because ZCML declares it: "
            'active="false" switches it off.'
        )
        return
    editing.remove(site, name)
    logger.info(f"Schedule {name!r} removed.")


def values_for(
    site: Any, name: str, given: Mapping[str, Any], element: Element
) -> dict[str, Any]:
    """The attributes for a schedule of these fields, and the defaults."""
    present = editing.find(site, name)
    try:
        values = editing.attributes(site, {**fields.DEFAULTS, **given}, present)
    except (TypeError, ValueError) as error:
        raise element.error(str(error)) from error
    return answered_for(site, values, present, element)


def answered_for(
    site: Any, values: dict[str, Any], present: Schedule | None, element: Element
) -> dict[str, Any]:
    """The same with a user.

    Without one in the file it is as whom it runs already, or the one who imports. Files
    come from archives, too, so that one must have the right to name the user. What
    nobody answers for is not active.
    """
    if values["user_id"] is None and present is not None:
        values["user_id"] = present.user_id
        values["userfolder_path"] = present.userfolder_path
    elif values["user_id"] is None:
        values.update(editing.user_values(site, users.current_id(site)))
    if present is None or editing.differ(present, values, editing.POWERS):
        if present is not None and not _may_name(
            site, present.userfolder_path, present.user_id
        ):
            raise element.error(
                f"it runs as the user {present.user_id!r}, whom you may not name: have "
                "the file imported by somebody who may"
            )
        if not _may_name(site, values["userfolder_path"], values["user_id"]):
            values.update(editing.user_values(site, None))
    if values["user_id"] is None:
        values["active"] = False
    return values


def _may_name(site: Any, stored: tuple[str, ...], user_id: str | None) -> bool:
    folder = editing.present_folder(site, stored)
    return user_id is None or users.may_name(site, folder, user_id)


def _schedule(site: Any, name: str, element: Element) -> DeclaredSchedule:
    overwrite = bool(element.truth("overwrite"))
    if element.truth("remove"):
        if element.attributes - {"name", "remove"} or list(element.children()):
            raise element.error('remove is "true": leave out all but the name')
        return DeclaredSchedule(name, None, False)
    element.need("function")
    given: dict[str, Any] = {each: element.get(each) for each in TEXTS}
    given = {each: value for each, value in given.items() if value is not None}
    for each in DURATIONS:
        if element.get(each) is not None:
            given[each] = element.duration(each)
    if element.get("quota") is not None:
        given["quota"] = element.get("quota")
    if element.get("keep") is not None:
        given["keep"] = element.number("keep")
    if element.truth("active") is not None:
        given["active"] = element.truth("active")
    inside = list(element.children())
    if len(inside) > 1:
        raise inside[1].error("there are arguments above it")
    for child in inside:
        child.check((), None)
        given["arguments"] = child.json_object()
    return DeclaredSchedule(name, values_for(site, name, given, element), overwrite)


def _write(root: etree._Element, schedule: Schedule) -> None:
    """Add the element of a schedule; what is as by default is left out."""
    values = {
        "name": schedule.name,
        "title": schedule.title,
        "function": schedule.function,
        "cron": schedule.cron,
        "every": _shown(schedule.every),
        "timezone": schedule.timezone,
        "user": schedule.user_id,
        "context": schedule.context,
        "grace": _shown(schedule.grace),
        "overlap": schedule.overlap,
        "missed": schedule.missed,
        "jitter": _shown(schedule.jitter),
        "keep": str(schedule.keep),
        "quota": schedule.quota,
        "active": _truth(schedule.active),
    }
    element = etree.SubElement(root, "schedule")
    for name, value in values.items():
        if value and value != _BY_DEFAULT.get(name):
            element.set(name, str(value))
    if schedule.arguments:
        inside = etree.SubElement(element, "arguments")
        text = json.dumps(schedule.arguments, ensure_ascii=False, sort_keys=True)
        inside.text = NOT_IN_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _shown(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    return durations.show(microseconds * clock.MICROSECOND)


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _enable(site: Any, enabled: bool) -> None:
    schedules = editing.make_schedules_of(site)
    if enabled:
        schedules.enable(clock.now_us())
    else:
        schedules.disable()


#: What need not be written, as text.
_BY_DEFAULT = {
    "grace": durations.show(fields.DEFAULTS["grace"]),
    "overlap": fields.DEFAULTS["overlap"],
    "missed": fields.DEFAULTS["missed"],
    "jitter": durations.show(fields.DEFAULTS["jitter"]),
    "keep": str(fields.DEFAULTS["keep"]),
    "active": _truth(fields.DEFAULTS["active"]),
}
