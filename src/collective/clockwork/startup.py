"""What the instance and worker ZCML files start, and when.

===============================  ==============================================
Zope's event                     what happens
===============================  ==============================================
``IDatabaseOpenedWithRoot``      the ``IInitAsync`` utility is asked (``config``):
                                 the queues' database is registered, and its
                                 queues are made if they aren't there
``IProcessStarting``             in a worker: the dispatcher starts, the thread
                                 that looks after the schedules, and the monitor if
                                 zope.conf asks for it
===============================  ==============================================

The second event comes in processes that serve, ``clockwork-worker`` among them,
and not in scripts that only open the application. ``zconsole`` sends it too,
and is left out by name: a shell that ran jobs would take them from the worker.

A handler that raised would end the start of Zope, so errors are logged: a site
goes on without background jobs.
"""

from __future__ import annotations

from collective.clockwork import monitorport
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.subscribers import ThreadedDispatcherInstaller
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.interfaces import IInitAsync
from collective.clockwork.schedules import scheduler
from collective.clockwork.service import ensure_default_quota
from transaction import TransactionManager
from typing import Any
from ZODB.interfaces import IDatabase
from zope.component import getGlobalSiteManager
from zope.component import queryUtility

import logging
import sys


logger = logging.getLogger("collective.clockwork")

#: Seconds between two looks into the queues when nothing wakes the dispatcher.
#: As in plone.app.async.
POLL_INTERVAL = 2

#: The module of Zope's shell.
CONSOLE = "Zope2.utilities.zconsole"

#: How often to try again when another process makes the same queues.
ATTEMPTS = 5

start_dispatcher = ThreadedDispatcherInstaller(poll_interval=POLL_INTERVAL)


def initialize(event: Any) -> None:
    """Handler of IDatabaseOpenedWithRoot: prepare this process as its ZCML says."""
    process = queryUtility(IInitAsync)
    if process is None:
        return
    try:
        register_databases(event.database)
        process.init()
    except Exception:
        logger.exception(
            "The queues' database could not be prepared: no jobs can be queued or "
            "run in this process"
        )


def register_databases(main: Any) -> None:
    """Make all databases of the process ``IDatabase`` utilities by their names.

    The main one is one without a name, too. As in plone.app.async.
    """
    registry = getGlobalSiteManager()
    for name, database in main.databases.items():
        registry.registerUtility(database, IDatabase, name)
    registry.registerUtility(main, IDatabase)


def use_database(name: str | None) -> None:
    """Keep the queues in the database of this name; None is the main one.

    It becomes the ``IAsyncDatabase`` utility, and queues are made in it. Raises
    LookupError if zope.conf has no such database, or Zope has not opened it yet.
    """
    main = queryUtility(IDatabase)
    if main is None:
        raise LookupError(
            "No database is open yet: wait for Zope's event IDatabaseOpenedWithRoot"
        )
    chosen = main if name is None else main.databases.get(name)
    if chosen is None:
        raise LookupError(
            f"zope.conf has no database {name!r}: add a section <zodb_db {name}> with "
            "a mount-point, or include the single_db ZCML file"
        )
    getGlobalSiteManager().registerUtility(chosen, IAsyncDatabase)
    make_queues(chosen)


def make_queues(database: Any) -> None:
    """Make what is missing of the queues, in transactions of its own."""
    queue_installer(DatabaseOpened(database))
    manager = TransactionManager()
    connection = database.open(manager)
    try:
        for attempt in manager.attempts(ATTEMPTS):
            with attempt:
                for queue in connection.root()[KEY].values():
                    ensure_default_quota(queue)
    finally:
        manager.abort()
        connection.close()


def is_console() -> bool:
    """Whether this process is ``zconsole``, as a script or by ``python -m``."""
    # The latter knows the module as __main__ alone.
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return CONSOLE in sys.modules or (spec is not None and spec.name == CONSOLE)


def start_worker(event: Any) -> None:
    """Handler of IProcessStarting: run jobs in this process from now on."""
    if is_console():
        logger.info("This is zconsole, so it runs no background jobs")
        return
    database = queryUtility(IAsyncDatabase)
    if database is None:
        logger.error("There is no database for the queues, so no worker starts")
        return
    try:
        start_dispatcher(DatabaseOpened(database))
    except Exception:
        logger.exception("The worker could not be started: this process runs no jobs")
        return
    scheduler.start(database)
    monitorport.start(database)
