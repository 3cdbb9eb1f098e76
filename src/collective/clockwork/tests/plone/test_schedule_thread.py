"""The thread that looks after schedules: what it reads, and what does not stop it."""

from __future__ import annotations

from Acquisition import aq_base
from collective.clockwork.engine import clock
from collective.clockwork.engine.commit import ClientDisconnected
from collective.clockwork.schedules import due
from collective.clockwork.schedules import model
from collective.clockwork.schedules import scheduler
from collective.clockwork.schedules.interfaces import IScheduleFired
from collective.clockwork.tests.plone import startupcase
from collective.clockwork.tests.plone.schedulecase import HOUR
from collective.clockwork.tests.plone.schedulecase import ScheduleTestCase
from collective.clockwork.tests.plone.schedulecase import us
from datetime import timedelta
from unittest import mock
from zope.component import getGlobalSiteManager

import sys
import transaction


SECOND = timedelta(seconds=1)


class Vanishing(model.Schedule):
    """A schedule whose class can be taken away."""


class VanishingSite(model.SiteSchedules):
    """Schedules whose class can be taken away."""


class TestReading(ScheduleTestCase):
    def loaded_schedules(self):
        """Names of the schedules that the last look has read."""
        connection = self.db.open(transaction.TransactionManager())
        try:
            return sorted(
                loaded.name
                for _oid, loaded in connection._cache.lru_items()
                if isinstance(loaded, model.Schedule)
            )
        finally:
            connection.close()

    def add_many(self, count):
        start = us(clock.now() - clock.EPOCH)
        for number in range(count):
            schedule = model.Schedule(
                f"s{number}",
                function="collective.clockwork.tests.plone.work:add_numbers",
                every=us(HOUR + number * SECOND),
                start=start,
                since=start,
                userfolder_path=self.portal.acl_users.getPhysicalPath(),
                user_id="test_user_1_",
            )
            self.schedules().add(schedule)
        transaction.commit()

    def test_of_a_thousand_schedules_a_look_reads_those_that_are_due(self):
        self.add_many(1000)
        self.look()
        self.db.cacheMinimize()
        self.pass_time(HOUR - SECOND)
        self.look()
        self.assertEqual(["s0"], self.loaded_schedules())

    def test_a_look_after_others_have_committed_reads_no_schedule(self):
        self.add_many(10)
        self.look()
        self.db.cacheMinimize()
        self.portal.title = "changed"
        transaction.commit()
        self.look()
        self.assertEqual([], self.loaded_schedules())

    def test_a_look_without_a_change_opens_no_connection(self):
        self.add_many(10)
        self.look()
        with mock.patch.object(self.db, "open", side_effect=AssertionError):
            self.assertEqual(scheduler.LONGEST_SLEEP, self.timekeeper.look())

    def test_the_sleep_ends_when_a_schedule_is_due(self):
        self.add(every=us(10 * SECOND))
        self.look()
        self.pass_time(8.8 * SECOND)
        self.assertLess(self.timekeeper.look(), 0.6)

    def test_the_worker_that_fired_last_is_the_first_at_the_next_slot(self):
        schedule = self.add()
        mine, other = self.timekeeper, scheduler.Timekeeper(self.db)
        self.look(mine)
        self.look(other)
        self.pass_time(HOUR)
        self.look(mine)
        self.look(other)
        slot = schedule.timing.next_after(schedule.record.fired_until)
        key = (schedule.site.key, "hourly")
        self.assertEqual(slot, mine._due[key])
        self.assertTrue(
            slot + scheduler.COURTESY[0]
            <= other._due[key]
            <= slot + scheduler.COURTESY[1]
        )

    def test_the_heap_does_not_grow_with_changes_and_firings(self):
        schedule = self.add(every=us(SECOND), overlap="both", keep=1)
        self.look()
        for number in range(20):
            schedule.change(title=f"Title {number}")
            transaction.commit()
            self.look()
        self.assertLess(len(self.timekeeper._heap), 5)

    def test_what_people_change_is_seen_at_the_next_look(self):
        schedule = self.add()
        self.look()
        schedule.change(cron="*/10 * * * *")
        self.add("second", cron="*/20 * * * *")
        self.schedules().remove("second")
        self.add("third", cron="*/30 * * * *")
        self.after(timedelta(minutes=30))
        self.assertEqual(["12:20:00", "12:30:00"], self.slots(schedule)[-2:])
        self.assertEqual(["12:30:00"], self.slots(self.schedules()["third"]))
        self.assertEqual(2, len(self.timekeeper._due))


class TestTrouble(ScheduleTestCase):
    def vanish(self, kind):
        """Have the class of some records not be found any more."""
        self.db.cacheMinimize()
        patch = mock.patch.object(sys.modules[__name__], kind.__name__, None)
        patch.start()
        self.addCleanup(patch.stop)
        delattr(sys.modules[__name__], kind.__name__)

    def test_a_schedule_that_cannot_be_read_does_not_stop_the_others(self):
        good = self.add("good")
        broken = Vanishing("broken", cron="0 * * * *")
        self.schedules().add(broken)
        transaction.commit()
        self.vanish(Vanishing)
        with self.assertLogs("collective.clockwork.schedules", "ERROR") as logs:
            for _hour in range(3):
                self.after(HOUR)
        self.assertEqual(1, len(logs.output), logs.output)
        self.assertIn("'broken'", logs.output[0])
        self.assertEqual("13:00:00", self.slots(good)[0])

    def test_the_schedules_of_a_site_that_cannot_be_read_do_not_stop_the_others(self):
        good = self.add("good")
        all_schedules = model.schedules_in(self.portal._p_jar)
        site = all_schedules._data["broken"] = VanishingSite("broken", ("", "x"), None)
        site.parent = all_schedules
        transaction.commit()
        self.vanish(VanishingSite)
        with self.assertLogs("collective.clockwork.schedules", "ERROR") as logs:
            self.after(HOUR)
        self.assertIn("The schedules of broken cannot be read", logs.output[0])
        self.assertEqual(["13:00:00"], self.slots(good))

    def test_a_time_zone_that_is_gone_stops_its_schedule_alone(self):
        good = self.add("good")
        lost = self.add("lost", timezone="US/Pacific-New")
        with self.assertLogs("collective.clockwork.schedules", "ERROR") as logs:
            for _hour in range(2):
                self.after(HOUR)
        self.assertEqual(1, len(logs.output))
        self.assertIn("US/Pacific-New", logs.output[0])
        self.assertEqual([], self.kinds(lost))
        self.assertEqual("13:00:00", self.slots(good)[0])
        lost.change(timezone="UTC")
        transaction.commit()
        self.after(HOUR)
        self.assertIn(model.JOB, self.kinds(lost))

    def test_an_error_of_one_schedule_is_tried_again_and_then_made_up_for(self):
        schedule = self.add()
        users = type(aq_base(self.portal.acl_users))
        with mock.patch.object(users, "getUserById", side_effect=OSError("LDAP")):
            with self.assertLogs("collective.clockwork.schedules", "ERROR") as logs:
                self.after(HOUR)
                self.after(timedelta(seconds=scheduler.RETRY_BROKEN / 1e6))
        self.assertEqual(1, len(logs.output))
        self.assertIn("LDAP", logs.output[0])
        self.assertEqual([], self.kinds(schedule))
        self.after(timedelta(seconds=scheduler.RETRY_BROKEN / 1e6))
        self.assertEqual(["13:00:00"], self.slots(schedule))

    def test_one_with_much_to_make_up_for_does_not_keep_others_waiting(self):
        fired = []
        self.subscribe(lambda event: fired.append(event.name), IScheduleFired)
        self.add("backlog", every=us(SECOND), missed="all", overlap="both")
        self.add("hourly")
        self.look()
        self.pass_time(HOUR)
        self.look()
        self.assertLess(fired.index("hourly"), 2 * due.AT_ONCE)
        self.assertEqual("backlog", fired[-1])
        self.assertLess(us(HOUR) // us(SECOND), len(fired))

    def test_what_wants_to_end_the_process_does_not_end_the_thread(self):
        def leave(event):
            raise SystemExit("as the test asked")

        self.subscribe(leave, IScheduleFired)
        schedule = self.add(grace=us(HOUR))
        with self.assertLogs("collective.clockwork.schedules", "ERROR") as logs:
            self.after(HOUR)
        self.assertIn("as the test asked", logs.output[0])
        getGlobalSiteManager().unregisterHandler(leave, [IScheduleFired])
        self.after(timedelta(seconds=scheduler.RETRY_BROKEN / 1e6))
        self.assertEqual(["13:00:00"], self.slots(schedule))

    def test_a_storage_that_is_away_while_firing_loses_no_slot(self):
        schedule = self.add()
        self.look()
        self.pass_time(HOUR)
        with mock.patch.object(
            scheduler.firing, "fire_due", side_effect=ClientDisconnected("away")
        ):
            with self.assertRaises(ClientDisconnected):
                self.look()
        self.look()
        self.assertEqual(["13:00:00"], self.slots(schedule))


class TestThread(ScheduleTestCase):
    def setUp(self):
        super().setUp()
        clock.freeze(None)
        self.addCleanup(scheduler.stop)

    def test_it_fires_in_a_thread_until_it_is_stopped(self):
        now = clock.now_us()
        schedule = self.add(every=us(SECOND), since=now, start=now, overlap="both")
        started = scheduler.start(self.db)
        self.assertIs(started, scheduler.start(self.db))
        self.wait_until(lambda: len(schedule.record.firings) >= 2)
        slots = [firing.slot for firing in schedule.record.firings]
        self.assertEqual(
            {us(SECOND)}, {b - a for a, b in zip(slots, slots[1:], strict=False)}
        )
        scheduler.stop()
        self.assertFalse(started.is_alive())
        again = scheduler.start(self.db)
        self.assertIsNot(started, again)
        self.assertTrue(again.is_alive())

    def test_a_schedule_that_is_added_later_is_noticed(self):
        scheduler.start(self.db)
        now = clock.now_us()
        schedule = self.add(every=us(SECOND), since=now, start=now)
        self.wait_until(lambda: schedule.record.firings)

    def test_an_error_does_not_end_the_thread(self):
        with mock.patch.object(scheduler, "PAUSE", 0.01):
            with mock.patch.object(
                model, "schedules_in", side_effect=SystemExit("as the test asked")
            ):
                name = "collective.clockwork.schedules"
                with self.assertLogs(name, "ERROR") as logs:
                    scheduler.start(self.db)
                    self.wait_until(lambda: len(logs.output) > 1)
            now = clock.now_us()
            schedule = self.add(every=us(SECOND), since=now, start=now)
            self.wait_until(lambda: schedule.record.firings)


class TestStartup(startupcase.StartupTestCase):
    def test_a_worker_looks_after_the_schedules_of_its_database(self):
        self.start("single_db_worker.zcml")
        (timekeeper,) = scheduler._running.values()
        self.assertTrue(timekeeper.is_alive())
        self.assertIs(self.db, timekeeper.database)
        scheduler.stop()
        self.assertFalse(timekeeper.is_alive())
        self.assertEqual({}, scheduler._running)

    def test_a_process_that_only_queues_does_not(self):
        self.start("single_db_instance.zcml")
        self.assertEqual({}, scheduler._running)

    def test_with_two_databases_it_is_that_of_the_queues(self):
        other = self.use_async_database()
        self.start("multi_db_worker.zcml")
        (timekeeper,) = scheduler._running.values()
        self.assertIs(other, timekeeper.database)
