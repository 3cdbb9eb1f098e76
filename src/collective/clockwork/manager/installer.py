"""Makes the place for the jobs' containers when a database is opened.

Nothing needs it: installing the add-on does the same, and so does the first job. It is
for those who registered the old one. Its subscribers are for an event that reaches
ZCML; in Zope 6 that is ``IDatabaseOpenedWithRoot``::

    <subscriber
        for="zope.processlifetime.IDatabaseOpenedWithRoot"
        handler="collective.clockwork.manager.job_container_installer"
        />
"""

from __future__ import annotations

from collective.clockwork.engine.commit import log
from collective.clockwork.engine.interfaces import ObjectAdded
from collective.clockwork.manager.interfaces import KEY
from collective.clockwork.manager.site import make_containers
from transaction import TransactionManager
from typing import Any
from zope.event import notify


#: How often to try again when another process makes the same.
ATTEMPTS = 5


class JobContainerInstaller:
    """Called with an event that has a ``database``; works in a transaction of its own.

    ``db_name`` is the database that gets it; by default the one that was opened.
    KeyError if there is none of that name.
    """

    def __init__(self, db_name: str | None = None) -> None:
        self.db_name = db_name

    def __call__(self, event: Any) -> None:
        manager = TransactionManager()
        connection = event.database.open(manager)
        try:
            for attempt in manager.attempts(ATTEMPTS):
                with attempt:
                    self._install(connection)
        finally:
            manager.abort()
            connection.close()

    def _install(self, connection: Any) -> None:
        if self.db_name is not None:
            connection = connection.get_connection(self.db_name)
        root = connection.root()
        if KEY in root:
            return
        containers = make_containers(connection)
        notify(ObjectAdded(containers, root, KEY))
        log.info("made %r in %s", KEY, repr(root))


job_container_installer = JobContainerInstaller()
multidb_job_container_installer = JobContainerInstaller(db_name="async")
