"""The layers and helpers that other add-ons' tests use."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork.engine import dispatcher
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.testing import wait_for_result
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone.app.testing import TEST_USER_ID

import threading
import transaction


def name_thread(context):
    return threading.current_thread().name


class TestDrain(ServiceTestCase):
    def test_jobs_are_run_in_the_tests_own_thread(self):
        name = self.result_of(name_thread)
        self.assertEqual(threading.current_thread().name, name)

    def test_the_number_of_jobs_is_told(self):
        for number in range(3):
            self.service.queueJob(work.note, self.folder, number)
        self.assertEqual(3, drain())
        self.assertEqual(0, drain())

    def test_jobs_that_jobs_queue_are_run_too(self):
        self.service.queueJob(work.queue_another, self.folder, "inner")
        drain()
        self.assertEqual(["inner"], work.happened)

    def test_what_the_test_did_before_is_committed(self):
        self.folder.title = "changed by the test"
        drain()
        transaction.abort()
        self.assertEqual("changed by the test", self.folder.title)

    def test_the_test_stays_logged_in(self):
        drain()
        self.assertEqual(TEST_USER_ID, getSecurityManager().getUser().getId())


class TestRunningWorker(ServiceTestCase):
    def test_jobs_are_run_in_threads_of_the_worker(self):
        job = self.service.queueJob(name_thread, self.folder)
        with running_worker(self.layer["zodbDB"]):
            transaction.commit()
            name = wait_for_result(job)
        self.assertNotEqual(threading.current_thread().name, name)

    def test_a_worker_creates_content_as_the_user(self):
        with running_worker(self.layer["zodbDB"]):
            job = self.service.queueJob(work.add_page, self.folder, "news")
            transaction.commit()
            self.assertEqual("news", wait_for_result(job))
        transaction.begin()
        self.assertEqual(TEST_USER_ID, self.folder["news"].Creator())

    def test_default_jobs_run_in_order_though_there_are_several_threads(self):
        with running_worker(self.layer["zodbDB"]):
            for number in range(12):
                job = self.service.queueJob(work.note, self.folder, number)
                transaction.commit()
            wait_for_result(job)
        self.assertEqual(list(range(12)), work.happened)

    def test_a_quota_of_two_lets_a_third_job_wait_for_a_place(self):
        self.service.getQueues()[""].quotas.create("pair", size=2)
        begun = []
        with running_worker(self.layer["zodbDB"]):
            for name in ("first", "second", "third"):
                job = self.service.queueJobInQueue(
                    "", ("pair",), work.begin_and_wait, self.folder, name
                )
                transaction.commit()
            for _name in range(2):
                begun.append(work.arrivals.get(timeout=20))
            self.assertEqual(["first", "second"], sorted(begun))
            work.gates["second"].set()
            self.assertEqual("third", work.arrivals.get(timeout=20))
            work.gates["third"].set()
            work.gates["first"].set()
            wait_for_result(job)
            self.wait_until(lambda: len(work.happened) == 3)
        self.assertEqual("second", work.happened[0])

    def test_a_serial_batch_runs_in_order_and_a_parallel_one_ends(self):
        make = self.service.makeJob
        with running_worker(self.layer["zodbDB"]):
            serial = self.service.queueSerialJobs(
                *(make(work.note, self.folder, number) for number in (1, 2, 3))
            )
            transaction.commit()
            members = wait_for_result(serial)
            self.assertEqual([1, 2, 3], [member.result for member in members])
            parallel = self.service.queueParallelJobs(
                *(make(work.note, self.folder, number) for number in (4, 5, 6))
            )
            transaction.commit()
            wait_for_result(parallel)
        self.assertEqual([1, 2, 3], work.happened[:3])
        self.assertEqual([4, 5, 6], sorted(work.happened[3:]))

    def test_no_worker_is_left_behind(self):
        threads = set(threading.enumerate())
        with running_worker(self.layer["zodbDB"]) as worker:
            self.assertIs(worker, dispatcher.get(worker.UUID))
        self.assertIsNone(dispatcher.get(worker.UUID))
        self.wait_until(lambda: set(threading.enumerate()) <= threads)
