"""The button "In the background" of Plone's folder contents.

It opens a list of the tasks; each leads to the task's form with what is selected. The
button is registered in the sites in which the add-on is installed, as Plone asks all
that are registered for the process.
"""

from __future__ import annotations

from collective.clockwork import _
from collective.clockwork.browser.tasks import TaskPage
from plone.app.content.interfaces import IStructureAction
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from zope.i18n import translate
from zope.interface import implementer

import json


#: Behind Plone's own buttons.
ORDER = 20


@implementer(IStructureAction)
class BackgroundAction:
    """What Plone's script needs to know about the button.

    Sites store a reference to this class: it has to stay where it is.
    """

    order = ORDER

    def __init__(self, context, request):
        self.context = context
        self.request = request

    def get_options(self) -> dict:
        """See plone.app.content.interfaces.IStructureAction."""
        url = f"{self.context.absolute_url()}/@@fc-background"
        title = translate(_("Work in the background"), context=self.request)
        return {
            "tooltip": title,
            "id": "background",
            "icon": "clock-history",
            "url": url,
            "form": {
                "title": title,
                "template": "<%= data.html || '' %>",
                "dataUrl": url,
                # The script's own button would send the form without leaving the
                # page; the tasks' buttons lead to their forms.
                "submitContext": "primary d-none",
                "closeText": translate(_("Close"), context=self.request),
            },
        }


class BackgroundButtonPage(TaskPage):
    """The tasks for what is selected, as the button's script asks for them."""

    template = ViewPageTemplateFile("task_button.pt")

    def __call__(self) -> str:
        self.forbid_caching()
        response = self.request.response
        response.setHeader("Content-Type", "application/json; charset=utf-8")
        response.setHeader("X-Content-Type-Options", "nosniff")
        return json.dumps({"html": self.template()})
