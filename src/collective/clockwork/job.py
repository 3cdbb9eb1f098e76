"""Jobs that are made by hand: ``queue(Job(folder.manage_delObjects, ["news"]))``.

Where the service calls a function with a context, such a job calls anything with its
arguments alone, in the site and as the user of whoever made it. As in plone.app.async,
but for what its own jobs did not have there: checks, events, and a callable that can
be read.
"""

from __future__ import annotations

from Acquisition import aq_base
from collective.clockwork import arguments
from collective.clockwork import identity
from collective.clockwork import references
from collective.clockwork import world
from collective.clockwork.engine import callables
from collective.clockwork.engine.interfaces import UnresolvableError
from collective.clockwork.engine.job import Job as EngineJob
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.sitejob import ServiceJob
from dataclasses import dataclass
from typing import Any
from zope.component import getUtility
from zope.component.hooks import getSite


@dataclass(frozen=True)
class ContentMethod:
    """The name of a method; its object is the job's context. Stored with jobs."""

    #: Dotted name of the object's class, for people.
    kind: str
    name: str

    def __reduce__(self):
        return ContentMethod, (self.kind, self.name)

    def __call__(self, *args, **kwargs):
        """Refused: only the job knows the object."""
        raise UnresolvableError(f"{self.kind}.{self.name} is called by its job only")


class Job(ServiceJob):
    """``Job(callable, *args, **kwargs)``; belongs to the current site and user.

    A method of a content object is stored by the object's path and UID and the
    method's name. Raises LookupError without a current site, ValueError for the
    system or emergency user and for what no worker would find again, and TypeError for
    what cannot be called or stored.
    """

    def __init__(self, callable: Any, /, *args: Any, **kwargs: Any) -> None:
        site = identity.current_site()
        args, kwargs = arguments.stored(args, kwargs, site)
        self.belong_to(site)
        super().__init__(callable, *args, **kwargs)

    @property
    def callable(self) -> Any:
        """What is called; of a content object, its method as it is now.

        Raises UnresolvableError if the code is not here, and BadRequest if the object
        or its site is gone.
        """
        stored = self._callable
        if type(stored) is not ContentMethod:
            return super().callable
        return getattr(self._find_object(), stored.name)

    @callable.setter
    def callable(self, value: Any) -> None:
        owner, name = callables.split(value)
        path, uid = (), None
        if name is not None and references.is_content(owner):
            where = _place_of(owner, name)
            path, uid = (*self.site_path, *where.path), where.uid
            value = _content_method(owner, name, value)
        elif not isinstance(owner, str):
            _check_without_content(owner)
        ServiceJob.callable.fset(self, value)
        self.context_path, self.context_uid = path, uid

    @property
    def callable_name(self) -> str:
        """Dotted name of what is called; needs no import."""
        stored = self._callable
        if type(stored) is not ContentMethod:
            return super().callable_name
        return f"{stored.kind}.{stored.name}"

    def invoke(self, args: tuple, kwargs: dict) -> Any:
        """Make the call. Raises BadRequest if the method's object is gone."""
        site = getSite()
        args, kwargs = arguments.given(args, kwargs, site)
        if type(self._callable) is ContentMethod:
            world.enter_context(self._find_object())
        with world.naming_who_may_not(f"what {self.callable_name} does"):
            result = EngineJob.invoke(self, args, kwargs)
        return references.storable_result(result, site)

    def _find_object(self) -> Any:
        site = self.find_site()
        path = identity.rebased(
            self.context_path, self.site_path, site.getPhysicalPath()
        )
        return identity.find_context(site, path, self.context_uid)


def queue(job: EngineJob) -> EngineJob:
    """Put a job into the queue ``""`` as it is, so under no quota unless it names one.

    Works in the caller's transaction, and returns the job. LookupError without a
    current site.
    """
    return getUtility(IAsyncService).getQueues()[""].put(job)


def _place_of(owner: Any, name: str) -> references.ContentReference:
    """Where the object of a method is; TypeError if no worker would find it."""
    try:
        return references.refer(owner, identity.current_site())
    except references.Refused as error:
        raise TypeError(
            f"The object whose method {name} is to be called is {error}"
        ) from None


def _content_method(owner: Any, name: str, method: Any) -> ContentMethod:
    """What is stored of a content object's method; ValueError if it is another."""
    found = getattr(owner, name, None)
    if getattr(found, "__func__", None) is not getattr(method, "__func__", None):
        raise ValueError(
            f"{method!r} is not what {name!r} of its object is (replaced by a "
            "decorator or patched?): a worker would call that other one"
        )
    kind = type(aq_base(owner))
    return ContentMethod(f"{kind.__module__}.{kind.__qualname__}", name)


def _check_without_content(obj: Any) -> None:
    """Refuse an object that is called, or whose method is, as the worker could not.

    Raises TypeError.
    """
    name = f"The callable ({type(aq_base(obj)).__name__})"
    try:
        stored = references.storable(obj, identity.current_site())
    except references.Refused as error:
        raise TypeError(f"{name} {error}") from None
    if stored is not obj:
        raise TypeError(
            f"{name} is an object of the site, or holds one: pass a function, or a "
            "method of that object, and objects as arguments"
        )
