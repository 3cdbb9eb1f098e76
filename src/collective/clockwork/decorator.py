"""``background``: a function that says itself how it is done in the background.

The decorated function stays what it was, a function that is called directly and found
again by its name; it only gets three more attributes, ``queue``, ``schedule`` and
``using``. So a worker that imports the name calls the original, and pickles hold no
more than the name.
"""

from __future__ import annotations

from collections.abc import Callable
from collective.clockwork import arguments
from collective.clockwork import options
from collective.clockwork.engine import clock
from collective.clockwork.engine.context import PARAMETER
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.service import JobDescription
from collective.clockwork.sitejob import ServiceJob
from datetime import datetime
from datetime import timedelta
from types import FunctionType
from typing import Any
from typing import cast
from typing import Concatenate
from typing import ParamSpec
from typing import Protocol
from typing import TYPE_CHECKING
from typing import TypeVar
from zope.component import getUtility

import inspect


if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing_extensions import Unpack

Context = TypeVar("Context")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result", covariant=True)

#: What is said for a certain call only, never for all calls of a function.
PER_CALL = ("begin_after",)


class Queueable(Protocol[Parameters]):
    """Queues calls of one function; ``context`` is its first argument."""

    def queue(
        self, context: Any, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> ServiceJob:
        """Queue a call, in the caller's transaction; returns the job.

        What cannot be done later is refused, with a message that names it.
        """

    def schedule(
        self,
        when: datetime | timedelta,
        context: Any,
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> ServiceJob:
        """Queue a call that is made at ``when``, or so long from now.

        Not before that, and as soon afterwards as there is a worker. Raises TypeError
        or ValueError for a datetime without time zone or a negative timedelta.
        """

    def using(self, **asked: Unpack[options.Asked]) -> Queueable[Parameters]:
        """The same with further options, which go before the function's own.

        See IAsyncService.using for what they are.
        """


class BackgroundFunction(Queueable[Parameters], Protocol[Parameters, Result]):
    """A function that ``background`` decorated."""

    __name__: str
    __qualname__: str

    def __call__(
        self, context: Any, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Call the function, here and now."""


def background(
    *functions: Callable, **asked: Unpack[options.Asked]
) -> Callable[
    [Callable[Concatenate[Context, Parameters], Result]],
    BackgroundFunction[Parameters, Result],
]:
    """Decorator for a function at the top of a module that is queued as a job.

    ::

        @background(retry=Backoff(tries=5), unique="{context_uid} {size}")
        def make_thumbnail(image, size): ...


        make_thumbnail.queue(image, 200)

    The options are those of ``IAsyncService.using``, except for ``begin_after``. They
    hold however the function is queued, as a member of a batch for instance; what the
    call says goes before. ``unique`` and ``title`` may have ``{context_uid}``,
    ``{context_path}``, ``{user_id}`` and names of parameters in them.

    Raises OptionError for options that make no sense, TypeError or ValueError for
    something else than a function that a worker could import.
    """
    if functions:
        raise TypeError("write @background(), with parentheses, also without options")
    for name in PER_CALL:
        if name in asked:
            raise OptionError(
                f"{name} is for one call, not for all of a function: use its schedule()"
            )
    checked = options.check(asked)

    def decorate(
        func: Callable[Concatenate[Context, Parameters], Result],
    ) -> BackgroundFunction[Parameters, Result]:
        _check_function(func)
        _check_templates(func, checked)
        options.declare(func, checked)
        calls = Calls(func, {})
        for name in ("queue", "schedule", "using"):
            setattr(func, name, getattr(calls, name))
        return cast(BackgroundFunction[Parameters, Result], func)

    return decorate


class Calls:
    """What queues the calls of one function, with these options; see Queueable."""

    def __init__(self, func: Callable, asked: Mapping[str, Any]) -> None:
        self._func = func
        self._asked = asked

    def queue(self, context: Any, /, *args: Any, **kwargs: Any) -> ServiceJob:
        """See Queueable."""
        return self._put(self._asked, context, args, kwargs)

    def schedule(
        self, when: datetime | timedelta, context: Any, /, *args: Any, **kwargs: Any
    ) -> ServiceJob:
        """See Queueable."""
        asked = {**self._asked, "begin_after": _moment(when)}
        return self._put(asked, context, args, kwargs)

    def using(self, **asked: Unpack[options.Asked]) -> Calls:
        """See Queueable."""
        wanted = {**self._asked, **options.check_each(asked)}
        options.together(options.declared(self._func), wanted)
        _check_templates(self._func, wanted)
        return Calls(self._func, wanted)

    def _put(
        self, asked: Mapping[str, Any], context: Any, args: tuple, kwargs: dict
    ) -> ServiceJob:
        call = options.bound(self._func, context, args, kwargs)
        asked = options.filled(asked, context, call)
        service = getUtility(IAsyncService)
        info = JobDescription(self._func, context, args, kwargs)
        return service.queueCall(info, asked)

    def __repr__(self) -> str:
        return f"<calls of {self._func.__module__}.{self._func.__qualname__}>"


def _moment(when: Any) -> datetime:
    if isinstance(when, timedelta):
        if when < timedelta():
            raise ValueError(f"when is {when!r}, which is in the past")
        return clock.now() + when
    arguments.check_moment("when", when, "a timedelta from now")
    return when


def _check_function(func: Any) -> None:
    remedy = "decorate a function at the top of a module"
    if isinstance(func, staticmethod | classmethod):
        raise TypeError(f"{func!r} is a method, which is found by no name: {remedy}")
    if not isinstance(func, FunctionType):
        raise TypeError(f"{func!r} is no function: {remedy}")
    name = f"{func.__module__}.{func.__qualname__}"
    if "<lambda>" in func.__qualname__:
        raise ValueError(f"{name} is a lambda, which a worker cannot import: {remedy}")
    if "<locals>" in func.__qualname__:
        raise ValueError(
            f"{name} is inside of another function, where no worker can import it: "
            f"{remedy}, and pass its values as arguments"
        )
    if "." in func.__qualname__:
        raise ValueError(
            f"{name} is a method: {remedy}, and call the method of the context in it"
        )
    if hasattr(func, "queue"):
        raise TypeError(f"{name} was decorated already")
    first = next(iter(inspect.signature(func).parameters.values()), None)
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise TypeError(
            f"{name} takes no context: its first parameter is the object that the job "
            "is about"
        )


def _check_templates(func: Callable, asked: Mapping[str, Any]) -> None:
    """Raise OptionError if a text of these options names no parameter."""
    parameters = inspect.signature(func).parameters.values()
    names = [
        parameter.name
        for parameter in list(parameters)[1:]
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name != PARAMETER
    ]
    for name in ("unique", "title"):
        options.check_template(name, asked.get(name), names)
