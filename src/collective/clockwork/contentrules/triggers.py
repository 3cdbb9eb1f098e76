"""Rules that are run when a background job has ended.

They are assigned to the site. Rules expect content as the object of an event, so the
service's own events, whose object is a result or a failure, are not handed to them.
"""

from __future__ import annotations

from collective.clockwork import identity
from collective.clockwork.contentrules.background import run_rule
from collective.clockwork.interfaces import IJobFailure
from collective.clockwork.interfaces import IJobOutcome
from plone.app.contentrules import handlers
from plone.contentrules.engine.interfaces import IRuleStorage
from typing import Any
from zExceptions import BadRequest
from zope.component import queryUtility
from zope.component.hooks import getSite
from zope.interface import Attribute
from zope.interface import implementer
from zope.interface.interfaces import IObjectEvent
from zope.interface.interfaces import ObjectEvent


class IBackgroundJobEnded(IObjectEvent):
    """A job of this site has ended; use one of the two below.

    ``object`` is the object that it was about; the site if that is gone, and for a
    batch.
    """

    job = Attribute("The job")


class IBackgroundJobDone(IBackgroundJobEnded):
    """It is done."""


class IBackgroundJobFailed(IBackgroundJobEnded):
    """It has failed, or was cancelled."""


class _BackgroundJobEnded(ObjectEvent):
    def __init__(self, object: Any, job: Any) -> None:
        super().__init__(object)
        self.job = job


@implementer(IBackgroundJobDone)
class BackgroundJobDone(_BackgroundJobEnded):
    """See IBackgroundJobDone."""


@implementer(IBackgroundJobFailed)
class BackgroundJobFailed(_BackgroundJobEnded):
    """See IBackgroundJobFailed."""


def run_rules(event: IJobOutcome) -> None:
    """Handler of IJobSuccess and IJobFailure: run the site's rules for that."""
    site = getSite()
    if site is None or not is_needed(event):
        return
    kind = BackgroundJobFailed if IJobFailure.providedBy(event) else BackgroundJobDone
    handlers.execute(site, kind(_object(site, event.job), event.job))


def is_needed(event: IJobOutcome) -> bool:
    """Whether the current site has a rule for such an event.

    None is run for the jobs that are queued by rules, because that would never end.
    """
    storage = queryUtility(IRuleStorage)
    if storage is None or not storage.active:
        return False
    if event.job.callable_name == f"{run_rule.__module__}.{run_rule.__name__}":
        return False
    failed = IJobFailure.providedBy(event)
    trigger = IBackgroundJobFailed if failed else IBackgroundJobDone
    return any(rule.enabled and rule.event is trigger for rule in storage.values())


run_rules.is_needed = is_needed


def _object(site: Any, job: Any) -> Any:
    if not job.context_path:
        return site
    path = identity.rebased(job.context_path, job.site_path, site.getPhysicalPath())
    try:
        return identity.find_context(site, path, job.context_uid)
    except BadRequest:
        return site
