"""A schedule of ZCML, and ticks from schedules, with a real ZEO server and workers."""

from __future__ import annotations

from collective.clockwork.tests.acceptance import test_schedules
from sandbox import ports
from sandbox.stack import Stack

import pytest


ADDON = "collective.clockwork.tests.acceptance.declaredaddon"


@pytest.mark.timeout(600)
class TestDeclaredSchedules(test_schedules.ScheduleStackTestCase):
    @classmethod
    def start_stack(cls):
        cls.stack = Stack(cls.var, http_port=ports.any_free(), packages=(ADDON,))
        cls.stack.start()

    def test_workers_that_start_at_once_adopt_it_once_and_it_fires(self):
        self.stack.start_worker("two", wait=False)
        self.stack.start_worker("three", wait=False)
        self.wait_until(lambda: "declared" in self.names())
        self.wait_for_slots("declared", 5)
        self.assertEqual(1, self.names().count("declared"))
        self.check_each_slot_fired_once("declared")
        # What a manager has switched off stays so when a worker starts.
        before = self.slots("declared")
        for name in ("worker", "two", "three"):
            self.stack.kill_worker(name)
        self.stack.start_worker("worker")
        ticked = len(self.tick_seconds())
        self.admin.json("@@enable-ticks", interval=2)
        self.wait_until(lambda: len(self.tick_seconds()) > ticked)
        self.assertEqual(before, self.slots("declared"))

    def test_ticks_come_without_a_clock_server_one_in_an_interval(self):
        self.admin.json("@@enable-ticks", interval=2)
        self.wait_until(lambda: len(self.tick_seconds()) >= 4)
        times = {times for _second, times in self.ticks()}
        self.assertEqual({1}, times)
        seconds = self.tick_seconds()
        distances = [b - a for a, b in zip(seconds, seconds[1:], strict=False)]
        self.assertGreaterEqual(min(distances), 1)

    def names(self):
        return self.admin.json("@@schedule-names.json")

    def ticks(self):
        return self.admin.json("@@ticks-sent.json")

    def tick_seconds(self):
        return [second for second, _times in self.ticks()]
