"""The functions that send tick events as jobs, for schedules."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork import interfaces
from collective.clockwork import ticks
from collective.clockwork.interfaces import IIntervalTicksGenericEvent
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from collective.clockwork.tests.plone.ticking import subscribed
from collective.clockwork.tests.plone.ticking import tick_view
from collective.clockwork.tests.plone.ticking import write_and_fail
from collective.clockwork.tests.plone.ticking import write_first
from collective.clockwork.tests.plone.ticking import write_last
from DateTime import DateTime
from plone.app.testing import TEST_USER_ID
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager
from zope.component import provideAdapter
from zope.component.hooks import getSite
from zope.interface import Interface
from zope.publisher.interfaces.browser import IDefaultBrowserLayer

import transaction


#: Function, event
NAMED = [
    (ticks.send_fifteen, "IIntervalTicks15Event"),
    (ticks.send_hourly, "IIntervalTicksHourlyEvent"),
    (ticks.send_daily, "IIntervalTicksDailyEvent"),
    (ticks.send_weekly, "IIntervalTicksWeeklyEvent"),
    (ticks.send_monthly, "IIntervalTicksMonthlyEvent"),
]


class TestTickJobs(ServiceTestCase):
    def run_job(self, function, context=None):
        job = self.service.queueJob(function, context or self.portal)
        drain()
        return job

    def test_a_tick_is_sent_in_the_site_as_the_user_of_the_job(self):
        seen = []

        def see(event):
            user = getSecurityManager().getUser().getId()
            seen.append((type(event), getSite().getPhysicalPath(), user))

        with subscribed(see):
            job = self.run_job(ticks.send_tick)

        self.assertEqual([(ticks.TickEvent, ("", "plone"), TEST_USER_ID)], seen)
        self.assertIs(True, job.result)

    def test_what_subscribers_write_and_the_moment_are_stored_with_the_job(self):
        with subscribed(write_first):
            self.run_job(ticks.send_tick)

        self.assertEqual("written", self.portal.first)
        self.assertIsNotNone(tick_view(self.portal).getLastTick())

    def test_a_tick_that_is_not_due_sends_nothing_and_says_so(self):
        tick_view(self.portal).setLastTick(DateTime())
        events = []
        with subscribed(events.append):
            job = self.run_job(ticks.send_tick)

        self.assertEqual([], events)
        self.assertIs(False, job.result)

    def test_a_tick_that_a_schedule_sent_is_not_sent_by_a_clock_server_again(self):
        events = []
        with subscribed(events.append):
            self.run_job(ticks.send_tick)
            self.assertFalse(tick_view(self.portal).tick())

        self.assertEqual(1, len(events))

    def test_a_view_that_the_site_has_in_its_place_is_used(self):
        class EachTime(ticks.TickTriggerView):
            interval = 0

        own = (Interface, IDefaultBrowserLayer)
        registry = getGlobalSiteManager()
        before = registry.adapters.lookup(own, Interface, "tick")
        provideAdapter(EachTime, own, Interface, "tick")
        self.addCleanup(provideAdapter, before, own, Interface, "tick")

        self.run_job(ticks.send_tick)
        self.assertIs(True, self.run_job(ticks.send_tick).result)

    def test_each_named_tick_sends_its_event_each_time_with_its_context(self):
        for function, name in NAMED:
            contexts, generic = [], []

            def note(event, contexts=contexts):
                contexts.append(event.context.getPhysicalPath())

            with (
                subscribed(note, to=getattr(interfaces, name)),
                subscribed(generic.append, to=IIntervalTicksGenericEvent),
            ):
                self.run_job(function)
                job = self.run_job(function)

            self.assertEqual([("", "plone")] * 2, contexts)
            self.assertEqual(
                [f"I{type(event).__name__}" for event in generic], [name] * 2
            )
            self.assertIsNone(job.result)

    def test_they_are_logged(self):
        with self.assertLogs(ticks.logger, "INFO") as logs:
            self.run_job(ticks.send_tick)
            self.run_job(ticks.send_daily)

        self.assertRegex(logs.output[0], r"tick at \d{4}-\d\d-\d\d")
        self.assertIn("IntervalTicksDailyEvent on /plone", logs.output[1])

    def test_a_subscriber_that_fails_is_logged_and_the_others_run(self):
        for function, event in (
            (ticks.send_tick, interfaces.ITickEvent),
            (ticks.send_hourly, IIntervalTicksGenericEvent),
        ):
            with (
                subscribed(write_first, write_and_fail, write_last, to=event),
                self.assertLogs(ticks.logger, "ERROR") as logs,
            ):
                job = self.run_job(function)

            self.assertIn("ticking.write_and_fail failed", logs.output[0])
            self.assertEqual("completed-status", job.status)
            self.assertEqual(
                ("written", "written"), (self.portal.first, self.portal.last)
            )
            self.assertFalse(hasattr(self.portal, "broken"))

    def test_a_conflict_of_a_subscriber_repeats_the_job(self):
        attempts = []

        def conflict_once(event):
            attempts.append(event)
            if len(attempts) == 1:
                raise ConflictError

        with subscribed(write_first, conflict_once):
            job = self.run_job(ticks.send_tick)

        self.assertIs(True, job.result)
        self.assertEqual(2, len(attempts))
        self.assertEqual("written", self.portal.first)

    def test_a_subscriber_that_dooms_the_transaction_fails_the_job(self):
        def doom(event):
            transaction.doom()

        with subscribed(write_first, doom):
            job = self.run_job(ticks.send_tick)

        self.assertIn("doom doomed the transaction", str(job.result))
        self.assertFalse(hasattr(self.portal, "first"))
        self.assertIsNone(tick_view(self.portal).getLastTick())
