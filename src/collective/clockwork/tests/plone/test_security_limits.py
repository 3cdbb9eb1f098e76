"""What one user can make of work, records and pages, and where that ends."""

from __future__ import annotations

from collective.clockwork import jobinfo
from collective.clockwork.browser import tasks as pages
from collective.clockwork.engine import failure
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.tasks import offer
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.browsercase import BrowserTestCase
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from collective.clockwork.tests.plone.test_tasks_pages import PagesTestCase
from zope.component import getUtility

import json
import transaction


MEGABYTE = 1_000_000


class TestRecords(ServiceTestCase):
    def test_arguments_and_results_have_no_limit_of_ours_but_are_shown_cut(self):
        job = self.service.queueJob(work.note, self.folder, "x" * MEGABYTE)
        drain()
        self.assertEqual(MEGABYTE, len(job.result))
        info = self.service.getJobInfo(job.id)
        for text in (info.arguments, info.result):
            self.assertEqual(jobinfo.TEXT_LIMIT, len(text))

    def test_errors_and_tracebacks_are_cut_when_they_are_stored(self):
        job = self.service.queueJob(work.fail, self.folder, "x" * MEGABYTE)
        drain()
        self.assertEqual(failure.MESSAGE_LIMIT, len(job.result.getErrorMessage()))
        info = self.service.getJobInfo(job.id)
        self.assertLessEqual(len(info.traceback), failure.TRACEBACK_LIMIT)
        self.assertEqual(jobinfo.TEXT_LIMIT, len(info.error))

    def test_titles_and_keys_have_a_limit(self):
        for name in ("title", "unique"):
            with self.assertRaises(OptionError):
                self.service.using(**{name: "x" * 501})

    def test_whoever_queues_is_not_counted(self):
        for number in range(50):
            self.service.queueJob(work.note, self.folder, number)
        self.assertEqual(50, self.stored_jobs())


class TestPages(BrowserTestCase):
    real = True

    def test_a_page_looks_at_a_bounded_number_of_jobs(self):
        service = getUtility(IAsyncService)
        for number in range(jobinfo.SCAN_LIMIT + 10):
            service.queueJob(work.note, self.portal, number)
        transaction.commit()
        self.assertEqual(jobinfo.SCAN_LIMIT, service.countJobs()["queued"])
        answer = self.open_json("@@jobs.json?limit=1000")
        self.assertEqual(1000, len(answer["jobs"]))
        for limit in ("1001", "0000000019999", "1e9", "%D9%A9"):
            answer = self.open_json(f"@@jobs.json?limit={limit}")
            self.assertIn("limit", answer["error"])

    def test_ids_and_parameters_of_any_length_are_answered_in_order(self):
        for query in ("id=" + "9" * 5000, "id=" + "0" * 5000, "id=1&id=2"):
            self.open(f"@@background-job?{query}")
            self.assertTrue(self.browser.headers["Status"].startswith("404"))


class TestTasks(PagesTestCase):
    def test_a_selection_has_a_limit_and_a_shape(self):
        many = json.dumps(["0" * 32] * (pages.MOST_SELECTED + 1))
        deep = "[" * 100_000
        for selection in (many, deep):
            self.open(
                "@@background-task-form", {"task": "delete", "selection": selection}
            )
            self.assertTrue(self.browser.headers["Status"].startswith("400"))

    def test_tasks_run_one_after_the_other_in_a_quota_of_their_own(self):
        jobs = [self.start("reindex") for _each in range(3)]
        queue = self.service.getQueues()[""]
        self.assertEqual(1, queue.quotas[offer.QUOTA].size)
        for job in jobs:
            self.assertEqual((offer.QUOTA,), job.quota_names)

    def test_link_checks_hold_up_no_other_tasks(self):
        checks = [self.start("links", outside=True) for _each in range(2)]
        queue = self.service.getQueues()[""]
        self.assertEqual(1, queue.quotas[offer.LINKS_QUOTA].size)
        for job in checks:
            self.assertEqual((offer.LINKS_QUOTA,), job.quota_names)
        self.assertNotIn(offer.LINKS_QUOTA, self.start("reindex").quota_names)

    def test_nobody_can_ask_by_a_form_for_private_addresses(self):
        page = self.open("@@background-task-form", task="links")
        token = page.xpath("//*[@name='_authenticator']/@value")[0]
        form = {"task": "links", "start": "1", "outside": "1", "_authenticator": token}
        self.open("@@background-task-form", {**form, "private_addresses": "1"})
        (job,) = self.jobs()
        self.assertEqual({"outside", "selection"}, set(job.kwargs))
        self.assertIs(True, job.kwargs["outside"])
