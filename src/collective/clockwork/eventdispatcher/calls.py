"""What is under way: events, and the calls of handlers for them.

A call is known to all that runs because of it, coroutines and ``inlineCallbacks``
included, by a context variable. So a dispatcher can tell that an event is fired by one
of its own handlers, which may be about to wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextvars import Context
from contextvars import ContextVar
from contextvars import copy_context
from twisted.internet.defer import Deferred
from types import MappingProxyType
from typing import Any

import threading


class Lane(threading.local):
    """The events of one thread, which are handled one after another.

    One of another thread is not waited for: what a handler does there, in a transaction
    for instance, belongs to that thread.
    """

    def __init__(self) -> None:
        self.line = Line()


class Line:
    """Events that wait, and whether one is under way."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.busy = False
        self.waiting: deque[Firing] = deque()

    def next(self) -> Firing | None:
        """The event whose turn it is now, if there is one; the line is busy then."""
        with self.lock:
            if self.busy or not self.waiting:
                return None
            self.busy = True
            return self.waiting.popleft()

    def append(self, *firings: Firing) -> None:
        with self.lock:
            self.waiting.extend(firings)

    def free(self) -> None:
        with self.lock:
            self.busy = False


class Firing:
    """An event that was fired, until it is over."""

    __slots__ = ("context", "details", "done", "event", "line", "watchers")

    def __init__(self, event: Any, details: Mapping[str, Any], line: Line) -> None:
        self.event = event
        self.details = details
        self.line = line
        #: What ``fire_event`` returns.
        self.done: Deferred[None] = Deferred()
        #: That of the code which fired the event; handlers get a copy.
        #: None when the event is over.
        self.context: Context | None = copy_context()
        #: Deferreds of those who wait for the end.
        self.watchers: list[Deferred[None]] = []


class Call:
    """The call of one handler for one event."""

    __slots__ = ("dispatcher", "finished", "fired", "firing", "returned")

    def __init__(self, dispatcher: Any, firing: Firing) -> None:
        self.dispatcher = dispatcher
        self.firing = firing
        #: Whether the function has returned; its Deferred may not have fired yet.
        self.returned = False
        self.finished = False
        #: Events that it fired before it returned.
        self.fired: list[Firing] = []


#: The calls in which the current code runs, the outermost first.
_calls: ContextVar[tuple[Call, ...]] = ContextVar(f"{__name__}.calls", default=())


def enter(call: Call) -> None:
    """Say that the current context is that of a handler's call."""
    unfinished = [each for each in _calls.get() if not each.finished]
    _calls.set((*unfinished, call))


def calls_of(dispatcher: Any) -> list[Call]:
    """The unfinished calls by this dispatcher in which the current code runs."""
    return [
        call
        for call in _calls.get()
        if call.dispatcher is dispatcher and not call.finished
    ]


def event_details() -> Mapping[str, Any]:
    """The details of the event for which a handler is called now, read-only.

    LookupError outside of a handler.
    """
    calls = _calls.get()
    if not calls:
        raise LookupError("No handler of an event dispatcher is being called here")
    return MappingProxyType(dict(calls[-1].firing.details))
