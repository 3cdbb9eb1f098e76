"""The pages of a user's exports: a list, the file of one, and a status for scripts."""

from __future__ import annotations

from collective.clockwork import _
from collective.clockwork.browser.jobs import JobPage
from collective.clockwork.browser.taskprogress import INTERVAL
from collective.clockwork.browser.taskprogress import UNFINISHED
from collective.clockwork.tasks.exports import shelf
from plone.protect import CheckAuthenticator
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from Products.statusmessages.interfaces import IStatusMessage
from urllib.parse import quote
from zExceptions import NotFound
from zope.i18n import translate
from ZPublisher.Iterators import filestream_iterator

import json


#: Milliseconds after which a script may ask for the status again. As in waeup.kofa.
STATUS_INTERVAL = 500

UNITS = ("bytes", "kB", "MB", "GB")


class ExportsPage(JobPage):
    """The exports of the user who looks, the newest first; she can remove them."""

    template = ViewPageTemplateFile("exports.pt")

    def __call__(self) -> str:
        self.forbid_caching()
        if self.request.method == "POST" and "remove" in self.request.form:
            CheckAuthenticator(self.request)
            return self._remove()
        self.exports = shelf.mine()
        return self.template()

    def page_title(self) -> str:
        return translate(_("My exports"), context=self.request)

    @property
    def refreshes(self) -> bool:
        """Whether the page loads itself again; whoever reads it can stop that."""
        running = any(export.job.status in UNFINISHED for export in self.exports)
        return running and self.request.form.get("refresh") != "no"

    @property
    def interval(self) -> int:
        return INTERVAL

    def is_over(self, export: shelf.Export) -> bool:
        """Whether it can be removed."""
        return export.job.status not in UNFINISHED

    def label(self, export: shelf.Export) -> str:
        """The file's name, and before there is one what it is about."""
        if export.name is not None:
            return export.name
        return f"{self.path(export.job)} ({export.format.upper()})"

    def progress_url(self, export: shelf.Export) -> str:
        return self.url("@@background-task", id=export.job.id)

    def size(self, export: shelf.Export) -> str:
        """Its size, as "12.3 kB"."""
        number, unit = float(export.size), 0
        while number >= 1000 and unit < len(UNITS) - 1:
            number, unit = number / 1000, unit + 1
        return f"{number:.1f} {UNITS[unit]}" if unit else f"{export.size} {UNITS[0]}"

    def _remove(self) -> str:
        id = self.request.form.get("id")
        if isinstance(id, str) and shelf.remove(id):
            text, kind = _("The export was removed."), "info"
        else:
            text, kind = _("There is no such export that could be removed."), "error"
        IStatusMessage(self.request).add(text, type=kind)
        return self.request.response.redirect(self.url("@@my-exports"))


class DownloadPage(JobPage):
    """The file of an export, for its user and for those who may manage jobs."""

    def __call__(self) -> filestream_iterator | str:
        self.forbid_caching()
        id = self.request.form.get("id")
        found = shelf.open_file(id) if isinstance(id, str) else None
        if found is None:
            raise NotFound("There is no such file: it may be too old, or removed")
        response = self.request.response
        response.setHeader("Content-Type", found.content_type)
        response.setHeader("Content-Length", str(found.size))
        response.setHeader("X-Content-Type-Options", "nosniff")
        response.setHeader(
            "Content-Disposition", f"attachment; filename*=UTF-8''{quote(found.name)}"
        )
        if self.request.method == "HEAD":
            # The server would send it all the same, and take it for the next answer.
            return ""
        return filestream_iterator(found.path, "rb")


class ExportsJSON(JobPage):
    """Whether the user's exports are all done, for a script; as in waeup.kofa.

    ``html`` is what to show meanwhile, ``interval`` after how many milliseconds to ask
    again, ``reload`` whether there is something new to see.
    """

    def __call__(self) -> str:
        self.forbid_caching()
        exports = shelf.mine()
        waits = any(export.job.status in UNFINISHED for export in exports)
        text = _("Please wait: your file is being made.")
        self.request.response.setHeader("Content-Type", "application/json")
        self.request.response.setHeader("X-Content-Type-Options", "nosniff")
        return json.dumps(
            {
                "html": translate(text, context=self.request) if waits else "",
                "interval": STATUS_INTERVAL if waits else 0,
                "reload": bool(exports) and not waits,
            }
        )
