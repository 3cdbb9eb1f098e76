"""A slot becomes a job, once, with a record of it."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork.engine import clock
from collective.clockwork.schedules import due
from collective.clockwork.schedules import firing
from collective.clockwork.schedules import model
from collective.clockwork.schedules import outcomes
from collective.clockwork.schedules import scheduler
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.schedulecase import A_MOMENT
from collective.clockwork.tests.plone.schedulecase import HOUR
from collective.clockwork.tests.plone.schedulecase import NOON
from collective.clockwork.tests.plone.schedulecase import ScheduleTestCase
from collective.clockwork.tests.plone.schedulecase import us
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from plone import api
from plone.app.testing import TEST_USER_ID
from plone.app.testing import TEST_USER_NAME
from zope.component.hooks import getSite
from zope.globalrequest import getRequest

import transaction


MINUTE = timedelta(minutes=1)


class TestJobs(ScheduleTestCase):
    def test_a_slot_becomes_a_job_of_the_schedule_user(self):
        schedule = self.add(
            title="Sums",
            quota="sums",
            context="folder",
        )
        self.service.getQueues()[""].quotas.create("sums", size=2)
        transaction.commit()
        self.after(HOUR)
        (job,) = self.jobs(schedule)
        self.assertEqual(TEST_USER_ID, job.user_id)
        self.assertEqual(("", "plone", "acl_users"), job.userfolder_path)
        self.assertEqual(("", "plone", "folder"), job.context_path)
        self.assertEqual("Sums", job.title)
        self.assertEqual(("sums",), tuple(job.quota_names))
        self.assertEqual(job.queued_at, job.begin_after)
        drain()
        info = self.outcome(schedule)
        self.assertEqual(("completed", "0"), (info.status, info.message))
        self.assertEqual(NOON + HOUR, info.slot)
        self.assertEqual(NOON + HOUR + 2 * timedelta(seconds=1), info.fired)
        self.assertIsNone(info.by)
        self.assertEqual(job.id, info.job_id)

    def test_arguments_are_passed_by_name(self):
        schedule = self.add(
            function=work.add_page,
            context="folder",
            arguments={"page_id": "page", "title": "A page"},
        )
        self.after(HOUR)
        drain()
        self.assertEqual("completed", self.outcome(schedule).status)
        self.assertEqual("A page", self.folder["page"].title)

    def test_nothing_fires_before_its_time_and_nothing_twice(self):
        schedule = self.add()
        self.look()
        self.assertEqual([], self.jobs(schedule))
        self.after(HOUR)
        for _time in range(3):
            self.look()
        self.assertEqual(["13:00:00"], self.slots(schedule))
        self.after(HOUR)
        self.assertEqual(["13:00:00", "14:00:00"], self.slots(schedule))

    def test_nothing_is_written_while_nothing_is_due(self):
        self.add()
        self.look()
        before = self.db.lastTransaction()
        for _time in range(5):
            self.look()
        self.assertEqual(before, self.db.lastTransaction())

    def test_the_thread_is_as_it_was_before(self):
        self.add()
        self.login_as_test_user()
        before = getSite(), getRequest(), getSecurityManager()
        self.after(HOUR)
        self.assertEqual(before, (getSite(), getRequest(), getSecurityManager()))

    def test_a_job_knows_the_address_at_which_the_schedule_was_made(self):
        schedule = self.add(
            language=None, virtual_url="https://www.example.org/intranet"
        )
        self.after(HOUR)
        (job,) = self.jobs(schedule)
        self.assertEqual("https://www.example.org/intranet", job.virtual_url)

    def test_jitter_puts_the_job_off(self):
        schedule = self.add(jitter=us(30 * MINUTE))
        self.after(HOUR)
        (job,) = self.jobs(schedule)
        slot = us(NOON + HOUR - clock.EPOCH)
        off = due.put_off(schedule.site.key, "hourly", slot, us(30 * MINUTE))
        self.assertEqual(NOON + HOUR + off * clock.MICROSECOND, job.begin_after)
        clock.freeze(job.begin_after - clock.MICROSECOND)
        drain()
        self.assertEqual("queued", self.outcome(schedule).status)
        clock.freeze(job.begin_after)
        drain()
        self.assertEqual("completed", self.outcome(schedule).status)

    def test_a_run_by_hand_changes_nothing_in_the_times(self):
        schedule = self.add()
        self.after(HOUR)
        until = schedule.record.fired_until
        self.login_as_site_owner()
        job = firing.queue_firing(schedule, by="admin")
        transaction.commit()
        self.assertEqual("admin", getSecurityManager().getUser().getId())
        self.assertEqual(TEST_USER_ID, job.user_id)
        info = self.outcome(schedule)
        self.assertEqual((None, "admin", "queued"), (info.slot, info.by, info.status))
        self.assertEqual(until, schedule.record.fired_until)

    def test_no_more_firings_are_remembered_than_asked_for(self):
        schedule = self.add(every=1_000_000, keep=3, overlap="both", missed="all")
        self.after(timedelta(seconds=250))
        self.look()
        self.look()
        self.assertEqual(3, len(schedule.record.firings))
        self.assertLess(250, len(self.queued()))
        self.assertEqual(
            0, schedule.timing.count(schedule.record.fired_until, clock.now_us(), 9)
        )


class TestDaylightSaving(ScheduleTestCase):
    def fired_over(self, day):
        """Look every ten minutes, from the noon before this day to the noon after."""
        clock.freeze(day - 12 * HOUR)
        start = clock.now_us()
        schedule = self.add(
            cron="30 2 * * *", timezone="Europe/Berlin", since=start, overlap="both"
        )
        for _look in range(48 * 6):
            self.pass_time(10 * MINUTE - A_MOMENT)
            self.look()
        return [info.slot.isoformat() for info in outcomes.firings(schedule)][::-1]

    def test_half_past_two_fires_once_on_the_day_that_has_none(self):
        day = datetime(2026, 3, 29, tzinfo=timezone.utc)
        fired = ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
        self.assertEqual(fired, self.fired_over(day))

    def test_half_past_two_fires_once_on_the_day_that_has_two(self):
        day = datetime(2026, 10, 25, tzinfo=timezone.utc)
        fired = ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
        self.assertEqual(fired, self.fired_over(day))


class TestMissed(ScheduleTestCase):
    def fire_late(self, missed):
        schedule = self.add(missed=missed, grace=us(MINUTE), overlap="both")
        self.after(3 * HOUR + 30 * MINUTE)
        return schedule

    def test_missed_firings_are_skipped(self):
        schedule = self.fire_late("skip")
        self.assertEqual([model.MISSED], self.kinds(schedule))
        info = self.outcome(schedule)
        self.assertEqual(("missed", NOON + 3 * HOUR), (info.status, info.slot))
        self.assertEqual(
            {"count": "3", "first": "2026-06-01 13:00:00"}, info.message.mapping
        )
        self.assertEqual([], self.queued())

    def test_missed_firings_are_made_up_for_once(self):
        schedule = self.fire_late("once")
        self.assertEqual([model.MISSED, model.JOB], self.kinds(schedule))
        self.assertEqual(["14:00:00", "15:00:00"], self.slots(schedule))

    def test_missed_firings_are_all_made_up_for(self):
        schedule = self.fire_late("all")
        self.assertEqual(["13:00:00", "14:00:00", "15:00:00"], self.slots(schedule))
        self.assertEqual(3, len(self.queued()))

    def test_those_that_are_all_made_up_for_are_not_skipped_but_run_one_by_one(self):
        schedule = self.add(missed="all", overlap="skip")
        self.after(3 * HOUR + 30 * MINUTE)
        self.assertEqual(["13:00:00", "14:00:00", "15:00:00"], self.slots(schedule))
        self.assertEqual([model.JOB] * 3, self.kinds(schedule))
        for job in self.jobs(schedule):
            self.assertIn(firing.own_quota(schedule), job.quota_names)
        self.after(30 * MINUTE)
        self.assertEqual(model.SKIPPED, self.kinds(schedule)[-1])
        drain()
        ended = [job.active_end for job in self.jobs(schedule)]
        self.assertEqual(sorted(ended), ended)

    def test_without_any_grace_a_firing_is_in_time_when_a_worker_looks(self):
        schedule = self.add(missed="skip", grace=0)
        self.look()
        self.pass_time(HOUR - 2 * A_MOMENT)
        self.look()
        self.assertEqual([], self.kinds(schedule))
        self.look()
        self.assertEqual([model.JOB], self.kinds(schedule))

    def test_nothing_is_made_up_for_from_before_a_change_or_a_pause(self):
        schedule = self.add(missed="all", overlap="both")
        self.look()
        self.pass_time(3 * HOUR)
        schedule.begin_anew(clock.now_us())
        transaction.commit()
        self.look()
        self.assertEqual([], self.kinds(schedule))
        self.schedules().disable()
        transaction.commit()
        self.after(3 * HOUR)
        self.schedules().enable(clock.now_us())
        transaction.commit()
        self.look()
        self.assertEqual([], self.kinds(schedule))
        self.after(HOUR)
        self.assertEqual(["19:00:00"], self.slots(schedule))

    def test_a_clock_that_was_put_back_fires_nothing_twice(self):
        schedule = self.add()
        self.after(HOUR)
        self.pass_time(-HOUR)
        self.look(scheduler.Timekeeper(self.db))
        for _time in range(4):
            self.after(20 * MINUTE)
        self.assertEqual(["13:00:00"], self.slots(schedule))


class TestOverlaps(ScheduleTestCase):
    def test_a_slot_is_skipped_while_the_last_job_is_not_finished(self):
        schedule = self.add(overlap="skip")
        for _time in range(3):
            self.after(HOUR)
        self.assertEqual([model.JOB, model.SKIPPED], self.kinds(schedule))
        info = self.outcome(schedule)
        self.assertEqual("skipped", info.status)
        self.assertEqual("2", info.message.mapping["count"])
        drain()
        self.after(HOUR)
        self.assertEqual([model.JOB, model.SKIPPED, model.JOB], self.kinds(schedule))

    def test_that_it_is_not_finished_is_known_also_when_its_firing_is_forgotten(self):
        schedule = self.add(overlap="skip", keep=1)
        for _time in range(4):
            self.after(HOUR)
            self.assertEqual(1, len(schedule.record.firings))
        self.assertEqual(1, len(self.queued()))
        drain()
        self.after(HOUR)
        self.assertEqual([model.JOB], self.kinds(schedule))

    def test_a_run_by_hand_that_is_not_finished_counts_too(self):
        schedule = self.add(overlap="skip", keep=1)
        self.login_as_site_owner()
        by_hand = firing.queue_firing(schedule, by="admin")
        transaction.commit()
        for _time in range(3):
            self.after(HOUR)
        self.assertEqual([by_hand], self.queued())

    def test_jobs_of_a_schedule_can_wait_for_each_other(self):
        schedule = self.add(overlap="queue")
        for _time in range(2):
            self.after(HOUR)
        one, two = self.jobs(schedule)
        own = firing.own_quota(schedule)
        self.assertEqual({"default", own}, set(one.quota_names))
        quotas = self.service.getQueues()[""].quotas
        self.assertEqual(1, quotas[own].size)
        firing.drop_own_quota(schedule)
        self.assertNotIn(own, quotas)

    def test_jobs_of_a_schedule_can_run_beside_each_other(self):
        schedule = self.add(overlap="both")
        for _time in range(2):
            self.after(HOUR)
        self.assertEqual(
            [("default",)] * 2, [tuple(job.quota_names) for job in self.jobs(schedule)]
        )


class TestRefused(ScheduleTestCase):
    def refused(self, schedule, text):
        with self.assertLogs("collective.clockwork.schedules", "ERROR") as logs:
            self.after(HOUR)
        self.assertEqual([model.REFUSED], self.kinds(schedule))
        info = self.outcome(schedule)
        self.assertEqual("refused", info.status)
        self.assertIn(text, info.message)
        (line,) = logs.output
        for part in (repr(schedule.name), "/plone", "2026-06-01 13:00:00", text):
            self.assertIn(part, line)
        with self.assertNoLogs("collective.clockwork.schedules", "ERROR"):
            self.after(HOUR)
        self.assertEqual(2, schedule.record.firings[-1].count)

    def goes_on(self, schedule):
        self.after(HOUR)
        self.assertEqual([model.REFUSED, model.JOB], self.kinds(schedule))

    def test_a_user_who_is_gone(self):
        schedule = self.add()
        source = self.portal.acl_users.source_users
        source.removeUser(TEST_USER_ID)
        transaction.commit()
        self.refused(schedule, f"User {TEST_USER_ID} not found")
        source.addUser(TEST_USER_ID, TEST_USER_NAME, "secret-again")
        transaction.commit()
        self.goes_on(schedule)

    def test_a_context_that_is_gone(self):
        schedule = self.add(context="attic")
        self.refused(schedule, "/plone/attic not found")
        with api.env.adopt_roles(["Manager"]):
            api.content.create(self.portal, "Folder", "attic")
        transaction.commit()
        self.goes_on(schedule)

    def test_a_context_that_was_moved_is_found_by_its_uid(self):
        schedule = self.add(context="folder", context_uid=self.folder.UID())
        with api.env.adopt_roles(["Manager"]):
            api.content.rename(self.folder, "cellar")
        transaction.commit()
        self.after(HOUR)
        (job,) = self.jobs(schedule)
        self.assertEqual(("", "plone", "cellar"), job.context_path)

    def test_a_function_that_cannot_be_imported(self):
        schedule = self.add()
        schedule.change(function="collective.clockwork.tests.plone.work:went_away")
        transaction.commit()
        self.refused(schedule, "went_away")
        schedule.change(function="collective.clockwork.tests.plone.work:add_numbers")
        transaction.commit()
        self.goes_on(schedule)

    def test_a_function_that_is_registered_no_more(self):
        self.refused(self.add_unregistered(), "an.addon.function")

    def add_unregistered(self):
        schedule = self.add()
        schedule.change(function="an.addon.function")
        transaction.commit()
        return schedule

    def test_a_quota_that_is_gone(self):
        schedule = self.add(quota="gone")
        self.refused(schedule, "has no such quota")
        self.service.getQueues()[""].quotas.create("gone")
        transaction.commit()
        self.goes_on(schedule)

    def test_by_hand_it_is_raised_and_nothing_is_recorded(self):
        schedule = self.add_unregistered()
        with self.assertRaisesRegex(ValueError, "an.addon.function"):
            firing.queue_firing(schedule, by="somebody")
        self.assertEqual((), schedule.record.firings)
