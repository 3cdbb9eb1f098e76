"""What became of firings: read from their jobs, as long as the firing is remembered."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import tidy
from collective.clockwork.schedules import outcomes
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.schedulecase import HOUR
from collective.clockwork.tests.plone.schedulecase import NOON
from collective.clockwork.tests.plone.schedulecase import ScheduleTestCase
from datetime import timedelta
from ZODB.utils import load_current

import transaction


class TestOutcomes(ScheduleTestCase):
    def fired(self, function=work.add_numbers, **fields):
        schedule = self.add(function=function, **fields)
        self.after(HOUR)
        return schedule

    def test_a_firing_is_queued_until_its_job_ends(self):
        schedule = self.fired()
        info = self.outcome(schedule)
        self.assertEqual("queued", info.status)
        self.assertIsNone(info.began)
        self.assertIsNone(info.ended)
        drain()
        info = self.outcome(schedule)
        self.assertEqual(
            ("completed", "0", None), (info.status, info.message, info.traceback)
        )
        self.assertEqual(info.began, info.ended)
        self.assertEqual(clock.now(), info.ended)

    def test_a_failed_one_has_its_error_and_its_traceback(self):
        schedule = self.fired(work.fail)
        drain()
        info = self.outcome(schedule)
        self.assertEqual("failed", info.status)
        self.assertEqual("RuntimeError: as the test asked", info.message)
        self.assertIn("in fail", info.traceback)

    def test_a_cancelled_one_says_by_whom(self):
        schedule = self.fired()
        self.login_as_site_owner()
        self.service.cancelJob(self.outcome(schedule).job_id, reason="not today")
        drain()
        info = self.outcome(schedule)
        self.assertEqual("cancelled", info.status)
        self.assertEqual("admin: not today", info.message.mapping["details"])

    def test_moments_are_shown_in_the_zone_of_the_schedule(self):
        schedule = self.fired(timezone="Europe/Berlin")
        info = self.outcome(schedule)
        self.assertEqual("2026-06-01 15:00:00+02:00", str(info.slot))
        self.assertEqual("Europe/Berlin", str(info.fired.tzinfo))
        schedule.timezone = "US/Pacific-New"
        self.assertEqual("2026-06-01 13:00:00+00:00", str(self.outcome(schedule).slot))

    def test_firings_are_listed_newest_first(self):
        schedule = self.add(overlap="both")
        self.assertEqual([], outcomes.firings(schedule))
        self.assertIsNone(outcomes.last(schedule))
        for _hour in range(3):
            self.after(HOUR)
        slots = [info.slot for info in outcomes.firings(schedule)]
        self.assertEqual([NOON + n * HOUR for n in (3, 2, 1)], slots)

    def test_those_that_are_over_can_be_forgotten(self):
        schedule = self.add(overlap="both")
        self.after(HOUR)
        drain()
        self.after(HOUR)
        outcomes.forget(schedule.record)
        self.assertEqual(["14:00:00"], self.slots(schedule))
        until = schedule.record.fired_until
        drain()
        outcomes.forget(schedule.record)
        self.assertEqual((), schedule.record.firings)
        self.assertEqual((), schedule.record.pending)
        self.assertEqual(until, schedule.record.fired_until)

    def test_jobs_that_have_not_ended_are_not_remembered_without_end(self):
        schedule = self.add(every=1_000_000, overlap="both", missed="all", keep=1)
        self.after(timedelta(seconds=outcomes.MOST_PENDING + 5))
        self.assertEqual(outcomes.MOST_PENDING, len(schedule.record.pending))
        drain()
        self.after(timedelta(seconds=1))
        self.assertEqual(self.queued(), list(schedule.record.pending))


class TestRetention(ScheduleTestCase):
    """The queue drops the jobs, and its database, one of two, is packed."""

    def setUp(self):
        super().setUp()
        self.use_async_database()
        queue = self.service.getQueues()[""]
        queue.keep_result = queue.keep_failure = timedelta(minutes=5)
        transaction.commit()

    def let_go(self):
        """Have the queue drop its finished jobs, and the database what nobody has."""
        self.pass_time(30 * 24 * HOUR)
        for queue in self.service.getQueues().values():
            tidy.forget_old_jobs(queue, clock.now_us())
        drain()
        transaction.commit()
        self.db.pack()
        self.db.cacheMinimize()

    def finished(self):
        return [
            job
            for queue in self.service.getQueues().values()
            for agents in queue.dispatchers.values()
            for agent in agents.values()
            for job in agent.completed
        ]

    def test_status_message_traceback_and_log_outlive_the_retention(self):
        schedule = self.add(function=work.fail)
        self.after(HOUR)
        drain()
        before = self.outcome(schedule)
        oid = self.jobs(schedule)[0]._p_oid
        self.assertEqual(1, len(self.finished()))
        self.let_go()
        self.assertEqual([], self.finished())
        self.assertEqual(before, self.outcome(schedule))
        self.assertEqual("failed", before.status)
        self.assertIn("in fail", before.traceback)
        self.assertEqual(oid, self.jobs(schedule)[0]._p_oid)
        self.login_as_site_owner()
        info = self.service.getJobInfo(before.job_id)
        self.assertEqual(before.traceback, info.traceback)

    def test_it_outlives_the_worker_that_ran_it(self):
        schedule = self.add(function=work.report_quarter)
        self.after(HOUR)
        drain()
        before = self.outcome(schedule)
        queue = self.service.getQueues()[""]
        for agents in queue.dispatchers.values():
            if agents.activated:
                agents.deactivate(in_order=True)
        self.let_go()
        tidy.forget_gone_dispatchers(queue)
        self.assertEqual([], list(queue.dispatchers))
        transaction.commit()
        self.db.pack()
        self.db.cacheMinimize()
        self.assertEqual("completed", before.status)
        self.assertEqual(before, self.outcome(schedule))

    def test_what_a_schedule_keeps_does_not_grow(self):
        schedule = self.add(keep=5, missed="all")
        jobs, sizes = set(), []
        for _round in range(3):
            for _hour in range(10):
                self.after(HOUR)
                jobs.add(self.jobs(schedule)[-1]._p_oid)
                drain()
            self.let_go()
            self.look()
            drain()
            record = schedule.record
            self.assertEqual(5, len(record.firings))
            sizes.append(record._p_estimated_size)
        self.assertLess(max(sizes), min(sizes) + 50)
        # Of those that were forgotten some are still in the intake, eight at most.
        self.assertEqual(30, len(jobs))
        self.assertLess(len(list(filter(self.is_stored, jobs))), 5 + 8 + 1)

    def is_stored(self, oid):
        try:
            load_current(self.db.storage, oid)
        except KeyError:
            return False
        return True
