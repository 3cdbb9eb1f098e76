"""When `@@tick` fires: intervals, restarts, simultaneous calls."""

from __future__ import annotations

from collective.clockwork import ticks
from collective.clockwork.tests.plone.ticking import PATIENCE
from collective.clockwork.tests.plone.ticking import tick_view
from DateTime import DateTime
from datetime import timedelta
from OFS.Folder import Folder
from pathlib import Path
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from zope.publisher.browser import TestRequest

import tempfile
import threading
import transaction
import types
import unittest
import ZODB


class Database:
    """A FileStorage that can be closed and opened again, with two folders in it."""

    def __init__(self, folder):
        self.path = str(Path(folder) / "Data.fs")
        self.open()
        root = self.connection.root()
        root["site"], root["other"] = Folder("site"), Folder("other")
        transaction.commit()

    def open(self):
        self.db = ZODB.DB(FileStorage(self.path))
        self.connection = self.db.open()

    def close(self):
        transaction.abort()
        self.connection.close()
        self.db.close()

    def restart(self):
        self.close()
        self.open()

    def view(self, name="site", interval=300):
        return tick_view(self.connection.root()[name], interval)

    def records(self):
        return self.connection.root().get(ticks.ROOT_KEY, {})


class DatabaseTestCase(unittest.TestCase):
    """A database of its own, without Plone."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        transaction.abort()
        self.database = Database(folder.name)
        self.addCleanup(self.database.close)


class TimingTests(DatabaseTestCase):
    """The timing record."""

    def test_default_interval_is_the_promised_300_seconds(self):
        site = self.database.connection.root()["site"]
        view = ticks.TickTriggerView(site, TestRequest())
        self.assertEqual(view.getInterval(), 300)

    def test_first_call_fires_and_a_second_at_once_does_not(self):
        self.assertIsNone(self.database.view().getLastTick())
        self.assertTrue(self.database.view().tick())
        self.assertFalse(self.database.view().tick())

    def test_nine_tenths_of_the_interval_are_enough(self):
        view = self.database.view(interval=1000)

        view.setLastTick(DateTime().timeTime() - 880)
        self.assertFalse(view.tick())

        view.setLastTick(DateTime().timeTime() - 901)
        self.assertTrue(view.tick())

    def test_a_last_tick_in_the_future_counts_if_it_is_less_than_an_interval(self):
        view = self.database.view(interval=1000)

        view.setLastTick(DateTime().timeTime() + 900)
        self.assertFalse(view.tick())

        # The time was wrong, and has been put right.
        view.setLastTick(DateTime().timeTime() + 1100)
        with self.assertLogs(ticks.logger, "WARNING") as logs:
            self.assertTrue(view.tick())
        self.assertIn("lies in the future", logs.output[0])
        self.assertFalse(view.tick())

    def test_each_call_fires_with_no_or_a_negative_interval(self):
        for interval in (0, -10):
            view = self.database.view(interval=interval)
            self.assertEqual(view.getInterval(), 0)
            self.assertTrue(view.tick())
            self.assertTrue(view.tick())

    def test_an_interval_that_is_no_number_is_refused(self):
        view = self.database.view(interval="5 minutes")

        with self.assertRaisesRegex(ValueError, "'5 minutes'.*number of seconds"):
            view.tick()

    def test_a_changed_interval_counts_at_once(self):
        self.database.view(interval=10_000).setLastTick(DateTime().timeTime() - 100)

        self.assertFalse(self.database.view(interval=10_000).tick())
        self.assertTrue(self.database.view(interval=50).tick())

    def test_timing_survives_a_restart(self):
        view = self.database.view()
        view.tick()
        last = view.getLastTick()
        transaction.commit()

        self.database.restart()

        self.assertEqual(self.database.view().getLastTick(), last)
        self.assertFalse(self.database.view().tick())

    def test_a_tick_that_is_rolled_back_leaves_no_timing(self):
        self.database.view().tick()
        transaction.abort()

        self.assertTrue(self.database.view().tick())

    def test_a_call_that_does_not_fire_writes_nothing(self):
        self.database.view().tick()
        transaction.commit()
        size = self.database.db.storage.getSize()
        before = self.database.db.lastTransaction()

        for _call in range(3):
            self.assertFalse(self.database.view().tick())
            transaction.commit()

        self.assertEqual(self.database.db.lastTransaction(), before)
        self.assertEqual(self.database.db.storage.getSize(), size)

    def test_the_context_itself_is_not_written(self):
        site = self.database.connection.root()["site"]
        site._p_activate()
        before = site._p_serial

        self.database.view().tick()
        transaction.commit()
        self.database.restart()

        site = self.database.connection.root()["site"]
        site._p_activate()
        self.assertEqual(site._p_serial, before)

    def test_each_context_has_its_own_timing(self):
        self.assertTrue(self.database.view("site").tick())
        self.assertTrue(self.database.view("other").tick())
        self.assertFalse(self.database.view("other").tick())

    def test_objects_of_two_databases_have_the_same_oid_and_two_timers(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        other = Database(folder.name)
        self.addCleanup(other.close)
        sites = [each.connection.root()["site"] for each in (self.database, other)]
        self.assertEqual(sites[0]._p_oid, sites[1]._p_oid)

        self.assertTrue(tick_view(sites[0]).tick())
        self.assertTrue(tick_view(sites[1]).tick())
        self.assertEqual((1, 1), (len(self.database.records()), len(other.records())))

    def test_a_renamed_object_keeps_its_timing_and_a_copy_has_none(self):
        root = self.database.connection.root()
        self.database.view("site").tick()
        transaction.commit()

        root["renamed"] = root.pop("site")
        root["copy"] = root["renamed"]._getCopy(root["renamed"])
        transaction.commit()

        self.assertFalse(self.database.view("renamed").tick())
        self.assertTrue(self.database.view("copy").tick())

    def test_an_object_made_in_this_transaction_has_its_own_timing(self):
        site = self.database.connection.root()["site"]
        site._setObject("new", Folder("new"))
        self.database.view("site").tick()

        self.assertTrue(tick_view(site["new"]).tick())
        self.assertFalse(tick_view(site["new"]).tick())

    def test_an_object_that_is_not_stored_ticks_for_its_nearest_stored_parent(self):
        site = self.database.connection.root()["site"]
        page = types.SimpleNamespace(__parent__=site)

        self.assertTrue(tick_view(page).tick())
        self.assertFalse(tick_view(site).tick())

    def test_an_object_that_is_nowhere_stored_is_refused(self):
        view = tick_view(types.SimpleNamespace(name="lost"))

        self.assertIsNone(view.getLastTick())
        with self.assertRaisesRegex(ValueError, "lost.*Call @@tick on a site"):
            view.tick()

    def test_set_last_tick_takes_what_date_time_takes_and_none_forgets(self):
        view = self.database.view()

        view.setLastTick("2026/11/21 05:00:00 UTC")
        self.assertEqual(view.getLastTick(), DateTime("2026/11/21 05:00:00 UTC"))

        view.setLastTick(None)
        self.assertIsNone(view.getLastTick())
        self.assertTrue(view.tick())

    def test_a_subclass_without_a_usable_last_tick_fires(self):
        class Forgetful(ticks.TickTriggerView):
            def getLastTick(self):
                return "never"

        site = self.database.connection.root()["site"]
        self.assertTrue(Forgetful(site, TestRequest()).tick())
        self.assertTrue(Forgetful(site, TestRequest()).tick())

    def test_next_tick_is_the_last_one_plus_the_interval(self):
        view = self.database.view(interval=90)
        view.setLastTick("2026/11/21 05:00:00 UTC")

        def estimate(*args, **kwargs):
            return view.getNextTickEstimation(*args, **kwargs).toZone("UTC").Time()

        self.assertEqual(estimate(), "05:01:30")
        self.assertEqual(estimate(interval=0), "05:00:00")
        self.assertEqual(estimate(DateTime("2026/11/21 06:00:00 UTC")), "06:01:30")
        self.assertEqual(estimate("2026/11/21 23:59:00 UTC", 120), "00:01:00")

    def test_next_tick_counts_from_now_without_a_last_one(self):
        before = DateTime()
        estimate = self.database.view(interval=3600).getNextTickEstimation()
        after = DateTime()

        self.assertGreaterEqual(estimate, before + 1 / 24)
        self.assertLessEqual(estimate, after + 1 / 24)

    def test_tick_data_shows_interval_and_last_tick(self):
        view = self.database.view(interval=90)
        view.setLastTick(1_000_000)

        self.assertEqual(
            dict(view.getTickData()),
            {"interval": 90, "last_tick": DateTime(1_000_000)},
        )

    def test_long_unused_records_go_when_a_new_one_comes(self):
        month = ticks.FORGET_AFTER.total_seconds()
        now = DateTime().timeTime()
        self.database.view("site", interval=60).setLastTick(now - month - 120)
        self.assertEqual(len(self.database.records()), 1)

        self.database.view("other").tick()

        self.assertIsNone(self.database.view("site").getLastTick())
        self.assertEqual(len(self.database.records()), 1)

    def test_a_record_within_its_interval_stays(self):
        year = timedelta(days=365).total_seconds()
        last = DateTime().timeTime() - year / 2
        self.database.view("site", interval=year).setLastTick(last)

        self.database.view("other").tick()

        self.assertEqual(len(self.database.records()), 2)

    def test_records_are_plain_values_readable_without_this_package(self):
        self.database.view().tick()
        transaction.commit()

        (record,) = self.database.records().values()
        self.assertEqual(type(record), tuple)
        self.assertEqual([type(value) for value in record], [float, int])
        self.assertEqual(type(self.database.records()).__module__, "BTrees.OOBTree")


#: Outcomes, sorted, of two ticks of one object.
ONCE = ["conflict, then not due", "fired"]


class SimultaneousTickTests(DatabaseTestCase):
    """Two transactions, each in its thread, both begun before the other's commit."""

    def outcomes(self, *names):
        """What became of a tick on each of the named objects, in one moment."""
        together = threading.Barrier(len(names), timeout=PATIENCE)
        outcomes = []

        def tick(name):
            connection = self.database.db.open()
            view = tick_view(connection.root()[name])
            fired = view.tick()
            together.wait()
            try:
                transaction.commit()
                outcomes.append("fired" if fired else "not due")
            except ConflictError:
                transaction.abort()
                repeated = "fired" if view.tick() else "not due"
                outcomes.append(f"conflict, then {repeated}")
            finally:
                transaction.abort()
                connection.close()

        threads = [threading.Thread(target=tick, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        return sorted(outcomes)

    def test_two_first_ticks_of_one_object_fire_once(self):
        self.assertEqual(
            self.outcomes("site", "site"), ["conflict, then not due", "fired"]
        )

    def test_two_later_ticks_of_one_object_fire_once(self):
        self.database.view().setLastTick(DateTime() - 1 / 24)
        transaction.commit()

        self.assertEqual(
            self.outcomes("site", "site"), ["conflict, then not due", "fired"]
        )

    def test_ticks_of_two_objects_do_not_conflict(self):
        an_hour_ago = DateTime() - 1 / 24
        self.database.view("site").setLastTick(an_hour_ago)
        self.database.view("other").setLastTick(an_hour_ago)
        transaction.commit()

        self.assertEqual(self.outcomes("site", "other"), ["fired", "fired"])
