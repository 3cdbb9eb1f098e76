"""The world in which a job runs: what the publisher makes for a request.

A job finds a request for the public address of its site, with browser layers, skin
and language, the site as the current one, and its user as the current user. All of it
belongs to a thread. It is exchanged for the job's before the call, and put back after
the commit, whatever the call did to it.

Of the request in which a job was queued no more is remembered than its language and
its virtual host: no header, no cookie, no form.
"""

from __future__ import annotations

from _thread import get_ident
from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from AccessControl.security import newInteraction
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.SecurityManagement import noSecurityManager
from AccessControl.SecurityManagement import setSecurityManager
from Acquisition import aq_inner
from Acquisition import aq_parent
from collections.abc import Iterator
from collective.clockwork import identity
from collective.clockwork.identity import Path
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from plone.i18n.interfaces import ILanguageUtility
from Products.CMFCore.interfaces import ISiteRoot
from Products.CMFCore.Skinnable import SKINDATA
from typing import Any
from typing import NamedTuple
from urllib.parse import unquote
from urllib.parse import urlsplit
from zExceptions import BadRequest
from zope.annotation.interfaces import IAnnotations
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.component.interfaces import ISite
from zope.event import notify
from zope.globalrequest import getRequest
from zope.globalrequest import setRequest
from zope.publisher.browser import setDefaultSkin
from zope.security.interfaces import IUnauthorized
from zope.security.management import endInteraction
from zope.security.management import queryInteraction
from zope.traversing.interfaces import BeforeTraverseEvent
from ZPublisher.BaseRequest import RequestContainer
from ZPublisher.HTTPRequest import HTTPRequest
from ZPublisher.HTTPResponse import HTTPResponse

import re


#: What is remembered as the address of a site. A Host header may hold anything, so
#: what looks otherwise is not stored: it could be long, or hold a password.
ADDRESS = re.compile(
    r"https?://(?:[\w.-]{1,253}|\[[\da-fA-F:.]{2,45}\])(?::\d{1,5})?"
    r"(?:/[\w.~%!$&'()*+,;=:@-]{1,100}){0,10}",
    re.ASCII,
)

#: What is remembered as a language.
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z\d]{1,8}){0,3}")


#: How the keys begin under which ``borg.localrole`` and ``plone.memoize`` keep in a
#: request's annotations what they found out for it.
CACHED = ("borg.localrole.", "plone.memoize")


class VirtualHost(NamedTuple):
    """Where the visitors of a site see it."""

    #: URL of the virtual root, ``https://www.example.org/intranet`` for instance;
    #: None if there was no request.
    url: str | None = None
    #: Path of the virtual root in the database; None if that is the site.
    root: Path | None = None


def current_virtual_host(site: Any) -> VirtualHost:
    """The virtual host of the current request; nothing without a request."""
    request = getRequest()
    if not isinstance(request, HTTPRequest):
        return VirtualHost()
    url = f"{request.other.get('SERVER_URL', '')}{request.getVirtualRoot()}"
    if ADDRESS.fullmatch(url) is None:
        return VirtualHost()
    root = tuple(request.other.get("VirtualRootPhysicalPath", ("",)))
    return VirtualHost(url, None if root == site.getPhysicalPath() else root)


def current_language() -> str | None:
    """The language of the current request; None if it is the site's default."""
    request = getRequest()
    if not isinstance(request, HTTPRequest):
        return None
    # Not from what the browser sent, where a request would look, too.
    language = request.other.get("LANGUAGE")
    binding = request.other.get("LANGUAGE_TOOL")
    if binding is None or language == binding.DEFAULT_LANGUAGE:
        return None
    known = isinstance(language, str) and LANGUAGE.fullmatch(language)
    return language if known else None


@dataclass(frozen=True)
class Surroundings:
    """What belongs to the current thread: see ``leave_thread``."""

    site: Any
    security: Any
    request: Any
    #: The skin that CMF keeps for the thread, if any.
    skin: Any
    #: Whether ``zope.security`` had an interaction.
    interacting: bool
    #: The request made for the job; closed when the job is left.
    own_request: Any


def leave_thread(app: Any) -> tuple[Surroundings, Any]:
    """Exchange the thread's surroundings for empty ones with a new request.

    Returns what ``restore_thread`` needs, and the application in that request.
    """
    request = _new_request()
    before = Surroundings(
        getSite(),
        getSecurityManager(),
        getRequest(),
        SKINDATA.pop(get_ident(), None),
        queryInteraction() is not None,
        request,
    )
    setSite(None)
    noSecurityManager()
    newInteraction()
    setRequest(request)
    app = in_current_request(app)
    request["PARENTS"] = [app]
    return before, app


def in_current_request(app: Any) -> Any:
    """The application, from which the current request can be acquired."""
    return app.__of__(RequestContainer(REQUEST=getRequest()))


def enter_site(app: Any, site: Any, *, host: VirtualHost, language: str | None) -> None:
    """Make this site the current one, as the publisher does on its way through it.

    That is where the request gets the site's browser layers, skin and language.
    ``host`` is where it is seen; None for its path means the site's. A language that
    the site does not offer (any more) gives way to its default.
    """
    request = app.REQUEST
    if host.url is not None:
        root = site.getPhysicalPath() if host.root is None else host.root
        _appear_at(request, host.url, root)
    setSite(site)
    notify(BeforeTraverseEvent(site, request))
    site.setupCurrentSkin(request)
    _speak(request, language)


def enter_user(user: Any) -> None:
    """Make this user the current one."""
    newSecurityManager(None, user)
    request = getRequest()
    if request is not None:
        request["AUTHENTICATED_USER"] = user


def renew_user(user: Any) -> None:
    """Let the rights of the entered user be those of ``user``, who is herself, anew.

    Roles that the code adopted meanwhile are kept, unless hers have changed. What
    views and the lookup of local roles keep with the request is forgotten.
    """
    request = getRequest()
    if request is None:
        # The code has put it away.
        enter_user(user)
        return
    cached = IAnnotations(request, {})
    for key in [key for key in cached if key.startswith(CACHED)]:
        del cached[key]
    known = request.get("AUTHENTICATED_USER")
    if known is None or _rights_of(known) != _rights_of(user):
        enter_user(user)


def enter_context(context: Any) -> None:
    """Have the current request be one for this object.

    A site inside the site, on the way to the object, becomes the current one.
    """
    request = getRequest()
    parents = [context]
    while (parent := aq_parent(aq_inner(parents[-1]))) is not None:
        if not hasattr(parent, "getPhysicalPath"):
            break
        parents.append(parent)
    request["PARENTS"] = parents
    for parent in reversed(parents):
        if ISite.providedBy(parent) and not ISiteRoot.providedBy(parent):
            setSite(parent)
            notify(BeforeTraverseEvent(parent, request))
    request["URL"] = request["ACTUAL_URL"] = context.absolute_url()


def restore_thread(before: Surroundings) -> None:
    """Put the thread's surroundings back, whatever the job did to them."""
    try:
        # First, because its end clears the current request, whichever that is.
        before.own_request.close()
    finally:
        setRequest(before.request)
        setSecurityManager(before.security)
        (newInteraction if before.interacting else endInteraction)()
        setSite(before.site)
        SKINDATA.pop(get_ident(), None)
        if before.skin is not None:
            SKINDATA[get_ident()] = before.skin


@contextmanager
def in_site(app: Any, path: Path, uid: str | None) -> Iterator[None]:
    """Have a job's site as the current one for a while, or none if it is gone."""
    before = getSite()
    try:
        setSite(identity.find_site(app, path, uid))
    except BadRequest:
        setSite(None)
    try:
        yield
    finally:
        setSite(before)


@contextmanager
def naming_who_may_not(what: str) -> Iterator[None]:
    """Let an Unauthorized say who was not allowed to do what.

    Zope's own messages name neither, as the visitor knows both.
    """
    try:
        yield
    except Exception as error:
        if not IUnauthorized.providedBy(error):
            raise
        user_id = getSecurityManager().getUser().getId()
        who = "Anonymous" if user_id is None else f"User {user_id!r}"
        raise Unauthorized(f"{who} is not allowed to do {what}: {error}") from error


def _rights_of(user: Any) -> tuple[set[str], set[str]]:
    groups = getattr(user, "getGroups", tuple)
    return set(user.getRoles()), set(groups())


def _new_request() -> HTTPRequest:
    environ = {
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": "GET",
    }
    request = HTTPRequest(BytesIO(), environ, HTTPResponse(stdout=BytesIO()))
    request["ACTUAL_URL"] = request.get("URL")
    setDefaultSkin(request)
    return request


def _appear_at(request: HTTPRequest, url: str, root: Path) -> None:
    """Make URLs as a virtual host does; see Zope's VirtualHostMonster."""
    parts = urlsplit(url)
    request["SERVER_URL"] = f"{parts.scheme}://{parts.netloc}"
    request.setVirtualRoot(unquote(parts.path))
    request["VirtualRootPhysicalPath"] = root
    request["ACTUAL_URL"] = request["URL"]


def _speak(request: HTTPRequest, language: str | None) -> None:
    """Give the request this language, and the formats of dates and numbers."""
    binding = request.get("LANGUAGE_TOOL")
    if binding is None:
        # The site has no language settings, being older than its software.
        return
    if language in (getUtility(ILanguageUtility).supported_langs if language else ()):
        binding.LANGUAGE = request["LANGUAGE"] = language
    request.environ["HTTP_ACCEPT_LANGUAGE"] = binding.LANGUAGE
