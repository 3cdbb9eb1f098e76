"""The examples of docs/schedules.rst."""

from __future__ import annotations

from collective.clockwork.schedules import adoption
from collective.clockwork.schedules import functions
from collective.clockwork.schedules import scheduler
from collective.clockwork.schedules import ticking
from collective.clockwork.schedules.interfaces import ISchedulable
from collective.clockwork.schedules.interfaces import IScheduleDefinition
from collective.clockwork.testing import drain
from collective.clockwork.tests.codeblocks import Examples
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.codeblocks import ROOT
from collective.clockwork.tests.plone.schedulefiles import FilesTestCase
from contextlib import redirect_stdout
from datetime import timedelta
from io import StringIO
from plone import api
from plone.app.testing import TEST_USER_ID
from types import ModuleType
from unittest import mock
from zope.component import getGlobalSiteManager
from zope.component import getUtilitiesFor
from zope.component import queryUtility
from zope.configuration import config
from zope.configuration import xmlconfig

import os
import pytest
import re
import sys
import transaction


PATH = "docs/schedules.rst"

FUNCTION = "myproduct.tidy.remove_old_drafts"


def registered():
    """Interfaces and names of what our directives can register."""
    return {
        (interface, name)
        for interface in (ISchedulable, IScheduleDefinition)
        for name, _utility in getUtilitiesFor(interface)
    }


class TestExamples(FilesTestCase):
    def setUp(self):
        super().setUp()
        monkeypatch = pytest.MonkeyPatch()
        self.addCleanup(monkeypatch.undo)
        self.run_block = Examples(PATH, monkeypatch)
        tidy = ModuleType("myproduct.tidy")
        exec(self.run_block.blocks["tidy.py"], tidy.__dict__)
        product = ModuleType("myproduct")
        product.tidy = tidy
        monkeypatch.setitem(sys.modules, "myproduct", product)
        monkeypatch.setitem(sys.modules, "myproduct.tidy", tidy)
        self.function = tidy.remove_old_drafts
        with api.env.adopt_roles(["Manager"]):
            api.content.create(self.portal, "Folder", "news")

    def register_function(self):
        self.register(FUNCTION, self.function, "Remove old drafts")

    def load(self, name, *features):
        """Load a block of ZCML; what it registers is taken back after the test."""
        context = config.ConfigurationMachine()
        xmlconfig.registerCommonDirectives(context)
        for feature in features:
            context.provideFeature(feature)
        before = registered()
        block = self.run_block.blocks[name]
        # The package itself has been loaded by the layer.
        block = block.replace(
            'package="collective.clockwork"',
            'package="collective.clockwork.schedules" file="meta.zcml"',
        )
        xmlconfig.string(block, context=context)
        registry = getGlobalSiteManager()
        for interface, each in registered() - before:
            self.addCleanup(registry.unregisterUtility, None, interface, each)

    def test_a_function_is_registered_and_scheduled_in_python(self):
        self.load("schedulable.zcml")
        said = StringIO()
        with redirect_stdout(said):
            module = self.run_block("add.py")
        self.assertRegex(said.getvalue(), r"^20\d\d-.* 02:30:00\+0[12]:00 None\n$")
        drain()
        self.assertEqual("nothing in news is older than 14 days", module.job.result)
        info = self.scheduler.get("drafts")
        self.assertEqual((timedelta(hours=6), False), (info.every, info.active))

    def test_registered_in_python_it_is_the_same(self):
        functions.register(self.function, "Remove old drafts")
        names = [info.name for info in self.scheduler.functions()]
        self.assertIn(FUNCTION, names)

    def test_a_schedule_is_declared_in_zcml(self):
        self.load("schedule.zcml")
        adoption.adopt_in(self.portal)
        info = self.scheduler.get("drafts")
        self.assertEqual(("admin", {"days": 14}), (info.user, info.arguments))
        self.assertEqual((True, None), (info.active, info.problem))

    def test_a_profile_declares_schedules(self):
        self.register_function()
        self.import_text(self.run_block.blocks["schedules.xml"])
        info = self.scheduler.get("drafts")
        self.assertEqual(("news", {"days": 14}), (info.context, info.arguments))
        self.assertFalse(self.scheduler.get("checks").active)

    def test_ticks_are_enabled(self):
        self.add_user("ticker")
        self.run_block("ticks.py")
        self.assertTrue(ticking.is_enabled())
        self.assertEqual("ticker", self.scheduler.get("tick").user)

    def test_a_declaration_for_one_environment_alone(self):
        self.load("environments.zcml")
        self.assertIsNone(queryUtility(IScheduleDefinition, "newsletter"))
        self.load("environments.zcml", "production")
        self.assertIsNotNone(queryUtility(IScheduleDefinition, "newsletter"))

    def test_a_process_leaves_the_schedules_alone(self):
        self.addCleanup(scheduler.stop)
        with mock.patch.dict(os.environ, {"CLOCKWORK_SCHEDULES": "Off"}):
            with self.assertLogs("collective.clockwork.schedules", "WARNING") as log:
                self.assertIsNone(scheduler.start(self.layer["zodbDB"]))
        self.assertIn("No schedule fires in this process", log.output[0])
        with mock.patch.dict(os.environ, {"CLOCKWORK_SCHEDULES": "on"}):
            transaction.commit()
            self.assertTrue(scheduler.start(self.layer["zodbDB"]).is_alive())

    def test_crons_are_imported(self):
        self.register_function()
        self.filename, self.step = "crons.xml", "collective.clockwork.crons"
        self.import_text(self.run_block.blocks["crons.xml"])
        info = self.scheduler.get("drafts")
        self.assertEqual((FUNCTION, "*/30 * * * *"), (info.title, info.cron))
        self.assertEqual((True, TEST_USER_ID), (info.active, info.user))

    def test_there_are_no_other_examples(self):
        text = (ROOT / PATH).read_text("utf-8")
        self.assertEqual(text.count(".. code-block::"), len(named_blocks(PATH)))

    def test_the_defaults_are_those_of_the_table(self):
        info = self.scheduler.add("a", self.function, cron="0 0 * * *")
        text = (ROOT / PATH).read_text("utf-8")
        rows = dict(re.findall(r"^``(\w+)`` +.*; (\S.*)$", text, re.MULTILINE))
        self.assertEqual("five minutes", rows["grace"])
        self.assertEqual(timedelta(minutes=5), info.grace)
        self.assertEqual(rows["keep"], str(info.keep))
        self.assertEqual(rows["overlap"], f'``"{info.overlap}"``')
        self.assertEqual(rows["missed"], f'``"{info.missed}"``')
        self.assertIn(f"``{info.quota}``", rows["quota"])
        self.assertTrue(info.active)
