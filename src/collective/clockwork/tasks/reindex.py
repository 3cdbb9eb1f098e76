"""Bring the catalog up to date: a part of the site, or all of it."""

from __future__ import annotations

from AccessControl import Unauthorized
from AccessControl.Permissions import manage_zcatalog_entries as MANAGE_CATALOG
from Acquisition import aq_base
from collections.abc import Iterator
from collections.abc import Sequence
from collective.clockwork import identity
from collective.clockwork.identity import current_site
from collective.clockwork.tasks.report import go_through
from collective.clockwork.tasks.report import GONE
from collective.clockwork.tasks.report import may
from collective.clockwork.tasks.report import Report
from collective.clockwork.tasks.report import require
from collective.clockwork.tasks.report import Skip
from collective.clockwork.tasks.report import Visits
from collective.clockwork.tasks.tree import places
from collective.clockwork.tasks.tree import Tree
from functools import partial
from itertools import islice
from Products.CMFCore.interfaces import ICatalogAware
from Products.CMFCore.permissions import ModifyPortalContent
from Products.CMFCore.utils import getToolByName
from typing import Any
from zope.annotation.interfaces import IAnnotations


#: Key of the annotation in which plone.app.discussion keeps the comments.
CONVERSATION = "plone.app.discussion:conversation"

COMMIT_EVERY = 100
#: So many paths of the catalog are looked at before the next are read.
PATHS_AT_ONCE = 500


def reindex(
    context: Any, *, selection: Sequence[tuple] | None = None, ctx: Any
) -> dict[str, Any]:
    """Index the selection, or the context, and all that is inside, in all indexes.

    The permission to modify is needed on each object; dates of modification stay as
    they are. ``selection`` is what ``places`` gives. Returns the report.
    """
    tree = Tree(places([context]) if selection is None else selection, inside=True)

    def index(obj: Any) -> None:
        require(ModifyPortalContent, obj)
        index_all(obj)

    return go_through(tree, index, ctx, commit_every=COMMIT_EVERY)


def rebuild_catalog(context: Any, *, clear: bool = False, ctx: Any) -> dict[str, Any]:
    """Index all objects of the site, and drop the entries of those that are gone.

    The catalog answers all the while. With ``clear`` it is emptied first, which also
    mends indexes that are damaged, and searches find little until the end.

    Needs the permission to manage the catalog's entries, and no other: it is asked
    for the catalog as a whole. Raises Unauthorized without it. Returns the report.
    """
    site = current_site()
    catalog = getToolByName(site, "portal_catalog")
    if not may(MANAGE_CATALOG, catalog):
        raise Unauthorized(
            "You may not rebuild the catalog: that needs the permission "
            f"{MANAGE_CATALOG!r} on it"
        )
    if clear:
        for _once in ctx.each(("clear",), commit_every=1, name="clear"):
            catalog.manage_catalogClear()
    report = Report(ctx.job)
    tree = Tree(places([site]), inside=True, wanted=_may_hold_content)
    visits = Visits(report, _index_if_aware, counted="done")
    for found in ctx.each(
        tree.behind,
        commit_every=COMMIT_EVERY,
        name="objects",
        key=lambda found: found.key,
        # Unknown to a catalog that was emptied.
        total=None if clear else tree.estimate(),
    ):
        ctx.progress(message=found.path)
        visits.visit(found.path, found.obj)
    paths = catalog._catalog.uids
    visits = Visits(report, partial(_drop_if_stale, site), counted="removed")
    for path in ctx.each(
        lambda after: _paths_behind(paths, after),
        commit_every=COMMIT_EVERY,
        name="entries",
        key=str,
        total=len(paths),
    ):
        visits.visit(path, path)
    return report.as_dict()


def index_all(obj: Any) -> None:
    """Index the object and its comments in all indexes.

    Naming the indexes keeps the date of modification as it is.
    """
    catalog = getToolByName(obj, "portal_catalog")
    names = list(catalog.indexes())
    catalog.reindexObject(obj, idxs=names)
    conversation = (IAnnotations(obj, None) or {}).get(CONVERSATION)
    if conversation is not None:
        for comment in conversation.__of__(obj).getComments():
            catalog.reindexObject(comment, idxs=names)


def _index_if_aware(obj: Any) -> bool:
    """Index what belongs into the catalog; whether it does."""
    if obj is None:
        raise Skip(GONE)
    aware = ICatalogAware.providedBy(obj)
    if aware:
        index_all(obj)
    return aware


def _may_hold_content(obj: Any) -> bool:
    """Content, and whatever other folder may have content in it."""
    return ICatalogAware.providedBy(obj) or hasattr(aq_base(obj), "objectIds")


def _paths_behind(paths: Any, after: str | None) -> Iterator[str]:
    # In parts, as the tree must not change while it is iterated over.
    while part := list(
        islice(paths.keys(after, excludemin=after is not None), PATHS_AT_ONCE)
    ):
        yield from part
        after = part[-1]


def _drop_if_stale(site: Any, path: str) -> bool:
    """Drop an entry without object; whether it was one."""
    stale = _is_stale(site, path)
    if stale:
        getToolByName(site, "portal_catalog").uncatalog_object(path)
    return stale


def _is_stale(site: Any, path: str) -> bool:
    """Whether nothing of the site is at this path any more.

    What is acquired from elsewhere is not there.
    """
    root = "/".join(site.getPhysicalPath())
    if path != root and not path.startswith(f"{root}/"):
        return False
    found = identity.traversed(site, path)
    if found is None:
        return True
    tell = getattr(aq_base(found), "getPhysicalPath", None)
    return tell is not None and "/".join(found.getPhysicalPath()) != path
