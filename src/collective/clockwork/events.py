"""The events of the service; see the interfaces for when they happen."""

from __future__ import annotations

from collective.clockwork.interfaces import IJobFailure
from collective.clockwork.interfaces import IJobSuccess
from collective.clockwork.interfaces import IQueueReady
from zope.component import getSiteManager
from zope.interface import implementer
from zope.interface import providedBy
from zope.interface.interfaces import IObjectEvent
from zope.interface.interfaces import ObjectEvent


class JobOutcome(ObjectEvent):
    """A job is finished; ``object`` is its result or Failure, as in plone.app.async."""

    def __init__(self, object, job=None):
        super().__init__(object)
        self.job = job


@implementer(IJobSuccess)
class JobSuccess(JobOutcome):
    """See IJobSuccess."""


@implementer(IJobFailure)
class JobFailure(JobOutcome):
    """See IJobFailure."""


@implementer(IQueueReady)
class QueueReady(ObjectEvent):
    """See IQueueReady."""


def has_subscribers(event: JobOutcome) -> bool:
    """Whether anybody would hear of this event, in the current site or globally.

    Those who hear of every event, or every object event, don't count: they
    did not ask for jobs.
    """
    registry = getSiteManager().adapters
    kind = providedBy(event)
    content = providedBy(event.object)
    for requested, general in (
        ([kind], [IObjectEvent]),
        ([content, kind], [content, IObjectEvent]),
    ):
        handlers = registry.subscriptions(requested, None)
        if len(handlers) > len(registry.subscriptions(general, None)):
            return True
    return False
