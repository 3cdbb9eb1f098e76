"""A Twisted reactor that a dispatcher starts and stops with.

A dispatcher works in a thread of its own and needs no reactor; one is for jobs
that use it. Nothing here imports Twisted before there is a reactor.
"""

from __future__ import annotations

import threading


def tie(dispatcher, start) -> None:
    """Call ``start`` when the dispatcher's reactor runs, and stop it with that."""
    reactor = dispatcher.reactor
    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", stop_with_reactor, dispatcher)


def stop_with_reactor(dispatcher):
    """Deactivate; returns a Deferred that the reactor's shutdown waits for.

    Until it fires the reactor goes on, so that jobs which wait for it can end.
    """
    if not dispatcher.activated:
        return None
    from twisted.internet.defer import Deferred

    stopped = Deferred()

    def stop():
        try:
            dispatcher.deactivate()
        finally:
            dispatcher.reactor.callFromThread(stopped.callback, None)

    threading.Thread(target=stop, name="clockwork-stop", daemon=True).start()
    return stopped


def run_in_thread(reactor, uuid) -> threading.Thread:
    """Run a reactor in a thread of its own, without its signal handlers."""
    thread = threading.Thread(
        target=reactor.run,
        kwargs={"installSignalHandlers": False},
        name=f"clockwork-reactor-{uuid}",
        daemon=True,
    )
    thread.start()
    return thread
