"""Functions that look at the world in which they run as jobs."""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import system
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.tests.plone import work
from contextlib import contextmanager
from plone import api
from plone.subrequest import subrequest
from Products.CMFCore.interfaces import IIndexQueueProcessor
from Products.CMFCore.Skinnable import SKINDATA
from Products.Five import BrowserView
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.component import queryUtility
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.globalrequest import getRequest
from zope.i18n import translate
from zope.i18nmessageid import MessageFactory
from zope.interface import implementer
from zope.interface import Interface
from zope.security import checkPermission
from zope.security.management import queryInteraction

import _thread
import threading
import transaction


_ = MessageFactory("clockwork.tests")

#: Where jobs of two threads wait for each other; made anew by a test.
meeting: threading.Barrier = threading.Barrier(2)


class QueueView(BrowserView):
    """A page that queues a job on its context, and answers with the job's id."""

    def __call__(self):
        service = getUtility(IAsyncService)
        job = service.queueJob(describe_visit, self.context)
        transaction.savepoint()
        return job.id


def describe_visit(context):
    """What a page made of this object in this request would show."""
    request = context.REQUEST
    return {
        "url": context.absolute_url(),
        "portal": api.portal.get().absolute_url(),
        "path": context.absolute_url_path(),
        "from url": "/".join(request.physicalPathFromURL(context.absolute_url())),
        "request url": (request["URL"], request["ACTUAL_URL"]),
        "parents": [each.getId() for each in request["PARENTS"]],
        "language": api.portal.get_current_language(),
        "greeting": translate(_("greeting", default="Hello"), context=getRequest()),
        "locale": request.locale.id.language,
        "headers": sorted(key for key in request.environ if key.startswith("HTTP_")),
        "cookies": dict(request.cookies),
        "form": dict(request.form),
    }


def note_visit(result):
    """As a callback: the address and language of its site."""
    request = getRequest()
    work.happened.append((api.portal.get().absolute_url(), request["LANGUAGE"]))


def note_skin(context):
    """What only the skin of the site has, got by acquisition."""
    banner = getattr(api.portal.get(), "banner", None)
    return None if banner is None else banner.title


def find_banner(context):
    """Ids of the current site and of the portal, and what is registered there."""
    banner = queryUtility(Interface, "clockwork.tests.banner")
    return getSite().getId(), api.portal.get().getId(), banner and banner.title


def refuse_the_end(event):
    """A subscriber that fails when the request is closed."""
    work.happened.append("refused")
    raise RuntimeError("the end is refused")


def may_view(context):
    return bool(checkPermission("zope2.View", context))


def may_modify(context):
    return bool(getSecurityManager().checkPermission("Modify portal content", context))


def use_api(context):
    """Call what an integrator calls daily, with a view, a page and a member."""
    page = api.content.create(context, "Document", "page", title="Made in a job")
    api.content.transition(page, "publish")
    api.user.grant_roles("anna", roles=["Reader"], obj=page)
    api.group.add_user(groupname="Reviewers", username="anna")
    api.portal.show_message("Done", page.REQUEST)
    moved = api.content.rename(page, "renamed")
    view = api.content.get_view("plone_context_state", moved, moved.REQUEST)
    return {
        "state": api.content.get_state(moved),
        "url": view.object_url(),
        "found": [b.getId for b in api.content.find(Title="Made", context=context)],
        "user": api.user.get_current().getId(),
        "anonymous": api.user.is_anonymous(),
        "permission": api.user.has_permission("Modify portal content", obj=moved),
        "roles": sorted(api.user.get_roles("anna", obj=moved, inherit=False)),
        "subrequest": subrequest(moved.absolute_url_path()).getStatus(),
        "rendered": "Made in a job" in moved.restrictedTraverse("@@view")(),
    }


def describe_user(context):
    """Who one is, and what one may do here."""
    user = getSecurityManager().getUser()
    return {
        "id": user.getId(),
        "login": user.getUserName(),
        "roles": sorted(user.getRoles()),
        "here": sorted(set(user.getRolesInContext(context))),
        "groups": sorted(getattr(user, "getGroups", list)()),
        "folder": "/".join(user.__parent__.getPhysicalPath()),
    }


def mail(context, subject, times=0, fail=False):
    """Send a mail, conflicting so many times before; and maybe fail after it."""
    work.happened.append(subject)
    api.portal.send_email(
        recipient="editor@example.org",
        subject=subject,
        body=f"Look at {context.absolute_url()}",
    )
    if work.happened.count(subject) <= times:
        raise ConflictError(subject)
    if fail:
        raise RuntimeError(subject)
    return subject


def mail_and_spoil_the_commit(context, subject):
    """Send a mail in a transaction that cannot be committed."""
    mail(context, subject)
    context.spoilt = threading.Lock()


def ask_for_nothing(context):
    raise Unauthorized


def note_without_right(result):
    """As a callback: try what its user may not do."""
    work.happened.append("tried")
    work.add_page(api.portal.get(), "never")


class Unindexable(Exception):
    """Raised where the object is indexed, which is before the commit."""


def index_badly(context):
    """Change the object, and have its indexing fail."""
    context.title = "half indexed"
    context._v_unindexable = True
    context.reindexObject()


def index_well(context):
    context.title = "indexed"
    context.reindexObject()


def look_around():
    """What is left in this thread outside of any site's job; as an engine's job."""
    request = getRequest()
    return {
        "thread": threading.current_thread().name,
        "site": None if getSite() is None else getSite().getId(),
        "user": getSecurityManager().getUser().getUserName(),
        "request": None if request is None else request["URL"],
        "skin": _thread.get_ident() in SKINDATA,
        "interaction": queryInteraction() is not None,
    }


def leave_a_mess(context):
    """Leave more rights, another site and adopted roles in the thread, and fail."""
    adopted = api.env.adopt_roles(["Manager"])
    adopted.__enter__()
    newSecurityManager(None, system)
    setSite(None)
    context.changeSkin("Plone Default")
    work.happened.append(adopted)
    raise RuntimeError("left a mess")


def meet(context):
    """Meet the job of another thread, and say where one is then."""
    before = (getSite().getId(), getSecurityManager().getUser().getId())
    meeting.wait(30)
    after = (getSite().getId(), getSecurityManager().getUser().getId())
    where = api.portal.get().getId(), getRequest()["PARENTS"][-2].getId()
    meeting.wait(30)
    return before, after, where, threading.current_thread().name


def note_rights_between(context, *, ctx):
    """Say in each round what one may; in between others change that."""
    for index in ctx.each(range(3), commit_every=1):
        may = getSecurityManager().checkPermission("Manage portal", context)
        work.happened.append(bool(may))
        change_rights(index)


def change_rights(index):
    """What others do meanwhile; replaced by a test."""
    raise NotImplementedError


def note_adopted_rights(context, *, ctx):
    with api.env.adopt_roles(["Manager"]):
        for _index in ctx.each(range(2), commit_every=1):
            may = getSecurityManager().checkPermission("Manage portal", context)
            work.happened.append(bool(may))


def queue_a_visit(context):
    """Queue another job from inside of one, whose result becomes this one's."""
    service = getUtility(IAsyncService)
    return service.queueJobInQueue("", (), describe_visit, context)


def mail_and_retitle(context, subject):
    context.title = subject
    mail(context, subject)


@contextmanager
def unindexable():
    """Have the indexing of objects fail that ``index_badly`` marked."""
    processor = Grumbler()
    registry = getGlobalSiteManager()
    registry.registerUtility(processor, IIndexQueueProcessor, "grumbler")
    try:
        yield
    finally:
        registry.unregisterUtility(processor, IIndexQueueProcessor, "grumbler")


@implementer(IIndexQueueProcessor)
class Grumbler:
    """Takes part in the indexing, and refuses some objects."""

    def index(self, obj, attributes=None):
        if hasattr(obj.aq_base, "_v_unindexable"):
            raise Unindexable(obj.getId())

    def reindex(self, obj, attributes=None, update_metadata=None):
        self.index(obj)

    def unindex(self, obj):
        self.index(obj)

    def begin(self):
        """Nothing is to be prepared."""

    commit = abort = begin


def elsewhere(change):
    """Change the site's user folder as another process would: in its own commit."""
    database = getSite()._p_jar.db()
    manager = transaction.TransactionManager()
    connection = database.open(manager)
    try:
        change(connection.root()["Application"].plone.acl_users)
        manager.commit()
    finally:
        connection.close()


def in_round(number, change):
    """What ``note_rights_between`` calls: a change that others make in one round."""

    def change_rights(index):
        if index == number:
            elsewhere(change)

    return change_rights
