"""What may be queued: checks that refuse a call now which could not be made later.

Each refusal names the argument, says what is wrong with it and what to do. All
checks are made before anything is stored.
"""

from __future__ import annotations

from Acquisition import aq_base
from collections.abc import Iterable
from collections.abc import Mapping
from collective.clockwork.engine.callables import dotted_name
from datetime import datetime
from datetime import timedelta
from OFS.interfaces import IItem
from persistent import Persistent
from Products.ZCatalog.interfaces import ICatalogBrain
from typing import Any
from zope.publisher.interfaces import IRequest

import io
import pickle


#: Values of these types hold nothing that would have to be looked at.
PLAIN_TYPES = frozenset((str, int, float, bool, bytes, type(None)))


def check_function(func: Any) -> None:
    """Refuse what a worker could not import, or would call without a context.

    Raises TypeError for something that cannot be called or is bound to an object,
    ValueError for a function without a name of its own.
    """
    if not callable(func):
        raise TypeError(f"func is {func!r}, which cannot be called: pass a function")
    owner = getattr(func, "__self__", None)
    if isinstance(owner, Persistent):
        raise TypeError(
            f"func is the method {func.__name__} of {aq_base(owner)!r}: pass the "
            f"function of its class, {type(aq_base(owner)).__name__}.{func.__name__}, "
            "and the object as context"
        )
    dotted_name(func)


def check_context(context: Any) -> None:
    """Refuse a context that no worker would find where this one is.

    An object that was added in this very transaction is found. Raises ValueError.
    """
    remedy = "pass an object that is in the site, or the site itself"
    if context is None:
        raise ValueError(f"context is None: {remedy}")
    try:
        path = context.getPhysicalPath()
        root = context.getPhysicalRoot()
    except (AttributeError, TypeError) as error:
        # An object that nothing leads to has a text in place of the second method.
        raise ValueError(
            f"context is {context!r}, which has no place in a site: {remedy}"
        ) from error
    found = None if root is None else root.unrestrictedTraverse(path, None)
    if found is None or aq_base(found) is not aq_base(context):
        raise ValueError(
            f"context is {context!r}, which is not in the database at its path "
            f"{'/'.join(path)!r}: add it to its folder first, or {remedy}"
        )


def check_arguments(args: Iterable, kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that cannot be stored, or should not be.

    Looks into lists, mappings and other values too. Raises TypeError.
    """
    for position, value in enumerate(args, 1):
        _check_value(f"positional argument {position} after the context", value)
    for name, value in kwargs.items():
        _check_value(f"argument {name!r}", value)


def check_times(begin_by: timedelta | None, begin_after: datetime | None) -> None:
    """Refuse times that have no clear meaning.

    Raises TypeError for another type, ValueError for a naive datetime or a
    negative timedelta.
    """
    if begin_after is not None:
        if not isinstance(begin_after, datetime):
            raise TypeError(
                f"begin_after is {begin_after!r}: pass a datetime with a time zone, "
                "such as datetime.now(timezone.utc) + timedelta(hours=1), or None"
            )
        if begin_after.utcoffset() is None:
            raise ValueError(
                f"begin_after is {begin_after!r}, which has no time zone: "
                "add one, such as tzinfo=timezone.utc"
            )
    if begin_by is not None:
        if not isinstance(begin_by, timedelta):
            raise TypeError(
                f"begin_by is {begin_by!r}: pass a timedelta, counted from "
                "begin_after, or None"
            )
        if begin_by < timedelta(0):
            raise ValueError(
                f"begin_by is {begin_by!r}, which is negative: pass how long after "
                "begin_after the job may still begin, or None"
            )


class _Reviewer(pickle.Pickler):
    """Pickles as the database will, and refuses what should not be stored.

    Persistent objects that the database has already are stored as references.
    """

    def persistent_id(self, obj):
        if type(obj) in PLAIN_TYPES:
            return None
        _refuse(obj)
        if isinstance(obj, Persistent) and obj._p_jar is not None:
            return "reference"
        return None


class _Refused(TypeError):
    """The reason stands in the message; the argument is named by the caller."""


def _refuse(obj: Any) -> None:
    if ICatalogBrain.providedBy(obj):
        raise _Refused(
            "is a catalog brain, which is worth nothing in another process: "
            "pass its UID or path"
        )
    if IRequest.providedBy(obj):
        raise _Refused("is a request: pass the values that you need from it")
    if aq_base(obj) is not obj or IItem.providedBy(obj):
        raise _Refused(
            "is an object of the site: pass it as the context of the job, "
            "or pass its UID or path"
        )


def _check_value(name: str, value: Any) -> None:
    if type(value) in PLAIN_TYPES:
        return
    kind = type(aq_base(value)).__name__
    try:
        _Reviewer(io.BytesIO(), 3).dump(value)
    except _Refused as error:
        raise TypeError(f"{name} ({kind}) holds or {error}") from None
    except Exception as error:
        # Pickling runs code of the value's class, which may raise anything.
        raise TypeError(
            f"{name} ({kind}) cannot be stored in the database: {error}. Pass plain "
            "values, and look up or open the rest inside the function"
        ) from error
