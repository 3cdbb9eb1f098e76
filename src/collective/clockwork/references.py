"""Content objects in arguments and results: stored by path and UID, and found again.

A job must not hold a content object itself: it would keep what was deleted, bind the
queues' database to the site's, and pass by all security. So a ``ContentReference``
is stored in its place, and a list or another value that has some in it is stored as
``Referring``. Both are values, without record of their own; other values are
stored as they are.

A reference is found by its path, and then by its UID: see ``identity.find_context``.
The path counts from the site, which may be renamed.
"""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from AccessControl.Permissions import view as View
from Acquisition import aq_base
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collective.clockwork import _
from collective.clockwork import identity
from collective.clockwork.engine.callables import PLAIN_TYPES
from collective.clockwork.engine.deferred import is_deferred
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import IJob
from collective.clockwork.engine.outcomes import Outcome
from collective.clockwork.unstorable import refusal
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from decimal import Decimal
from OFS.interfaces import IItem
from persistent import Persistent
from Products.CMFCore.utils import getToolByName
from transaction.interfaces import TransactionError
from typing import Any
from typing import NoReturn
from zExceptions import BadRequest
from zExceptions import NotFound
from ZTUtils.Lazy import Lazy

import io
import pickle


#: As ZODB pickles.
PROTOCOL = 3

#: How much deeper than the record allows a value may not be. Pickling it again must
#: not fail in the worker, where the stack may be higher than here.
SPARE_LEVELS = 50

_COLLECTIONS = frozenset((list, tuple, set, frozenset))

#: Values of these types may be stored, as far as what they hold may be.
_HARMLESS = frozenset(
    (*_COLLECTIONS, dict, type, datetime, date, time, timedelta, Decimal)
)


@dataclass(frozen=True)
class ContentReference:
    """Where a content object of the job's site is. Stored with jobs."""

    #: Names from the site down to it; empty for the site itself.
    path: tuple[str, ...]
    #: None for what has none, such as a tool or a comment.
    uid: str | None = None
    #: Why it stands in the object's place in a result, for people; never stored.
    reason: str = field(default="", compare=False)

    def __reduce__(self):
        return ContentReference, (self.path, self.uid)

    def __repr__(self) -> str:
        where = "/".join(self.path) or "the site"
        return f"<content {where}{self.reason and f': {self.reason}'}>"


@dataclass(frozen=True)
class Referring:
    """A value with references in the place of content objects. Stored with jobs."""

    value: Any

    def __reduce__(self):
        return Referring, (self.value,)

    def __repr__(self) -> str:
        return repr(self.value)


#: Types of what is stored in the place of something else.
KINDS = frozenset((ContentReference, Referring))


class Refused(TypeError):
    """Why a value cannot be stored; whoever catches it names the value."""


def is_plain(value: Any, levels: int = 1) -> bool:
    """Whether it is seen at a glance that it holds only texts, numbers and the like.

    Collections are looked into, and those in them so many ``levels`` down; what is
    deeper, is looked at by pickling it.
    """
    kind = type(value)
    if kind in PLAIN_TYPES:
        return True
    if kind is dict:
        inner = [*value, *value.values()]
    elif kind in _COLLECTIONS:
        inner = value
    else:
        return False
    return are_plain(inner) or (
        levels > 0 and all(is_plain(each, levels - 1) for each in inner)
    )


def are_plain(values: Iterable) -> bool:
    """Whether all of them are texts, numbers and the like."""
    return PLAIN_TYPES.issuperset(map(type, values))


def is_content(obj: Any) -> bool:
    """Whether it has a place in a site, or would have one."""
    return (
        aq_base(obj) is not obj
        or hasattr(type(obj), "getPhysicalPath")
        or IItem.providedBy(obj)
    )


def refer(obj: Any, site: Any) -> ContentReference:
    """A reference to a content object of this site, wrapped or not.

    Raises Refused for one that would not be found, with what it is.
    """
    uid = identity.uid_of(obj)
    for path in _paths_of(obj, uid, site):
        start = site.getPhysicalPath()
        if path[: len(start)] != start:
            raise Refused(
                f"an object of another site, {'/'.join(path)!r}: pass one that is in "
                "the site of the job"
            )
        inside = path[len(start) :]
        found = identity.traversed(site, inside)
        if found is not None and aq_base(found) is aq_base(obj):
            return ContentReference(inside, uid)
    raise Refused(
        "an object of the site that is not found where it says it is: add it to its "
        "folder first, and pass it as you get it from there, or pass its UID or path"
    )


def _paths_of(obj: Any, uid: str | None, site: Any) -> Iterator[tuple[str, ...]]:
    """Where it may be: what it says itself, and what the catalog says."""
    try:
        path = obj.getPhysicalPath()
    except (AttributeError, TypeError):
        # Nothing leads to it, so only the catalog can tell.
        path = ()
    if path[:1] == ("",):
        yield path
    if uid is not None:
        catalog = getToolByName(site, "portal_catalog")
        for brain in catalog.unrestrictedSearchResults(UID=uid):
            yield tuple(brain.getPath().split("/"))


def storable(value: Any, site: Any) -> Any:
    """The value itself, or what is stored in its place.

    Raises Refused if it cannot be stored, or should not be.
    """
    if is_plain(value) or type(value) in KINDS:
        return value
    try:
        return _with_references(value, site)
    except (Refused, TransactionError):
        raise
    except RecursionError:
        raise Refused(
            "is nested too deeply to be stored: pass a flat list, or look the value up "
            "inside the function"
        ) from None
    except Exception as error:
        # Pickling runs code of the value's class, which may raise anything.
        raise Refused(
            f"cannot be stored in the database: {error}. Pass plain values, and look "
            "up or open the rest inside the function"
        ) from error


def _with_references(value: Any, site: Any) -> Any:
    pickler = _Replacer(value, site)
    pickler.pickle(_deepened(value))
    known = set()
    records = list(pickler.records)
    while records:
        record = records.pop()
        if id(record) not in known:
            known.add(id(record))
            inside = _Reviewer(record)
            inside.pickle(record)
            records.extend(inside.records)
    if not pickler.references and not pickler.found_lazy:
        return value
    copied = pickler.load()
    for _level in range(SPARE_LEVELS):
        (copied,) = copied
    whole = type(copied) is ContentReference or not pickler.references
    return copied if whole else Referring(copied)


def _deepened(value: Any) -> Any:
    """The value, somewhat deeper nested than it will be in the job's record."""
    for _level in range(SPARE_LEVELS):
        value = (value,)
    return value


def storable_result(result: Any, site: Any) -> Any:
    """The same for what a job's function returned; TypeError if it is refused."""
    if is_plain(result) or _is_for_the_engine(result):
        return result
    try:
        return storable(result, site)
    except Refused as error:
        kind = type(aq_base(result)).__name__
        raise TypeError(f"The result ({kind}) {error}") from None


def _is_for_the_engine(result: Any) -> bool:
    return (
        IJob.providedBy(result)
        or isinstance(result, Outcome)
        or isFailure(result)
        or is_deferred(result)
    )


def find(reference: ContentReference, site: Any) -> Any:
    """The object, whoever asks; NotFound if it is gone."""
    path = (*site.getPhysicalPath(), *reference.path)
    try:
        return identity.find_context(site, path, reference.uid)
    except BadRequest:
        raise NotFound(f"{reference!r}, which is gone") from None


def find_for_user(reference: ContentReference, site: Any) -> Any:
    """The object, for the current user. Raises NotFound, Unauthorized."""
    found = find(reference, site)
    security = getSecurityManager()
    if not security.checkPermission(View, found):
        user_id = security.getUser().getId()
        who = "Anonymous" if user_id is None else f"the user {user_id!r}"
        raise Unauthorized(f"{reference!r}, which {who} may not view")
    return found


def given(name: str, value: Any, site: Any) -> Any:
    """An argument as the function gets it, with objects in place of references.

    ``name`` says which argument it is. Raises NotFound if an object is gone, and
    Unauthorized if the current user may not view it.
    """
    try:
        return _with_objects(value, lambda reference: find_for_user(reference, site))
    except (NotFound, Unauthorized) as error:
        raise type(error)(f"{name} has {error}") from None


def shown(value: Any, site: Any) -> Any:
    """A stored value for whoever looks now.

    What the current user may not view, or is gone, stays a reference that says so.
    """

    def show(reference: ContentReference) -> Any:
        try:
            return find_for_user(reference, site)
        except NotFound:
            return replace(reference, reason=_("It is gone"))
        except Unauthorized:
            return replace(reference, reason=_("You may not view it"))

    return _with_objects(value, show)


def _with_objects(value: Any, look_up: Callable) -> Any:
    if type(value) is ContentReference:
        return look_up(value)
    if type(value) is Referring:
        pickler = _Resolver(look_up)
        pickler.pickle(value.value)
        return pickler.load()
    return value


class _Copier(pickle.Pickler):
    """Copies a value by pickling it, with some objects exchanged on the way.

    That deals with whatever can be stored at all, and with nothing else: with values
    that contain themselves, with dataclasses, and with subclasses of list.
    """

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        super().__init__(self._buffer, PROTOCOL)
        #: What the copy gets, by the number that stands in the pickle.
        self._kept: list = []

    def pickle(self, value: Any) -> None:
        """The first half; raises whatever the value's classes do."""
        self.dump(value)

    def load(self) -> Any:
        """The copy."""
        unpickler = _Loader(io.BytesIO(self._buffer.getvalue()))
        unpickler.kept = self._kept
        return unpickler.load()

    def keep(self, obj: Any) -> int:
        """Have this object, not a copy of it, in the copy."""
        self._kept.append(obj)
        return len(self._kept) - 1


def _itself(value: Any) -> Any:
    return value


class _Loader(pickle.Unpickler):
    kept: list

    def persistent_load(self, number):
        return self.kept[number]


class _Resolver(_Copier):
    """Puts objects in the place of references."""

    def __init__(self, look_up: Callable) -> None:
        super().__init__()
        self._look_up = look_up

    def persistent_id(self, obj):
        if type(obj) is ContentReference:
            return self.keep(self._look_up(obj))
        return self.keep(obj) if isinstance(obj, Persistent) else None


class _Reviewer(_Copier):
    """Refuses what must not be stored, as it must not in a persistent object."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        #: What is reviewed.
        self.value = value
        #: Persistent objects in it that are not in the database yet.
        self.records: list = []

    def persistent_id(self, obj):
        kind = type(obj)
        if kind in PLAIN_TYPES or kind in _HARMLESS or kind in KINDS:
            return None
        reason = refusal(obj)
        if reason is not None:
            self.refuse(obj, reason)
        if obj is self.value:
            return None
        if is_content(obj):
            holder = type(self.value).__name__
            raise Refused(
                f"holds a {holder} with an object of the site in it: pass its UID or "
                f"path, or pass a list or dict in place of the {holder}"
            )
        return self._keep_record(obj) if isinstance(obj, Persistent) else None

    def refuse(self, obj: Any, what: Any) -> NoReturn:
        """Raise Refused for an object that is ``what``."""
        raise Refused(f"{'is' if obj is self.value else 'holds'} {what}") from None

    def _keep_record(self, obj: Persistent) -> int:
        if obj._p_jar is None:
            self.records.append(obj)
        return self.keep(obj)


class _Replacer(_Reviewer):
    """Puts references in the place of content objects, and refuses other things."""

    def __init__(self, value: Any, site: Any) -> None:
        super().__init__(value)
        self._site = site
        #: Number of each reference and its object, by the id of the latter.
        self.references: dict[int, tuple[int, Any]] = {}
        #: Whether the copy has a list in the place of a catalog's lazy sequence.
        self.found_lazy = False

    def reducer_override(self, obj):
        """Have something simpler in the copy: a list for ``objectValues()``."""
        if type(obj) is Referring:
            return _itself, (obj.value,)
        if not isinstance(obj, Lazy):
            return NotImplemented
        self.found_lazy = True
        return list, (tuple(obj),)

    def persistent_id(self, obj):
        kind = type(obj)
        if kind in PLAIN_TYPES or kind in _HARMLESS:
            return None
        if kind is ContentReference or is_content(obj) and refusal(obj) is None:
            return self._number(obj)
        if isinstance(obj, Persistent) and obj is self.value:
            return self._keep_record(obj)
        return super().persistent_id(obj)

    def _number(self, obj: Any) -> int:
        base = aq_base(obj)
        if id(base) not in self.references:
            self.references[id(base)] = self.keep(self._reference(obj)), base
        return self.references[id(base)][0]

    def _reference(self, obj: Any) -> ContentReference:
        if type(obj) is ContentReference:
            return obj
        try:
            return refer(obj, self._site)
        except Refused as error:
            self.refuse(obj, error)
