"""Bridges of the event dispatcher: events of Zope into it, and its events into jobs.

``eventdispatcher.zcml`` registers a dispatcher, and `fire_zope_event` as a subscriber.
`QueueJob` makes handlers that queue a job.
"""

from __future__ import annotations

from Acquisition import aq_base
from collections.abc import Callable
from collective.clockwork import arguments
from collective.clockwork import options
from collective.clockwork.engine import local
from collective.clockwork.eventdispatcher import event_details
from collective.clockwork.eventdispatcher import EventDispatcher
from collective.clockwork.eventdispatcher import IEventDispatcher
from collective.clockwork.interfaces import IAsyncService
from OFS.interfaces import IObjectWillBeRemovedEvent
from persistent import Persistent
from transaction.interfaces import TransientError
from typing import Any
from typing import TYPE_CHECKING
from zope.component import getUtility
from zope.component import queryUtility
from zope.component.hooks import getSite
from zope.interface import providedBy

import logging
import transaction


if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from typing_extensions import Unpack

logger = logging.getLogger("collective.clockwork")

#: The details of an event of Zope; see `details_of`.
KEYWORDS = ("event_type", "portal_type", "path", "site")


def make_dispatcher() -> EventDispatcher:
    """A dispatcher for events of Zope, which is started."""
    dispatcher = EventDispatcher(KEYWORDS, on_error=repeat_the_request)
    dispatcher.start()
    return dispatcher


def fire_zope_event(event: Any) -> None:
    """Subscriber: give an event to the IEventDispatcher utility.

    Those of the details are given that the dispatcher allows. Nothing happens without
    a utility, while it is stopped, and while it has no handlers. A handler that waits
    for a Deferred is logged as an error: the thread's later events wait with it.
    """
    dispatcher = queryUtility(IEventDispatcher)
    if dispatcher is None or not (dispatcher.running and dispatcher.handler_count):
        return
    allowed = dispatcher.allowed_match_spec_keywords
    details = details_of(event)
    details = {name: value for name, value in details.items() if name in allowed}
    fired = dispatcher.fire_event(event, **details)
    if not (fired.called or _is_in_handler()):
        logger.error(
            "A handler of the event dispatcher waits for a Deferred, on an event of "
            "type %s or before it. The later events of this thread wait with it; let "
            "the handler queue a job instead.",
            _type_of(event),
        )


def details_of(event: Any) -> dict[str, str | None]:
    """What handlers can ask for of an event of Zope, all of them texts or None.

    ``event_type``: the dotted name of the first interface that the event provides, such
    as ``zope.lifecycleevent.interfaces.IObjectModifiedEvent``, or else of its class.
    ``portal_type`` and ``path``: of the event's ``object``, or of its ``context``;
    no path while it is in no folder, or has no id yet.
    ``site``: the path of the current site.
    """
    obj = _object_of(event)
    portal_type = getattr(aq_base(obj), "portal_type", None)
    return {
        "event_type": _type_of(event),
        "portal_type": portal_type if isinstance(portal_type, str) else None,
        "path": _path(obj),
        "site": _path(getSite()),
    }


def repeat_the_request(failure: Failure, listen_fn: Callable, event: Any) -> None:
    """For ``on_error``: let a conflict in a handler end the transaction.

    It is raised at the commit, so that the request or job is repeated, as if it had
    come up outside of a handler. Other failures have been logged, and that is all.
    """
    if isinstance(failure.value, TransientError):
        transaction.get().addBeforeCommitHook(_raise, (failure.value,))


class QueueJob:
    """A handler that has the work done by a job, as the current user.

    The job calls ``func(context, details)``: ``details`` is a dictionary with those of
    the event. The event itself is not stored. The context is what ``context(event)``
    returns, or without that the event's ``object`` or ``context`` if it is in the site
    and stays there, and else the site. The options are those of
    ``IAsyncService.using``.

    Raises what ``queueJob`` raises for a function that no worker could import, and
    OptionError for options that make no sense.

    A job that causes the event by itself, on the same context, is not queued again,
    because that would never end.
    """

    def __init__(
        self,
        func: Callable,
        context: Callable[[Any], Any] | None = None,
        **asked: Unpack[options.Asked],
    ) -> None:
        arguments.check_function(func)
        # Content can be called too, but belongs to one connection of one thread.
        is_content = isinstance(aq_base(context), Persistent)
        if is_content or not (context is None or callable(context)):
            raise TypeError(
                f"context is {context!r}: pass a function that takes the event and "
                "returns the job's context, or None"
            )
        self.func = func
        self.context = context
        self.options = options.check(asked)
        #: What the dispatcher's log calls it.
        self.__qualname__ = f"QueueJob({self._func_name()})"

    def __call__(self, event: Any) -> None:
        """Queue the job. LookupError without a current site."""
        context = self._default(event) if self.context is None else self.context(event)
        if self._is_run_for(context):
            logger.warning(
                "%s is not queued for %r once more, because such a job caused the "
                "event: that would never end",
                *(self._func_name(), context),
            )
            return
        service = getUtility(IAsyncService).using(**self.options)
        service.queueJob(self.func, context, dict(event_details()))

    def _default(self, event: Any) -> Any:
        obj, site = _object_of(event), getSite()
        if IObjectWillBeRemovedEvent.providedBy(event):
            return site
        try:
            arguments.check_context(obj, site)
        except ValueError:
            return site
        return obj

    def _func_name(self) -> str:
        return f"{self.func.__module__}.{self.func.__qualname__}"

    def _is_run_for(self, context: Any) -> bool:
        job = local.job
        return (
            job is not None
            and job.callable_name == self._func_name()
            and getattr(job, "context_path", None) == context.getPhysicalPath()
        )


def _is_in_handler() -> bool:
    try:
        event_details()
    except LookupError:
        return False
    return True


def _raise(error: BaseException) -> None:
    raise error


def _object_of(event: Any) -> Any:
    found = getattr(event, "object", None)
    return getattr(event, "context", None) if found is None else found


def _type_of(event: Any) -> str:
    for interface in providedBy(event):
        return interface.__identifier__
    return f"{type(event).__module__}.{type(event).__qualname__}"


def _path(obj: Any) -> str | None:
    if getattr(aq_base(obj), "getPhysicalPath", None) is None:
        return None
    # With nothing above it and no id, an object would give the path of the Zope root.
    # This method is acquired, and a mere text where there is nothing to acquire from.
    if not callable(getattr(obj, "getPhysicalRoot", None)):
        return None
    path = obj.getPhysicalPath()
    return ("/".join(path) or "/") if all(path[1:]) else None
