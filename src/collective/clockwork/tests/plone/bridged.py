"""Functions that the tests of the bridges queue by events, found by their names."""

from __future__ import annotations

from collective.clockwork.decorator import background
from OFS.SimpleItem import SimpleItem
from plone import api
from zope.event import notify
from zope.lifecycleevent import ObjectModifiedEvent


#: Context, user and the event's path of each job; emptied by the test case.
done: list = []


class Page(SimpleItem):
    id = "page"
    portal_type = "Document"


class Bare:
    """An event that provides no interface."""


def note(context, details):
    path = "/".join(context.getPhysicalPath())
    done.append((path, api.user.get_current().getId(), details["path"]))


@background(unique="{context_uid}", on_duplicate="drop")
def note_once(context, details):
    note(context, details)


def modify(context, details):
    context.title = "Modified"
    notify(ObjectModifiedEvent(context))
