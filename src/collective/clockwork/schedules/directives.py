"""The ZCML directives ``<clockwork:schedulable>`` and ``<clockwork:schedule>``.

What makes no sense ends the start of Zope, with the file and the line.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collective.clockwork import arguments
from collective.clockwork.schedules import durations
from collective.clockwork.schedules import fields
from collective.clockwork.schedules import functions
from collective.clockwork.schedules import timing
from collective.clockwork.schedules.interfaces import ISchedulable
from collective.clockwork.schedules.interfaces import IScheduleDefinition
from contextlib import contextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from zope.component.zcml import utility
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.fields import Bool
from zope.configuration.fields import GlobalInterface
from zope.configuration.fields import GlobalObject
from zope.configuration.fields import MessageID
from zope.i18nmessageid import Message
from zope.interface import implementer
from zope.interface import Interface
from zope.interface.interfaces import IInterface
from zope.schema import Int
from zope.schema import TextLine
from zope.schema.interfaces import ValidationError

import json


#: Fields that are written as a number with a unit.
DURATIONS = ("every", "grace", "jitter")


class Duration(TextLine):
    """A duration such as ``15m``; a timedelta for the directive."""

    def fromUnicode(self, value: str) -> timedelta:
        try:
            return durations.parse(value)
        except ValueError as error:
            raise _Unreadable(str(error)).with_field_and_value(self, value) from None


class JSONObject(TextLine):
    """Arguments of a function, written as JSON; a dictionary for the directive."""

    def fromUnicode(self, value: str) -> dict[str, Any]:
        try:
            read = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _Unreadable(f"{value!r} is no JSON: {error}").with_field_and_value(
                self, value
            ) from None
        if not isinstance(read, dict):
            raise _Unreadable(
                f'{value!r} is no JSON object: write {{"name": value}}'
            ).with_field_and_value(self, value)
        return read


class _Unreadable(ValidationError):
    """A text that a directive cannot read; it shows what is wrong with it."""

    def doc(self) -> str:
        return str(self.args[0])


class ISchedulableDirective(Interface):
    """Let those who may manage background jobs schedule a function."""

    function = GlobalObject(
        title="Function",
        description="Called with a context, and with arguments by name",
    )
    title = MessageID(title="Title", description="What people choose it by")
    description = MessageID(
        title="Description", description="What it does, in a sentence", required=False
    )
    name = TextLine(
        title="Name",
        description="Name in set-up files and in Python; its dotted name by default",
        required=False,
    )


class IScheduleDirective(Interface):
    """Have a schedule in every site of this process that has the add-on."""

    name = TextLine(title="Name", description="Identifies it in the site")
    function = GlobalObject(
        title="Function", description="Called with the context and the arguments"
    )
    cron = TextLine(
        title="Cron", description="Five fields, such as 30 2 * * *", required=False
    )
    every = Duration(
        title="Interval",
        description="Instead of cron: 90s, 15m, 2h, 1d",
        required=False,
    )
    timezone = TextLine(
        title="Time zone",
        description="In which cron is meant; by default that of the site",
        required=False,
    )
    user = TextLine(
        title="User",
        description="Id of the user as whom it runs; without one a manager has to "
        "choose",
        required=False,
    )
    title = MessageID(title="Title", description="In lists", required=False)
    context = TextLine(
        title="Context",
        description="Path from the site on; by default the site",
        required=False,
    )
    arguments = JSONObject(
        title="Arguments", description="By name, as a JSON object", required=False
    )
    grace = Duration(
        title="Grace", description="How late a firing counts as in time", required=False
    )
    overlap = TextLine(title="Overlap", description="skip, queue, both", required=False)
    missed = TextLine(title="Missed", description="skip, once, all", required=False)
    jitter = Duration(
        title="Jitter",
        description="Puts each firing off by a part of it",
        required=False,
    )
    keep = Int(title="Keep", description="Firings that are remembered", required=False)
    quota = TextLine(title="Quota", description="Of its jobs", required=False)
    active = Bool(title="Active", description="Whether it fires", required=False)
    layer = GlobalInterface(
        title="Layer",
        description="Browser layer of the sites that get it; by default all",
        required=False,
    )


@implementer(IScheduleDefinition)
class ScheduleDefinition:
    """See IScheduleDefinition. The fields have been checked."""

    def __init__(
        self, name: str, fields: Mapping[str, Any], layer: IInterface | None
    ) -> None:
        self.name = name
        self.fields = MappingProxyType(dict(fields))
        self.layer = layer


def schedulable_directive(
    _context: Any,
    function: Callable,
    title: Message | str,
    description: Message | str = "",
    name: str | None = None,
) -> None:
    """Handler of ``<clockwork:schedulable>``."""
    with _refused():
        arguments.check_function(function)
        name = functions.check_name(name or functions.readable_name(function))
    utility(
        _context,
        provides=ISchedulable,
        component=functions.Schedulable(function, title, description),
        name=name,
    )


def schedule_directive(
    _context: Any,
    name: str,
    function: Callable,
    layer: IInterface | None = None,
    **given: Any,
) -> None:
    """Handler of ``<clockwork:schedule>``."""
    with _refused():
        fields.check_name(name)
        arguments.check_function(function)
        checked = fields.check(given)
        timing.make(**{name: checked.get(name) for name in fields.TIMES})
    utility(
        _context,
        provides=IScheduleDefinition,
        component=ScheduleDefinition(name, {"function": function, **checked}, layer),
        name=name,
    )


@contextmanager
def _refused():
    """Let what a check raises be an error of the configuration, with its place."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from error
