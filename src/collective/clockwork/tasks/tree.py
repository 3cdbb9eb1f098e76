"""The objects that a task goes through, in an order in which it can go on.

A task is given a selection: places of objects, which are looked up when it runs. Each
object that is found has a key, which says where in this order it is. The order is that
of the ids, so objects may come and go while the task runs.
"""

from __future__ import annotations

from Acquisition import aq_base
from bisect import bisect_left
from bisect import bisect_right
from BTrees.OOBTree import OOBTree
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collective.clockwork import identity
from itertools import islice
from Products.CMFCore.interfaces import IContentish
from Products.CMFCore.interfaces import ISiteRoot
from Products.CMFCore.utils import getToolByName
from typing import Any
from typing import NamedTuple
from zExceptions import BadRequest
from ZODB.POSException import POSKeyError


#: So many ids of a folder are read before the next ones.
IDS_AT_ONCE = 500
#: The type of plone.app.discussion's comments, which are in the catalog too. They
#: belong to their object, and are not visited.
COMMENT_TYPE = "Discussion Item"
#: The catalog is asked for other types by this.
NO_COMMENTS = {"not": COMMENT_TYPE}

#: Ids from a selected object down to one inside of it.
Ids = tuple[str, ...]


class Place(NamedTuple):
    """Where a selected object is; stored with the job as a plain tuple."""

    #: Ids from the site down to it; empty for the site itself.
    ids: Ids
    #: None for an object without one.
    uid: str | None


class Found(NamedTuple):
    """An object that is the task's next one."""

    #: Number of the selected object, and the ids from there.
    key: tuple[int, Ids]
    #: Path inside the site, for people: "/news/today".
    path: str
    #: None if it is gone.
    obj: Any


def places(objects: Iterable[Any]) -> tuple[tuple[Ids, str | None], ...]:
    """The selection of these objects, all of which are in the current site."""
    size = len(identity.current_site().getPhysicalPath())
    return tuple(
        (obj.getPhysicalPath()[size:], identity.uid_of(obj)) for obj in objects
    )


def places_found(brains: Iterable[Any]) -> tuple[tuple[Ids, str | None], ...]:
    """The selection of what the catalog found; the objects are not loaded."""
    size = len(identity.current_site().getPhysicalPath())
    return tuple(
        (tuple(brain.getPath().split("/")[size:]), brain.UID) for brain in brains
    )


def outermost(selection: Iterable[tuple]) -> list[Place]:
    """The selection without what lies inside other members of it, sorted."""
    kept: list[Place] = []
    for place in sorted((Place(*place) for place in selection), key=lambda p: p.ids):
        if not kept or place.ids[: len(kept[-1].ids)] != kept[-1].ids:
            kept.append(place)
    return kept


def is_content(obj: Any) -> bool:
    """Whether it is a piece of content, or the site, and no tool."""
    return IContentish.providedBy(obj) or ISiteRoot.providedBy(obj)


def path_in_site(ids: Iterable[str]) -> str:
    """The path that people are shown."""
    return "/" + "/".join(ids)


def find(place: Place, site: Any) -> Any:
    """The selected object, also if it was moved; None if it is gone."""
    try:
        return identity.find_context(
            site, (*site.getPhysicalPath(), *place.ids), place.uid
        )
    except BadRequest:
        return None


class Tree:
    """All objects of a selection, and those inside of them if ``inside``.

    A folder comes before what is inside of it, or behind that if ``leaves_first``.
    ``wanted`` says which of the objects inside are visited at all.
    """

    def __init__(
        self,
        selection: Iterable[tuple],
        *,
        inside: bool,
        leaves_first: bool = False,
        wanted: Callable[[Any], bool] = is_content,
    ):
        self.site = identity.current_site()
        if inside:
            self.places = outermost(selection)
        else:
            self.places = list(dict.fromkeys(Place(*place) for place in selection))
        self.inside = inside
        self.leaves_first = leaves_first
        self.wanted = wanted

    def behind(self, key: tuple[int, Ids] | None) -> Iterator[Found]:
        """What comes after the object with this key; everything for None."""
        index, after = (0, None) if key is None else key
        for number, place in enumerate(self.places[index:], index):
            obj = find(place, self.site)
            if obj is None:
                if after is None:
                    yield Found((number, ()), path_in_site(place.ids), None)
            else:
                size = len(self.site.getPhysicalPath())
                root = obj.getPhysicalPath()[size:]
                for ids, found in self._walk(obj, (), after):
                    yield Found((number, ids), path_in_site((*root, *ids)), found)
            after = None

    def estimate(self) -> int:
        """How many objects there are, as far as the catalog knows; at least 1.

        Comments do not count.
        """
        if not self.inside:
            return max(1, len(self.places))
        catalog = getToolByName(self.site, "portal_catalog")
        root = "/".join(self.site.getPhysicalPath())
        paths = [root + path_in_site(place.ids).rstrip("/") for place in self.places]
        found = catalog.unrestrictedSearchResults(path=paths, portal_type=NO_COMMENTS)
        return max(1, len(found))

    def _walk(self, obj: Any, ids: Ids, after: Ids | None) -> Iterator[tuple]:
        """The object and those inside of it; ``after`` is the last one that is done.

        An empty ``after`` is the object itself, None stands for nothing.
        """
        if self.leaves_first and after == ():
            return
        if not self.leaves_first and after is None:
            yield ids, obj
        if self.inside:
            first, rest = (after[0], after[1:]) if after else ("", None)
            for name in ids_from(obj, first):
                child = _child(obj, name)
                if child is None or self._is_wanted(child):
                    yield from self._walk(
                        child, (*ids, name), rest if name == first else None
                    )
        if self.leaves_first:
            yield ids, obj

    def _is_wanted(self, obj: Any) -> bool:
        try:
            return self.wanted(obj)
        except POSKeyError:
            # Its record is lost, which the visit will find out and report.
            return True


def ids_from(obj: Any, first: str = "") -> Iterator[str]:
    """The ids of what is inside of an object, sorted, from ``first`` on.

    There are none if nothing can be inside. An object whose record is lost has none
    that could be known, and so has the part of a folder that is lost. Of a large folder
    no more is read than is asked for; it may change meanwhile.
    """
    part = _ids_part(obj, first, behind=False)
    while part:
        yield from part
        part = _ids_part(obj, part[-1], behind=True)


def _ids_part(obj: Any, after: str, *, behind: bool) -> list[str]:
    """Some of the next ids, from ``after`` on or behind it; empty at the end."""
    try:
        base = aq_base(obj)
        if not hasattr(base, "_getOb"):
            return []
        tree = getattr(base, "_tree", None)
        if isinstance(tree, OOBTree):
            return list(islice(tree.keys(after, excludemin=behind), IDS_AT_ONCE))
        names = sorted(obj.objectIds())
        return names[(bisect_right if behind else bisect_left)(names, after) :]
    except POSKeyError:
        return []


def _child(obj: Any, name: str) -> Any:
    try:
        return obj._getOb(name, None)
    except POSKeyError:
        return None
