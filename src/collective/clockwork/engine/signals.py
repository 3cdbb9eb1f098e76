"""Signals that stop a dispatcher, in a process that has nothing else to stop it."""

from __future__ import annotations

import signal
import threading


#: ``id(dispatcher)`` to a dict of signal to (previous handler, ours).
signal_handlers: dict[int, dict] = {}

#: Seconds that running jobs get after a signal.
GRACE = 3


def require_main_thread() -> None:
    """Raise ValueError in any other thread."""
    if threading.current_thread() is not threading.main_thread():
        raise ValueError(
            "signals can be handled in the main thread only: install the dispatcher "
            "there, or without signals=True, and deactivate it yourself"
        )


def install_signal_handlers(dispatcher) -> None:
    """Let SIGINT and SIGTERM stop the dispatcher; as in zc.async.

    After that SIGINT goes on to the handler that was there before, and SIGTERM
    raises SystemExit. ValueError outside of the main thread.
    """
    previous = signal.getsignal(signal.SIGINT)

    def interrupt(number, frame):
        _stop(dispatcher)
        if callable(previous):
            previous(number, frame)

    def terminate(number, frame):
        _stop(dispatcher)
        raise SystemExit(0)

    handlers = signal_handlers[id(dispatcher)] = {}
    for number, handler in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate)):
        handlers[number] = (signal.signal(number, handler), handler)


def restore_signal_handlers(dispatcher) -> None:
    """Bring back the handlers of before, where ours was not replaced meanwhile."""
    for number, (previous, ours) in signal_handlers.pop(id(dispatcher), {}).items():
        if signal.getsignal(number) is ours:
            signal.signal(number, previous)


def _stop(dispatcher) -> None:
    if dispatcher.activated:
        dispatcher.deactivate(GRACE)
