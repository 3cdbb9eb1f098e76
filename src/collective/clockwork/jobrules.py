"""Who may see, cancel and retry a job, or change quotas: that is decided here.

A job is known in its own site alone. There its arguments, its result and its
traceback are for its owner, and for those with the permission to manage jobs. Nobody
owns the jobs of anonymous visitors, because one cannot be told from another.
"""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from collective.clockwork import identity
from collective.clockwork.sitejob import CallbackJob
from collective.clockwork.sitejob import SiteJob
from dataclasses import dataclass
from Products.CMFCore.interfaces import ISiteRoot
from typing import Any


#: Title of the permission ``collective.clockwork.ManageJobs``.
MANAGE_JOBS = "collective.clockwork: Manage background jobs"


@dataclass(frozen=True)
class Viewer:
    """The current user in the current site; made by ``current``, for one transaction.

    The methods take jobs, as they are stored.
    """

    site: Any
    #: Path of her folder and her id; None for one who owns no jobs.
    user: tuple[tuple[str, ...], str] | None
    #: Whether she may manage the jobs of all users of the site.
    manages: bool

    @property
    def user_id(self) -> str | None:
        """Her id; None for one who owns no jobs."""
        return None if self.user is None else self.user[1]

    def knows(self, job: Any) -> bool:
        """Whether this is a job of the current site, for whoever may see it."""
        if not isinstance(job, SiteJob) or isinstance(job, CallbackJob):
            return False
        return identity.is_of_site(job.site_path, job.site_uid, self.site)

    def owns(self, job: Any) -> bool:
        """Whether she queued this job of the current site."""
        if self.user is None or job.user_id is None:
            return False
        here = self.site.getPhysicalPath()
        folder = identity.rebased(job.userfolder_path, job.site_path, here)
        return (folder, job.user_id) == self.user

    def sees(self, job: Any) -> bool:
        """Whether the job is of the current site, and hers or hers to manage."""
        return self.knows(job) and (self.manages or self.owns(job))

    def require(self, job: Any, what: str) -> None:
        """Raise Unauthorized if a job of this site is not hers, nor hers to manage.

        ``what`` says what she wants, for the message: "see", for instance.
        """
        if not (self.manages or self.owns(job)):
            raise Unauthorized(
                f"You may not {what} the job {job.id}: the user who queued it may, and "
                f"those with the permission {MANAGE_JOBS!r}"
            )

    def require_jobs_of(self, user_id: str) -> None:
        """Raise Unauthorized if she may not look for jobs of this user."""
        if not self.manages and self.user_id != user_id:
            raise Unauthorized(
                f"You may not look for jobs of the user {user_id!r}: that one may, and "
                f"those with the permission {MANAGE_JOBS!r}"
            )


def current() -> Viewer:
    """The current user in the current site; LookupError without a current site."""
    site = identity.current_site()
    return Viewer(
        site,
        _user(site),
        bool(getSecurityManager().checkPermission(MANAGE_JOBS, site)),
    )


def may_change_quotas() -> bool:
    """Whether the current user may change quotas, which all sites of a database share.

    Where there are several sites, no manager of one of them may stop the jobs of the
    others: that takes the permission at the Zope root.
    """
    site = identity.current_site()
    root = site.getPhysicalRoot()
    sites = [place for place in root.objectValues() if ISiteRoot.providedBy(place)]
    alone = [place.getPhysicalPath() for place in sites] == [site.getPhysicalPath()]
    place = site if alone else root
    return bool(getSecurityManager().checkPermission(MANAGE_JOBS, place))


def _user(site: Any) -> tuple[tuple[str, ...], str] | None:
    try:
        folder, user_id = identity.current_user(site)
    except ValueError:
        # The system and the emergency user: they queue no jobs.
        return None
    return None if user_id is None else (folder, user_id)
