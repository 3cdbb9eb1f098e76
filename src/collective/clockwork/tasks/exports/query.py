"""What an export may ask the catalog for.

A catalog takes no notice of an index that it does not have, and then finds everything.
So a query is checked before it is queued: a typing error must not export a site.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from DateTime import DateTime
from datetime import date
from plone.app.contenttypes.behaviors.collection import ICollection
from Products.CMFCore.utils import getToolByName
from typing import Any
from ZTUtils.Lazy import LazyMap


#: What a query may say besides the indexes.
OPTIONS = ("sort_on", "sort_order", "sort_limit", "show_inactive")
#: Those that the catalog sets itself, from the rights of the user.
OF_CATALOG = ("allowedRolesAndUsers", "effectiveRange")
#: After so many rows those before are forgotten.
ROWS_AT_ONCE = 1_000


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
    path = query.get("path")
    if "" in _listed(path.get("query") if isinstance(path, dict) else path):
        raise ValueError(
            "query has '' for 'path', which would find the whole site: pass the "
            "path of an object"
        )
    for name in _listed(query.get("sort_on", ())):
        if name not in catalog.indexes():
            raise ValueError(
                f"query has {name!r} for 'sort_on', which is no index of the catalog"
            )
        if not hasattr(catalog.Indexes[name], "documentToKeyMap"):
            raise ValueError(f"query has {name!r} for 'sort_on', which has no order")
    limit = query.get("sort_limit", 1)
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"query has {limit!r} for 'sort_limit': pass a number from 1")
    return {name: _copied(name, value) for name, value in query.items()}


def _listed(value: Any) -> Sequence:
    return value if isinstance(value, list | tuple) else [value]


def is_collection(context: Any) -> bool:
    """Whether it has a query of its own."""
    return ICollection(context, None) is not None


def find(context: Any, query: Mapping[str, Any] | None) -> Sequence:
    """What the current user finds by the query; see ``in_turn`` for the order.

    That takes "Access contents information", as in all listings of Plone, and not
    "View". Without a query it is that of the context, which is a collection.
    """
    if query is None:
        return ICollection(context).results(batch=False, brains=True)
    return getToolByName(context, "portal_catalog")(**query)


def in_turn(found: Sequence, query: Mapping[str, Any] | None, jar: Any) -> Iterator:
    """One after the other what was found, in the order of the query.

    Without any it is by path. Memory has no room for all of it: what a catalog found
    keeps all that was looked at, some kilobytes each, and so does its connection, the
    ``jar``. So both are told to forget.
    """
    order: Iterable[int] = range(len(found))
    if query is not None and "sort_on" not in query:
        looked_at = _forgetting(found, order, jar)
        paths = [(brain.getPath(), number) for number, brain in enumerate(looked_at)]
        order = [number for _path, number in sorted(paths)]
    return _forgetting(found, order, jar)


def _forgetting(found: Sequence, order: Iterable[int], jar: Any) -> Iterator:
    for count, number in enumerate(order, 1):
        yield found[number]
        if count % ROWS_AT_ONCE == 0:
            if isinstance(found, LazyMap):
                found._data.clear()
            jar.cacheGC()


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
