"""Add-ons that were written for collective.timedevents, and are not changed."""

from __future__ import annotations

from collective.clockwork import interfaces
from collective.clockwork import ticks
from collective.clockwork.tests.codeblocks import ROOT
from collective.clockwork.tests.plone.ticking import define_module
from collective.clockwork.tests.plone.ticking import HTTPTestCase
from collective.clockwork.tests.plone.ticking import tick_view
from collective.clockwork.tests.plone.ticking import VIEW_NAMES
from DateTime import DateTime
from plone.app.testing import FunctionalTesting
from plone.app.testing import PLONE_FIXTURE
from plone.app.testing import PloneSandboxLayer
from plone.testing import zca
from plone.testing.zope import STARTUP
from plone.testing.zope import WSGI_SERVER_FIXTURE
from zope.component import getMultiAdapter
from zope.component.hooks import getSite
from zope.configuration import xmlconfig
from zope.publisher.browser import TestRequest

import collective.timedevents.events
import collective.timedevents.intefaces
import collective.timedevents.interfaces
import collective.timedevents.views
import logging
import re
import sys
import transaction
import unittest


#: Of an add-on named oldproduct. It includes the package and knows nothing of ours.
OLD_ZCML = """
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:browser="http://namespaces.zope.org/browser"
    >
  <include package="collective.timedevents" />
  <subscriber
      for="collective.timedevents.intefaces.ITickEvent"
      handler="oldproduct.tickers.each_hour"
      />
  <subscriber
      for="collective.timedevents.intefaces.IIntervalTicks15Event"
      handler="oldproduct.tickers.quarter"
      />
  <subscriber
      for="collective.timedevents.interfaces.ITickEvent"
      handler="oldproduct.tickers.count"
      />
  <subscriber
      for="collective.timedevents.interfaces.IIntervalTicksGenericEvent"
      handler="oldproduct.tickers.note"
      />
  <browser:page
      name="own_tick"
      for="*"
      class="oldproduct.tickers.OwnTick"
      permission="cmf.ManagePortal"
      />
</configure>
"""

HOUR_IN_DAYS = 1.0 / 24


def each_hour(event):
    """Works once an hour, by the name of the moment that the old page has."""
    site = getSite()
    if event.last_tick > getattr(site, "worked", DateTime(0)) + HOUR_IN_DAYS:
        site.worked = event.last_tick


def count(event):
    site = getSite()
    site.count = getattr(site, "count", 0) + 1
    site.ahead = event.next_tick - event.date_time


def quarter(event):
    event.context.quarters = getattr(event.context, "quarters", 0) + 1


def note(event):
    names = getattr(event.context, "names", ())
    event.context.names = (*names, type(event).__name__)


class OwnTick(collective.timedevents.views.TickTriggerView):
    interval = 10


class OldAddOnLayer(PloneSandboxLayer):
    defaultBases = (PLONE_FIXTURE,)

    def setUpZope(self, app, configurationContext):
        define_module("oldproduct", __path__=[])
        handlers = {
            each.__name__: each for each in (each_hour, count, quarter, note, OwnTick)
        }
        define_module("oldproduct.tickers", **handlers)
        xmlconfig.string(OLD_ZCML, context=configurationContext)

    def tearDownZope(self, app):
        del sys.modules["oldproduct.tickers"], sys.modules["oldproduct"]


OLD_ADDON_HTTP = FunctionalTesting(
    bases=(OldAddOnLayer(), WSGI_SERVER_FIXTURE), name="Ticks:OldAddOn"
)


class TestOldAddOn(HTTPTestCase):
    layer = OLD_ADDON_HTTP

    def test_it_gets_the_ticks_it_has_subscribed_to_and_its_writes_are_stored(self):
        for name in (*VIEW_NAMES, "tick"):
            self.assertEqual(200, self.get(f"{self.site}/@@{name}").status_code)

        self.assertEqual(1, self.attribute("count"))
        self.assertEqual(self.last_tick(), self.attribute("worked"))
        self.assertEqual(300, round(self.attribute("ahead") * 86400))
        self.assertEqual(1, self.attribute("quarters"))
        names = ["15", "Hourly", "Daily", "Weekly", "Monthly"]
        events = tuple(f"IntervalTicks{name}Event" for name in names)
        self.assertEqual(events, self.attribute("names"))

    def test_it_works_again_when_its_hour_has_passed(self):
        portal = self.layer["portal"]
        start = DateTime() - 2 * HOUR_IN_DAYS
        for minutes_ago, expected in ((30, False), (61, True)):
            transaction.begin()
            portal.worked = worked = DateTime() - minutes_ago / 1440
            tick_view(portal).setLastTick(start)
            transaction.commit()
            self.get(f"{self.site}/@@tick")
            self.assertEqual(expected, self.attribute("worked") != worked)

    def test_a_view_that_it_made_of_ours_has_its_own_interval(self):
        tick_view(self.layer["portal"]).setLastTick(DateTime().timeTime() - 11)
        transaction.commit()

        self.get(f"{self.site}/@@tick")
        self.assertIsNone(self.attribute("count"))
        self.get(f"{self.site}/@@own_tick")
        self.assertEqual(1, self.attribute("count"))


class TestIncluded(unittest.TestCase):
    layer = STARTUP

    def load(self, *lines):
        zca.pushGlobalRegistry()
        self.addCleanup(zca.popGlobalRegistry)
        text = "\n".join(lines)
        xmlconfig.string(
            f'<configure xmlns="http://namespaces.zope.org/zope">{text}</configure>'
        )

    def assert_all_views(self):
        for name in VIEW_NAMES:
            view = getMultiAdapter((object(), TestRequest()), name=name)
            self.assertIsInstance(
                view, (ticks.TickTriggerView, ticks.IntervalTicksView)
            )

    def test_including_the_old_package_registers_the_views(self):
        self.load('<include package="collective.timedevents" />')
        self.assert_all_views()

    def test_both_packages_may_be_included_in_any_order(self):
        old = '<include package="collective.timedevents" />'
        ours = '<include package="collective.clockwork" file="ticks.zcml" />'
        for lines in ((old, ours, old), (ours, old)):
            self.load(*lines)
            self.assert_all_views()


class TestNames(unittest.TestCase):
    def test_the_interfaces_are_ours_under_both_spellings(self):
        names = [f"IIntervalTicks{each}Event" for each in ("15", "Hourly", "Daily")]
        names += [f"IIntervalTicks{each}Event" for each in ("Weekly", "Monthly")]
        names += ["ITickEvent", "IIntervalTicksGenericEvent", "IIntervalTicks"]
        for module in (
            collective.timedevents.interfaces,
            collective.timedevents.intefaces,
        ):
            self.assertEqual(sorted(names), sorted(module.__all__))
            for name in names:
                self.assertIs(getattr(interfaces, name), getattr(module, name))

    def test_events_and_views_are_ours(self):
        for module in (collective.timedevents.events, collective.timedevents.views):
            for name in set(module.__all__) - {
                "HAS_PROTECT",
                "client_id",
                "package_id",
            }:
                self.assertIs(getattr(ticks, name), getattr(module, name))

    def test_the_constants_of_the_views_have_their_values(self):
        views = collective.timedevents.views
        self.assertEqual("collective.timedevents", views.client_id)
        self.assertEqual("collective.timedevents", views.package_id)
        self.assertIs(True, views.HAS_PROTECT)

    def test_the_logger_is_the_documented_one(self):
        self.assertIs(
            logging.getLogger("collective.clockwork.ticks"),
            collective.timedevents.events.logger,
        )

    def test_the_table_about_porting_names_all_that_there_is(self):
        page = (ROOT / "docs" / "porting.rst").read_text()
        table = page.split("Coming from collective.timedevents")[1]
        for module in (
            collective.timedevents.events,
            collective.timedevents.interfaces,
            collective.timedevents.views,
        ):
            for name in module.__all__:
                self.assertRegex(table, rf"``{re.escape(name)}``")
