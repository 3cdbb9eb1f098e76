"""A dispatcher of events for Twisted, after the API of oni.twisted_event_dispatcher.

Handlers say by keywords for which events they are, and in which phase. They may return
Deferreds or be coroutines, and a phase begins when the one before is over. It stands
beside the rest of this package: nothing here needs Zope, a database or a reactor.
"""

from __future__ import annotations


try:
    import twisted  # noqa: F401
except ImportError as error:
    raise ImportError(
        "collective.clockwork.eventdispatcher needs Twisted, which is not installed: "
        "install collective.clockwork[twisted]"
    ) from error

from .calls import event_details
from .dispatcher import EventDispatcher
from .interfaces import IBackgroundUtility
from .interfaces import IEventDispatcher
from .locks import instance_method_lock


__all__ = [
    "event_details",
    "EventDispatcher",
    "IBackgroundUtility",
    "IEventDispatcher",
    "instance_method_lock",
]
