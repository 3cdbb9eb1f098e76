"""The functions that can be scheduled: registered, so that nobody can name others.

Whoever may manage the jobs of a site chooses among them, and gives them arguments. So
a registered function is one that a manager may call with any arguments that it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from collective.clockwork import arguments
from collective.clockwork.engine import callables
from collective.clockwork.engine.interfaces import UnresolvableError
from collective.clockwork.schedules.info import FunctionInfo
from collective.clockwork.schedules.interfaces import ISchedulable
from typing import Any
from zope.component import getSiteManager
from zope.component import getUtilitiesFor
from zope.component import queryUtility
from zope.i18nmessageid import Message
from zope.interface import implementer


#: Longest name of a registered function, in characters.
NAME_LENGTH = 200


@implementer(ISchedulable)
class Schedulable:
    """See ISchedulable."""

    def __init__(
        self, function: Callable, title: Message | str, description: Message | str = ""
    ) -> None:
        self.function = function
        self.title = title
        self.description = description

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {readable_name(self.function)}>"


def register(
    function: Callable,
    title: Message | str,
    description: Message | str = "",
    *,
    name: str | None = None,
) -> None:
    """Let a function be scheduled, in the current registry of components.

    ``name`` is its dotted name if it is not given. Raises TypeError or ValueError for
    what a worker could not import.
    """
    arguments.check_function(function)
    name = check_name(name or readable_name(function))
    schedulable = Schedulable(function, title, description)
    getSiteManager().registerUtility(schedulable, ISchedulable, name)


def check_name(name: str) -> str:
    """Raise ValueError if a registered function cannot be called so."""
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable() or ":" in name:
        raise ValueError(
            f"name is {name!r}: it must have 1 to {NAME_LENGTH} printable characters, "
            "and no colon among them"
        )
    return name


def list_functions() -> list[FunctionInfo]:
    """All registered functions, by title."""
    found = [
        FunctionInfo(name, schedulable.title, schedulable.description)
        for name, schedulable in getUtilitiesFor(ISchedulable)
    ]
    return sorted(found, key=lambda info: (info.title.casefold(), info.name))


def stored_name(function: Callable | str) -> str:
    """What is stored of a function: its registered name, or ``module:name``.

    ``function`` is the name of a registered function, or any function that can be
    imported: whoever has it could call it as well. Raises ValueError or TypeError for
    anything else.
    """
    if isinstance(function, str):
        if queryUtility(ISchedulable, function) is None:
            raise ValueError(
                f"function is {function!r}, and no function is registered by that "
                f"name: pass one of {_known()}"
            )
        return function
    arguments.check_function(function)
    names = [
        name
        for name, schedulable in getUtilitiesFor(ISchedulable)
        if schedulable.function == function
    ]
    return min(names, default=callables.dotted_name(function))


def resolve(stored: str) -> Callable:
    """The function of which this was stored.

    UnresolvableError if it is not registered any more, or cannot be imported.
    """
    if ":" in stored:
        return callables.resolve(stored)
    schedulable = queryUtility(ISchedulable, stored)
    if schedulable is None:
        raise UnresolvableError(f"No function is registered by the name {stored!r}")
    return schedulable.function


def readable_name(function: Any) -> str:
    """Module and name of a function, with dots."""
    return callables.dotted_name(function).replace(":", ".")


def _known() -> str:
    names = sorted(name for name, _schedulable in getUtilitiesFor(ISchedulable))
    return ", ".join(map(repr, names)) or "none, because none is registered"
