"""Find links that lead nowhere."""

from __future__ import annotations

from Acquisition import aq_base
from collections.abc import Callable
from collections.abc import Sequence
from collective.clockwork import identity
from collective.clockwork.tasks import outside as outside_world
from collective.clockwork.tasks.report import go_through
from collective.clockwork.tasks.report import Report
from collective.clockwork.tasks.tree import is_content
from collective.clockwork.tasks.tree import places
from collective.clockwork.tasks.tree import Tree
from plone.app.linkintegrity.interfaces import IRetriever
from plone.app.redirector.interfaces import IRedirectionStorage
from Products.CMFCore.interfaces import IFolderish
from Products.CMFCore.utils import getToolByName
from typing import Any
from urllib.parse import unquote
from urllib.parse import urljoin
from urllib.parse import urlsplit
from zope.component import queryUtility


#: Chunks are small where other sites are asked, which takes its time.
COMMIT_EVERY = 50
COMMIT_EVERY_OUTSIDE = 5

#: So many addresses of other sites are asked for in one job.
MOST_OUTSIDE = 2000

#: Reason why a link inside the site is broken.
NOTHING_THERE = "nothing-there"
#: Reason why a link is not checked: there were MOST_OUTSIDE before it.
TOO_MANY = "too-many"

#: What a link may begin with that stands for the site.
SITE_VARIABLES = ("${portal_url}", "${navigation_root_url}")


def check_links(
    context: Any,
    *,
    selection: Sequence[tuple] | None = None,
    outside: bool = False,
    private_addresses: bool = False,
    ctx: Any,
) -> dict[str, Any]:
    """Check the links of the selection, or of the context, and of all that is inside.

    The links are those in rich text, those of link objects, and what add-ons tell
    ``plone.app.linkintegrity``; what the user may not view is not looked at. A link
    into the site is broken if there is nothing at its end, seen or not; one that
    ``plone.app.redirector`` sends on is judged by where that is. With
    ``outside`` other sites are asked by HTTP, each address once;
    ``private_addresses`` allows those that are not public, and any port, which lets
    every editor reach them through the worker.

    Returns the report: ``broken`` and ``unchecked`` are lists of path, link and reason.
    """
    tree = Tree(places([context]) if selection is None else selection, inside=True)
    report = Report(ctx.job)
    asker = _Asker(private_addresses, ctx.checkpoint) if outside else None
    size = len(tree.site.getPhysicalPath())

    def check(obj: Any) -> None:
        path = "/" + "/".join(obj.getPhysicalPath()[size:])
        for link in sorted(links_of(obj)):
            address, why = _check_inside(tree.site, obj, link)
            if address is not None and asker is not None:
                why = _check_outside(asker, address, report, path, link)
            if why is not None:
                report.note("broken", path, link, why)

    every = COMMIT_EVERY_OUTSIDE if outside else COMMIT_EVERY
    return go_through(tree, check, ctx, commit_every=every)


def links_of(obj: Any) -> set[str]:
    """The links that an object holds, as they were written."""
    retriever = IRetriever(obj, None)
    links = set() if retriever is None else set(retriever.retrieveLinks())
    links.add(getattr(aq_base(obj), "remoteUrl", None))
    return {link.strip() for link in links if isinstance(link, str) and link.strip()}


class _Asker:
    """Asks for each address once."""

    def __init__(self, private: bool, checkpoint: Callable[[], None]):
        self._private = private
        self._checkpoint = checkpoint
        self._known: dict[str, str | None | outside_world.Unchecked] = {}

    def ask(self, url: str) -> str | None:
        """As ``outside.ask``."""
        if url not in self._known:
            if len(self._known) >= MOST_OUTSIDE:
                raise outside_world.Unchecked(TOO_MANY)
            self._checkpoint()
            try:
                self._known[url] = outside_world.ask(url, private=self._private)
            except outside_world.Unchecked as unchecked:
                self._known[url] = unchecked
        found = self._known[url]
        if isinstance(found, outside_world.Unchecked):
            raise found
        return found


def _check_outside(
    asker: _Asker, address: str, report: Report, path: str, link: str
) -> str | None:
    """Why the link is broken, if it is; what must not be asked is reported here."""
    try:
        return asker.ask(address)
    except outside_world.Unchecked as unchecked:
        report.note("unchecked", path, link, unchecked.reason)
        return None


def _check_inside(site: Any, obj: Any, link: str) -> tuple[str | None, str | None]:
    """The address if the link leads out of the site, and why it is broken.

    Both are None for a link that is good, and for one that needs no page.
    """
    site_url = site.absolute_url()
    for variable in SITE_VARIABLES:
        link = link.replace(variable, site_url)
    base = obj.absolute_url() + ("/" if IFolderish.providedBy(obj) else "")
    try:
        target, home = urlsplit(urljoin(base, link)), urlsplit(site_url)
    except ValueError:
        return None, outside_world.INVALID
    if target.scheme not in outside_world.DEFAULT_PORTS or link.startswith("#"):
        return None, None
    if target.netloc != home.netloc:
        return target._replace(fragment="").geturl(), None
    path = target.path
    if path == home.path or path.startswith(f"{home.path}/"):
        path = path[len(home.path) :]
    names = [unquote(name) for name in path.split("/") if name]
    if leads_somewhere(site, names) or _is_sent_on(site, names, target.query):
        return None, None
    return None, NOTHING_THERE


def _is_sent_on(site: Any, names: Sequence[str], query: str) -> bool:
    """Whether visitors who find nothing here are sent to where there is something.

    What is looked up, and in which order, is that of plone.app.redirector 4: the
    whole address, what is before a view, and the parent. A target outside of the
    site counts as there.
    """
    storage = queryUtility(IRedirectionStorage)
    if storage is None:
        return False
    size = len(site.getPhysicalPath())
    ids = [*site.getPhysicalPath(), *names]
    before_view = next(
        (at for at, name in enumerate(ids) if name.startswith("@@")), len(ids)
    )
    known = [("/".join(ids[:end]), ids[end:]) for end in (len(ids), before_view, -1)]
    for old, rest in [(f"{'/'.join(ids)}?{query}", []), *known]:
        target = storage.get(old)
        if target:
            steps = [*target.split("/"), *rest]
            return steps[:size] != ids[:size] or leads_somewhere(site, steps[size:])
    return False


def leads_somewhere(start: Any, names: Sequence[str]) -> bool:
    """Whether there is an object, or a page of one, at the end of these names.

    What follows a page's own name is for that page, and is not judged.
    """
    if "resolveuid" in names:
        return _resolves(start, names[names.index("resolveuid") + 1 :])
    obj = start
    for name in names:
        if name.startswith("++") or _is_alias(obj, name):
            return True
        found = _step(obj, name)
        if found is None:
            return False
        if not is_content(found):
            return True
        obj = found
    return True


def _resolves(site: Any, names: Sequence[str]) -> bool:
    if not names:
        return False
    catalog = getToolByName(site, "portal_catalog")
    for brain in catalog.unrestrictedSearchResults(UID=names[0]):
        ids = brain.getPath().split("/")[len(site.getPhysicalPath()) :]
        return leads_somewhere(site, [*ids, *names[1:]])
    return False


def _step(obj: Any, name: str) -> Any:
    """What is found under a name, as the publisher would; None if nothing is."""
    return identity.traversed(obj, name)


def _is_alias(obj: Any, name: str) -> bool:
    """Whether it is another name of the object's own page: "view", for instance."""
    tell = getattr(aq_base(obj), "getTypeInfo", None)
    info = None if tell is None else obj.getTypeInfo()
    return info is not None and bool(info.queryMethodID(name))
