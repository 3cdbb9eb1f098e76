"""What an export may ask the catalog for.

A catalog takes no notice of an index that it does not have, and then finds everything.
So a query is checked before it is queued: a typing error must not export a site.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from DateTime import DateTime
from datetime import date
from plone.app.contenttypes.behaviors.collection import ICollection
from Products.CMFCore.utils import getToolByName
from typing import Any


#: What a query may say besides the indexes.
OPTIONS = ("sort_on", "sort_order", "sort_limit", "show_inactive")
#: Those that the catalog sets itself, from the rights of the user.
OF_CATALOG = ("allowedRolesAndUsers", "effectiveRange")


def check_query(query: Any, catalog: Any) -> dict[str, Any]:
    """A copy of the query, with plain values alone.

    TypeError for what is no mapping of names to plain values; ValueError if it names no
    index, or something that is none of this catalog.
    """
    if not isinstance(query, Mapping):
        raise TypeError(f"query is {query!r}: pass a dict of indexes and values")
    known = {*catalog.indexes(), *OPTIONS} - {*OF_CATALOG}
    for name in query:
        if name not in known:
            raise ValueError(
                f"query has {name!r}, which is no index of the catalog: pass names out "
                f"of {', '.join(sorted(known))}"
            )
    if not set(query) - set(OPTIONS):
        raise ValueError(
            "query names no index, so it would find the whole site: if that is what "
            "you want, pass {'path': '/'.join(site.getPhysicalPath())}"
        )
    return {name: _copied(name, value) for name, value in query.items()}


def is_collection(context: Any) -> bool:
    """Whether it has a query of its own."""
    return ICollection(context, None) is not None


def find(context: Any, query: Mapping[str, Any] | None) -> Sequence:
    """What the current user finds by the query.

    That takes "Access contents information", as in all listings of Plone, and not
    "View". Without a query it is that of the context, which is a collection. In the
    order of the query; without any by path.
    """
    if query is None:
        return ICollection(context).results(batch=False, brains=True)
    catalog = getToolByName(context, "portal_catalog")
    found = catalog(**query)
    if "sort_on" in query:
        return found
    return sorted(found, key=lambda brain: brain.getPath())


def _copied(name: str, value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | date | DateTime):
        return value
    if isinstance(value, list | tuple):
        return [_copied(name, each) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _copied(name, each) for key, each in value.items()}
    raise TypeError(
        f"query has {value!r} for {name!r}: pass texts, numbers, dates, and lists and "
        "dicts of these"
    )
