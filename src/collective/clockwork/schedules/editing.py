"""Changes to the schedules of a site, checked, with nothing stored if one is refused.

All of it is part of the caller's transaction, and asks for no permission: who calls it
does. What is given are fields as people know them (``fields``); what is stored are
attributes of the model's Schedule, durations in microseconds.

A schedule that comes from a file may name what isn't there yet, a user for instance.
It is stored all the same, and its ``problem`` says what is missing.
"""

from __future__ import annotations

from Acquisition import aq_base
from collections.abc import Iterable
from collections.abc import Mapping
from collective.clockwork import identity
from collective.clockwork import options
from collective.clockwork.engine import clock
from collective.clockwork.engine.interfaces import KEY as QUEUES
from collective.clockwork.engine.interfaces import UnresolvableError
from collective.clockwork.schedules import fields
from collective.clockwork.schedules import firing
from collective.clockwork.schedules import functions
from collective.clockwork.schedules import model
from collective.clockwork.schedules import timing
from collective.clockwork.schedules import users
from collective.clockwork.schedules.events import ScheduleChanged
from collective.clockwork.service import DEFAULT_QUOTA
from collective.clockwork.service import queues_connection
from datetime import timedelta
from plone.registry.interfaces import IRegistry
from typing import Any
from zExceptions import BadRequest
from zope.component import queryUtility
from zope.event import notify


#: Fields that have another name, or another shape, as attributes.
_TURNED = ("user", "context", *fields.TIMES)

#: Attributes of a stored schedule that people set, by the fields.
ATTRIBUTES = (
    "function",
    *fields.TIMES,
    "userfolder_path",
    "user_id",
    "context",
    "context_uid",
    *(name for name in fields.DEFAULTS if name not in _TURNED),
)

#: Attributes that decide what is done with whose rights.
POWERS = (
    "function",
    "arguments",
    "userfolder_path",
    "user_id",
    "context",
    "context_uid",
)

#: Record of the site's registry with its time zone.
ZONE_RECORD = "plone.portal_timezone"


def schedules_of(site: Any) -> model.SiteSchedules | None:
    """The schedules of a site; None if it has none. Makes nothing."""
    schedules = model.schedules_in(queues_connection(site))
    return None if schedules is None else schedules.of_site(site)


def make_schedules_of(site: Any) -> model.SiteSchedules:
    """The schedules of a site; made if there are none."""
    return model.make_schedules(queues_connection(site)).for_site(site)


def find(site: Any, name: str) -> model.Schedule | None:
    """The schedule of this name; None if there is none."""
    schedules = schedules_of(site)
    return None if schedules is None else schedules.get(name)


def checked(site: Any, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be stored of these fields, ``function`` among them, as a new schedule.

    KeyError if there is one of that name; TypeError or ValueError for what makes no
    sense, or names what isn't there.
    """
    fields.check_name(name)
    if find(site, name) is not None:
        raise KeyError(f"There is a schedule {name!r} already: change or remove it")
    values = attributes(site, given)
    require_all(site, values)
    return values


def checked_change(
    site: Any, schedule: model.Schedule, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What is to be stored of these fields in this schedule; raises as ``checked``."""
    values = attributes(site, given, schedule)
    changed = [name for name in values if differ(schedule, values, (name,))]
    require_all(site, {**values_of(schedule), **values}, changed)
    return values


def existing(site: Any, name: str) -> model.Schedule:
    """The schedule of this name; LookupError if there is none."""
    schedule = find(site, name)
    if schedule is None:
        raise LookupError(f"There is no schedule {name!r} in this site")
    return schedule


def put(
    site: Any,
    name: str,
    values: Mapping[str, Any],
    *,
    origin: str = "site",
    declared: Mapping[str, Any] | None = None,
) -> model.Schedule:
    """Store a schedule with these attributes, which have been checked."""
    now = clock.now_us()
    times = {"start": _full_second(now), "since": now}
    schedule = model.Schedule(name, **values, origin=origin, **times)
    if declared is not None:
        schedule.declared = dict(declared)
    schedule.remember_request(site)
    make_schedules_of(site).add(schedule)
    return schedule


def set_values(schedule: model.Schedule, values: Mapping[str, Any]) -> bool:
    """Give a schedule these attributes, which have been checked; whether one differs.

    With another time, or switched on, it makes up for nothing that was before.
    """
    changed = {
        name: values[name] for name in values if differ(schedule, values, (name,))
    }
    if not changed:
        return False
    now = clock.now_us()
    if not changed.keys().isdisjoint(fields.TIMES):
        changed.update(start=_full_second(now), since=now)
    if "active" in changed:
        changed["problem"] = None
        changed["since"] = now
    schedule.change(**changed)
    return True


def _full_second(moment: int) -> int:
    """From where intervals count: so their slots are moments that people can read."""
    return moment - moment % 1_000_000


def differ(
    schedule: model.Schedule, values: Mapping[str, Any], names: Iterable[str]
) -> bool:
    """Whether one of the attributes of these names would be changed by the values."""
    return any(
        name in values and values[name] != getattr(schedule, name) for name in names
    )


def remove(site: Any, name: str) -> None:
    """Remove a schedule that is there, with what it alone needs; tells of it."""
    schedules = make_schedules_of(site)
    firing.drop_own_quota(schedules[name])
    schedules.remove(name)
    notify(ScheduleChanged(name, None))


def attributes(
    site: Any, given: Mapping[str, Any], schedule: model.Schedule | None = None
) -> dict[str, Any]:
    """What is to be stored of these fields, in a schedule or a new one.

    Of a new one all attributes. Whether the user, the context, the function and the
    quota are there isn't looked at: see ``require_all``. Raises TypeError or ValueError
    for what makes no sense anywhere.
    """
    checked = fields.check(given)
    if schedule is None:
        checked = {**fields.DEFAULTS, **checked}
    values = {}
    for name, value in checked.items():
        if name in fields.TIMES:
            continue
        if name == "function":
            # What is there may be given back, also if nobody else could name it.
            is_there = schedule is not None and value == schedule.function
            values[name] = value if is_there else functions.stored_name(value)
        elif name == "user":
            values.update(user_values(site, value))
        elif name == "context":
            values.update(_context(site, value))
        elif name in fields.DURATIONS:
            values[name] = in_microseconds(value)
        elif name == "title":
            values[name] = value or ""
        elif name == "quota":
            values[name] = value or _quota_of(checked, schedule)
        else:
            values[name] = value
    if not checked.keys().isdisjoint(fields.TIMES):
        values.update(_times(site, checked, schedule))
    return values


def require_all(
    site: Any, values: Mapping[str, Any], changed: Iterable[str] | None = None
) -> None:
    """Raise ValueError or TypeError if something that the schedule names isn't there.

    Only of what is changed, if that is said.
    """
    changed = set(values if changed is None else changed)
    if "user_id" in changed:
        if values["user_id"] is None:
            raise ValueError("user is None: pass the id of the user as whom it runs")
        users.folder_of(site, values["user_id"])
    if "context" in changed:
        find_context(site, values["context"], values["context_uid"])
    if "quota" in changed and values["quota"] not in quota_names(site):
        known = ", ".join(map(repr, quota_names(site)))
        raise ValueError(
            f"quota is {values['quota']!r}, and there is no such quota: pass one of "
            f"{known}, or make it first"
        )
    if not changed.isdisjoint(("function", "arguments")):
        try:
            check_call(site, values["function"], values["arguments"])
        except UnresolvableError as error:
            raise ValueError(f"{error}: choose another function, too") from error


def check_call(site: Any, function: str, arguments: Mapping[str, Any]) -> None:
    """Raise TypeError if a function cannot be called with these arguments.

    UnresolvableError if there is no such function.
    """
    found = functions.resolve(function)
    options.bound(found, site, (), arguments)


def find_context(site: Any, path: str, uid: str | None = None) -> Any:
    """What is at this path, from the site on; ValueError if nothing is."""
    if not path:
        return site
    whole = (*site.getPhysicalPath(), *path.split("/"))
    try:
        return identity.find_context(site, whole, uid)
    except BadRequest:
        raise ValueError(
            f"context is {path!r}, and there is nothing at that path in the site"
        ) from None


def quota_names(site: Any) -> list[str]:
    """Names of the quotas of the default queue; ``default`` is always there."""
    queues = queues_connection(site).root().get(QUEUES, {})
    found = queues[""].quotas if "" in queues else ()
    return sorted({*found, DEFAULT_QUOTA})


def values_of(schedule: model.Schedule) -> dict[str, Any]:
    """The attributes of a schedule that people set."""
    return {name: getattr(schedule, name) for name in ATTRIBUTES}


def in_microseconds(duration: timedelta) -> int:
    """As durations are stored."""
    return duration // clock.MICROSECOND


def present_folder(site: Any, stored: identity.Path) -> identity.Path:
    """Where a user's folder is now: what is stored is meant from where the site was."""
    return identity.rebased(stored, _first_path(site), site.getPhysicalPath())


def default_zone() -> str:
    """The time zone of the current site; UTC if it has none."""
    registry = queryUtility(IRegistry)
    return (registry and registry.get(ZONE_RECORD)) or "UTC"


def user_values(site: Any, user_id: str | None) -> dict[str, Any]:
    """What is stored of a user, who need not be there; None for nobody."""
    if user_id is None:
        return {"user_id": None, "userfolder_path": ()}
    try:
        folder = users.folder_of(site, user_id)
    except ValueError:
        # She may be added later; where users are added is the site.
        folder = site.acl_users.getPhysicalPath()
    stored = identity.rebased(folder, site.getPhysicalPath(), _first_path(site))
    return {"user_id": user_id, "userfolder_path": stored}


def _first_path(site: Any) -> identity.Path:
    """Where the site was when it got its first schedule; where it is if it has none."""
    schedules = schedules_of(site)
    return site.getPhysicalPath() if schedules is None else schedules.site_path


def _context(site: Any, context: Any) -> dict[str, Any]:
    """Path from the site on, and UID; of an object or of such a path."""
    home = site.getPhysicalPath()
    if not isinstance(context, str):
        if aq_base(context) is aq_base(site):
            return {"context": "", "context_uid": None}
        path = getattr(context, "getPhysicalPath", tuple)()
        if path[: len(home)] != home:
            raise ValueError(
                f"context is {context!r}: pass an object in the site, or its path from "
                "the site on"
            )
        return {
            "context": "/".join(path[len(home) :]),
            "context_uid": identity.uid_of(context),
        }
    path = "/".join(part for part in context.split("/") if part)
    if not path:
        return {"context": "", "context_uid": None}
    try:
        uid = identity.uid_of(find_context(site, path))
    except ValueError:
        uid = None
    return {"context": path, "context_uid": uid}


def _quota_of(checked: Mapping[str, Any], schedule: model.Schedule | None) -> str:
    """The quota that the function asks for itself, if it is one; else the usual one."""
    function = checked.get("function", schedule and schedule.function)
    try:
        found = functions.resolve(functions.stored_name(function))
    except (TypeError, ValueError, UnresolvableError):
        return DEFAULT_QUOTA
    own = options.declared(found).get("quota") or ()
    return own[0] if len(own) == 1 else DEFAULT_QUOTA


def _times(
    site: Any, checked: Mapping[str, Any], schedule: model.Schedule | None
) -> dict[str, Any]:
    """The checked time; one of cron and every takes the place of the other."""
    given = {name: checked[name] for name in fields.TIMES if name in checked}
    if schedule is not None:
        kept = {
            "cron": schedule.cron,
            "every": schedule.every and schedule.every * clock.MICROSECOND,
            "timezone": schedule.timezone,
        }
        if given.get("cron") is not None:
            kept["every"] = None
        elif given.get("every") is not None:
            kept["cron"] = None
        given = {**kept, **given}
    if given.get("timezone") is None:
        given["timezone"] = default_zone()
    made = timing.make(**given)
    return {"cron": made.cron, "every": made.every, "timezone": made.timezone}
