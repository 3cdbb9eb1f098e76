"""The interval of ``@@tick``, as a site's registry has it."""

from __future__ import annotations

from collective.clockwork import ticks
from collective.clockwork.interfaces import ITickSettings
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.ticking import subscribed
from collective.clockwork.tests.plone.ticking import TICKS_INTEGRATION
from DateTime import DateTime
from plone import api
from plone.app.registry.exportimport.handler import RegistryImporter
from plone.app.testing import applyProfile
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from plone.base.utils import get_installer
from plone.registry.interfaces import IRegistry
from Products.GenericSetup.tests.common import DummyImportContext
from zope.component import getUtility
from zope.component.hooks import setSite
from zope.publisher.browser import TestRequest
from zope.schema.interfaces import TooBig
from zope.schema.interfaces import TooSmall
from zope.schema.interfaces import WrongType

import transaction
import types
import unittest


NAME = "collective.clockwork.tick_interval"


class IntervalTestCase(unittest.TestCase):
    layer = COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING

    def setUp(self):
        self.portal = self.layer["portal"]
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.registry = getUtility(IRegistry)

    def view(self, context=None):
        return ticks.TickTriggerView(context or self.portal, TestRequest())


class TestInterval(IntervalTestCase):
    def test_installing_makes_a_record_with_the_promised_300_seconds(self):
        self.assertEqual(300, self.registry[NAME])
        self.assertIs(ITickSettings, self.registry.records[NAME].interface)
        self.assertEqual(300, ticks.tick_interval(self.portal))

    def test_a_changed_record_counts_for_the_next_tick(self):
        self.registry[NAME] = 60
        events = []
        with subscribed(events.append):
            self.view().setLastTick(DateTime().timeTime() - 61)
            self.assertTrue(self.view().tick())
            self.registry[NAME] = 120
            self.view().setLastTick(DateTime().timeTime() - 61)
            self.assertFalse(self.view().tick())

        (event,) = events
        seconds = event.next_tick.timeTime() - event.date_time.timeTime()
        self.assertEqual(60, round(seconds))

    def test_with_0_each_call_fires(self):
        self.registry[NAME] = 0
        self.assertTrue(self.view().tick())
        self.assertTrue(self.view().tick())

    def test_it_holds_for_all_that_is_in_the_site(self):
        self.registry[NAME] = 60
        folder = api.content.create(self.portal, "Folder", "folder")
        page = types.SimpleNamespace(__parent__=folder)

        for context in (folder, page):
            self.assertEqual(60, self.view(context).getInterval())

    def test_the_site_of_the_context_decides_and_not_the_current_one(self):
        self.registry[NAME] = 60
        setSite(None)
        self.addCleanup(setSite, self.portal)

        self.assertEqual(60, ticks.tick_interval(self.portal))

    def test_the_zope_root_has_300_seconds(self):
        self.registry[NAME] = 60

        self.assertEqual(300, ticks.tick_interval(self.layer["app"]))

    def test_what_is_no_interval_is_refused_before_it_is_stored(self):
        for value, error in (
            (-1, TooSmall),
            (367 * 86400, TooBig),
            ("5 minutes", WrongType),
        ):
            with self.subTest(value), self.assertRaises(error):
                self.registry[NAME] = value
        self.assertEqual(300, self.registry[NAME])

    def test_an_empty_record_counts_as_none(self):
        self.registry[NAME] = None

        self.assertEqual(300, ticks.tick_interval(self.portal))

    def test_an_interval_in_code_goes_before_the_record(self):
        class MinuteTick(ticks.TickTriggerView):
            interval = 60

        self.registry[NAME] = 120
        view = MinuteTick(self.portal, TestRequest())
        self.assertEqual(60, view.getInterval())

        view = self.view()
        view.interval = 90
        self.assertEqual(90, view.getInterval())

    def test_the_view_has_it_as_an_attribute(self):
        self.registry[NAME] = 60

        self.assertEqual(60, self.view().interval)
        self.assertEqual(60, self.view().getTickData()["interval"])

    def test_installing_again_keeps_what_the_site_has_set(self):
        self.registry[NAME] = 60
        applyProfile(self.portal, "collective.clockwork:default")

        self.assertEqual(60, ticks.tick_interval(self.portal))

    def test_uninstalling_removes_the_record_and_300_seconds_hold(self):
        self.registry[NAME] = 60
        installer = get_installer(self.portal, self.layer["request"])
        installer.uninstall_product("collective.clockwork")

        self.assertNotIn(NAME, self.registry.records)
        self.assertEqual(300, ticks.tick_interval(self.portal))


class TestDocumentation(IntervalTestCase):
    def test_both_examples_set_the_record(self):
        blocks = named_blocks("docs/ticks.rst")
        policy = DummyImportContext(self.portal, purge=False)
        importer = RegistryImporter(self.registry, policy)

        importer.importDocument(blocks["registry.xml"])
        self.assertEqual(60, ticks.tick_interval(self.portal))

        exec(blocks["interval.py"], {})
        self.assertEqual(90, ticks.tick_interval(self.portal))


class TestTwoSites(unittest.TestCase):
    layer = COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING

    def test_each_has_its_own(self):
        portal, app = self.layer["portal"], self.layer["app"]
        setRoles(portal, TEST_USER_ID, ["Manager"])
        getUtility(IRegistry)[NAME] = 60
        other = add_site(app, "other")
        self.addCleanup(setSite, portal)
        getUtility(IRegistry)[NAME] = 900
        transaction.commit()

        self.assertEqual(60, ticks.tick_interval(portal))
        self.assertEqual(900, ticks.tick_interval(other))


class TestWithoutOurProfile(unittest.TestCase):
    layer = TICKS_INTEGRATION

    def test_300_seconds_hold(self):
        portal = self.layer["portal"]

        self.assertNotIn(NAME, getUtility(IRegistry).records)
        self.assertEqual(300, ticks.tick_interval(portal))
