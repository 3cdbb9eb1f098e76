"""What the instance and worker ZCML files start, and when.

===============================  ==============================================
Zope's event                     what happens
===============================  ==============================================
``IDatabaseOpenedWithRoot``      the queues' database is registered, and its
                                 queues are made if they aren't there
``IProcessStarting``             in a worker: the dispatcher starts
===============================  ==============================================

The second event comes in processes that serve, ``clockwork-worker`` among them,
and not in scripts that only open the application. ``zconsole`` sends it too,
and is left out by name: a shell that ran jobs would take them from the worker.

A handler that raised would end the start of Zope, so errors are logged: a site
goes on without background jobs.
"""

from __future__ import annotations

from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.subscribers import ThreadedDispatcherInstaller
from collective.clockwork.interfaces import IAsyncDatabase
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

#: How often to try again when another process makes the same queues.
ATTEMPTS = 5

start_dispatcher = ThreadedDispatcherInstaller(poll_interval=POLL_INTERVAL)


class QueueDatabase:
    """Handler of IDatabaseOpenedWithRoot: prepares the database of the queues.

    Registers all databases of the process as ``IDatabase`` utilities by their
    names, the main one also without name, and the one of the queues as
    ``IAsyncDatabase``. As in plone.app.async.
    """

    def __init__(self, name: str | None = None) -> None:
        #: Name in zope.conf of the database for the queues; None for the main one.
        self.name = name

    def __call__(self, event: Any) -> None:
        try:
            self.prepare(event.database)
        except Exception:
            logger.exception(
                "The queues' database %r could not be prepared: no jobs can be "
                "queued or run in this process",
                self.name or event.database.database_name,
            )

    def prepare(self, main: Any) -> None:
        """Register the databases and make the queues.

        Raises LookupError if zope.conf has no database of that name.
        """
        chosen = main if self.name is None else main.databases.get(self.name)
        if chosen is None:
            raise LookupError(
                f"zope.conf has no database {self.name!r}: add a section <zodb_db "
                f"{self.name}> with a mount-point, or include the single_db ZCML file"
            )
        registry = getGlobalSiteManager()
        for name, database in main.databases.items():
            registry.registerUtility(database, IDatabase, name)
        registry.registerUtility(main, IDatabase)
        registry.registerUtility(chosen, IAsyncDatabase)
        make_queues(chosen)


single_db = QueueDatabase()
multi_db = QueueDatabase("async")


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


def start_worker(event: Any) -> None:
    """Handler of IProcessStarting: run jobs in this process from now on."""
    if "Zope2.utilities.zconsole" in sys.modules:
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
