"""The job manager: jobs that are kept under their ids until somebody removes them.

The names, and what they mean, are those of waeup.kofa.async. A job that it is given is
an engine's job, and is run as one: without site, user and request. So it is for code
that is trusted; what a user asks for goes through the service, which makes jobs that
have her rights.
"""

from __future__ import annotations

from collective.clockwork.manager.container import JobContainer
from collective.clockwork.manager.installer import job_container_installer
from collective.clockwork.manager.installer import JobContainerInstaller
from collective.clockwork.manager.installer import multidb_job_container_installer
from collective.clockwork.manager.interfaces import IJobContainer
from collective.clockwork.manager.interfaces import IJobManager
from collective.clockwork.manager.interfaces import IProgressable
from collective.clockwork.manager.interfaces import KEY
from collective.clockwork.manager.interfaces import VIRT_JOBS_CONTAINER_NAME
from collective.clockwork.manager.jobs import AsyncJob
from collective.clockwork.manager.jobs import compute
from collective.clockwork.manager.jobs import get_job_id
from collective.clockwork.manager.jobs import JOB_STATUS_MAP
from collective.clockwork.manager.jobs import ProgressableJob
from collective.clockwork.manager.site import JobManager
from collective.clockwork.manager.site import JobManagerTraverser


__all__ = [
    "AsyncJob",
    "IJobContainer",
    "IJobManager",
    "IProgressable",
    "JOB_STATUS_MAP",
    "JobContainer",
    "JobContainerInstaller",
    "JobManager",
    "JobManagerTraverser",
    "KEY",
    "ProgressableJob",
    "VIRT_JOBS_CONTAINER_NAME",
    "compute",
    "get_job_id",
    "job_container_installer",
    "multidb_job_container_installer",
]
