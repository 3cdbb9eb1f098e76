"""Schedules with a real ZEO server and several workers, some of which are killed."""

from __future__ import annotations

from collective.clockwork.tests.acceptance import test_stack
from sandbox import ports
from sandbox.people import ROOT_USER
from sandbox.stack import Stack
from sandbox.visitor import Visitor

import pytest
import time


ADDON = "collective.clockwork.tests.acceptance.scheduleaddon"


class ScheduleStackTestCase(test_stack.StackTestCase):
    two_databases = False

    @classmethod
    def start_stack(cls):
        cls.stack = Stack(
            cls.var,
            http_port=ports.any_free(),
            packages=(ADDON,),
            two_databases=cls.two_databases,
        )
        cls.stack.start()

    def add(self, name, every, missed, grace=1, visitor=None):
        (visitor or self.admin).json(
            "@@add-schedule", name=name, every=every, missed=missed, grace=grace
        )

    def fired(self, name, visitor=None):
        return (visitor or self.admin).json("@@fired.json", name=name)

    def slots(self, name):
        return [slot for slot, _times in self.fired(name)["slots"]]

    def wait_for_slots(self, name, count):
        """Wait until so many more slots have fired."""
        wanted = len(self.slots(name)) + count
        self.wait_until(lambda: len(self.slots(name)) >= wanted)

    def stop_schedule(self, name):
        self.admin.json("@@stop-schedule", name=name)

    def check_each_slot_fired_once(self, name, every=1):
        """None was left out, none fired twice, and each had one job, done once."""
        self.stop_schedule(name)
        slots = self.fired(name)["slots"]
        self.assertEqual({1}, {times for _slot, times in slots})
        first, last = slots[0][0], slots[-1][0]
        self.assertEqual(
            list(range(first, last + 1, every)), [slot for slot, _times in slots]
        )
        self.wait_until(lambda: self.fired(name)["jobs"] >= len(slots))
        self.assertEqual(len(slots), self.fired(name)["jobs"])


@pytest.mark.timeout(900)
class TestSchedules(ScheduleStackTestCase):
    def test_each_slot_fires_once_though_workers_are_killed(self):
        self.stack.start_worker("two", wait=False)
        self.stack.start_worker("three")
        self.add("each", every=1, missed="all")
        self.wait_for_slots("each", 5)
        for name in ("worker", "two", "three", "worker"):
            self.stack.kill_worker(name)
            self.wait_for_slots("each", 3)
            self.stack.start_worker(name, wait=False)
            self.wait_for_slots("each", 2)
        for name in ("worker", "two", "three"):
            self.stack.kill_worker(name)
        self.stack.start_worker("two", wait=False)
        self.stack.start_worker("worker")
        self.wait_for_slots("each", 20)
        self.check_each_slot_fired_once("each")
        self.stack.kill_worker("two")

    def test_what_was_due_while_all_workers_were_down_is_dealt_with_as_asked(self):
        for missed in ("skip", "once"):
            self.add(missed, every=40, missed=missed, grace=5)
        self.add("all", every=5, missed="all", grace=1)
        began = time.time()
        self.stack.stop_worker()
        self.stack.children["web"].wait_until(lambda: time.time() > began + 46, 60)
        for missed in ("skip", "once", "all"):
            self.assertEqual([], self.fired(missed)["slots"])
        self.stack.start_worker()
        for missed in ("skip", "once", "all"):
            self.wait_until(lambda missed=missed: self.fired(missed)["slots"])

        skipped = self.fired("skip")["firings"]
        self.assertEqual("missed", skipped[0]["status"])
        for firing in skipped[1:]:
            self.assertLessEqual(firing["fired"] - firing["slot"], 5)

        once = [each for each in self.fired("once")["firings"]]
        left_out = [each for each in once if each["status"] == "missed"]
        first = next(each for each in once if each["status"] != "missed")
        # The last one before it was looked at, whether that was in time or not.
        self.assertLess(first["fired"] - first["slot"], 40)
        for each in left_out:
            self.assertLess(each["slot"], first["slot"])
        self.check_each_slot_fired_once("all", every=5)
        self.assertGreaterEqual(len(self.slots("all")), 9)

    def test_schedules_of_two_sites_fire_apart(self):
        self.admin.json("@@add-second-site")
        password = self.stack.passwords[ROOT_USER]
        second = Visitor.with_password(f"{self.stack.url}/second", ROOT_USER, password)
        self.add("shared", every=2, missed="all")
        self.add("shared", every=3, missed="all", visitor=second)
        self.wait_until(lambda: self.fired("shared")["jobs"] > 1)
        self.wait_until(lambda: self.fired("shared", second)["jobs"] > 1)
        for visitor, every in ((self.admin, 2), (second, 3)):
            slots = [slot for slot, _times in self.fired("shared", visitor)["slots"]]
            distances = {b - a for a, b in zip(slots, slots[1:], strict=False)}
            self.assertEqual({every}, distances)

    def test_a_schedule_goes_on_after_its_zeo_server_was_away(self):
        self.add("away", every=1, missed="all")
        self.wait_for_slots("away", 2)
        self.stack.children["zeo"].stop()
        worker = self.stack.children["worker"]
        worker.wait_until(
            lambda: worker.has_logged("no schedule fires"), test_stack.PATIENCE
        )
        self.stack.start_zeo()
        self.wait_for_slots("away", 5)
        self.check_each_slot_fired_once("away")


@pytest.mark.timeout(600)
class TestSchedulesInTwoDatabases(ScheduleStackTestCase):
    two_databases = True

    def test_each_slot_fires_once_though_the_worker_is_killed(self):
        self.add("each", every=1, missed="all")
        self.wait_for_slots("each", 3)
        self.stack.start_worker("two")
        self.wait_for_slots("each", 3)
        self.stack.kill_worker("worker")
        self.wait_for_slots("each", 3)
        self.stack.kill_worker("two")
        self.stack.start_worker("worker")
        self.wait_for_slots("each", 10)
        self.check_each_slot_fired_once("each")
        storages = self.stack.configuration.var / "filestorage"
        kind = b"collective.clockwork.schedules.model"
        self.assertIn(kind, (storages / "Async.fs").read_bytes())
        self.assertNotIn(kind, (storages / "Data.fs").read_bytes())
