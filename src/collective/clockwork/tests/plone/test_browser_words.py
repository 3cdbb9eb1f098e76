"""How the pages put a job's times, a batch and their own title into words."""

from __future__ import annotations

from collective.clockwork.browser.jobs import JobPage
from collective.clockwork.tests.plone.browsercase import BrowserTestCase
from collective.clockwork.tests.plone.browsercase import text
from collective.clockwork.tests.plone.stubservice import ACTIVE
from collective.clockwork.tests.plone.stubservice import COMPLETED
from collective.clockwork.tests.plone.stubservice import FAILED
from collective.clockwork.tests.plone.stubservice import NOON
from collective.clockwork.tests.plone.stubservice import QUEUED
from dataclasses import replace
from datetime import date
from datetime import timedelta
from plone import api
from unittest import mock
from zope.i18nmessageid import Message

import transaction


class TestTheTimes(BrowserTestCase):
    def test_times_are_in_the_time_zone_of_the_site_with_iso_beside(self):
        api.portal.set_registry_record("plone.portal_timezone", "Asia/Kolkata")
        transaction.commit()
        (time,) = self.open().xpath('//tr[@id="job-7"]//time')
        self.assertEqual("Mar 04, 2026 17:30:00", time.text)
        self.assertEqual(NOON.isoformat(), time.get("title"))

    def test_the_due_time_of_a_delayed_job_is_shown(self):
        self.service.jobs = [replace(QUEUED, due=NOON + timedelta(days=1))]
        times = self.open().xpath('//tr[@id="job-7"]//time/@datetime')
        self.assertEqual(
            ["2026-03-04T12:00:00+00:00", "2026-03-05T12:00:00+00:00"], times
        )

    def shown_times(self, job, today):
        """What the list tells of the times of `job` on the day `today`."""
        self.service.jobs = [job]
        with mock.patch.object(JobPage, "today", return_value=today):
            return text(self.open(), '//dl[@class="background-jobs-times"]')

    def test_times_of_today_have_no_date(self):
        shown = self.shown_times(COMPLETED, today=date(2026, 3, 4))
        self.assertEqual("Queued 12:00:00 Ran 12:01:00, 3 min 20 s", shown)

    def test_the_date_of_another_day_is_shown_once(self):
        shown = self.shown_times(COMPLETED, today=date(2026, 3, 5))
        self.assertEqual("Queued Mar 04, 2026 12:00:00 Ran 12:01:00, 3 min 20 s", shown)

    def test_a_time_on_another_day_than_the_one_before_it_has_its_date(self):
        job = replace(QUEUED, due=NOON + timedelta(days=1, seconds=5))
        shown = self.shown_times(job, today=date(2026, 3, 4))
        self.assertEqual("Queued 12:00:00 Due Mar 05, 2026 12:00:05", shown)
        begun = replace(ACTIVE, started=NOON + timedelta(days=1))
        shown = self.shown_times(begun, today=date(2026, 3, 5))
        self.assertEqual(
            "Queued Mar 04, 2026 12:00:00 Started Mar 05, 2026 12:00:00", shown
        )

    def test_a_job_that_ended_without_being_begun_shows_when(self):
        job = replace(FAILED, started=None)
        shown = self.shown_times(job, today=date(2026, 3, 4))
        self.assertEqual("Queued 12:00:00 Ended 12:04:20", shown)

    def test_a_job_that_is_due_at_once_shows_no_due_time(self):
        self.service.jobs = [replace(QUEUED, due=NOON + timedelta(milliseconds=3))]
        times = self.open().xpath('//tr[@id="job-7"]//time')
        self.assertEqual(1, len(times))


class TestTitles(BrowserTestCase):
    def test_a_title_stands_in_the_place_of_the_functions_name(self):
        self.service.jobs = [replace(QUEUED, title="Convert <b>it</b>")]
        row = text(self.open(), '//tr[@id="job-7"]/th')
        self.assertEqual("Convert <b>it</b> /news", row)

    def test_a_message_is_translated_for_who_looks(self):
        title = Message("Failed", "collective.clockwork")
        self.service.jobs = [replace(QUEUED, title=title)]
        self.browser.addHeader("Accept-Language", "de")
        api.portal.set_registry_record("plone.available_languages", ["en", "de"])
        api.portal.set_registry_record("plone.use_request_negotiation", True)
        transaction.commit()
        row = text(self.open(), '//tr[@id="job-7"]/th')
        self.assertEqual("Gescheitert /news", row)

    def test_how_a_retried_job_failed_before_is_told(self):
        errors = ("ValueError: one", "KeyError: <two>")
        self.service.jobs = [replace(COMPLETED, earlier_errors=errors)]
        page = self.open("@@background-job?id=9")
        shown = [dd.text for dd in page.xpath('//dd[@class="text-break"]')]
        self.assertEqual(list(errors), shown)


class TestBatches(BrowserTestCase):
    one_by_one = "collective.clockwork.engine.compose.run_serial"
    at_once = "collective.clockwork.engine.compose.run_parallel"

    def batch(self, *names, function=one_by_one):
        members = ", ".join(f"my.addon.{name}" for name in names)
        job = replace(
            COMPLETED,
            function=function,
            context=None,
            arguments=members,
            result=f"({members})",
        )
        self.service.jobs = [job]
        return self.open()

    def test_a_batch_is_shown_as_such_with_its_jobs(self):
        page = self.batch("create", "append", "append", "submit")
        self.assertEqual("Batch, one after the other", text(page, "//tbody//th/a"))
        self.assertEqual(
            "4 jobs: create, 2 × append, submit", text(page, "//tbody//th/div")
        )

    def test_a_batch_of_one_job_is_counted_in_the_singular(self):
        page = self.batch("create", function=self.at_once)
        self.assertEqual("Batch, side by side", text(page, "//tbody//th/a"))
        self.assertEqual("1 job: create", text(page, "//tbody//th/div"))

    def test_a_batch_whose_jobs_are_too_many_to_be_told_says_so(self):
        page = self.batch("append", "append", "app…")
        self.assertEqual("2+ jobs: 2 × append, …", text(page, "//tbody//th/div"))

    def test_the_jobs_of_a_batch_are_not_shown_again_as_its_result(self):
        self.assertEqual([], self.batch("create").xpath("//td/code"))

    def test_the_page_of_a_batch_lists_its_jobs_instead_of_arguments_and_result(self):
        self.batch("create", "append")
        page = self.open("@@background-job?id=9")
        self.assertEqual("Batch, one after the other", text(page, "//article/h1"))
        self.assertEqual(
            ["my.addon.create", "my.addon.append"], page.xpath("//ol/li/code/text()")
        )
        terms = page.xpath("//article//dt/text()")
        self.assertIn("Jobs", terms)
        self.assertNotIn("Arguments", terms)
        self.assertNotIn("Result", terms)


class TestTheBrowsersTitle(BrowserTestCase):
    def setUp(self):
        super().setUp()
        api.portal.set_registry_record("plone.site_title", "My site")
        transaction.commit()

    def test_it_names_the_page_in_front_of_the_site(self):
        for view, title in (
            ("@@background-jobs", "Background jobs — My site"),
            ("@@background-job?id=7", "convert — Background jobs — My site"),
            ("@@background-job?id=99", "No such job — Background jobs — My site"),
        ):
            with self.subTest(view=view):
                self.assertEqual(title, text(self.open(view), "//head/title"))

    def test_that_of_other_pages_stays(self):
        self.assertEqual("My site", text(self.open(""), "//head/title"))
