"""Functions for jobs that return Deferreds."""

from __future__ import annotations

from collective.clockwork.engine import local
from pathlib import Path
from twisted.internet import defer as twisted


#: What the functions below returned; fired by tests.
deferreds: dict[str, twisted.Deferred] = {}


def defer(name):
    deferreds[name] = twisted.Deferred()
    return deferreds[name]


def defer_with(name, result):
    return defer(name)


def defer_fired(value):
    return twisted.succeed(value)


def defer_failed(message):
    try:
        raise KeyError(message)
    except KeyError:
        return twisted.fail()


def count_and_defer(counter, name):
    counter.add()
    return defer(name)


def call_later(value):
    """Fired by the dispatcher's reactor."""
    deferred = twisted.Deferred()
    reactor = local.getReactor()
    reactor.callFromThread(reactor.callLater, 0.01, deferred.callback, value)
    return deferred


def stop_reactor(result):
    reactor = local.getReactor()
    reactor.callFromThread(reactor.stop)


def count_and_fire_the_second(counter, marker):
    """At the first call the Deferred never fires."""
    counter.add()
    if Path(marker).exists():
        return twisted.succeed("second")
    Path(marker).touch()
    return twisted.Deferred()
