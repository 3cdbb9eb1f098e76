"""The event dispatcher."""

from __future__ import annotations

from .calls import Call
from .calls import calls_of
from .calls import enter
from .calls import Firing
from .calls import Lane
from .calls import Line
from .interfaces import IBackgroundUtility
from .interfaces import IEventDispatcher
from .listeners import Handler
from .matching import Index
from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from itertools import count
from twisted.internet.defer import Deferred
from twisted.internet.defer import DeferredList
from twisted.internet.defer import fail
from twisted.internet.defer import succeed
from twisted.python.failure import Failure
from typing import Any
from zope.interface import implementer

import inspect
import logging
import threading


logger = logging.getLogger(__name__)

#: As in oni.twisted_event_dispatcher.
PHASES = ("before", "during", "after")

#: What ``add_event_handler`` takes besides the spec.
PARAMETERS = ("listen_fn", "phase", "use_weakref", "times")

OnError = Callable[[Failure, Callable, Any], object]


@implementer(IEventDispatcher, IBackgroundUtility)
class EventDispatcher:
    """See IEventDispatcher and IBackgroundUtility. It is made stopped.

    Events of one thread are handled one after another. One that a handler fires comes
    after the one that it handles, unless the handler goes on with a Deferred: then it
    may wait for the new event, which therefore comes at once.

    May be used by several threads. Handlers are called in the thread that fires the
    event, or in which the Deferreds fire that they wait for.
    """

    def __init__(
        self,
        allowed_match_spec_keywords: Iterable[str],
        phases: Iterable[str] = PHASES,
        on_error: OnError | None = None,
    ) -> None:
        """Raises TypeError for a text in place of several, ValueError for no phase."""
        self._keywords = _keywords(allowed_match_spec_keywords)
        self._phases = _names("phases", phases)
        if not self._phases:
            raise ValueError("phases is empty: pass the name of at least one phase")
        self.on_error = on_error
        self._running = False
        #: Guards the index, the keywords and what is under way.
        self._lock = threading.Lock()
        self._index = Index()
        self._ids = count(1)
        #: Ids of handlers whose functions are gone. The interpreter may say so at any
        #: moment, also while this very thread has the lock.
        self._gone: deque[int] = deque()
        self._fired = 0
        self._lane = Lane()
        self._under_way: set[Firing] = set()

    @property
    def running(self) -> bool:
        """See IBackgroundUtility."""
        return self._running

    @property
    def phases(self) -> tuple[str, ...]:
        """See IEventDispatcher."""
        return self._phases

    @property
    def handler_count(self) -> int:
        """See IEventDispatcher."""
        return len(self._index)

    @property
    def allowed_match_spec_keywords(self) -> tuple[str, ...]:
        """See IEventDispatcher."""
        return self._keywords

    @allowed_match_spec_keywords.setter
    def allowed_match_spec_keywords(self, keywords: Iterable[str]) -> None:
        names = _keywords(keywords)
        with self._locked():
            lost = sorted(self._index.uses.keys() - set(names))
            if lost:
                raise ValueError(
                    f"allowed_match_spec_keywords is {names!r}, but there are handlers "
                    f"with {', '.join(map(repr, lost))} in their spec: remove them "
                    "first, or keep the keyword"
                )
            self._keywords = names

    def start(self) -> None:
        """See IBackgroundUtility. Events that were dropped before do not come again."""
        self._running = True

    def stop(self) -> Deferred[None]:
        """See IBackgroundUtility.

        What is under way goes on to its last phase; events that wait for their turn are
        dropped. A handler may wait for the Deferred: its own event does not count.
        """
        self._running = False
        own = {call.firing for call in calls_of(self)}
        watchers: list[Deferred[None]] = []
        with self._locked():
            for firing in self._under_way - own:
                watchers.append(Deferred())
                firing.watchers.append(watchers[-1])
        return DeferredList(watchers).addCallback(lambda _results: None)

    def add_event_handler(
        self, /, *parameters: Any, **match_spec: Any
    ) -> Deferred[int]:
        """See IEventDispatcher."""
        given = self._parameters(parameters, match_spec)
        listen_fn, phase, use_weakref, times = given
        if not callable(listen_fn):
            raise TypeError(f"listen_fn is {listen_fn!r}, which cannot be called")
        if phase not in self._phases:
            known = ", ".join(map(repr, self._phases))
            raise ValueError(f"phase is {phase!r}: it must be one of {known}")
        if times is not None:
            _check_times(times)
        with self._locked():
            spec = self._said("the spec", match_spec)
            pairs = tuple(sorted(spec.items(), key=lambda pair: pair[0]))
            handler = Handler(
                next(self._ids), listen_fn, phase, pairs, times, self._fired
            )
            if use_weakref:
                handler.hold_weakly(listen_fn, self._note_gone)
            self._index.add(handler)
        logger.debug("Handler %s is %s, for %r", handler.id, handler.name, spec)
        return succeed(handler.id)

    def remove_event_handler(self, event_handler_id: int) -> Deferred[None]:
        """See IEventDispatcher."""
        try:
            with self._locked():
                handler = self._index.remove(event_handler_id)
                handler.times = 0
        except KeyError:
            return fail(
                KeyError(
                    f"There is no handler with the id {event_handler_id!r}: it was "
                    "removed before, or is gone by itself"
                )
            )
        logger.debug("Handler %s, %s, is removed", handler.id, handler.name)
        return succeed(None)

    def fire_event(self, /, *event: Any, **event_details: Any) -> Deferred[None]:
        """See IEventDispatcher."""
        if not event and "event" in event_details:
            event = (event_details.pop("event"),)
        if len(event) != 1:
            raise TypeError(
                f"fire_event() got {len(event)} events: pass one, and its details as "
                "keywords"
            )
        with self._locked():
            details = self._said("the details", event_details)
            self._fired += 1
        logger.debug("Event %s with %r", type(event[0]).__name__, details)
        calls = calls_of(self)
        if not calls:
            line = self._lane.line
            firing = Firing(event[0], details, line)
            line.append(firing)
            self._serve(line)
            return firing.done
        call = calls[-1]
        firing = Firing(event[0], details, call.firing.line)
        if call.returned:
            self._begin(firing)
        else:
            call.fired.append(firing)
        return firing.done

    def _parameters(
        self, by_position: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[Any, Any, Any, Any]:
        """The parameters of ``add_event_handler``; takes its own out of ``named``."""
        if len(by_position) > len(PARAMETERS):
            raise TypeError(
                f"add_event_handler() got {len(by_position)} arguments by position: "
                f"it takes {', '.join(PARAMETERS)}, and the spec as keywords"
            )
        given = {"use_weakref": True, "times": None}
        given.update(zip(PARAMETERS, by_position, strict=False))
        for name in PARAMETERS[len(by_position) :]:
            # The old API had no `times`, but may have had a keyword of that name.
            if name in named and not (name == "times" and name in self._keywords):
                given[name] = named.pop(name)
        for name in PARAMETERS:
            if name not in given:
                raise TypeError(f"add_event_handler() needs {name}")
        return tuple(given[name] for name in PARAMETERS)

    def _said(self, what: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the values that say something; None does not."""
        for keyword, value in values.items():
            if keyword not in self._keywords:
                known = ", ".join(map(repr, self._keywords)) or "none at all"
                raise ValueError(
                    f"{keyword!r} in {what} is not an allowed keyword: allowed_match_"
                    f"spec_keywords has {known}"
                )
            try:
                hash(value)
            except TypeError as error:
                raise TypeError(
                    f"{keyword} in {what} is {value!r}, which has no hash: pass a "
                    "value that cannot change, such as a text or a tuple"
                ) from error
        return {name: value for name, value in values.items() if value is not None}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        finally:
            self._remove_gone()

    def _note_gone(self, handler_id: int) -> None:
        self._gone.append(handler_id)
        self._remove_gone()

    def _remove_gone(self) -> None:
        """Remove handlers without a function, unless somebody has the lock.

        Whoever has it comes here afterwards.
        """
        while self._gone and self._lock.acquire(blocking=False):
            unseen: list[Handler] = []
            try:
                while self._gone:
                    unseen.extend(self._without_event(self._gone.popleft()))
            finally:
                self._lock.release()
            for handler in unseen:
                logger.warning(
                    "The handler %s was gone before there was any event: nobody holds "
                    "it. Keep a reference to it, or pass use_weakref=False.",
                    handler.name,
                )

    def _without_event(self, handler_id: int) -> Iterator[Handler]:
        """Remove a handler; gives it if no event was fired while it was there."""
        try:
            handler = self._index.remove(handler_id)
        except KeyError:
            return
        if handler.added_at == self._fired:
            yield handler

    def _serve(self, line: Line) -> None:
        """Handle what waits, up to an event that has to wait for its handlers."""
        while (firing := line.next()) is not None:
            over = self._begin(firing, line.free)
            if not over.called:
                over.addCallback(lambda _nothing: self._serve(line))
                return

    def _begin(
        self, firing: Firing, at_end: Callable[[], None] | None = None
    ) -> Deferred[None]:
        """Handle an event; the Deferred fires after everybody has heard of its end."""
        with self._locked():
            self._under_way.add(firing)

        def end(result: Any) -> None:
            with self._locked():
                self._under_way.discard(firing)
                watchers = list(firing.watchers)
            # It knows of the handler that fired this event, and so of all before it.
            firing.context = None
            if at_end is not None:
                at_end()
            if isinstance(result, Failure):
                firing.done.errback(result)
            else:
                firing.done.callback(None)
            for watcher in watchers:
                watcher.callback(None)

        return Deferred.fromCoroutine(self._perform(firing)).addBoth(end)

    async def _perform(self, firing: Firing) -> None:
        if not self._running:
            logger.warning(
                "An event of type %s is dropped, because the dispatcher is not running",
                type(firing.event).__name__,
            )
            return
        by_phase: dict[str, list[Handler]] = {}
        with self._locked():
            for handler in self._index.find(firing.details):
                by_phase.setdefault(handler.phase, []).append(handler)
        for phase in self._phases:
            if phase not in by_phase:
                continue
            logger.debug("Phase %s, %s handlers", phase, len(by_phase[phase]))
            called = [self._call(handler, firing) for handler in by_phase[phase]]
            unfinished = [each for each in called if each is not None]
            if unfinished:
                await DeferredList(unfinished)

    def _call(self, handler: Handler, firing: Firing) -> Deferred | None:
        """Call a handler; gives what has to be waited for."""
        listen_fn = self._take(handler)
        if listen_fn is None:
            return None
        call = Call(self, firing)

        def settle(result: Any) -> Any:
            call.finished = True
            if not isinstance(result, Failure):
                return result
            self._report(result, handler, listen_fn, firing.event)
            return None

        waiting = None
        try:
            result = firing.context.copy().run(_answer, call, listen_fn)
        except BaseException:
            # SystemExit, for instance: a Deferred would have it as a failure, too.
            settle(Failure())
        else:
            if isinstance(result, Deferred):
                waiting = result.addBoth(settle)
            else:
                settle(result)
        call.returned = True
        if call.finished:
            firing.line.append(*call.fired)
            return None
        for fired in call.fired:
            self._begin(fired)
        return waiting

    def _take(self, handler: Handler) -> Callable | None:
        """The handler's function for one call; None if it is not to be called."""
        listen_fn = handler.function()
        with self._locked():
            if listen_fn is None or handler.times == 0:
                return None
            if handler.times is not None:
                handler.times -= 1
                if not handler.times:
                    self._index.remove(handler.id)
        return listen_fn

    def _report(
        self, failure: Failure, handler: Handler, listen_fn: Callable, event: Any
    ) -> None:
        logger.error(
            "The handler %s failed in phase %s of an event of type %s. The other "
            "handlers are called.",
            *(handler.name, handler.phase, type(event).__name__),
            exc_info=(failure.type, failure.value, failure.getTracebackObject()),
        )
        if self.on_error is None:
            return
        try:
            self.on_error(failure, listen_fn, event)
        except Exception:
            logger.exception("on_error of the event dispatcher failed")


def _answer(call: Call, listen_fn: Callable) -> Any:
    """What a handler returns; a coroutine is begun."""
    enter(call)
    result = listen_fn(call.firing.event)
    if inspect.iscoroutine(result):
        return Deferred.fromCoroutine(result)
    if inspect.isasyncgen(result):
        raise TypeError(
            "the handler is an async function that yields, and nobody takes what it "
            "yields: use return"
        )
    return result


def _keywords(names: Iterable[str]) -> tuple[str, ...]:
    return _names("allowed_match_spec_keywords", names)


def _names(what: str, names: Iterable[str]) -> tuple[str, ...]:
    """Several different names."""
    if isinstance(names, str):
        raise TypeError(f"{what} is the text {names!r}: pass a tuple of texts")
    made = tuple(names)
    for name in made:
        if not isinstance(name, str):
            raise TypeError(f"{what} has {name!r}: it must have texts only")
        if made.count(name) > 1:
            raise ValueError(f"{what} has {name!r} more than once")
    return made


def _check_times(times: Any) -> None:
    if type(times) is not int:
        raise TypeError(f"times is {times!r}: pass a whole number, or None")
    if times < 1:
        raise ValueError(f"times is {times!r}: it must be 1 or more, or None")
