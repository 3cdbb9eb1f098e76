"""What a worker does to a queue when it begins to serve it."""

from __future__ import annotations

from collective.clockwork.engine.presence import DispatcherAgents
from collective.clockwork.engine.queue import Queue
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


def set_ping_intervals(
    dispatcher: DispatcherAgents, ping_secs: float, ping_death_secs: float
) -> None:
    """Say how often a worker shows that it lives, and when it counts as dead.

    ``dispatcher`` is one of ``queue.dispatchers``. As in plone.app.async; a worker's
    start sets its own intervals again. ValueError if it would count as dead before
    it is time to show that it lives.
    """
    if not 0 < ping_secs < ping_death_secs:
        raise ValueError(
            f"ping_secs is {ping_secs!r} and ping_death_secs {ping_death_secs!r}: pass "
            "seconds above 0, the second more than the first"
        )
    dispatcher.ping_interval = timedelta(seconds=ping_secs)
    dispatcher.ping_death_interval = timedelta(seconds=ping_death_secs)


def set_quota(queue: Queue, quota_name: str, size: int) -> None:
    """Give a quota this size, and make it if it isn't there. As in plone.app.async.

    Raises what ``queue.quotas.create`` raises for such a name or size.
    """
    if quota_name in queue.quotas:
        queue.quotas[quota_name].size = size
    else:
        queue.quotas.create(quota_name, size=size)


def configureDispatcher(event: Any) -> None:
    """Handler of IDispatcherActivated: set the ping intervals."""
    set_ping_intervals(
        event.object,
        PING_INTERVAL.total_seconds(),
        PING_DEATH_INTERVAL.total_seconds(),
    )


def notifyQueueReady(event: Any) -> None:
    """Handler of IDispatcherActivated: tell that the queue is served."""
    notify(QueueReady(event.object.parent))


def configureQueue(event: Any) -> None:
    """Handler of IQueueReady: add the quota ``default`` of size 1.

    Unlike in plone.app.async, a size that somebody set is kept.
    """
    ensure_default_quota(event.object)
