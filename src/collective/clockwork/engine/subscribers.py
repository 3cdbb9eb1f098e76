"""What happens when a database was opened: queues, a dispatcher, its agents.

The installers are called with an event that has a ``database``; register those
that a process needs. Names and behaviour as in zc.async.
"""

from __future__ import annotations

from . import unique
from .agent import Agent
from .commit import log
from .dispatcher import Dispatcher
from .interfaces import IDispatcherActivated
from .interfaces import KEY
from .interfaces import ObjectAdded
from .objectids import give_up_when_connected
from .queue import Queue
from .queue import Queues
from .reactors import run_in_thread
from .signals import install_signal_handlers
from .signals import require_main_thread
from .signals import restore_signal_handlers
from .signals import signal_handlers
from collections.abc import Callable
from transaction.interfaces import TransactionError
from uuid import UUID
from zope.component import adapter
from zope.event import notify

import transaction

# Importing it is what lets handlers hear of events.
import zope.component.event  # noqa: F401


class QueueInstaller:
    """Makes the queues that are missing, in a transaction of its own.

    ``db_name`` is the database to keep them in; by default the one that was
    opened. In that other database they are under the same key, and the root
    of the opened one refers to them.
    """

    def __init__(
        self,
        queues: tuple = ("",),
        factory: Callable = Queue,
        db_name: str | None = None,
    ):
        self.queues = tuple(queues)
        self.factory = factory
        self.db_name = db_name

    def __call__(self, event) -> None:
        give_up_when_connected(event.database)
        tm = transaction.TransactionManager()
        connection = event.database.open(tm)
        try:
            while True:
                tm.begin()
                try:
                    events = self._install(connection, tm)
                    tm.commit()
                    break
                except TransactionError:
                    # Two processes started together: look again.
                    tm.abort()
            for added in events:
                log.info("made %r in %s", added.name, repr(added.parent))
        finally:
            tm.abort()
            connection.close()

    def _install(self, connection, tm) -> list:
        root = connection.root()
        events = []
        if KEY not in root:
            queues = self._queues_elsewhere(connection)
            if queues is None:
                queues = Queues()
            root[KEY] = queues
            events.append(ObjectAdded(queues, root, KEY))
        queues = root[KEY]
        for name in self.queues:
            if name not in queues:
                queue = queues[name] = self.factory()
                events.append(ObjectAdded(queue, queues, name))
        for name in self.queues:
            unique.prepare(queues[name])
        for event in events:
            notify(event)
        return events

    def _queues_elsewhere(self, connection):
        if self.db_name is None:
            return None
        other = connection.get_connection(self.db_name)
        if KEY not in other.root():
            queues = Queues()
            other.add(queues)
            other.root()[KEY] = queues
        return other.root()[KEY]


class ThreadedDispatcherInstaller:
    """Starts a dispatcher for the database that was opened.

    ``reactor_factory`` makes a Twisted reactor, which then runs in a thread of its
    own for the jobs that use it; zc.async always made one. ``signals`` lets SIGINT
    and SIGTERM stop the dispatcher, as they did in zc.async. It is off unless asked
    for, because servers and ``clockwork-worker`` handle signals themselves, and
    works in the main thread only: ValueError elsewhere.
    """

    def __init__(
        self,
        poll_interval: float = 5,
        reactor_factory: Callable | None = None,
        uuid: UUID | None = None,
        signals: bool = False,
    ):
        self.poll_interval = poll_interval
        self.reactor_factory = reactor_factory
        self.uuid = uuid
        self.signals = signals

    def __call__(self, event) -> Dispatcher:
        if self.signals:
            require_main_thread()
        reactor = None if self.reactor_factory is None else self.reactor_factory()
        dispatcher = Dispatcher(
            event.database, reactor, self.poll_interval, uuid=self.uuid
        )
        dispatcher.activate()
        if reactor is not None:
            dispatcher.reactor_thread = run_in_thread(reactor, dispatcher.UUID)
        if self.signals:
            install_signal_handlers(dispatcher)
        return dispatcher


class TwistedDispatcherInstaller:
    """Starts a dispatcher together with the process's Twisted reactor.

    It begins when the application runs the reactor, and the reactor's shutdown
    waits until it has stopped.
    """

    def __init__(self, poll_interval: float = 5):
        self.poll_interval = poll_interval

    def __call__(self, event) -> Dispatcher:
        from twisted.internet import reactor

        dispatcher = Dispatcher(event.database, reactor, self.poll_interval)
        dispatcher.activate()
        return dispatcher


class AgentInstaller:
    """Adds an agent to dispatchers that begin to work, if they lack it.

    ``queue_names`` limits it to these queues. ValueError for both a chooser
    and a filter.
    """

    def __init__(
        self,
        agent_name: str,
        chooser: Callable | None = None,
        size: int = 3,
        queue_names: tuple | None = None,
        filter: Callable | None = None,
    ):
        if chooser is not None and filter is not None:
            raise ValueError("an agent has a filter or a chooser, not both")
        self.agent_name = agent_name
        self.chooser = chooser
        self.size = size
        self.queue_names = queue_names
        self.filter = filter
        adapter(IDispatcherActivated)(self)

    def __call__(self, event) -> None:
        agents = event.object
        queue = agents.parent
        if self.queue_names is not None and queue.name not in self.queue_names:
            return
        if self.agent_name in agents:
            log.info("agent %r is in queue %r already", self.agent_name, queue.name)
            return
        agents[self.agent_name] = Agent(
            chooser=self.chooser, filter=self.filter, size=self.size
        )
        log.info("agent %r added to queue %r", self.agent_name, queue.name)


queue_installer = QueueInstaller()
multidb_queue_installer = QueueInstaller(db_name="async")
threaded_dispatcher_installer = ThreadedDispatcherInstaller()
twisted_dispatcher_installer = TwistedDispatcherInstaller()
agent_installer = AgentInstaller("main")


__all__ = [
    "AgentInstaller",
    "QueueInstaller",
    "ThreadedDispatcherInstaller",
    "TwistedDispatcherInstaller",
    "agent_installer",
    "multidb_queue_installer",
    "queue_installer",
    "restore_signal_handlers",
    "signal_handlers",
    "threaded_dispatcher_installer",
    "twisted_dispatcher_installer",
]
