"""Tick events, their views and what happens when a subscriber fails."""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork import interfaces
from collective.clockwork import ticks
from collective.clockwork.interfaces import IIntervalTicks
from collective.clockwork.interfaces import IIntervalTicksGenericEvent
from collective.clockwork.interfaces import ITickEvent
from collective.clockwork.tests.plone.ticking import INTERVAL_TICKS
from collective.clockwork.tests.plone.ticking import subscribed
from collective.clockwork.tests.plone.ticking import TICKS_INTEGRATION
from collective.clockwork.tests.plone.ticking import VIEW_NAMES
from collective.clockwork.tests.plone.ticking import write_and_fail
from collective.clockwork.tests.plone.ticking import write_first
from collective.clockwork.tests.plone.ticking import write_last
from DateTime import DateTime
from functools import partial
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from transaction.interfaces import DoomedTransaction
from transaction.interfaces import TransactionError
from ZODB.POSException import ConflictError
from zope.component import getMultiAdapter
from zope.component.hooks import getSite
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject

import logging
import os
import subprocess
import sys
import transaction
import unittest
import zope.event


#: In a process of its own, because the level is read once.
LOG_A_TICK = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
logging.getLogger("collective.clockwork.ticks").setLevel("DEBUG")
from collective.clockwork import ticks
ticks.tick_logger(ticks.TickEvent("2026/11/21 05:00:00 UTC", 0))
"""


class EventTests(unittest.TestCase):
    def test_tick_event_has_both_names_of_its_moment_and_the_next_tick(self):
        event = ticks.TickEvent("2026/11/21 05:00:00 UTC", 0)

        verifyObject(ITickEvent, event)
        self.assertEqual(event.date_time, DateTime("2026/11/21 05:00:00 UTC"))
        self.assertEqual(event.last_tick, event.date_time)
        self.assertEqual(event.next_tick, DateTime(0))

    def test_interval_events_carry_their_context_and_are_generic(self):
        context = object()
        for _view, event_class, _method in INTERVAL_TICKS:
            event = event_class(context)
            own = getattr(interfaces, f"I{event_class.__name__}")
            verifyObject(own, event)
            self.assertTrue(IIntervalTicksGenericEvent.providedBy(event))
            self.assertIs(event.context, context)

    def test_interval_view_provides_its_interface(self):
        verifyClass(IIntervalTicks, ticks.IntervalTicksView)

    def test_tick_logger_logs_the_moment(self):
        with self.assertLogs(ticks.logger, "INFO") as logs:
            ticks.tick_logger(ticks.TickEvent("2026/11/21 05:00:00 UTC", 0))

        self.assertIn("2026-11-21", logs.output[0])


class LoggingLevelTests(unittest.TestCase):
    def test_default_is_info(self):
        self.assertEqual(ticks.logging_level({}), logging.INFO)
        self.assertEqual(ticks.logging_level({"TICK_LOGGER_LEVEL": ""}), logging.INFO)

    def test_all_names_are_taken_in_any_case(self):
        for name, level in (
            ("debug", logging.DEBUG),
            ("Info", logging.INFO),
            ("WARNING", logging.WARNING),
            ("warn", logging.WARNING),
            ("ERROR", logging.ERROR),
            ("critical", logging.CRITICAL),
            ("Fatal", logging.CRITICAL),
        ):
            with self.subTest(name):
                environ = {"TICK_LOGGER_LEVEL": name}
                self.assertEqual(ticks.logging_level(environ), level)

    def test_a_wrong_name_is_reported_and_info_is_used(self):
        with self.assertLogs(ticks.logger, "WARNING") as logs:
            level = ticks.logging_level({"TICK_LOGGER_LEVEL": "loud"})

        self.assertEqual(level, logging.INFO)
        self.assertIn("'loud'", logs.output[0])
        self.assertIn("DEBUG, INFO", logs.output[0])

    def test_it_is_taken_from_the_environment_and_a_wrong_one_stops_nothing(self):
        for name, expected in (
            ("debug", ["DEBUG"]),
            ("loud", ["WARNING", "INFO"]),
        ):
            environ = {**os.environ, "TICK_LOGGER_LEVEL": name}
            answer = subprocess.run(
                [sys.executable, "-c", LOG_A_TICK],
                env=environ,
                capture_output=True,
                text=True,
                check=True,
            )
            lines = answer.stdout.splitlines()
            self.assertEqual(expected, [line.split()[0] for line in lines])
            self.assertIn("tick at 2026-11-21", lines[-1])


class SubscriberTests(unittest.TestCase):
    layer = TICKS_INTEGRATION

    def setUp(self):
        self.portal = self.layer["portal"]
        self.request = self.layer["request"]
        setRoles(self.portal, TEST_USER_ID, ["Manager"])

    def tick(self):
        return getMultiAdapter((self.portal, self.request), name="tick")()

    def test_a_manager_can_traverse_and_call_every_view(self):
        self.assertEqual(self.portal.restrictedTraverse("@@tick")(), "OK")
        for name, _event, _method in INTERVAL_TICKS:
            answer = self.portal.restrictedTraverse(f"@@{name}")()
            self.assertRegex(answer, r"^done: \d{8}-\d\d:\d\d$")

    def test_without_roles_traversing_a_view_is_unauthorized(self):
        setRoles(self.portal, TEST_USER_ID, [])
        for name in VIEW_NAMES:
            with self.subTest(name), self.assertRaises(Unauthorized):
                self.portal.restrictedTraverse(f"@@{name}")

    def test_an_editor_may_not_tick(self):
        setRoles(self.portal, TEST_USER_ID, ["Member", "Editor", "Contributor"])
        for name in VIEW_NAMES:
            with self.subTest(name), self.assertRaises(Unauthorized):
                self.portal.restrictedTraverse(f"@@{name}")

    def test_a_manager_of_a_folder_may_tick_it_and_not_the_site(self):
        folder = api.content.create(self.portal, "Folder", "folder")
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        folder.manage_setLocalRoles(TEST_USER_ID, ["Manager"])
        events = []
        with subscribed(events.append):
            self.assertEqual(folder.restrictedTraverse("@@tick")(), "OK")
            with self.assertRaises(Unauthorized):
                self.portal.restrictedTraverse("@@tick")

        self.assertEqual(1, len(events))

    def test_the_first_tick_calls_the_handler_and_a_second_at_once_does_not(self):
        events = []
        view = self.portal.restrictedTraverse("@@tick")
        with subscribed(events.append):
            self.assertEqual(view(), "OK")
            self.assertEqual(view(), "OK")

        (event,) = events
        seconds = event.next_tick.timeTime() - event.date_time.timeTime()
        self.assertEqual(round(seconds, 3), 300)
        self.assertEqual(event.date_time, event.last_tick)
        self.assertEqual(view.getLastTick(), event.date_time)

    def test_each_call_of_an_interval_view_calls_its_handler(self):
        for name, event_class, _method in INTERVAL_TICKS:
            events, all_events = [], []
            own = getattr(interfaces, f"I{event_class.__name__}")
            view = self.portal.restrictedTraverse(f"@@{name}")
            generic = subscribed(all_events.append, to=IIntervalTicksGenericEvent)
            with subscribed(events.append, to=own), generic:
                view()
                view()

            self.assertEqual([type(event) for event in events], [event_class] * 2)
            self.assertEqual(all_events, events)
            self.assertEqual(events[0].context, self.portal)
            self.assertEqual(events[0].context.getPhysicalPath(), ("", "plone"))

    def test_interval_methods_send_the_event_of_their_name(self):
        view = ticks.IntervalTicksView(self.portal, self.request)
        for _name, event_class, method in INTERVAL_TICKS:
            events = []
            with subscribed(events.append, to=IIntervalTicksGenericEvent):
                getattr(view, method)()
            self.assertEqual([type(event) for event in events], [event_class])

    def test_ticks_are_logged(self):
        with self.assertLogs(ticks.logger, "INFO") as logs:
            self.tick()
            self.portal.restrictedTraverse("@@tick_daily")()

        self.assertRegex(logs.output[0], r"tick at \d{4}-\d\d-\d\d")
        self.assertIn("IntervalTicksDailyEvent on /plone", logs.output[1])

    def test_handlers_of_zope_event_itself_are_called_once(self):
        events = []
        zope.event.subscribers.append(events.append)
        self.addCleanup(zope.event.subscribers.remove, events.append)

        self.tick()

        self.assertEqual([type(event) for event in events], [ticks.TickEvent])

    def test_handlers_registered_in_the_site_are_called(self):
        self.portal.getSiteManager().registerHandler(record_site, (ITickEvent,))

        self.tick()

        self.assertEqual(self.portal.ticked_in, "plone")


def record_site(event):
    getSite().ticked_in = getSite().getId()


class FailingSubscriberTests(unittest.TestCase):
    layer = TICKS_INTEGRATION

    def setUp(self):
        self.portal = self.layer["portal"]
        self.view = ticks.TickTriggerView(self.portal, self.layer["request"])

    def test_it_is_logged_by_name_and_the_others_run_and_keep_their_writes(self):
        with (
            subscribed(write_first, write_and_fail, write_last),
            self.assertLogs(ticks.logger, "ERROR") as logs,
        ):
            self.assertEqual(self.view(), "OK")

        self.assertEqual(self.portal.first, "written")
        self.assertEqual(self.portal.last, "written")
        self.assertFalse(hasattr(self.portal, "broken"))
        self.assertIn("ticking.write_and_fail failed on TickEvent", logs.output[0])
        self.assertIn("RuntimeError: the printer is on fire", logs.output[0])

    def test_its_index_changes_are_rolled_back(self):
        def rename_and_fail(event):
            self.portal.title = "Renamed"
            self.portal.reindexObject(idxs=["Title"])
            raise RuntimeError

        title = self.portal.title
        with subscribed(rename_and_fail), self.assertLogs(ticks.logger, "ERROR"):
            self.view()

        self.assertEqual(self.portal.title, title)
        self.assertFalse(self.portal.portal_catalog(Title="Renamed"))

    def test_the_tick_counts_all_the_same(self):
        with subscribed(write_and_fail), self.assertLogs(ticks.logger, "ERROR"):
            self.view.tick()

        self.assertFalse(self.view.tick())

    def test_an_interval_tick_goes_on_too(self):
        view = ticks.IntervalTicksView(self.portal, self.layer["request"])
        with (
            subscribed(write_and_fail, write_last, to=IIntervalTicksGenericEvent),
            self.assertLogs(ticks.logger, "ERROR") as logs,
        ):
            self.assertRegex(view.hourly(), "^done: ")

        self.assertEqual(self.portal.last, "written")
        self.assertIn("failed on IntervalTicksHourlyEvent", logs.output[0])

    def test_methods_partials_and_callable_objects_are_named(self):
        class Callable:
            def __call__(self, event):
                raise RuntimeError

            def method(self, event):
                raise RuntimeError

        for handler, name in (
            (Callable(), "Callable failed"),
            (Callable().method, "Callable.method failed"),
            (partial(write_and_fail), "ticking.write_and_fail failed"),
        ):
            self.view.setLastTick(None)
            with (
                subscribed(handler),
                self.assertLogs(ticks.logger, "ERROR") as logs,
            ):
                self.view.tick()
            self.assertIn(name, logs.output[0])

    def test_a_conflict_is_for_the_publisher(self):
        def conflict(event):
            raise ConflictError

        with subscribed(conflict), self.assertRaises(ConflictError):
            self.view.tick()

    def test_a_doomed_transaction_is_an_error_that_names_the_subscriber(self):
        def doom(event):
            transaction.doom()

        with (
            subscribed(doom),
            self.assertRaisesRegex(DoomedTransaction, "doom doomed"),
        ):
            self.view.tick()

    def test_an_aborted_transaction_is_an_error_that_names_the_subscriber(self):
        def abort(event):
            transaction.abort()

        with (
            subscribed(abort),
            self.assertRaisesRegex(TransactionError, "abort aborted"),
        ):
            self.view.tick()
