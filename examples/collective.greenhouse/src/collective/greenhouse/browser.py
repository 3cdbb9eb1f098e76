"""``@@water``: has the plants of a greenhouse watered."""

from collective.clockwork.interfaces import IAsyncService
from collective.greenhouse.watering import diary
from collective.greenhouse.watering import water
from plone import api
from plone.protect import CheckAuthenticator
from Products.Five.browser import BrowserView
from zope.component import getUtility


class WaterView(BrowserView):
    """The form, and what its button does."""

    def __call__(self):
        if self.request.method != "POST":
            return self.index()
        CheckAuthenticator(self.request)
        service = getUtility(IAsyncService)
        service.queueJob(water, self.context, self.request.form["litres"])
        api.portal.show_message("The plants are watered in the background.")
        return self.request.response.redirect(f"{self.context.absolute_url()}/@@water")

    def diary(self):
        """The newest line first."""
        return reversed(diary(self.context))
