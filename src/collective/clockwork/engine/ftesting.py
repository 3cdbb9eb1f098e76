"""A dispatcher beside functional tests, in the same process; as in zc.async.

``setUp`` before the tests, ``tearDown`` after them; both may be repeated. For a
test that needs no threads ``testing.drain`` is simpler.
"""

from __future__ import annotations

from . import dispatcher as registry
from . import testing
from .interfaces import DatabaseOpened
from .interfaces import DispatcherActivated
from .interfaces import KEY
from .subscribers import agent_installer as install_agent
from .subscribers import queue_installer as install_queue
from .subscribers import restore_signal_handlers
from .subscribers import ThreadedDispatcherInstaller
from collections.abc import Callable

import logging
import sys
import transaction


#: Seconds.
POLL_INTERVAL = 0.1
#: Seconds that a job and a reactor get to end.
GRACE = 5
#: How often to try again when the dispatcher writes at the same time.
ATTEMPTS = 10
#: Stands for standard output at the time of the call, which tests replace.
STDOUT = object()

install_dispatcher = ThreadedDispatcherInstaller(poll_interval=POLL_INTERVAL)

_dispatchers: list = []
_log_handlers: list = []


def setUp(
    connection=None,
    queue_installer: Callable = install_queue,
    dispatcher_installer: Callable = install_dispatcher,
    agent_installer: Callable = install_agent,
    log_file=STDOUT,
    log_level: int = logging.CRITICAL,
) -> None:
    """Make the queues, start a dispatcher with its agent, and wait until it works.

    Without a ``connection`` that of ``getRootFolder()`` is taken, from the globals
    of the caller. What the engine logs is printed to ``log_file``; None for
    nowhere. LookupError if there is no connection.
    """
    if connection is None:
        get_root = sys._getframe(1).f_globals.get("getRootFolder")
        if get_root is None:
            raise LookupError(
                "there is no getRootFolder where setUp is called: give it a connection"
            )
        connection = get_root()._p_jar
    event = DatabaseOpened(connection.db())
    queue_installer(event)
    dispatcher = dispatcher_installer(event) or registry.get()
    _dispatchers.append(dispatcher)
    if log_file is not None:
        target = None if log_file is STDOUT else log_file
        _log_handlers.append(testing.print_logs(target, log_level))
    _install_agents(dispatcher, agent_installer)
    dispatcher.waker.set()
    testing.wait_until(lambda: dispatcher.stations, "a dispatcher with an agent")
    connection.sync()


def _install_agents(dispatcher, agent_installer: Callable) -> None:
    manager = transaction.TransactionManager()
    connection = dispatcher.db.open(manager)
    queues = connection.root()[KEY]

    def is_active() -> bool:
        found = [queue.dispatchers.get(dispatcher.UUID) for queue in queues.values()]
        return all(agents is not None and agents.activated for agents in found)

    try:
        testing.wait_until(is_active, "activation", begin=manager.begin)
        for attempt in manager.attempts(ATTEMPTS):
            with attempt:
                for queue in queues.values():
                    agents = queue.dispatchers[dispatcher.UUID]
                    agent_installer(DispatcherActivated(agents))
    finally:
        manager.abort()
        connection.close()


def tearDown() -> None:
    """Stop the dispatcher, and undo all that ``setUp`` did to this process.

    Raises TearDownDispatcherError if a job goes on; calling it again, when that
    has ended, completes it.
    """
    while _log_handlers:
        testing.LOGGER.removeHandler(_log_handlers.pop())
    while _dispatchers:
        dispatcher = _dispatchers[-1]
        testing.tear_down_dispatcher(dispatcher, GRACE)
        restore_signal_handlers(dispatcher)
        registry.pop(dispatcher.UUID)
        _dispatchers.pop()
