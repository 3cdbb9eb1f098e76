"""What may be queued: checks that refuse a call now which could not be made later.

Each refusal names the argument, says what is wrong with it and what to do. All
checks are made before anything is stored.
"""

from __future__ import annotations

from Acquisition import aq_base
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collective.clockwork import identity
from collective.clockwork import references
from collective.clockwork.engine.callables import dotted_name
from datetime import datetime
from datetime import timedelta
from persistent import Persistent
from typing import Any


#: What positions of the arguments of a function with a context count from.
AFTER_CONTEXT = " after the context"


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


def check_context(context: Any, site: Any) -> None:
    """Refuse a context that no worker would find where this one is, or outside a site.

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
    found = None if root is None else identity.traversed(root, path)
    if found is None or aq_base(found) is not aq_base(context):
        raise ValueError(
            f"context is {context!r}, which is not in the database at its path "
            f"{'/'.join(path)!r}: add it to its folder first, or {remedy}"
        )
    home = site.getPhysicalPath()
    if path[: len(home)] != home:
        raise ValueError(
            f"context is {context!r} at {'/'.join(path)!r}, outside of the current "
            f"site {'/'.join(home)!r}: call setSite() of zope.component.hooks with the "
            "context's own site first"
        )


def stored(
    args: Collection, kwargs: Mapping[str, Any], site: Any, after: str = ""
) -> tuple[tuple, dict[str, Any]]:
    """What is stored of these arguments: references in place of content objects.

    Looks into lists, mappings and other values too. ``after`` says from where
    positions count, such as " after the context". Raises TypeError for what cannot
    be stored, or should not be.
    """
    if references.are_plain(args) and references.are_plain(kwargs.values()):
        return tuple(args), dict(kwargs)
    return _each(_stored, args, kwargs, site, after)


def given(
    args: Collection, kwargs: Mapping[str, Any], site: Any, after: str = ""
) -> tuple[tuple, dict[str, Any]]:
    """The arguments as the function gets them, from what was stored.

    Raises NotFound if an object is gone, and Unauthorized if the current user may not
    view it.
    """
    if references.are_plain(args) and references.are_plain(kwargs.values()):
        return tuple(args), dict(kwargs)
    return _each(references.given, args, kwargs, site, after)


def check_moment(name: str, value: Any, otherwise: str) -> None:
    """Refuse what is no moment: TypeError, or ValueError for a naive datetime.

    ``otherwise`` says what else may be passed.
    """
    if not isinstance(value, datetime):
        raise TypeError(
            f"{name} is {value!r}: pass a datetime with a time zone, such as "
            f"datetime.now(timezone.utc) + timedelta(hours=1), or {otherwise}"
        )
    if value.utcoffset() is None:
        raise ValueError(
            f"{name} is {value!r}, which has no time zone: add one, such as "
            "tzinfo=timezone.utc"
        )


def check_times(begin_by: timedelta | None, begin_after: datetime | None) -> None:
    """Refuse times that have no clear meaning.

    Raises TypeError for another type, ValueError for a naive datetime or a
    negative timedelta.
    """
    if begin_after is not None:
        check_moment("begin_after", begin_after, "None")
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


def _stored(name: str, value: Any, site: Any) -> Any:
    try:
        return references.storable(value, site)
    except references.Refused as error:
        raise TypeError(f"{name} ({type(aq_base(value)).__name__}) {error}") from None


def _each(
    change: Callable[[str, Any, Any], Any],
    args: Collection,
    kwargs: Mapping[str, Any],
    site: Any,
    after: str,
) -> tuple[tuple, dict[str, Any]]:
    """What ``change(name, value, site)`` makes of each argument."""
    return (
        tuple(
            change(f"positional argument {position}{after}", value, site)
            for position, value in enumerate(args, 1)
        ),
        {
            name: change(f"argument {name!r}", value, site)
            for name, value in kwargs.items()
        },
    )
