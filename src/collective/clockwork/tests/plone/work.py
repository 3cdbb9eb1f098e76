"""Functions that the tests queue as jobs; they are found again by their names."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork.engine import local
from plone import api
from plone.dexterity.utils import createContentInContainer
from Products.CMFCore.utils import getToolByName
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.globalrequest import getRequest

import asyncio
import queue
import threading
import transaction


#: What happened in this process, in order; emptied by the test case.
happened: list = []


def add_numbers(context, *numbers):
    return sum(numbers)


def add_page(context, page_id, title=""):
    """Add a page with the checks that a user's own request would meet."""
    createContentInContainer(context, "Document", id=page_id, title=title or page_id)
    return page_id


def add_pages(context, number, *, ctx):
    """Add so many pages, two with each commit."""
    for index in ctx.each(range(number), commit_every=2):
        add_page(context, f"page-{index}")


def report_quarter(context, *, ctx):
    ctx.progress(5, 20)


async def add_page_soon(context, page_id):
    await asyncio.sleep(0)
    return add_page(context, page_id)


def submit(context, page_id):
    getToolByName(context, "portal_workflow").doActionFor(context[page_id], "submit")


def find_pages(context):
    catalog = api.portal.get_tool("portal_catalog")
    return sorted(brain.getId for brain in catalog(portal_type="Document"))


def fail(context, text="as the test asked"):
    raise RuntimeError(text)


def write_and_fail(context):
    context.title = "half done"
    raise RuntimeError("after writing")


def conflict(context, times):
    """Conflict so many times, then say how often it was called."""
    happened.append("called")
    if len(happened) <= times:
        raise ConflictError(f"conflict {len(happened)}")
    return len(happened)


def doom(context):
    happened.append("called")
    transaction.doom()


def note(context, word):
    happened.append(word)
    return word


#: Set by ``wait_for_release`` when it begins, and by a test to let it end.
begun = threading.Event()
released = threading.Event()


def wait_for_release(context):
    begun.set()
    if not released.wait(30):
        raise RuntimeError("nobody released this job")
    return "released"


#: Names of jobs that began ``begin_and_wait``, and what lets each end.
arrivals: queue.SimpleQueue = queue.SimpleQueue()
gates = {name: threading.Event() for name in ("first", "second", "third")}


def begin_and_wait(context, name):
    arrivals.put(name)
    if not gates[name].wait(30):
        raise RuntimeError(f"nobody let {name} end")
    happened.append(name)


def note_result(result):
    happened.append(("result", result))


def note_surroundings(result):
    """As a callback: who and where one is."""
    site = getSite()
    where = None if site is None else "/".join(site.getPhysicalPath())
    happened.append((getSecurityManager().getUser().getId(), where))


def note_failure(failure):
    happened.append(("failure", failure.getErrorMessage()))


def describe_world(context):
    """What a job finds around it, as plain values."""
    user = getSecurityManager().getUser()
    request = getRequest()
    return {
        "context": "/".join(context.getPhysicalPath()),
        "site": "/".join(getSite().getPhysicalPath()),
        "portal": "/".join(api.portal.get().getPhysicalPath()),
        "user": user.getId(),
        "roles": sorted(user.getRolesInContext(context)),
        "request": request is not None and context.REQUEST is request,
        "layers": [iface.__name__ for iface in request.__provides__.interfaces()],
    }


def upset_the_world(context):
    """Leave everything in disorder, as bad code may."""
    from AccessControl.SecurityManagement import newSecurityManager
    from AccessControl.users import system
    from zope.component.hooks import setSite
    from zope.globalrequest import setRequest

    newSecurityManager(None, system)
    setSite(None)
    setRequest(None)


def queue_another(context, word):
    """Queue a further job from inside of one; its result becomes this one's."""
    from collective.clockwork.interfaces import IAsyncService
    from zope.component import getUtility

    return getUtility(IAsyncService).queueJobInQueue("", (), note, context, word)


def queue_elsewhere(context, name, word):
    """The same, but the further job is in the queue of this name."""
    from collective.clockwork.interfaces import IAsyncService
    from zope.component import getUtility

    return getUtility(IAsyncService).queueJobInQueue(name, (), note, context, word)


class Stand:
    """A class with a method and a lambda, to be refused in different ways."""

    def method(self, context):
        return None

    unnamed = staticmethod(lambda context: None)


def report_half(context, name):
    """Say how far it is, then wait until the test lets it go on."""
    local.setLiveAnnotation("progress", 0.5)
    gate = gates.setdefault(name, threading.Event())
    if not gate.wait(20):
        raise RuntimeError("nobody opened the gate")


class Touchy:
    """An argument that cannot be loaded any more while it is spoilt."""

    spoilt = False

    def __getstate__(self):
        return {"some": "state"}

    def __setstate__(self, state):
        if self.spoilt:
            raise LookupError("its class has changed")
