"""What can be asked of a call besides its arguments: where, when, how often, how long.

The engine checks the options that it has (``engine.options``); here stand those of the
service, how all of them go together, and the texts of ``unique`` and ``title`` that
are made for each call of a function.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collective.clockwork import arguments
from collective.clockwork import identity
from collective.clockwork import notify
from collective.clockwork.engine import options as engine_options
from collective.clockwork.engine.callables import check_storable
from collective.clockwork.engine.context import PARAMETER
from collective.clockwork.engine.context import wanted_by
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.interfaces import IQueue
from collective.clockwork.engine.job import Job
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from decimal import Decimal
from string import Formatter
from typing import Any
from typing import TYPE_CHECKING
from typing import TypedDict
from uuid import UUID
from zope.i18nmessageid import Message

import inspect


if TYPE_CHECKING:
    from collections.abc import Callable
    from collective.clockwork.engine.queue import Queue


class Asked(TypedDict, total=False):
    """The options with their types, for editors and type checkers."""

    queue: Queue | str
    quota: str | Iterable[str] | None
    begin_after: datetime | None
    begin_by: timedelta | None
    retry: Callable | str | None
    title: str | None
    notify: str | None
    failure_log_level: int | None
    priority: int
    timeout: timedelta | None
    groupable: bool
    unique: str | None
    on_duplicate: str
    debounce: timedelta | None
    keep_result: timedelta | None
    keep_failure: timedelta | None


#: Options of the service itself.
OWN_NAMES = (
    "queue",
    "quota",
    "begin_after",
    "begin_by",
    "retry",
    "title",
    "notify",
    "failure_log_level",
)
NAMES = (*OWN_NAMES, *engine_options.NAMES)

#: What ``unique`` and ``title`` of a function may name besides its parameters.
FIELDS = ("context_uid", "context_path", "user_id")

#: Longest key that may be asked for: UID and path of the site are put in front of it.
KEY_LENGTH = 300
#: Longest title, in characters.
TITLE_LENGTH = 200

#: Where a function keeps what it declared.
_DECLARED = "_clockwork_options"

#: In the methods of plone.app.async None says nothing of these.
_UNSAID = ("quota", "begin_after", "begin_by")
_WITH_UNIQUE = ("on_duplicate", "debounce")

#: Values whose text is the same in each process, so that it can be part of a key.
TEXT_TYPES = (str, int, float, type(None), date, time, timedelta, Decimal, UUID)


def check(options: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the options, all of which make sense, alone and together.

    Raises OptionError for an unknown name, with the nearest known one, for a value out
    of range and for options that contradict each other; TypeError or ValueError for
    times as the service's methods do. What only the queue can tell is left to it.
    """
    checked = check_each(options)
    probe = Job(len)
    engine_options.apply(probe, for_engine(checked))
    probe.begin_after = checked.get("begin_after")
    engine_options.check_together(probe)
    return checked


def check_each(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same, except for how they go together."""
    for name in options:
        if name not in NAMES:
            raise OptionError(
                f"{name!r} is no option of a job; {engine_options.hint(name, NAMES)}"
            )
    checked = dict(options)
    for name in OWN_NAMES:
        if name in checked:
            checked[name] = _CHECKS[name](checked[name])
    arguments.check_times(checked.get("begin_by"), checked.get("begin_after"))
    _check_key(checked.get("unique"))
    engine_options.apply(Job(len), for_engine(checked))
    return checked


def for_engine(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the engine's ``queue.put`` takes under the same name."""
    return {
        name: value for name, value in options.items() if name in engine_options.NAMES
    }


def declare(func: Callable, asked: Mapping[str, Any]) -> None:
    """Let a function ask for these checked options in each of its calls."""
    setattr(func, _DECLARED, asked)


def declared(func: Any) -> Mapping[str, Any]:
    """What a function asks for in each of its calls; nothing, for most."""
    return getattr(func, _DECLARED, {})


def of_call(
    func: Any, context: Any, args: tuple, kwargs: Mapping[str, Any], asked: Iterable
) -> dict[str, Any]:
    """The options of a function that declared some, for one call of it.

    Those whose names are in ``asked`` are left as they were declared, because others
    take their place. Raises TypeError if the call does not fit the function.
    """
    own = declared(func)
    if not own:
        return {}
    left = {name: value for name, value in own.items() if name in asked}
    needed = {name: value for name, value in own.items() if name not in asked}
    return {**left, **filled(needed, context, bound(func, context, args, kwargs))}


def bound(
    func: Callable, context: Any, args: tuple, kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The function's parameters and their values in this call, defaults included.

    TypeError if the call does not fit the function.
    """
    signature = inspect.signature(func)
    given = dict(kwargs)
    if wanted_by(func):
        given.setdefault(PARAMETER, None)
    try:
        call = signature.bind(context, *args, **given)
    except TypeError as error:
        name = f"{func.__module__}.{func.__qualname__}"
        raise TypeError(f"{name}{signature} cannot be called so: {error}") from None
    call.apply_defaults()
    return dict(call.arguments)


def together(own: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a function asks for, and the call, which goes before.

    Raises OptionError if the two contradict each other.
    """
    said = {name: value for name, value in asked.items() if value is not None}
    forgotten = [name for name in asked if name not in said and name not in _UNSAID]
    merged = {**own, **said}
    for name in forgotten:
        merged.pop(name, None)
    if merged.get("unique") is None:
        # They say what becomes of a second job with the key that was taken away.
        for name in _WITH_UNIQUE:
            if name not in said:
                merged.pop(name, None)
    return check(merged)


def for_member(func: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """Of a function's options those that it has as a member of a batch.

    The batch decides on the queue. Raises ValueError for a function that is unique: in
    a batch nobody would hear of the other job.
    """
    if own.get("unique") is not None:
        raise ValueError(
            f"{func.__module__}.{func.__qualname__} asks for unique, which no member "
            "of a batch can have: queue it by itself"
        )
    return {name: value for name, value in own.items() if name != "queue"}


def _check_queue(value: Any) -> Any:
    if isinstance(value, str) or IQueue.providedBy(value):
        return value
    raise OptionError(f"queue is {value!r}: it must be a queue or the name of one")


def _check_quota(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else value
    if isinstance(names, Iterable):
        names = tuple(names)
        if all(isinstance(name, str) and name for name in names):
            return names
    raise OptionError(
        f"quota is {value!r}: it must be the name of a quota, a tuple of names, () for "
        "no quota, or None for the default one"
    )


def _check_retry(value: Any) -> Any:
    if value is None:
        return None
    if not (callable(value) or isinstance(value, str) and value):
        raise OptionError(
            f"retry is {value!r}: it must be a retry policy, for instance "
            "Backoff(tries=5), a class of one, or the name of an adapter"
        )
    try:
        check_storable([("retry", value)])
    except TypeError as error:
        raise OptionError(str(error)) from error
    return value


def _check_title(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= TITLE_LENGTH:
        raise OptionError(
            f"title is {value!r}: it must be a text of 1 to {TITLE_LENGTH} characters "
            "for people"
        )
    return value


def _check_notify(value: Any) -> str | None:
    if value is None or isinstance(value, str) and value in notify.WISHES:
        return value
    known = ", ".join(map(repr, notify.WISHES))
    raise OptionError(f"notify is {value!r}: it must be one of {known}, or None")


def _check_level(value: Any) -> int | None:
    if value is None or type(value) is int:
        return value
    raise OptionError(
        f"failure_log_level is {value!r}: it must be a level such as logging.WARNING"
    )


def _check_key(value: Any) -> None:
    if isinstance(value, str) and not 0 < len(value) <= KEY_LENGTH:
        raise OptionError(
            f"unique has {len(value)} characters: it must be a text of 1 to "
            f"{KEY_LENGTH} that tells this work from other work"
        )


def _unchanged(value: Any) -> Any:
    return value


_CHECKS = {
    "queue": _check_queue,
    "quota": _check_quota,
    "begin_after": _unchanged,
    "begin_by": _unchanged,
    "retry": _check_retry,
    "title": _check_title,
    "notify": _check_notify,
    "failure_log_level": _check_level,
}


def check_template(name: str, template: Any, parameters: Iterable[str]) -> None:
    """Raise OptionError if a text for each call names what no call will have.

    ``parameters`` are the names of the function's parameters after the context.
    """
    if not isinstance(template, str):
        return
    known = (*FIELDS, *parameters)
    for field in _fields(name, template):
        if field not in known:
            raise OptionError(
                f"{name} is {template!r}, which names {field!r}: it may name "
                f"{', '.join(known)}; {engine_options.hint(field, known)}"
            )
        if field in FIELDS and known.count(field) > 1:
            raise OptionError(
                f"{name} is {template!r}, and {field} is a parameter of the function "
                "as well as a name of its own: call the parameter otherwise"
            )


def _fields(name: str, template: str) -> list[str]:
    if isinstance(template, Message):
        # Those stand in its translations; it takes what it needs.
        return []
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise OptionError(f"{name} is {template!r}, but {error}") from error
    if any("{" in (spec or "") for _text, _field, spec, _conversion in parts):
        raise OptionError(f"{name} is {template!r}, which has braces inside of braces")
    return [field for _text, field, _spec, _conversion in parts if field is not None]


def filled(
    options: Mapping[str, Any], context: Any, call: Mapping[str, Any]
) -> dict[str, Any]:
    """The options with ``unique`` and ``title`` made for one call.

    ``call`` maps the function's parameters to their values. Raises OptionError for a
    key of values that have no lasting text.
    """
    made = dict(options)
    for name in ("unique", "title"):
        template = made.get(name)
        if not isinstance(template, str):
            continue
        if isinstance(template, Message):
            made[name] = _message(template, context, call)
            continue
        wanted = _fields(name, template)
        values = {field: _value(name, field, context, call) for field in wanted}
        try:
            text = Formatter().vformat(template, (), values)
        except ValueError as error:
            raise OptionError(f"{name} is {template!r}: {error}") from error
        if name == "unique":
            _check_key(text)
        made[name] = text if name == "unique" else text[:TITLE_LENGTH]
    return made


def _message(message: Message, context: Any, call: Mapping[str, Any]) -> Message:
    values = {name: str(v) for name, v in call.items() if isinstance(v, TEXT_TYPES)}
    values["context_path"] = "/".join(context.getPhysicalPath())
    return Message(message, mapping={**values, **(message.mapping or {})})


def _value(name: str, field: str, context: Any, call: Mapping[str, Any]) -> Any:
    if field == "context_path":
        return "/".join(context.getPhysicalPath())
    if field == "context_uid":
        uid = identity.uid_of(context)
        if uid is None:
            raise OptionError(
                f"{name} names context_uid, but {context!r} has no UID: use "
                "{context_path}"
            )
        return uid
    if field == "user_id":
        return identity.current_user(identity.current_site())[1] or ""
    value = call[field]
    if not isinstance(value, TEXT_TYPES):
        raise OptionError(
            f"{name} names {field!r}, which is a {type(value).__name__}: only texts, "
            "numbers, dates and UUIDs can be part of it"
        )
    return value
