"""The events of the service; see the interfaces for when they happen."""

from __future__ import annotations

from collective.clockwork.interfaces import IJobFailure
from collective.clockwork.interfaces import IJobSuccess
from collective.clockwork.interfaces import IQueueReady
from typing import Any
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

    @property
    def failed_members(self):
        """See IJobOutcome."""
        return getattr(self.job, "failed_members", ())


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
    did not ask for jobs. A handler may have an attribute ``is_needed``, a function
    that says whether it wants to hear of this event.
    """
    registry = getSiteManager().adapters
    kind = providedBy(event)
    content = providedBy(event.object)
    for requested, general in (
        ([kind], [IObjectEvent]),
        ([content, kind], [content, IObjectEvent]),
    ):
        handlers = list(registry.subscriptions(requested, None))
        for handler in registry.subscriptions(general, None):
            handlers.remove(handler)
        if any(_wants(handler, event) for handler in handlers):
            return True
    return False


def _wants(handler: Any, event: JobOutcome) -> bool:
    is_needed = getattr(handler, "is_needed", None)
    return is_needed is None or is_needed(event)
