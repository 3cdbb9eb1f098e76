"""What files say of a schedule, and what people have changed of it since.

ZCML and set-up files declare schedules again and again: when a worker starts, when a
profile is imported. What they said last is kept with the schedule. So a new declaration
is followed where it differs from that, unless somebody has changed the same by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from collective.clockwork.schedules import describing
from collective.clockwork.schedules import editing
from collective.clockwork.schedules import fields
from collective.clockwork.schedules import model
from typing import Any


#: Attributes that are followed or kept together. The first of each are declared; what
#: was looked up in the site for them belongs to them.
GROUPS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (fields.TIMES, ()),
    (("function", "arguments"), ()),
    (("user_id",), ("userfolder_path",)),
    (("context",), ("context_uid",)),
    *(
        ((name,), ())
        for name in fields.DEFAULTS
        if name not in (*fields.TIMES, "arguments", "user", "context")
    ),
)

#: What is done: whoever changed that by hand could name the user whom it had then.
_WORK = frozenset(("function", "arguments", "context"))


def declare(
    site: Any,
    name: str,
    values: Mapping[str, Any],
    *,
    origin: str,
    overwrite: bool = False,
) -> list[str]:
    """Have a schedule with these attributes, except for what was changed by hand.

    Returns the names of the attributes that were, and therefore keep other values;
    with ``overwrite`` none does. Nothing is written if nothing changes. What a set-up
    file says of a schedule that ZCML declares counts as said by hand.
    """
    declared = {each: values[each] for names, _more in GROUPS for each in names}
    schedule = editing.find(site, name)
    if schedule is None:
        editing.put(site, name, values, origin=origin, declared=declared)
        describing.tell_of_change(site, editing.existing(site, name))
        return []
    followed, kept = _compare(schedule, declared, values, overwrite)
    changed = editing.set_values(schedule, followed)
    if schedule.origin == origin and schedule.declared != declared:
        schedule.change(declared=declared)
    if changed:
        describing.tell_of_change(site, schedule)
    return kept


def _compare(
    schedule: model.Schedule,
    declared: Mapping[str, Any],
    values: Mapping[str, Any],
    overwrite: bool,
) -> tuple[dict[str, Any], list[str]]:
    """What is to be followed, and the names of what was changed by hand."""
    before = schedule.declared or {}
    followed: dict[str, Any] = {}
    kept: list[str] = []
    for names, more in GROUPS:
        present = {name: getattr(schedule, name) for name in names}
        wanted = {name: declared[name] for name in names}
        if present == wanted:
            continue
        if overwrite or all(before.get(name, ()) == present[name] for name in names):
            followed.update({name: values[name] for name in (*names, *more)})
        else:
            kept.extend(name for name in names if present[name] != wanted[name])
    if "user_id" in followed and not _WORK.isdisjoint(kept):
        # What somebody has written to be done as one user is not done as another.
        kept.append("user_id")
        del followed["user_id"], followed["userfolder_path"]
        if schedule.user_id is None:
            followed.pop("active", None)
    return followed, kept
