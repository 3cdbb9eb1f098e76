"""The contracts of the job manager. Names as in waeup.kofa.async."""

from __future__ import annotations

from zope.container.interfaces import IContainer
from zope.interface import Attribute
from zope.interface import Interface
from zope.schema import Float


#: Key in a database's root of the containers of its sites. It was 'waeup.kofa'.
KEY = "collective.clockwork.manager"

#: Name of the page of a site that leads to its jobs.
VIRT_JOBS_CONTAINER_NAME = "jobs"


class IJobContainer(IContainer):
    """The jobs of one site by their ids, lowest first."""

    site_path = Attribute("Physical path of the site; () for jobs outside of sites.")
    site_uid = Attribute("UID of the site; None if it has none.")


class IProgressable(Interface):
    """Says how far it is."""

    percent = Float(
        title="Percent done",
        description="From 0 to 100; None as long as nothing was said.",
        required=False,
        readonly=True,
    )


class IJobManager(Interface):
    """Keeps jobs by their ids; a global utility.

    ``site`` is any object that is stored in the database, and wins over the current
    site, which is taken for anything else. Its jobs are those of the Plone site that it
    is in, or, outside of sites, those of no site. LookupError without both, and for an
    object that may be stored but is not.

    Everything happens in the caller's transaction; nothing commits.
    """

    def put(job, site=None):
        """Queue the job, keep it, and return its id, a decimal number as text.

        It is run as it is: an engine's job without site, user or request. One that
        the service's ``wrapJob`` made is run as its user; ValueError if it belongs to
        another site. Set ``begin_after``, ``begin_by`` and ``quota_names`` before.
        LookupError if there are no queues.
        """

    def get(job_id, site=None):
        """The job, or None if there is none with this id."""

    def jobs(site=None):
        """An iterator over pairs of id and job, lowest id first."""

    def remove(job_id, site=None):
        """Keep the job no more; it is not stopped. Unknown ids are no error."""

    def start_test_job(duration=60, site=None):
        """Queue a job that lasts so many seconds and says how far it is; its id."""
