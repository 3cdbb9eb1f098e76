"""What a worker does to a queue when it begins to serve it."""

from __future__ import annotations

from collective.clockwork.events import QueueReady
from collective.clockwork.service import ensure_default_quota
from datetime import timedelta
from typing import Any
from zope.event import notify


#: How often a worker that holds jobs says that it lives, unless it claims more
#: meanwhile; an idle one does so an eighth as often.
PING_INTERVAL = timedelta(seconds=15)
#: After how long a silence the others take over its jobs. plone.app.async waited
#: 300 seconds; a worker wrongly taken for dead can do no harm here.
PING_DEATH_INTERVAL = timedelta(seconds=45)


def configureDispatcher(event: Any) -> None:
    """Handler of IDispatcherActivated: set the ping intervals."""
    event.object.ping_interval = PING_INTERVAL
    event.object.ping_death_interval = PING_DEATH_INTERVAL


def notifyQueueReady(event: Any) -> None:
    """Handler of IDispatcherActivated: tell that the queue is served."""
    notify(QueueReady(event.object.parent))


def configureQueue(event: Any) -> None:
    """Handler of IQueueReady: add the quota ``default`` of size 1.

    Unlike in plone.app.async, a size that somebody set is kept.
    """
    ensure_default_quota(event.object)
