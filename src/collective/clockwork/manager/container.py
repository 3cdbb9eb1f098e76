"""Where the jobs of the manager are kept."""

from __future__ import annotations

from BTrees.LOBTree import LOBTree
from collections.abc import Iterator
from collective.clockwork import identity
from collective.clockwork.engine.base import Base
from collective.clockwork.engine.base import TreeMapping
from collective.clockwork.engine.interfaces import IJob
from collective.clockwork.manager.interfaces import IJobContainer
from typing import Any
from zope.interface import implementer


def number_of(job_id: Any) -> int | None:
    """The number that an id stands for; None for what can be none."""
    text = str(job_id)
    # Python does not read numbers of thousands of digits.
    if not (text.isascii() and text.isdecimal()) or len(text) > 19:
        return None
    number = int(text)
    return number if number < 2**63 and str(number) == text else None


@implementer(IJobContainer)
class JobContainer(Base):
    """See IJobContainer.

    Written by whoever puts and removes jobs. Two who put at the same time are merged by
    the tree, except when a leaf of it is split: then one of them has a conflict, which
    Zope's publisher answers by doing the request again.
    """

    site_path: tuple[str, ...] = ()
    site_uid: str | None = None

    def __init__(self, site_path: tuple[str, ...] = (), site_uid: str | None = None):
        self.site_path = site_path
        self.site_uid = site_uid
        #: Number of an id to the job.
        self._jobs = LOBTree()

    def is_of(self, site: Any) -> bool:
        """Whether it is this site's; None stands for no site.

        An imported copy of a site has its UID, and jobs of its own.
        """
        if site is None:
            return self.site_path == ()
        return identity.is_of_site(self.site_path, self.site_uid, site)

    def __setitem__(self, name: str, job: Any) -> None:
        """Keep a job. TypeError for something else, ValueError for a bad id."""
        if not IJob.providedBy(job):
            raise TypeError(f"{job!r} is no job")
        number = number_of(name)
        if number is None:
            raise ValueError(
                f"{name!r} is no id of a job: pass what get_job_id() gives"
            )
        self._jobs[number] = job

    def __delitem__(self, name: str) -> None:
        self[name]
        del self._jobs[number_of(name)]

    def __getitem__(self, name: str) -> Any:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        number = number_of(name)
        return default if number is None else self._jobs.get(number, default)

    def __contains__(self, name: object) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return map(str, self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    def __bool__(self) -> bool:
        # An empty one is there all the same.
        return True

    def keys(self) -> list[str]:
        return list(self)

    def values(self) -> list:
        return list(self._jobs.values())

    def items(self) -> list[tuple[str, Any]]:
        return [(str(number), job) for number, job in self._jobs.items()]


class JobContainers(TreeMapping):
    """The containers of the sites of a database; written when one is made.

    Two who make the first one of a site at the same time have a conflict.
    """

    def of(self, site: Any) -> JobContainer | None:
        """The container of this site, or of no site for None; None if there is none."""
        return next((each for each in self.values() if each.is_of(site)), None)

    def add_for(self, site: Any) -> JobContainer:
        """Make that container."""
        if site is None:
            container = JobContainer()
        else:
            container = JobContainer(site.getPhysicalPath(), identity.uid_of(site))
        container.parent = self
        # No path has "//" in it, so no two sites have the same key.
        key = f"{container.site_uid or ''}{'/'.join(container.site_path)}//"
        self._data[key] = container
        return container
