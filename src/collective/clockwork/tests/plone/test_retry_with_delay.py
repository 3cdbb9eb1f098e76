"""``RetryWithDelay``: a job that failed is tried again after a while."""

from __future__ import annotations

from collective.clockwork import Job
from collective.clockwork import queue
from collective.clockwork import RetryWithDelay
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import tearDownDatetime
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import content
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pickle
import transaction
import unittest


START = datetime(2030, 1, 1, tzinfo=timezone.utc)
DELAY = timedelta(seconds=5)


class TwoAttempts(RetryWithDelay):
    max_retries = 2


class TestRetryWithDelay(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(tearDownDatetime)
        set_now(START)

    def queue(self, func, *args, retry=None):
        job = Job(func, *args)
        job.retry_policy_factory = RetryWithDelay(DELAY) if retry is None else retry
        return queue(job)

    def attempts(self):
        return len(work.happened)

    def test_the_second_attempt_begins_after_the_delay(self):
        job = self.queue(content.fail_so_often, 1)
        drain()
        self.assertEqual(("pending-status", 1), (job.status, self.attempts()))
        self.assertEqual(START + DELAY, job.begin_after)
        set_now(START + DELAY - timedelta(microseconds=1))
        drain()
        self.assertEqual(1, self.attempts())
        set_now(START + DELAY)
        drain()
        self.assertEqual(("completed-status", 2), (job.status, job.result))

    def test_by_default_it_waits_for_fifteen_minutes(self):
        job = self.queue(content.fail_so_often, 1, retry=RetryWithDelay())
        drain()
        self.assertEqual(START + timedelta(minutes=15), job.begin_after)

    def test_a_job_is_tried_eight_times_in_all(self):
        job = self.queue(content.fail_so_often, 100)
        for number in range(1, 9):
            self.assertEqual("pending-status", job.status)
            set_now(START + number * timedelta(minutes=1))
            drain()
            self.assertEqual(number, self.attempts())
        self.assertEqual("completed-status", job.status)
        self.assertEqual("failure 8", job.result.getErrorMessage())

    def test_a_subclass_says_how_often(self):
        job = self.queue(content.fail_so_often, 100, retry=TwoAttempts(DELAY))
        drain()
        set_now(START + DELAY)
        drain()
        self.assertEqual(("completed-status", 2), (job.status, self.attempts()))

    def test_jobs_that_share_one_count_for_themselves(self):
        retry = TwoAttempts(DELAY)
        first = self.queue(content.fail_so_often, 100, retry=retry)
        second = self.queue(content.fail_so_often, 100, retry=retry)
        drain()
        self.assertEqual(2, self.attempts())
        self.assertEqual("pending-status", first.status)
        self.assertEqual("pending-status", second.status)
        self.assertIsNot(first.getRetryPolicy(), second.getRetryPolicy())
        set_now(START + 2 * DELAY)
        drain()
        self.assertEqual(4, self.attempts())

    def test_a_conflict_is_not_delayed(self):
        job = self.queue(content.conflict_so_often, 3)
        self.assertEqual(4, self.run_job(job))

    def test_a_doomed_transaction_is_not_delayed(self):
        job = self.queue(content.doom)
        self.run_job(job)
        self.assertEqual(5, self.attempts())

    def test_the_last_error_is_kept_while_it_waits(self):
        job = self.queue(content.fail_so_often, 1)
        drain()
        data = job.getRetryPolicy().data
        self.assertEqual(1, data["job_error"])
        self.assertEqual("failure 1", data["last_job_error"])

    def test_jobs_of_the_service_take_it_too(self):
        job = self.service.queueJob(work.fail, self.folder)
        job.retry_policy_factory = RetryWithDelay(DELAY)
        drain()
        self.assertEqual(START + DELAY, job.begin_after)

    def test_one_for_all_jobs_of_a_process_belongs_to_no_database(self):
        retry = RetryWithDelay(DELAY)
        self.queue(content.fail_so_often, 1, retry=retry)
        transaction.commit()
        self.assertFalse(hasattr(retry, "_p_jar"))


class TestParameters(unittest.TestCase):
    def test_a_delay_that_is_no_timedelta_is_refused(self):
        with self.assertRaisesRegex(TypeError, "delay is 5: pass a timedelta"):
            RetryWithDelay(5)

    def test_a_delay_of_nothing_is_refused(self):
        with self.assertRaisesRegex(ValueError, "longer than nothing"):
            RetryWithDelay(timedelta())

    def test_it_can_be_stored_with_its_delay(self):
        retry = pickle.loads(pickle.dumps(TwoAttempts(DELAY)))
        self.assertEqual((DELAY, 2), (retry.delay, retry.max_retries))
