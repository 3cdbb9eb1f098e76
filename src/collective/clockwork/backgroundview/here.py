"""Without a worker, this instance runs background views itself.

It starts the engine's own dispatcher, with a pool of one thread, when a view is
started or asked for while no worker is alive. That takes background views only, and
only as long as no worker is alive; it stays until the process ends. It shares the
queues with workers as they do with each other, so no job is run by both.

Zope's own server has its databases closed when ``atexit`` comes, and SIGTERM ends it
at once. So the dispatcher is stopped by the signal itself.
"""

from __future__ import annotations

from collective.clockwork import clockthread
from collective.clockwork.backgroundview import running
from collective.clockwork.engine import dispatcher as dispatchers
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import IDispatcherActivated
from collective.clockwork.engine.subscribers import AgentInstaller
from collective.clockwork.jobinfo import is_alive
from collective.clockwork.jobinfo import VIEWS_AGENT
from threading import Lock
from typing import Any
from uuid import uuid4
from zope.component import getGlobalSiteManager

import atexit
import logging
import transaction


logger = logging.getLogger("collective.clockwork")

#: Seconds between two looks into the queues when nothing wakes it.
POLL_INTERVAL = 2
#: Seconds that a running view gets when the process ends.
GRACE = 5

#: Whether this process may do that at all; test layers forbid it, where nothing is to
#: be run behind a test's back.
allowed = True

_lock = Lock()


class _Own:
    """The dispatcher of this process, while it runs."""

    dispatcher: Dispatcher | None = None


def run_if_needed(service: Any, process: Any) -> None:
    """After the commit, have this instance run the process if no worker is alive."""
    if not (allowed and process.runs_here) or is_running():
        return
    if service.workersAlive() == 0:
        database = service.getQueues()._p_jar.db()
        hook = transaction.get().addAfterCommitHook
        hook(_start_after_commit, (database,))


def _start_after_commit(is_committed: bool, database: Any) -> None:
    if is_committed:
        start(database)


def is_running() -> bool:
    """Whether this process has its dispatcher."""
    return _Own.dispatcher is not None


def start(database: Any) -> None:
    """Start the dispatcher for the queues of this database, unless it is there."""
    with _lock:
        if is_running():
            return
        logger.info("No worker is alive: this instance runs background views itself")
        getGlobalSiteManager().registerHandler(install_agent, [IDispatcherActivated])
        # A name of its own at each start: instances may share all their files. After a
        # crash others wait until the old one was silent for long enough.
        _Own.dispatcher = Dispatcher(
            database, poll_interval=POLL_INTERVAL, uuid=uuid4()
        )
        _Own.dispatcher.activate()
        atexit.register(stop)


def stop(grace: float = GRACE) -> None:
    """Stop it again; what it has not ended within so many seconds is given back."""
    with _lock:
        dispatcher, _Own.dispatcher = _Own.dispatcher, None
        if dispatcher is None:
            return
        atexit.unregister(stop)
        getGlobalSiteManager().unregisterHandler(install_agent, [IDispatcherActivated])
        dispatchers.pop(dispatcher.UUID)
        dispatcher.deactivate(grace)


def stop_before_signals(event: Any) -> None:
    """Handler of IProcessStarting: a signal that ends the process stops it first.

    Servers with handlers of their own, such as gunicorn, keep them.
    """
    if stop not in clockthread.also_stopped:
        clockthread.also_stopped.append(stop)
    clockthread.stop_before_signals()


def install_agent(event: Any) -> None:
    """Handler of IDispatcherActivated: give the dispatcher an agent for the views."""
    own = _Own.dispatcher
    if own is not None and event.object.UUID == own.UUID:
        _installer(event)


def takes(job: Any) -> bool:
    """Whether the agent takes this job: the filter that is stored with it."""
    if job.callable_name != running.NAME or not running.process_of(job).runs_here:
        return False
    queue = job.queue
    return not any(is_alive(agents) for agents in queue.dispatchers.values())


_installer = AgentInstaller(VIEWS_AGENT, filter=takes, size=1)
