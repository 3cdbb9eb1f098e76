"""The queues in a database of their own, with real processes."""

from __future__ import annotations

from collective.clockwork.tests.acceptance import test_stack
from collective.clockwork.tests.acceptance.addon import held
from sandbox import ports
from sandbox.stack import Stack

import pytest


def two_databases(var):
    """A stack that runs, with the queues in the second one."""
    stack = Stack(
        var,
        http_port=ports.any_free(),
        packages=(test_stack.ADDON,),
        two_databases=True,
    )
    stack.start()
    return stack


@pytest.mark.timeout(400)
class TestTwoDatabases(test_stack.StackTestCase):
    @classmethod
    def start_stack(cls):
        cls.stack = two_databases(cls.var)

    def test_a_job_of_the_other_database_is_done_once_though_its_worker_is_killed(self):
        job_id = self.queue("killed")
        self.wait_until(lambda: self.times_begun("killed") == 1)
        self.stack.kill_worker()
        self.release("killed")
        self.assertEqual(0, self.times_done("killed"))

        self.stack.start_worker()
        self.wait_until(lambda: self.job(job_id)["status"] == "completed")

        self.assertEqual(2, self.times_begun("killed"))
        self.assertEqual(1, self.times_done("killed"))

    def test_jobs_are_in_the_one_and_what_they_do_is_in_the_other(self):
        job_id = self.queue("placed")
        self.release("placed")
        self.wait_until(lambda: self.job(job_id)["status"] == "completed")
        storages = self.stack.configuration.var / "filestorage"
        content = (storages / "Data.fs").read_bytes()
        queues = (storages / "Async.fs").read_bytes()
        for text, where, elsewhere in (
            (held.__name__.encode(), queues, content),
            (held.KEY.encode(), content, queues),
        ):
            self.assertIn(text, where)
            self.assertNotIn(text, elsewhere)
