"""The columns that a file can have: metadata of the catalog, and two addresses.

Nothing is read from the objects themselves. So an export is quick, and holds no more
than a listing, which the same user may see.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from collective.clockwork import _
from DateTime import DateTime
from datetime import date
from datetime import datetime
from datetime import tzinfo
from math import isfinite
from typing import Any


#: Columns that people are offered, with what they are called, in this order.
TITLES = {
    "Title": _("column_title", default="Title"),
    "Description": _("column_description", default="Description"),
    "url": _("column_url", default="Address"),
    "path": _("column_path", default="Path in the site"),
    "Type": _("column_type", default="Type"),
    "review_state": _("column_state", default="State"),
    "Creator": _("column_creator", default="Creator"),
    "created": _("column_created", default="Created"),
    "modified": _("column_modified", default="Changed"),
    "effective": _("column_effective", default="Publication date"),
    "expires": _("column_expires", default="Expiry date"),
    "Subject": _("column_subject", default="Tags"),
    "UID": _("column_uid", default="Permanent id"),
}
#: Those that are chosen unless somebody chooses others.
USUAL = ("Title", "url", "Type", "review_state", "Creator", "modified")
#: Those that are no metadata of the catalog.
COMPUTED = ("url", "path")

#: Years in which dates of publication and expiry lie that stand for none.
NEVER = (1969, 2499)


def check_columns(columns: Any, catalog: Any) -> tuple[str, ...]:
    """A copy of the names, each once.

    TypeError if it is no list of texts; ValueError if it is empty, or for a name that
    is no metadata of this catalog.
    """
    if isinstance(columns, str) or not isinstance(columns, Sequence):
        raise TypeError(f"columns is {columns!r}: pass a list of names")
    names = tuple(dict.fromkeys(columns))
    if not names:
        raise ValueError("columns is empty: pass at least one name")
    known = {*catalog.schema(), *COMPUTED}
    for name in names:
        if name not in known:
            raise ValueError(
                f"columns has {name!r}, which is no metadata of the catalog: pass "
                f"names out of {', '.join(sorted(known))}"
            )
    return names


def row_of(
    brain: Any, columns: Iterable[str], site_path: str, zone: tzinfo
) -> list[str | int | float | datetime | date | None]:
    """What stands in the columns about one object that the catalog found.

    Moments are in this time zone; what is missing is None.
    """
    return [_value_of(brain, name, site_path, zone) for name in columns]


def _value_of(brain: Any, name: str, site_path: str, zone: tzinfo) -> Any:
    if name == "url":
        return brain.getURL()
    if name == "path":
        return brain.getPath().removeprefix(site_path) or "/"
    return plain(getattr(brain, name, None), zone)


def plain(value: Any, zone: tzinfo) -> Any:
    """A value of the catalog as a file can have it."""
    if isinstance(value, bool) or isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, DateTime):
        if value.year() in NEVER:
            return None
        value = value.asdatetime()
    if isinstance(value, datetime):
        try:
            return value if value.tzinfo is None else value.astimezone(zone)
        except OverflowError:
            # The end of the year 9999 is over in the east already.
            return value
    if isinstance(value, date):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(str(each) for each in value)
    # Missing.Value among them, which stands for metadata that nobody computed.
    return str(value) if value else None
