"""A page that queues jobs of all kinds, as code of an add-on would in a request."""

from __future__ import annotations

from collective.clockwork import Job
from collective.clockwork import queue
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.tests.plone import backgroundwork
from collective.clockwork.tests.plone import work
from plone.protect.interfaces import IDisableCSRFProtection
from Products.Five import BrowserView
from zope.component import getUtility
from zope.interface import alsoProvides


class QueueAllView(BrowserView):
    """Queues a job of each kind on its context."""

    def __call__(self):
        alsoProvides(self.request, IDisableCSRFProtection)
        service = getUtility(IAsyncService)
        make = service.makeJob
        service.queueJob(work.note, self.context, "marked-argument")
        service.using(
            unique="{key}", title="A title", quota=(), notify="both"
        ).queueJob(work.note, self.context, "x").addCallback(work.note_result)
        service.queueJob(work.fail, self.context, "marked-failure")
        service.queueJob(read_request, self.context)
        service.queueSerialJobs(
            make(work.note, self.context, "a"), make(work.fail, self.context)
        )
        backgroundwork.convert.queue(self.context, 3)
        queue(Job(self.context.Title))
        return "queued"


def read_request(context):
    """All that can be read from the job's request, as text."""
    request = context.REQUEST
    return repr((request.environ, request.cookies, request.form, request.other))
