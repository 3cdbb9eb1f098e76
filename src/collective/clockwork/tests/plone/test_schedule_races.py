"""A slot fires once, whoever raises, writes or is killed meanwhile."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork.engine import clock
from collective.clockwork.schedules import model
from collective.clockwork.schedules import outcomes
from collective.clockwork.schedules import scheduler
from collective.clockwork.schedules.interfaces import IScheduleFired
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone.schedulecase import HOUR
from collective.clockwork.tests.plone.schedulecase import NOON
from collective.clockwork.tests.plone.schedulecase import ScheduleTestCase
from plone.app.testing import TEST_USER_ID
from unittest import mock
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite

import threading
import transaction


class Killed(BaseException):
    """Ends a firing as a signal would."""


class TestKills(ScheduleTestCase):
    def kill_at_commit(self, *, done):
        """Have a worker end at its commit: before it, or when it is done."""
        commit = transaction.TransactionManager.commit

        def die(manager):
            if done:
                commit(manager)
            raise Killed

        self.look()
        self.pass_time(HOUR)
        with mock.patch.object(transaction.TransactionManager, "commit", die):
            with self.assertRaises(Killed):
                self.look()
        self.look(scheduler.Timekeeper(self.db))

    def test_a_slot_whose_worker_is_killed_before_its_commit_fires_elsewhere(self):
        schedule = self.add()
        self.kill_at_commit(done=False)
        self.assertEqual(["13:00:00"], self.slots(schedule))
        self.assertEqual(1, len(self.queued()))

    def test_a_slot_whose_worker_is_killed_after_its_commit_has_fired(self):
        schedule = self.add()
        self.kill_at_commit(done=True)
        self.assertEqual(["13:00:00"], self.slots(schedule))
        self.assertEqual(1, len(self.queued()))


class TestEvents(ScheduleTestCase):
    def test_subscribers_are_told_in_the_transaction_as_the_user_of_the_schedule(self):
        told = []

        def note(event):
            user = getSecurityManager().getUser().getId()
            told.append((event.name, event.slot, event.job.title, user))
            told.append("/".join(getSite().getPhysicalPath()))

        self.subscribe(note, IScheduleFired)
        self.add()
        self.after(HOUR)
        self.assertEqual(
            [("hourly", NOON + HOUR, "hourly", TEST_USER_ID), "/plone"], told
        )

    def test_a_subscriber_that_raises_does_not_stop_the_firing(self):
        def write_and_fail(event):
            getSite().title = "written"
            raise RuntimeError("as the test asked")

        self.subscribe(write_and_fail, IScheduleFired)
        schedule = self.add()
        with self.assertLogs("collective.clockwork", "ERROR") as logs:
            self.after(HOUR)
        self.assertIn("write_and_fail", logs.output[0])
        self.assertEqual([model.JOB], self.kinds(schedule))
        self.assertNotEqual("written", self.portal.title)
        self.assertEqual(1, len(self.queued()))

    def test_a_subscriber_that_dooms_the_transaction_does_not_stop_the_firing(self):
        def doom(event):
            transaction.doom()

        self.subscribe(doom, IScheduleFired)
        schedule = self.add()
        with self.assertLogs("collective.clockwork.schedules", "ERROR") as logs:
            self.after(HOUR)
        self.assertIn("doomed the transaction", logs.output[0])
        self.assertEqual([model.JOB], self.kinds(schedule))

    def test_a_subscriber_that_conflicts_has_the_firing_done_again(self):
        calls = []

        def conflict_once(event):
            calls.append(event.job)
            if len(calls) == 1:
                raise ConflictError()

        self.subscribe(conflict_once, IScheduleFired)
        schedule = self.add()
        self.after(HOUR)
        self.assertEqual(2, len(calls))
        self.assertEqual([model.JOB], self.kinds(schedule))
        self.assertEqual(1, len(self.queued()))

    def test_one_that_always_conflicts_is_tried_again_later(self):
        failing = [True]

        def conflict(event):
            if failing:
                raise ConflictError()

        self.subscribe(conflict, IScheduleFired)
        schedule = self.add()
        self.after(HOUR)
        self.assertEqual([], self.kinds(schedule))
        failing.clear()
        self.look()
        self.look()
        self.assertEqual(["13:00:00"], self.slots(schedule))


class TestTheVeryMoment(ScheduleTestCase):
    """Somebody else commits while a slot is being fired."""

    def meanwhile(self, function):
        """Have this done once, in another transaction, before the next firing's end."""
        left = [function]

        def do(event):
            if left:
                self.with_other_connection(left.pop())

        self.subscribe(do, IScheduleFired)

    def test_a_schedule_that_is_deactivated_does_not_fire(self):
        schedule = self.add()
        self.meanwhile(
            lambda all, app: all.of_site(app.plone)["hourly"].change(active=False)
        )
        self.after(HOUR)
        self.assertEqual([], self.kinds(schedule))
        self.assertEqual([], self.queued())

    def test_a_site_that_is_switched_off_does_not_fire(self):
        schedule = self.add()
        self.meanwhile(lambda all, app: all.of_site(app.plone).disable())
        self.after(HOUR)
        self.assertEqual([], self.kinds(schedule))
        self.assertEqual([], self.queued())

    def test_a_schedule_that_is_removed_does_not_fire(self):
        self.add()
        self.meanwhile(lambda all, app: all.of_site(app.plone).remove("hourly"))
        self.after(HOUR)
        self.assertEqual([], self.queued())

    def test_a_schedule_that_is_changed_fires_as_it_is_now(self):
        schedule = self.add()
        self.meanwhile(
            lambda all, app: all.of_site(app.plone)["hourly"].change(title="New")
        )
        self.after(HOUR)
        (job,) = self.jobs(schedule)
        self.assertEqual("New", job.title)
        self.assertEqual(1, len(self.queued()))

    def test_a_schedule_that_begins_anew_then_leaves_out_what_was_due(self):
        schedule = self.add()
        self.meanwhile(
            lambda all, app: all.of_site(app.plone)["hourly"].begin_anew(clock.now_us())
        )
        self.after(HOUR)
        self.assertEqual([], self.kinds(schedule))

    def test_two_workers_that_fire_the_same_slot_queue_one_job(self):
        schedule = self.add()
        other = scheduler.Timekeeper(self.db)
        failures = []

        def look():
            try:
                other.look()
            except Exception as error:
                failures.append(error)

        def fire_too(_all, _app):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join(30)

        self.look(other)
        self.meanwhile(fire_too)
        self.after(HOUR)
        self.assertEqual([], failures)
        self.assertEqual(["13:00:00"], self.slots(schedule))
        self.assertEqual(1, len(self.queued()))

    def test_firings_forgotten_at_that_moment_stay_forgotten(self):
        schedule = self.add(overlap="both")
        self.after(HOUR)
        drain()
        self.meanwhile(
            lambda all, app: outcomes.forget(all.of_site(app.plone)["hourly"].record)
        )
        self.after(HOUR)
        self.assertEqual(["14:00:00"], self.slots(schedule))
