"""A job that says where it is, and who, to a test with real processes."""

from __future__ import annotations

from collective.clockwork.interfaces import IAsyncService
from plone import api
from plone.protect.interfaces import IDisableCSRFProtection
from Products.Five.browser import BrowserView
from ZODB.utils import u64
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.interface import alsoProvides
from zope.security import checkPermission

import json


def say_where(context) -> str:
    """Address, language, site, user and rights, as words."""
    return " ".join(
        [
            context.absolute_url(),
            api.portal.get_current_language(),
            getSite().getId(),
            api.user.get_current().getId(),
            str(bool(checkPermission("cmf.ManagePortal", context))),
        ]
    )


class QueueWhere(BrowserView):
    """Queues ``say_where``; gives its id."""

    def __call__(self) -> str:
        # The test has no form whose token it could send.
        alsoProvides(self.request, IDisableCSRFProtection)
        job = getUtility(IAsyncService).queueJob(say_where, self.context)
        self.request.response.setHeader("Content-Type", "application/json")
        return json.dumps(str(u64(job._p_oid)))
