"""Registrations for applications without ZCML."""

from __future__ import annotations

from .instanceuuid import getUUID
from .interfaces import DatabaseOpened
from .interfaces import IQueue
from .interfaces import IUUID
from .queue import getDefaultQueue
from .subscribers import AgentInstaller
from .subscribers import QueueInstaller
from .subscribers import ThreadedDispatcherInstaller
from persistent.interfaces import IPersistent
from zope.component import provideAdapter
from zope.component import provideHandler
from zope.component import provideUtility


def base() -> None:
    """What a process needs to queue jobs, and to have a UUID."""
    provideUtility(getUUID(), IUUID)
    provideAdapter(getDefaultQueue, (IPersistent,), IQueue)


def start(
    db, poll_interval: float = 5, db_name: str | None = None, agent_size: int = 3
):
    """Everything, for an application in one process: returns the dispatcher.

    Makes the default queue in ``db`` or in its companion ``db_name``, and
    starts a dispatcher with one agent of ``agent_size`` threads.
    """
    base()
    provideHandler(AgentInstaller("main", size=agent_size))
    event = DatabaseOpened(db)
    QueueInstaller(db_name=db_name)(event)
    return ThreadedDispatcherInstaller(poll_interval)(event)
