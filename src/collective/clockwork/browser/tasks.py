"""The pages on which editors choose a task, say what it is to do, and start it.

A selection comes from Plone's folder contents, as UIDs; without one a task is about
the object on which the page was called. Nothing is written before the form is sent.
"""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from AccessControl.Permissions import view as VIEW
from Acquisition import aq_inner
from Acquisition import aq_parent
from collections.abc import Iterable
from collective.clockwork import _
from collective.clockwork.browser.jobs import JobPage
from collective.clockwork.tasks import offer
from collective.clockwork.tasks.exports import shelf
from collective.clockwork.tasks.exports.columns import check_columns
from collective.clockwork.tasks.exports.columns import COMPUTED
from collective.clockwork.tasks.exports.columns import TITLES
from collective.clockwork.tasks.exports.columns import USUAL
from collective.clockwork.tasks.exports.query import find
from collective.clockwork.tasks.exports.query import is_collection
from collective.clockwork.tasks.transition import transitions_of
from collective.clockwork.tasks.tree import NO_COMMENTS
from collective.clockwork.tasks.tree import places
from collective.clockwork.tasks.tree import places_found
from functools import cached_property
from plone.base.interfaces import IPloneSiteRoot
from plone.protect import CheckAuthenticator
from plone.uuid.interfaces import IUUID
from Products.CMFCore.utils import getToolByName
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from typing import Any
from urllib.parse import urlencode
from zExceptions import BadRequest
from zExceptions import NotFound
from zope.i18n import translate

import json


#: So many selected objects are taken at most.
MOST_SELECTED = 5000
#: So many selected objects are asked what is allowed on them.
SAMPLE = 100
#: So many objects of each state are asked which transitions they have.
SAMPLE_OF_STATE = 20
#: So many selected objects are named.
NAMED = 10
#: Characters of a comment.
COMMENT_LENGTH = 1000


def _objects(brains: Iterable[Any]) -> list[Any]:
    """The objects that the catalog found, without those of entries left behind."""
    found = []
    for brain in brains:
        try:
            found.append(brain._unrestrictedGetObject())
        except (AttributeError, KeyError, NotFound):
            continue
    return [obj for obj in found if obj is not None]


class TaskPage(JobPage):
    """What the pages of tasks share: the objects that they are about."""

    @cached_property
    def uids(self) -> list[str]:
        """UIDs of the selection; BadRequest if it is no list of texts."""
        given = self.request.form.get("selection") or "[]"
        try:
            uids = json.loads(given) if isinstance(given, str) else given
        except (ValueError, RecursionError):
            uids = None
        if not isinstance(uids, list) or not all(isinstance(u, str) for u in uids):
            raise BadRequest("selection has to be a list of UIDs, written in JSON")
        return uids

    @property
    def too_many(self) -> str | None:
        """Says that more is selected than a task can take; nothing is offered then."""
        if len(self.uids) <= MOST_SELECTED:
            return None
        return _(
            "${number} objects are selected, and ${most} are possible at most. "
            "Please select folders instead.",
            mapping={"number": len(self.uids), "most": MOST_SELECTED},
        )

    @property
    def selection(self) -> str:
        """The selection for a hidden field; empty if there is none."""
        return json.dumps(self.uids) if self.uids else ""

    @cached_property
    def brains(self) -> list[Any]:
        """What the catalog knows of the selected objects that the user may see.

        Nothing if too many are selected.
        """
        if not self.uids or self.too_many:
            return []
        catalog = getToolByName(self.context, "portal_catalog")
        found = catalog(UID=self.uids, show_inactive=True)
        return sorted(found, key=lambda brain: brain.getPath())

    @cached_property
    def objects(self) -> list[Any]:
        """The first selected objects, or the one on which the page was called."""
        return _objects(self.brains[:SAMPLE]) if self.uids else [self.context]

    @property
    def number(self) -> int:
        """How many objects are selected, without what is inside of them."""
        return len(self.brains) if self.uids else 1

    def is_offered(self, task: offer.Task) -> bool:
        """Whether the user may do it with at least one of these objects."""
        if task.whole_site:
            return (
                not self.uids
                and IPloneSiteRoot.providedBy(self.context)
                and self._may(task.permission, self.context)
            )
        if task.name == "delete" and self.is_site:
            return False
        return any(self._may(task.permission, obj) for obj in self.objects)

    @property
    def is_site(self) -> bool:
        """Whether it is about the site itself."""
        return not self.uids and IPloneSiteRoot.providedBy(self.context)

    def _may(self, permission: str, obj: Any) -> bool:
        return bool(getSecurityManager().checkPermission(permission, obj))

    @property
    def is_about_collection(self) -> bool:
        """Whether the page was called on a collection, and nothing is selected."""
        return not self.uids and is_collection(self.context)

    def offered(self) -> list[offer.Task]:
        return [task for task in offer.TASKS.values() if self.is_offered(task)]

    def selected(self) -> list[dict[str, str]]:
        """Title and address of the first objects that it is about."""
        return [
            {"title": obj.Title() or obj.getId(), "url": obj.absolute_url()}
            for obj in self.objects[:NAMED]
        ]

    @property
    def more(self) -> int:
        """How many objects are not named."""
        return max(0, self.number - NAMED)

    @cached_property
    def inside(self) -> list[Any]:
        """What the catalog knows of these objects, and all that is inside of them."""
        return self._find_inside()

    def _find_inside(self, **query: str) -> list[Any]:
        """The part of these, comments left out, that the query describes."""
        catalog = getToolByName(self.context, "portal_catalog")
        if self.uids:
            paths = [brain.getPath() for brain in self.brains]
        else:
            paths = ["/".join(self.context.getPhysicalPath())]
        if not paths:
            return []
        return catalog(path=paths, portal_type=NO_COMMENTS, show_inactive=True, **query)

    @property
    def size(self) -> int:
        """How many objects that is, as far as the user may see them."""
        return len(self.inside)


class TasksPage(TaskPage):
    """The tasks that are offered here."""

    template = ViewPageTemplateFile("tasks.pt")

    def __call__(self) -> str:
        self.forbid_caching()
        if self.too_many:
            self.request.response.setStatus(400)
        elif not self.offered():
            raise Unauthorized("There is no task that you may start here")
        return self.template()

    def page_title(self) -> str:
        return translate(_("Work in the background"), context=self.request)


class TaskFormPage(TaskPage):
    """The form of one task: says what will happen, and starts it."""

    template = ViewPageTemplateFile("task_form.pt")

    #: What is wrong with what was sent, if anything.
    error: str | None = None

    def __call__(self) -> str:
        self.forbid_caching()
        name = self.request.form.get("task")
        task = offer.TASKS.get(name) if isinstance(name, str) else None
        if task is None:
            raise NotFound(f"There is no task {name!r}")
        self.task = task
        if self.too_many:
            self.error = self.too_many
            self.request.response.setStatus(400)
            return self.template()
        if self.objects and not self.is_offered(task):
            raise Unauthorized(f"You may not start the task {name!r} here")
        if self.request.method == "POST" and "start" in self.request.form:
            CheckAuthenticator(self.request)
            return self._start()
        return self.template()

    @property
    def exports_findings(self) -> bool:
        """Whether it is about what a collection finds, and not about that itself."""
        return self.task.name == "export" and self.is_about_collection

    @property
    def size(self) -> int:
        """How many objects that is, as far as the user may see them."""
        if self.exports_findings:
            return len(find(self.context, None))
        return super().size

    def columns(self) -> list[dict[str, Any]]:
        """Name and title of the columns that a file can have, and which are chosen."""
        known = getToolByName(self.context, "portal_catalog").schema()
        sent = self.request.form.get("columns", []) if self.error else USUAL
        sent = [sent] if isinstance(sent, str) else sent
        return [
            {"name": name, "title": title, "is_chosen": name in sent}
            for name, title in TITLES.items()
            if name in known or name in COMPUTED
        ]

    @property
    def place(self) -> Any:
        """What the job is queued on, and its page shown for; it stays at the end."""
        place = self.context
        if self.task.name == "delete" and not self.uids:
            place = aq_parent(aq_inner(place))
            while not (IPloneSiteRoot.providedBy(place) or self._may(VIEW, place)):
                place = aq_parent(aq_inner(place))
        return place

    def page_title(self) -> str:
        return translate(self.task.title, context=self.request)

    @cached_property
    def transitions(self) -> list[tuple[str, str]]:
        """Id and title of the transitions that some of the objects have now."""
        catalog = getToolByName(self.context, "portal_catalog")
        sample = list(self.objects)
        for state in catalog.uniqueValuesFor("review_state"):
            brains = self._find_inside(review_state=state)
            sample += _objects(brains[:SAMPLE_OF_STATE])
        found = transitions_of(sample)
        return [
            (name, translate(title, domain="plone", context=self.request))
            for name, title in found.items()
        ]

    def was_sent(self, name: str) -> str:
        """What was entered in a field of the form that comes back with an error."""
        sent = self.request.form.get(name) if self.error else None
        return sent if isinstance(sent, str) else ""

    @property
    def is_ready(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.objects) and (
            self.task.name != "transition" or self.transitions
        )

    def _start(self) -> str:
        if not self.is_offered(self.task):
            raise Unauthorized(f"You may not start the task {self.task.name!r} here")
        arguments = self._arguments()
        if self.error is not None:
            self.request.response.setStatus(400)
            return self.template()
        notify = "both" if self.request.form.get("notify") else None
        if self.task.name == "export":
            return self._start_export(notify, **arguments)
        if self.uids:
            arguments["selection"] = places_found(self.brains)
        elif not self.task.whole_site:
            arguments["selection"] = places([self.context])
        job = offer.start(self.task, self.place, notify=notify, **arguments)
        return self._lead_to(job)

    def _start_export(self, notify: str | None, **arguments: Any) -> str:
        try:
            job = shelf.start(self.context, notify=notify, **arguments)
        except shelf.NoBlobsError as error:
            # The administrator has something to do; the text says what.
            self.error = str(error)
            self.request.response.setStatus(500)
            return self.template()
        return self._lead_to(job)

    def _lead_to(self, job: Any) -> str:
        query = urlencode({"id": job.id})
        address = f"{self.place.absolute_url()}/@@background-task?{query}"
        return self.request.response.redirect(address)

    def _arguments(self) -> dict[str, Any]:
        """What was chosen in the form; sets ``error`` if that is not possible."""
        form = self.request.form
        match self.task.name:
            case "transition":
                chosen = form.get("transition")
                if chosen not in [name for name, _title in self.transitions]:
                    self.error = _("Please choose how the state is to change.")
                comment = form.get("comment", "")
                comment = comment if isinstance(comment, str) else ""
                return {
                    "transition": chosen,
                    "inside": bool(form.get("inside")),
                    "comment": comment.strip()[:COMMENT_LENGTH],
                }
            case "links":
                return {"outside": bool(form.get("outside"))}
            case "catalog":
                return {"clear": bool(form.get("clear"))}
            case "export":
                return self._export_arguments()
        return {}

    def _export_arguments(self) -> dict[str, Any]:
        """Query, columns and format; sets ``error`` if these are not possible."""
        form = self.request.form
        catalog = getToolByName(self.context, "portal_catalog")
        chosen = form.get("columns", [])
        try:
            chosen = [chosen] if isinstance(chosen, str) else chosen
            columns = check_columns(chosen, catalog)
        except (TypeError, ValueError):
            columns = ()
            self.error = _("Please choose at least one column.")
        format = form.get("format")
        if not isinstance(format, str) or format not in shelf.WRITERS:
            self.error = _("Please choose a kind of file.")
        return {"query": self._query(), "columns": columns, "format": format}

    def _query(self) -> dict[str, Any] | None:
        """What the catalog is asked for an export; None for that of a collection."""
        if self.is_about_collection:
            return None
        if not self.request.form.get("inside"):
            uids = [brain.UID for brain in self.brains]
            if not self.uids:
                uids = [IUUID(self.context)]
            return {"UID": uids, "show_inactive": True}
        paths = [brain.getPath() for brain in self.brains]
        if not self.uids:
            paths = ["/".join(self.context.getPhysicalPath())]
        query = {"path": paths, "portal_type": NO_COMMENTS}
        return {**query, "show_inactive": True}
