"""The main path: what an editor queues is done later, by a worker, as her."""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork.engine import attempt
from collective.clockwork.engine.interfaces import TimeoutError
from collective.clockwork.engine.job import isFailure
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from contextlib import contextmanager
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from plone.app.testing import logout
from plone.app.testing import TEST_USER_ID
from plone.dexterity.content import DexterityContent
from Products.CMFCore.indexing import getQueue
from transaction.interfaces import DoomedTransaction
from unittest import mock
from ZODB.POSException import ConflictError
from zope.interface.verify import verifyObject

import transaction


def now():
    return datetime.now(timezone.utc)


@contextmanager
def without_pauses():
    """Don't wait between attempts; the waits are random."""
    with mock.patch.object(attempt, "pause"):
        yield


class TestWhatTheEngineOffers(ServiceTestCase):
    def test_a_function_with_a_context_commits_in_between(self):
        self.result_of(work.add_pages, 5)
        self.assertEqual(5, len(work.find_pages(self.folder)))

    def test_an_async_function_is_awaited(self):
        self.assertEqual("soon", self.result_of(work.add_page_soon, "soon"))
        self.assertEqual(["soon"], work.find_pages(self.folder))

    def test_what_a_grouped_job_indexes_is_indexed_as_its_user(self):
        info = self.service.makeJob(work.add_page, self.folder, "page")
        job = self.service._single(info)
        self.service.getQueues()[""].put(job, groupable=True)
        transaction.commit()
        logout()
        before = job.setUp()
        try:
            job.invoke(("page",), {})
            self.assertGreater(getQueue().length(), 0)
            job.complete_work()
            self.assertEqual(0, getQueue().length())
        finally:
            job.tearDown(before)
            transaction.abort()

    def test_grouped_jobs_leave_complete_indexes(self):
        queue = self.service.getQueues()[""]
        names = [f"page-{index}" for index in range(5)]
        for name in names:
            info = self.service.makeJob(work.add_page, self.folder, name)
            queue.put(self.service._single(info), groupable=True)
        last = self.service.queueJob(work.add_numbers, self.folder)
        transaction.commit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: last.status == "completed-status")
            self.wait_until(lambda: len(work.find_pages(self.folder)) == 5)
        self.login_as_test_user()
        self.assertEqual(names, work.find_pages(self.folder))
        brains = self.portal.portal_catalog(portal_type="Document")
        self.assertEqual({TEST_USER_ID}, {brain.Creator for brain in brains})


class TestQueueing(ServiceTestCase):
    def test_the_service_keeps_what_its_interface_promises(self):
        self.assertTrue(verifyObject(IAsyncService, self.service))

    def test_the_default_queue_and_quota_are_there_without_any_worker(self):
        queues = self.service.getQueues()
        self.assertIn("", queues)
        self.assertEqual(1, queues[""].quotas["default"].size)

    def test_a_queued_job_is_pending_until_a_worker_ran_it(self):
        job = self.service.queueJob(work.add_numbers, self.folder, 40, 2)
        transaction.commit()
        self.assertEqual("pending-status", job.status)
        self.assertEqual(42, self.run_job(job))

    def test_a_job_exists_only_if_its_transaction_commits(self):
        self.service.queueJob(work.note, self.folder, "never")
        transaction.abort()
        drain()
        self.assertEqual([], work.happened)

    def test_keyword_arguments_arrive(self):
        self.result_of(work.add_page, page_id="news", title="The news")
        self.assertEqual("The news", self.folder["news"].title)

    def test_a_queue_is_taken_by_name_or_as_an_object(self):
        queue = self.service.getQueues()[""]
        first = self.service.queueJobInQueue("", None, work.add_numbers, self.folder, 1)
        second = self.service.queueJobInQueue(
            queue, ["default"], work.add_numbers, self.folder, 2
        )
        self.assertEqual(("default",), first.quota_names)
        self.assertEqual(("default",), second.quota_names)
        self.assertEqual(1, self.run_job(first))
        self.assertEqual(2, second.result)

    def test_no_quota_can_be_asked_for(self):
        job = self.service.queueJobInQueue("", (), work.add_numbers, self.folder, 7)
        self.assertEqual((), job.quota_names)
        self.assertEqual(7, self.run_job(job))

    def test_a_default_quota_that_somebody_enlarged_stays_so(self):
        self.service.getQueues()[""].quotas["default"].size = 4
        self.result_of(work.add_numbers, 1)
        self.assertEqual(4, self.service.getQueues()[""].quotas["default"].size)


class TestWork(ServiceTestCase):
    def test_a_document_is_created_by_the_user_who_queued(self):
        self.assertEqual("news", self.result_of(work.add_page, "news"))
        self.assertEqual(TEST_USER_ID, self.folder["news"].Creator())

    def test_work_of_a_job_that_fails_is_not_committed(self):
        failure = self.result_of(work.write_and_fail)
        self.assertEqual("builtins.RuntimeError", failure_name(failure))
        self.assertEqual("folder", self.folder.id)
        self.assertNotEqual("half done", self.folder.title)

    def test_what_the_user_may_not_do_ends_unauthorized(self):
        job = self.service.queueJob(work.add_page, self.portal, "news")
        failure = self.run_job(job)
        self.assertIsInstance(failure.value, Unauthorized)
        self.assertNotIn("news", self.portal)

    def test_roles_are_those_of_the_moment_the_job_runs(self):
        from plone.app.testing import setRoles

        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        job = self.service.queueJob(work.add_page, self.portal, "news")
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        self.assertIsInstance(self.run_job(job).value, Unauthorized)

    def test_an_unbound_method_is_called_with_the_context(self):
        self.folder.title = "unindexed title"
        job = self.service.queueJob(DexterityContent.reindexObject, self.folder)
        self.run_job(job)
        catalog = self.portal.portal_catalog
        self.assertEqual(1, len(catalog.unrestrictedSearchResults(Title="unindexed")))

    def test_the_owner_finds_a_private_page_and_anonymous_does_not(self):
        self.result_of(work.add_page, "news")
        self.assertEqual(["news"], self.result_of(work.find_pages))
        logout()
        job = self.service.queueJob(work.find_pages, self.folder)
        self.login_as_test_user()
        self.assertEqual([], self.run_job(job))

    def test_a_delayed_job_waits_until_it_is_due(self):
        due = now() + timedelta(hours=1)
        job = self.service.queueJobWithDelay(None, due, work.note, self.folder, "late")
        drain()
        self.assertEqual("pending-status", job.status)
        self.assertEqual([], work.happened)
        self.assertEqual(due, job.begin_after)

    def test_a_delayed_job_whose_time_came_is_run(self):
        due = now() - timedelta(seconds=1)
        job = self.service.queueJobWithDelay(None, due, work.note, self.folder, "due")
        self.assertEqual("due", self.run_job(job))

    def test_a_job_that_may_not_begin_any_more_fails(self):
        past = now() - timedelta(hours=1)
        job = self.service.queueJobWithDelay(
            timedelta(minutes=1), past, work.note, self.folder, "too late"
        )
        self.assertIsInstance(self.run_job(job).value, TimeoutError)
        self.assertEqual([], work.happened)

    def test_a_delayed_job_takes_queue_and_quota_too(self):
        job = self.service.queueJobInQueueWithDelay(
            timedelta(minutes=1), None, "", (), work.add_numbers, self.folder, 3
        )
        self.assertEqual((), job.quota_names)
        self.assertEqual(3, self.run_job(job))

    def test_a_job_that_dooms_its_transaction_fails(self):
        self.assertIsInstance(self.result_of(work.doom).value, DoomedTransaction)
        self.assertEqual(5, len(work.happened))

    def test_a_job_that_conflicts_is_tried_again_patiently(self):
        with without_pauses():
            self.assertEqual(20, self.result_of(work.conflict, 19))

    def test_a_job_that_conflicts_each_time_fails(self):
        with without_pauses():
            result = self.result_of(work.conflict, 20)
        self.assertTrue(result.check(ConflictError))

    def test_a_job_may_queue_another_and_answer_with_its_result(self):
        self.assertEqual("inner", self.result_of(work.queue_another, "inner"))
        self.assertEqual(["inner"], work.happened)


class TestOrder(ServiceTestCase):
    def test_default_jobs_and_batches_run_in_the_order_of_queueing(self):
        first = self.service.queueJob(work.note, self.folder, 1)
        batch = self.service.queueSerialJobs(
            self.service.makeJob(work.note, self.folder, 2),
            self.service.makeJob(work.note, self.folder, 3),
        )
        last = self.service.queueJob(work.note, self.folder, 4)
        drain()
        self.assertEqual([1, 2, 3, 4], work.happened)
        for job in (first, batch, last):
            self.assertEqual(("default",), job.quota_names)

    def test_jobs_queued_in_three_transactions_run_in_that_order(self):
        for number in (1, 2, 3):
            self.service.queueJob(work.note, self.folder, number)
            transaction.commit()
        drain()
        self.assertEqual([1, 2, 3], work.happened)


class TestBatches(ServiceTestCase):
    def test_a_serial_batch_does_one_call_after_the_other(self):
        make = self.service.makeJob
        batch = self.service.queueSerialJobs(
            make(work.add_page, self.folder, "news"),
            make(work.submit, self.folder, "news"),
        )
        created, submitted = self.run_job(batch)
        self.assertEqual("news", created.result)
        self.assertEqual("completed-status", submitted.status)
        workflow = self.portal.portal_workflow
        state = workflow.getInfoFor(self.folder["news"], "review_state")
        self.assertEqual("pending", state)

    def test_a_parallel_batch_ends_when_all_its_jobs_ended(self):
        make = self.service.makeJob
        batch = self.service.queueParallelJobs(
            *(make(work.note, self.folder, word) for word in "abc")
        )
        self.assertEqual(["a", "b", "c"], [job.result for job in self.run_job(batch)])
        self.assertEqual(["a", "b", "c"], sorted(work.happened))

    def test_a_failed_member_stops_neither_the_others_nor_the_batch(self):
        make = self.service.makeJob
        batch = self.service.queueSerialJobs(
            make(work.fail, self.folder), make(work.note, self.folder, "after")
        )
        failed, after = self.run_job(batch)
        self.assertIsInstance(failed.result.value, RuntimeError)
        self.assertEqual("after", after.result)

    def test_batches_take_a_queue_by_name_and_quotas(self):
        make = self.service.makeJob
        serial = self.service.queueSerialJobsInQueue(
            "", (), make(work.note, self.folder, "serial")
        )
        parallel = self.service.queueParallelJobsInQueue(
            "", None, make(work.note, self.folder, "parallel")
        )
        self.assertEqual((), serial.quota_names)
        self.assertEqual(("default",), parallel.quota_names)
        drain()
        self.assertEqual(["parallel", "serial"], sorted(work.happened))


class TestCallbacks(ServiceTestCase):
    def test_a_callback_gets_the_result_after_the_jobs_work(self):
        job = self.service.queueJob(work.note, self.folder, "work")
        job.addCallback(work.note_result)
        self.run_job(job)
        self.assertEqual(["work", ("result", "work")], work.happened)

    def test_a_callback_runs_in_the_site_and_as_the_user(self):
        job = self.service.queueJob(work.add_numbers, self.folder, 1)
        job.addCallback(work.note_surroundings)
        job.addCallbacks(success=work.note_surroundings)
        drain()
        self.assertEqual([(TEST_USER_ID, "/plone")] * 2, work.happened)

    def test_a_callback_runs_as_anonymous_when_the_user_is_gone(self):
        job = self.service.queueJob(work.add_numbers, self.folder, 1)
        job.addCallback(work.note_surroundings)
        self.portal.acl_users.userFolderDelUsers([TEST_USER_ID])
        drain()
        self.assertTrue(isFailure(job.result))
        self.assertEqual([(None, "/plone")], work.happened)

    def test_a_job_is_found_by_its_id(self):
        job = self.service.queueJob(work.add_numbers, self.folder, 1)
        transaction.commit()
        self.assertEqual(job.id, self.service.getJobInfo(job.id).id)

    def test_of_two_callbacks_for_success_and_failure_one_runs(self):
        job = self.service.queueJob(work.fail, self.folder, "broken")
        job.addCallbacks(success=work.note_result, failure=work.note_failure)
        self.run_job(job)
        self.assertEqual([("failure", "broken")], work.happened)


def failure_name(failure):
    return f"{type(failure.value).__module__}.{type(failure.value).__qualname__}"
