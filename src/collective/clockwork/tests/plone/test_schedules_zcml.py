"""Schedules and functions that ZCML declares, and what of it is refused."""

from __future__ import annotations

from collective.clockwork.schedules.interfaces import ISchedulable
from collective.clockwork.schedules.interfaces import IScheduleDefinition
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.schedulerscase import SchedulersTestCase
from datetime import timedelta
from pathlib import Path
from plone.testing import zca
from tempfile import TemporaryDirectory
from zope.component import getUtilitiesFor
from zope.component import getUtility
from zope.configuration import xmlconfig
from zope.configuration.config import ConfigurationConflictError
from zope.configuration.exceptions import ConfigurationError
from zope.i18nmessageid import Message

import collective.clockwork.schedules
import unittest


WORK = "collective.clockwork.tests.plone.work"

ZCML = """<configure xmlns="http://namespaces.zope.org/zope"
    xmlns:clockwork="http://namespaces.plone.org/clockwork" i18n_domain="test">
{}
</configure>
"""


def load(text):
    """Load these directives; they are in line 3 and the following."""
    context = xmlconfig.file("meta.zcml", collective.clockwork.schedules)
    return xmlconfig.string(ZCML.format(text), context=context, name="site.zcml")


def schedule(name="nightly", function=f"{WORK}.note", **given):
    """The text of a directive."""
    attributes = {"name": name, "function": function, **given}
    shown = " ".join(f"{each}='{value}'" for each, value in attributes.items())
    return f"<clockwork:schedule {shown} />"


class DirectivesTestCase(unittest.TestCase):
    def setUp(self):
        zca.pushGlobalRegistry()
        self.addCleanup(zca.popGlobalRegistry)


class TestDirectives(DirectivesTestCase):
    def definition(self, **given):
        load(schedule(**given))
        return getUtility(IScheduleDefinition, "nightly")

    def test_a_schedule_is_declared(self):
        definition = self.definition(
            cron="30 2 * * *",
            timezone="Europe/Berlin",
            user="admin",
            title="Every night",
            context="news",
            arguments='{"word": "ä"}',
            grace="90s",
            overlap="queue",
            missed="all",
            jitter="2h",
            keep="3",
            quota="night",
            active="no",
            layer="collective.clockwork.interfaces.IClockworkLayer",
        )
        self.assertEqual("nightly", definition.name)
        self.assertEqual("IClockworkLayer", definition.layer.__name__)
        self.assertEqual(
            {
                "function": work.note,
                "cron": "30 2 * * *",
                "timezone": "Europe/Berlin",
                "user": "admin",
                "title": "Every night",
                "context": "news",
                "arguments": {"word": "ä"},
                "grace": timedelta(seconds=90),
                "overlap": "queue",
                "missed": "all",
                "jitter": timedelta(hours=2),
                "keep": 3,
                "quota": "night",
                "active": False,
            },
            dict(definition.fields),
        )

    def test_an_interval_needs_a_number_and_a_unit(self):
        for text, seconds in (
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("2 h", 7200),
            ("1d", 86400),
            ("1.5s", 1.5),
        ):
            with self.subTest(text=text):
                load(schedule(name=text, every=text))
                fields = getUtility(IScheduleDefinition, text).fields
                self.assertEqual(timedelta(seconds=seconds), fields["every"])

    def test_a_function_is_registered_under_its_dotted_name(self):
        load(
            f'<clockwork:schedulable function="{WORK}.note" title="Note"'
            ' description="Notes a word" />'
        )
        found = getUtility(ISchedulable, f"{WORK}.note")
        self.assertEqual(
            (work.note, "Note", "Notes a word"),
            (found.function, found.title, found.description),
        )
        self.assertIsInstance(found.title, Message)

    def test_or_under_another_one(self):
        load(f'<clockwork:schedulable name="x" function="{WORK}.note" title="Note" />')
        self.assertEqual(["x"], [name for name, _u in getUtilitiesFor(ISchedulable)])

    def test_two_of_a_name_conflict(self):
        with self.assertRaises(ConfigurationConflictError):
            load(schedule(every="1h") + schedule(every="2h"))

    def test_an_overriding_file_replaces_a_declaration(self):
        directory = Path(self.enterContext(TemporaryDirectory()))
        included = directory / "configure.zcml"
        included.write_text(ZCML.format(schedule(every="1h")), "utf-8")
        overriding = directory / "overrides.zcml"
        overriding.write_text(ZCML.format(schedule(every="2h")), "utf-8")
        load(f'<include file="{included}" /><includeOverrides file="{overriding}" />')
        fields = getUtility(IScheduleDefinition, "nightly").fields
        self.assertEqual(timedelta(hours=2), fields["every"])


class TestRefusals(DirectivesTestCase):
    def refused(self, text, *parts):
        with self.assertRaises(ConfigurationError) as caught:
            load(text)
        for part in ('File "site.zcml", line 3', *parts):
            self.assertIn(part, str(caught.exception))
        self.assertEqual([], list(getUtilitiesFor(IScheduleDefinition)))
        self.assertEqual([], list(getUtilitiesFor(ISchedulable)))

    def test_times(self):
        self.refused(schedule(), "Pass cron or every", "neither")
        self.refused(schedule(cron="0 0 * * *", every="1h"), "both")
        self.refused(schedule(cron="0 0 * *"), "'0 0 * *'", "five")
        self.refused(schedule(cron="61 0 * * *"), "'61 0 * * *'")
        self.refused(schedule(every="0s"), "1 second")
        self.refused(schedule(cron="0 0 * * *", timezone="Mars"), "'Mars'")

    def test_durations(self):
        for text in ("1w", "h", "-1s", "1h30m", "", "123456789"):
            with self.subTest(text=text):
                self.refused(schedule(every=text), f"{text!r} is no duration", "15m")
        self.refused(schedule(every="1h", grace="4000d"), "grace", "3650 days")

    def test_words_and_numbers(self):
        self.refused(schedule(every="1h", overlap="wait"), "'skip', 'queue', 'both'")
        self.refused(schedule(every="1h", missed="never"), "'skip', 'once', 'all'")
        self.refused(schedule(every="1h", keep="many"), "keep")
        self.refused(schedule(every="1h", keep="0"), "keep is 0")
        self.refused(schedule(every="1h", active="perhaps"), "active")
        self.refused(schedule(every="1h", arguments="word"), "is no JSON")
        self.refused(schedule(every="1h", arguments="[1]"), "no JSON object")
        self.refused(schedule(every="1h", arguments='{"a b": 1}'), "'a b'")

    def test_functions(self):
        self.refused(schedule(every="1h", function=f"{WORK}.gone"), "gone")
        self.refused(schedule(every="1h", function="os.sep"), "cannot be called")
        self.refused(
            '<clockwork:schedulable function="os.sep" title="Separator" />',
            "cannot be called",
        )
        self.refused(
            f'<clockwork:schedulable name="a:b" function="{WORK}.note" title="N" />',
            "no colon",
        )

    def test_names_and_what_is_unknown(self):
        self.refused(schedule(name="x" * 101, every="1h"), "100 printable")
        self.refused(schedule(every="1h", evry="2h"), "evry")


class TestLoaded(SchedulersTestCase):
    def test_the_ticks_can_be_scheduled(self):
        names = [info.name for info in self.scheduler.functions()]
        self.assertIn("collective.clockwork.ticks.send_tick", names)
        self.assertIn("collective.clockwork.ticks.send_monthly", names)
