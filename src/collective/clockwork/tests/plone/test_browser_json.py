"""`jobs.json`, as a program gets it."""

from __future__ import annotations

from collective.clockwork import _
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.browsercase import BrowserTestCase
from collective.clockwork.tests.plone.stubservice import FAILED
from collective.clockwork.tests.plone.stubservice import QUEUED
from dataclasses import replace
from zope.component import getUtility

import transaction


class TestJSON(BrowserTestCase):
    def test_it_tells_counts_workers_and_every_field_of_the_jobs(self):
        answer = self.open_json()
        self.assertEqual(
            {"queued": 1, "active": 1, "completed": 1, "failed": 1}, answer["counts"]
        )
        self.assertEqual(1, answer["workers"])
        job = answer["jobs"][3]
        self.assertEqual("10", job["id"])
        self.assertEqual("2026-03-04T12:04:20+00:00", job["ended"])
        self.assertEqual(["default"], job["quota_names"])
        self.assertIsNone(job["due"])
        self.assertEqual(set(FAILED.__dataclass_fields__), set(job))

    def test_it_keeps_the_lists_of_plone_app_async(self):
        answer = self.open_json()
        self.assertEqual([7], [job["id"] for job in answer["queued"]])
        self.assertEqual([9], [job["id"] for job in answer["completed"]])
        (active,) = answer["active"]
        self.assertEqual("40 %", active["progress"])
        self.assertTrue(active["status"].startswith("Started at Mar 04, 2026"))
        (dead,) = answer["dead"]
        self.assertEqual("ValueError: no such chapter", dead["failure"])
        self.assertEqual("my.addon.chapters.convert", dead["callable"])
        self.assertEqual("'intro.rst'", dead["args"])

    def test_it_puts_the_reason_of_a_waiting_job_into_words(self):
        reason = _(
            "reason", default="Quota ${quota} is full", mapping={"quota": "mail"}
        )
        self.service.jobs = [replace(QUEUED, reason=reason)]
        self.assertEqual("Quota mail is full", self.open_json()["jobs"][0]["reason"])
        self.assertIn("Quota mail is full", self.open().text_content())

    def test_it_filters_and_limits(self):
        answer = self.open_json("@@jobs.json?status=failed&user=bob&limit=5")
        self.assertEqual(["10"], [job["id"] for job in answer["jobs"]])
        answer = self.open_json("@@jobs.json?limit=1")
        self.assertEqual(["7"], [job["id"] for job in answer["jobs"]])

    def test_wrong_parameters_answer_400_and_say_what_is_wrong(self):
        for query, word in (
            ("status=dead", "status"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("limit=" + "9" * 5000, "limit"),
            ("limit=many", "limit"),
            ("user=a&user=b", "user"),
        ):
            with self.subTest(query=query[:20]):
                answer = self.open_json(f"@@jobs.json?{query}")
                self.assertTrue(self.browser.headers["Status"].startswith("400"))
                self.assertIn(word, answer["error"])

    def test_it_is_not_cached(self):
        self.open_json()
        self.assertEqual("no-store", self.browser.headers["Cache-Control"])

    def test_json_is_never_taken_for_html(self):
        self.open_json()
        self.assertEqual("application/json", self.browser.headers["Content-Type"])
        self.assertEqual("nosniff", self.browser.headers["X-Content-Type-Options"])


class TestJSONOfTheRealService(BrowserTestCase):
    real = True

    def test_it_tells_what_waits_and_what_ran(self):
        service = getUtility(IAsyncService)
        service.queueJob(work.add_numbers, self.portal, 40, 2)
        drain()
        service.queueJob(work.add_numbers, self.portal, 1)
        transaction.commit()
        answer = self.open_json()
        self.assertEqual(
            [("queued", None), ("completed", "42")],
            [(job["status"], job["result"]) for job in answer["jobs"]],
        )
        self.assertEqual(1, answer["counts"]["completed"])
        self.assertEqual(1, len(answer["queued"]))
