"""``wait_for_all_jobs``, under the name that plone.app.async's tests import."""

from __future__ import annotations

from collective.clockwork import utils
from collective.clockwork.engine import testing as engine_testing
from collective.clockwork.engine.queue import Queue
from collective.clockwork.job import queue
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from collective.clockwork.utils import wait_for_all_jobs

import threading
import transaction


class TestWaitForAllJobs(ServiceTestCase):
    def worker(self):
        return running_worker(self.layer["zodbDB"])

    def test_it_commits_and_returns_when_all_jobs_are_done_in_their_order(self):
        for number in (1, 2, 3):
            self.service.queueJob(work.note, self.folder, number)
        with self.worker():
            wait_for_all_jobs(seconds=20)
            self.assertEqual([1, 2, 3], work.happened)

    def test_it_waits_for_a_job_that_a_worker_has_already(self):
        job = self.service.queueJob(work.wait_for_release, self.folder)
        transaction.commit()
        with self.worker():
            self.assertTrue(work.begun.wait(20))
            timer = threading.Timer(0.2, work.released.set)
            timer.start()
            wait_for_all_jobs(seconds=20)
            timer.join()
            self.assertEqual("released", job.result)

    def test_a_job_that_failed_fails_the_test_and_is_named(self):
        self.service.queueJob(work.fail, self.folder, "broken")
        with self.worker():
            with self.assertRaisesRegex(AssertionError, "1 jobs failed.*\n.*broken"):
                wait_for_all_jobs(seconds=20)

    def test_failures_are_allowed_if_one_asks(self):
        job = self.service.queueJob(work.fail, self.folder, "broken")
        with self.worker():
            wait_for_all_jobs(seconds=20, assert_successful=False)
            self.assertEqual("broken", job.result.getErrorMessage())

    def test_without_a_worker_it_gives_up(self):
        self.service.queueJob(work.note, self.folder, "never")
        with self.assertRaisesRegex(AssertionError, "did not happen within 0.1 s"):
            wait_for_all_jobs(seconds=0.1)

    def test_it_waits_for_a_job_that_waits_for_another_one(self):
        self.service.getQueues()["reports"] = Queue()
        job = self.service.queueJob(work.queue_elsewhere, self.folder, "reports", "x")
        transaction.commit()
        engine_testing.drain(self.layer["zodbDB"], ("",))
        transaction.begin()
        self.assertEqual([job], list(self.service.getQueues()[""].waiting.values()))
        with self.assertRaisesRegex(AssertionError, "did not happen within 0.1 s"):
            wait_for_all_jobs(seconds=0.1)

    def test_queue_has_its_old_name_too(self):
        self.assertIs(queue, utils.queue)
