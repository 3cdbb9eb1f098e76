"""Handlers of events, and how they hold the functions that they call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import BuiltinMethodType
from types import MethodType
from types import ModuleType
from typing import Any
from weakref import ref
from weakref import WeakMethod


class Handler:
    """A function that is called for events, in one phase."""

    __slots__ = ("_get", "added_at", "id", "name", "phase", "spec", "times")

    def __init__(
        self,
        id: int,
        listen_fn: Callable,
        phase: Any,
        spec: tuple[tuple[str, Any], ...],
        times: int | None,
        added_at: int,
    ) -> None:
        self.id = id
        self.phase = phase
        #: Keywords, in the alphabet's order, with their values.
        self.spec = spec
        #: How many calls are left; None for any number.
        self.times = times
        #: How many events had been fired before.
        self.added_at = added_at
        self.name = name_of(listen_fn)
        self._get: Callable[[], Callable | None] = lambda: listen_fn

    def hold_weakly(self, listen_fn: Callable, gone: Callable[[int], None]) -> None:
        """Let the function go when nobody else holds it, and call ``gone(id)`` then.

        TypeError for one that cannot be held so.
        """
        handler_id = self.id
        if isinstance(listen_fn, BuiltinMethodType) and not isinstance(
            listen_fn.__self__, ModuleType
        ):
            # Each look at such a method makes a new one, which nobody holds.
            raise _refusal(self.name)
        kind = WeakMethod if isinstance(listen_fn, MethodType) else ref
        try:
            self._get = kind(listen_fn, lambda _reference: gone(handler_id))
        except TypeError:
            raise _refusal(self.name) from None

    def function(self) -> Callable | None:
        """What is called; None when it is gone."""
        return self._get()


def name_of(listen_fn: Any) -> str:
    """The name of a function for people who read a log."""
    while isinstance(listen_fn, partial):
        listen_fn = listen_fn.func
    named = listen_fn if hasattr(listen_fn, "__qualname__") else type(listen_fn)
    return f"{getattr(named, '__module__', None)}.{named.__qualname__}"


def _refusal(name: str) -> TypeError:
    return TypeError(
        f"listen_fn is {name}, which cannot be held by a weak reference: pass "
        "use_weakref=False"
    )
