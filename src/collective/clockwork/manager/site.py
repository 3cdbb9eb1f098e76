"""The manager itself, and the way from an address to one of its jobs."""

from __future__ import annotations

from Acquisition import aq_inner
from Acquisition import aq_parent
from collections.abc import Iterator
from collective.clockwork.engine.interfaces import KEY as QUEUES_KEY
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.manager.container import JobContainer
from collective.clockwork.manager.container import JobContainers
from collective.clockwork.manager.interfaces import IJobManager
from collective.clockwork.manager.interfaces import KEY
from collective.clockwork.manager.jobs import AsyncJob
from collective.clockwork.manager.jobs import compute
from collective.clockwork.manager.jobs import get_job_id
from collective.clockwork.sitejob import SiteJob
from Products.CMFCore.interfaces import ISiteRoot
from typing import Any
from zope.component import queryUtility
from zope.component.hooks import getSite
from zope.interface import implementer


#: What the test job is given.
TEST_NUMBER = 23


@implementer(IJobManager)
class JobManager:
    """See IJobManager."""

    def put(self, job: Any, site: Any = None) -> str:
        """See IJobManager."""
        place = self._get_site(site)
        container = self._get_jobs_container(place)
        if isinstance(job, SiteJob):
            home = JobContainer(job.site_path, job.site_uid)
            if not home.is_of(_site_of(place)):
                raise ValueError(
                    f"{job!r} belongs to the site {'/'.join(job.site_path)!r}: put it "
                    "with that site as current one, or as argument"
                )
        queue = _default_queue(_connection(place))
        queued = queue.put(job)
        job_id = get_job_id(queued)
        container[job_id] = queued
        return job_id

    def get(self, job_id: str, site: Any = None) -> Any:
        """See IJobManager."""
        container = self._existing_container(self._get_site(site))
        return None if container is None else container.get(job_id)

    def jobs(self, site: Any = None) -> Iterator[tuple[str, Any]]:
        """See IJobManager."""
        container = self._existing_container(self._get_site(site))
        return iter(() if container is None else container.items())

    def remove(self, job_id: str, site: Any = None) -> None:
        """See IJobManager."""
        container = self._existing_container(self._get_site(site))
        if container is not None and job_id in container:
            del container[job_id]

    def start_test_job(self, duration: float = 60, site: Any = None) -> str:
        """See IJobManager."""
        return self.put(AsyncJob(compute, TEST_NUMBER, duration), site)

    def _get_site(self, site: Any) -> Any:
        """The object whose jobs are meant; LookupError. As in waeup.kofa.async."""
        place = site if hasattr(site, "_p_jar") else getSite()
        if place is None:
            raise LookupError(
                "There is no current site: pass an object that is stored in the "
                "database, or call setSite(portal) of zope.component.hooks"
            )
        if place._p_jar is None:
            raise LookupError(
                f"{place!r} is not stored in a database, so it has no jobs: pass an "
                "object that is, such as the site"
            )
        return place

    def _get_jobs_container(self, site: Any) -> JobContainer:
        """The container for this place, made now if it isn't there."""
        found = self._existing_container(site)
        if found is not None:
            return found
        return make_containers(_connection(site)).add_for(_site_of(site))

    def _existing_container(self, place: Any) -> JobContainer | None:
        """The same for those who only look."""
        containers = _connection(place).root().get(KEY)
        return None if containers is None else containers.of(_site_of(place))


class JobManagerTraverser:
    """Finds the job with the id that comes next in an address.

    ``context`` is the manager. It asks for no permission: the page does.
    """

    def __init__(self, context: Any, request: Any) -> None:
        self.context = context
        self.request = request

    def traverse(self, name: str) -> Any:
        """The job of the current site with this id, or None."""
        return self.context.get(name)


def make_containers(connection: Any) -> JobContainers:
    """What holds the containers of this database, made now if it isn't there."""
    root = connection.root()
    if KEY not in root:
        root[KEY] = JobContainers()
        connection.add(root[KEY])
    return root[KEY]


def _connection(place: Any) -> Any:
    """To the queues' database, in the transaction of this object."""
    jar = place._p_jar
    database = queryUtility(IAsyncDatabase)
    return jar if database is None else jar.get_connection(database.database_name)


def _site_of(place: Any) -> Any:
    """The Plone site that this object is, or is in; None outside of sites."""
    while place is not None and not ISiteRoot.providedBy(place):
        place = aq_parent(aq_inner(place))
    return place


def _default_queue(connection: Any) -> Any:
    queues = connection.root().get(QUEUES_KEY, {})
    if "" not in queues:
        raise LookupError(
            "The database has no queues: install the add-on in a site, or include "
            "single_db_instance.zcml or another of the four ZCML files"
        )
    return queues[""]
