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
from .subscribers import TwistedDispatcherInstaller
from collections.abc import Callable
from persistent.interfaces import IPersistent
from ZODB.interfaces import IConnection
from zope.component import provideAdapter
from zope.component import provideHandler
from zope.component import provideUtility


def minimal() -> None:
    """What a process needs to have a UUID.

    In zc.async also what made jobs of functions, which needs no registration here.
    """
    provideUtility(getUUID(), IUUID)


def base() -> None:
    """What a process needs to queue jobs, and to have a UUID."""
    minimal()
    provideAdapter(getDefaultQueue, (IPersistent,), IQueue)
    provideAdapter(getDefaultQueue, (IConnection,), IQueue)


def start(
    db,
    poll_interval: float = 5,
    db_name: str | None = None,
    agent_chooser: Callable | None = None,
    agent_size: int = 3,
    twisted: bool = False,
):
    """Everything, for an application in one process: returns the dispatcher.

    Makes the default queue in ``db`` or in its companion ``db_name``, and
    starts a dispatcher with one agent of ``agent_size`` threads. With ``twisted``
    it begins when the application runs its Twisted reactor.
    """
    base()
    provideHandler(AgentInstaller("main", agent_chooser, agent_size))
    event = DatabaseOpened(db)
    QueueInstaller(db_name=db_name)(event)
    if twisted:
        return TwistedDispatcherInstaller(poll_interval)(event)
    return ThreadedDispatcherInstaller(poll_interval)(event)
