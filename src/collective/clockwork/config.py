"""What prepares a process for jobs, by the names that plone.app.async had.

Each of the instance and worker ZCML files registers one of these as ``IInitAsync``
utility. ``startup`` calls its ``init`` when Zope has opened its databases. A policy
package may register a class of its own in place of one.
"""

from __future__ import annotations

from collective.clockwork import startup
from collective.clockwork.interfaces import IInitAsync
from zope.component import getGlobalSiteManager
from zope.interface import implementer
from zope.processlifetime import IProcessStarting


@implementer(IInitAsync)
class InitSingleDBInstance:
    """This process queues jobs; the queues are in the main database."""

    #: Name in zope.conf of the database for the queues; None for the main one.
    db_name: str | None = None

    def init(self) -> None:
        """See IInitAsync."""
        startup.use_database(self.db_name)


class InitMultiDBInstance(InitSingleDBInstance):
    """This process queues jobs; the queues are in the database ``async``."""

    db_name = "async"


class InitSingleDBWorker(InitSingleDBInstance):
    """This process queues and runs jobs; the queues are in the main database."""

    def init(self) -> None:
        """See IInitAsync. Jobs are run as soon as the process begins to serve."""
        super().init()
        registry = getGlobalSiteManager()
        # Called twice, it makes one worker all the same.
        registry.unregisterHandler(startup.start_worker, [IProcessStarting])
        registry.registerHandler(startup.start_worker, [IProcessStarting])


class InitMultiDBWorker(InitSingleDBWorker):
    """This process queues and runs jobs; the queues are in the database ``async``."""

    db_name = "async"
