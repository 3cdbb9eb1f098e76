"""Dispatchers for the tests of this folder, which need neither Zope nor a reactor."""

from __future__ import annotations

from collective.clockwork.eventdispatcher import EventDispatcher
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

import pytest


def result_of(deferred: Deferred):
    """What a Deferred gave that has fired; raises what it failed with."""
    given: list = []
    deferred.addBoth(given.append)
    assert given, "the Deferred has not fired"
    if isinstance(given[0], Failure):
        given[0].raiseException()
    return given[0]


@pytest.fixture
def result():
    return result_of


@pytest.fixture
def dispatcher():
    """One that is started."""
    made = EventDispatcher(("event_type", "user", "role"))
    made.start()
    return made


@pytest.fixture
def calls():
    """What the handlers of a test have noted."""
    return []


@pytest.fixture
def add(dispatcher, calls):
    """Adds a handler that notes its name and the event; returns its id."""

    def add(name="called", phase="during", times=None, **spec):
        def handler(event):
            calls.append((name, event))

        return result_of(
            dispatcher.add_event_handler(handler, phase, False, times, **spec)
        )

    return add


@pytest.fixture
def fire(dispatcher):
    """Fires an event that is over at once."""

    def fire(event="event", **details):
        assert result_of(dispatcher.fire_event(event, **details)) is None

    return fire
