"""What an event dispatcher offers."""

from __future__ import annotations

from zope.interface import Attribute
from zope.interface import Interface


class IBackgroundUtility(Interface):
    """Something that can be started and stopped."""

    running = Attribute("Whether it is started; read-only.")

    def start():
        """Start it. A second call changes nothing."""

    def stop():
        """Stop it; returns a Deferred that fires when nothing is under way any more."""


class IEventDispatcher(Interface):
    """Calls the handlers that an event matches, phase by phase."""

    allowed_match_spec_keywords = Attribute(
        """The keywords that specs and details may have, a tuple; may be set.

        ValueError for a set of keywords without one that the spec of a handler has.
        """
    )
    phases = Attribute("The names of the phases in their order, a tuple; read-only.")
    handler_count = Attribute("How many handlers there are; read-only.")
    on_error = Attribute(
        """Called as ``on_error(failure, listen_fn, event)`` when a handler failed.

        ``failure`` is a Failure of Twisted. None for nobody. What it raises is logged.
        """
    )

    def add_event_handler(listen_fn, phase, use_weakref=True, times=None, **match_spec):
        """Have ``listen_fn(event)`` called in a phase; returns a Deferred of an id.

        The event's details must have all of the values in ``match_spec``; None is any
        value, and without a spec every event matches. With ``use_weakref`` the handler
        goes when nobody else holds the function, or the object of the method. With
        ``times`` it is removed after that many calls.

        A parameter that is passed by position leaves its name free for the spec.
        ``times`` is part of the spec if it is an allowed keyword, and is then passed by
        position.

        Raises, at once, ValueError for an unknown phase or keyword and for ``times``
        below 1; TypeError for something that cannot be called, for a value without a
        hash, and with ``use_weakref`` for what cannot be held weakly.
        """

    def remove_event_handler(event_handler_id):
        """Remove a handler; returns a Deferred of None.

        It is not called any more, not even by an event that is under way. The Deferred
        fails with KeyError if there is no handler with this id, or none any more.
        """

    def fire_event(event, **event_details):
        """Call the handlers for these details with ``event``; a Deferred of None.

        It fires when all phases are over. Failures of handlers are logged and given to
        ``on_error``; they change nothing for other handlers and phases. While it is not
        running, the event is dropped with a warning. A detail of None counts as not
        given.

        Raises, at once, ValueError for an unknown keyword and TypeError for a value
        without a hash.
        """
