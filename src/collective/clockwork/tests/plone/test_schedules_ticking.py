"""With ticks enabled, the tick events of a site come from its schedules."""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork import ticks
from collective.clockwork.engine import clock
from collective.clockwork.interfaces import IIntervalTicksGenericEvent
from collective.clockwork.interfaces import ITickEvent
from collective.clockwork.schedules import scheduler
from collective.clockwork.schedules import ticking
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone.schedulerscase import ANNA
from collective.clockwork.tests.plone.schedulerscase import SchedulersTestCase
from collective.clockwork.ticktimes import TickTimes
from datetime import timedelta
from plone import api
from plone.app.testing import logout
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID

import time
import transaction


MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class TestEnabling(SchedulersTestCase):
    def test_six_schedules_are_made(self):
        self.assertFalse(ticking.is_enabled())
        ticking.enable()
        self.assertTrue(ticking.is_enabled())
        self.assertEqual(
            {
                "tick": (None, 5 * MINUTE, 5 * MINUTE, "skip"),
                "tick_fifteen": ("*/15 * * * *", None, 15 * MINUTE, "once"),
                "tick_hourly": ("0 * * * *", None, HOUR, "once"),
                "tick_daily": ("10 3 * * *", None, DAY, "once"),
                "tick_weekly": ("20 3 * * 1", None, 7 * DAY, "once"),
                "tick_monthly": ("30 3 1 * *", None, 28 * DAY, "once"),
            },
            {
                info.name: (info.cron, info.every, info.grace, info.missed)
                for info in self.scheduler.list()
            },
        )
        for info in self.scheduler.list():
            self.assertEqual(("clockwork-ticks", "skip"), (info.quota, info.overlap))
            self.assertEqual((TEST_USER_ID, None), (info.user, info.problem))
            self.assertIsNotNone(info.next)
        self.assertEqual(1, self.service.getQueues()[""].quotas["clockwork-ticks"].size)

    def test_each_sends_its_event(self):
        ticking.enable()
        happened = []
        for event in (ITickEvent, IIntervalTicksGenericEvent):
            self.handle(event, lambda event: happened.append(type(event).__name__))
        for name in ticking.FUNCTIONS:
            self.scheduler.run_now(name)
        drain()
        names = ("15", "Daily", "Hourly", "Monthly", "Weekly")
        expected = ["TickEvent", *(f"IntervalTicks{name}Event" for name in names)]
        self.assertEqual(sorted(expected), sorted(happened))

    def test_they_run_as_the_user_who_is_named(self):
        self.add_user(ANNA)
        ticking.enable(ANNA)
        self.assertEqual({ANNA}, {info.user for info in self.scheduler.list()})

    def test_disabled_they_stay_and_enabled_again_they_have_their_times(self):
        ticking.enable()
        self.scheduler.change("tick_daily", cron="0 6 * * *")
        self.scheduler.remove("tick_weekly")
        ticking.disable()
        self.assertFalse(ticking.is_enabled())
        self.assertEqual({False}, {info.active for info in self.scheduler.list()})
        ticking.enable()
        self.assertEqual({True}, {info.active for info in self.scheduler.list()})
        self.assertEqual("0 6 * * *", self.scheduler.get("tick_daily").cron)
        self.assertIsNotNone(self.scheduler.get("tick_weekly"))

    def test_a_second_time_changes_nothing(self):
        ticking.enable()
        self.told.clear()
        ticking.enable()
        ticking.disable()
        self.assertEqual(6, len(self.told))
        ticking.disable()
        self.assertEqual(6, len(self.told))

    def test_a_schedule_that_does_something_else_is_in_the_way(self):
        self.add("tick_daily")
        self.assert_refused(ValueError, "'tick_daily'", ticking.enable)
        self.assertEqual(["tick_daily"], self.names())
        ticking.disable()
        self.assertTrue(self.scheduler.get("tick_daily").active)
        self.assertFalse(ticking.is_enabled())

    def test_it_takes_the_permission_and_the_right_to_name_the_user(self):
        self.add_user(ANNA, "Member", "Manager")
        self.assert_refused(Unauthorized, "'anna'", ticking.enable, ANNA)
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        self.assert_refused(Unauthorized, "permission", ticking.enable)
        self.assert_refused(Unauthorized, "permission", ticking.disable)
        logout()
        self.assertFalse(ticking.is_enabled())


class TestInterval(SchedulersTestCase):
    def set_interval(self, seconds):
        api.portal.set_registry_record(ticks.INTERVAL_RECORD, seconds)

    def tick(self):
        return self.scheduler.get("tick")

    def test_it_is_that_of_the_site(self):
        self.set_interval(60)
        ticking.enable()
        self.assertEqual((MINUTE, MINUTE), (self.tick().every, self.tick().grace))

    def test_it_follows_the_record(self):
        ticking.enable()
        self.told.clear()
        self.set_interval(60)
        self.assertEqual((MINUTE, MINUTE), (self.tick().every, self.tick().grace))
        self.assertEqual(["tick"], [event.name for event in self.told])

    def test_with_0_it_ticks_each_second(self):
        ticking.enable()
        self.set_interval(0)
        self.assertEqual(timedelta(seconds=1), self.tick().every)

    def test_other_times_that_were_given_by_hand_are_kept(self):
        ticking.enable()
        self.scheduler.change("tick", every=HOUR)
        self.set_interval(60)
        self.assertEqual(HOUR, self.tick().every)

    def test_without_the_schedule_nothing_happens(self):
        self.set_interval(60)
        self.assertEqual([], self.names())
        self.add("tick", every=5 * MINUTE)
        self.set_interval(300)
        self.assertEqual(5 * MINUTE, self.tick().every)


class TestBesideAClockServer(SchedulersTestCase):
    """A clock-server calls the view; the schedule fires when the thread looks."""

    def setUp(self):
        super().setUp()
        self.events = []
        self.handle(ITickEvent, self.events.append)
        ticking.enable()
        for name in ticking.CRONS:
            self.scheduler.deactivate(name)
        transaction.commit()

    def fire(self):
        """Have the schedule's next slot come, and its job done."""
        self.addCleanup(clock.freeze, None)
        timekeeper = scheduler.Timekeeper(self.layer["zodbDB"])
        timekeeper.look()
        transaction.begin()
        before = len(self.scheduler.firings("tick"))
        clock.freeze(self.scheduler.get("tick").next + timedelta(seconds=1))
        timekeeper.look()
        transaction.begin()
        self.assertEqual(before + 1, len(self.scheduler.firings("tick")))
        drain()
        return self.scheduler.firings("tick")[0]

    def call_the_view(self):
        answer = self.portal.restrictedTraverse("@@tick")()
        transaction.commit()
        self.assertEqual("OK", answer)

    def let_the_interval_pass(self):
        """The last tick was so long ago."""
        times = TickTimes(self.portal)
        times.set(time.time() - 300, 300)
        transaction.commit()

    def test_together_they_send_one_event_in_an_interval(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.call_the_view()
        self.assertEqual("False", self.fire().message)
        self.assertEqual(1, len(self.events))
        self.let_the_interval_pass()
        self.assertEqual("True", self.fire().message)
        self.call_the_view()
        self.assertEqual(2, len(self.events))

    def test_the_schedule_alone_sends_one_in_each(self):
        self.assertEqual("True", self.fire().message)
        self.let_the_interval_pass()
        self.assertEqual("True", self.fire().message)
        self.assertEqual(2, len(self.events))
