"""The pages of the job manager: who may open and change what, and what they show."""

from __future__ import annotations

from collective.clockwork.browser import manager as pages
from collective.clockwork.engine.job import Job
from collective.clockwork.manager import AsyncJob
from collective.clockwork.manager import IJobManager
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.test_tasks_pages import PagesTestCase
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from unittest import mock
from zope.component import getUtility
from zope.component.hooks import setSite

import operator
import transaction


VIEW = "collective.clockwork: View background jobs"


def fail(text):
    raise ValueError(text)


class ManagerPagesTestCase(PagesTestCase):
    def setUp(self):
        super().setUp()
        self.manager = getUtility(IJobManager)
        self.url = self.portal.absolute_url()
        self.editor = self.browser
        self.browser = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)

    def put(self, *args):
        job_id = self.manager.put(AsyncJob(*args))
        transaction.commit()
        return job_id

    def status(self, browser=None):
        return (browser or self.browser).headers["Status"][:3]

    def message(self, page):
        return self.text(page, "//*[@id='global_statusmessage']")

    def send(self, **form):
        """Send a form of the page with its token; the page that follows."""
        token = self.token_of(self.open("@@jobs"))
        return self.open("@@jobs", {**form, "_authenticator": token})


class TestLooking(ManagerPagesTestCase):
    def test_the_list_has_its_heading_and_can_be_reloaded(self):
        for _time in range(2):
            page = self.open("@@jobs")
            self.assertEqual("200", self.status())
            self.assertEqual("Job manager", self.text(page, "//h1"))
        self.assertIn("There are no jobs here", self.text(page, "//main"))

    def test_the_name_without_the_at_signs_leads_there_too(self):
        self.assertEqual("Job manager", self.text(self.open("jobs"), "//h1"))

    def test_a_finished_job_is_listed_as_completed_and_leads_to_its_page(self):
        job_id = self.put(operator.add, 40, 2)
        row = f"//*[@id='job-{job_id}']"
        self.assertIn("waiting", self.text(self.open("@@jobs"), row))
        drain()
        page = self.open("@@jobs")
        self.assertIn("completed", self.text(page, row))
        (address,) = page.xpath(f"{row}//a/@href")
        self.assertEqual(f"{self.url}/@@jobs/{job_id}", address)
        page = self.open(f"@@jobs/{job_id}")
        self.assertEqual(f"Job {job_id}", self.text(page, "//h1"))
        self.assertIn("completed", self.text(page, "//main"))

    def test_a_job_that_failed_is_not_shown_as_completed(self):
        job_id = self.put(fail, "<script>alert(1)</script>")
        drain()
        for view in ("@@jobs", f"@@jobs/{job_id}"):
            page = self.open(view)
            shown = self.text(page, "//main")
            self.assertIn("failed", shown)
            self.assertNotIn("completed", shown)
            self.assertIn("ValueError: <script>alert(1)</script>", shown)

    def test_how_far_a_job_is_is_rounded_half_up(self):
        for percent, shown in ((12.5, "13 %"), (0.4, "0 %"), (200, "100 %")):
            job_id = self.put(operator.add, 40, 2)
            self.manager.get(job_id).annotations["percent"] = percent
            transaction.commit()
            self.assertIn(shown, self.text(self.open(f"@@jobs/{job_id}"), "//main"))

    def test_a_job_that_says_nothing_or_nought_shows_no_bar(self):
        job_id = self.put(operator.add, 40, 2)
        for percent in (None, 0):
            self.manager.get(job_id).annotations["percent"] = percent
            transaction.commit()
            page = self.open(f"@@jobs/{job_id}")
            self.assertEqual([], page.xpath("//*[@role='progressbar']"))

    def test_a_job_of_the_service_leads_to_its_page_in_the_control_panel(self):
        job = self.service.wrapJob(self.service.makeJob(work.note, self.news, "x"))
        job_id = self.manager.put(job)
        transaction.commit()
        page = self.open(f"@@jobs/{job_id}")
        self.assertIn(
            f"{self.url}/@@background-job?id={job_id}", page.xpath("//main//a/@href")
        )

    def test_of_too_many_the_newest_are_listed(self):
        ids = [self.put(operator.add, 40, number) for number in range(3)]
        with mock.patch.object(pages, "PAGE_SIZE", 2):
            page = self.open("@@jobs")
        self.assertIn("The newest 2 jobs", self.text(page, "//main"))
        shown = page.xpath("//li[starts-with(@id, 'job-')]/@id")
        self.assertEqual([f"job-{job_id}" for job_id in ids[1:]], shown)

    def test_what_is_no_job_is_not_found(self):
        job_id = self.put(operator.add, 40, 2)
        for name in ("1", "x", f"{job_id}/{job_id}", "9" * 30):
            self.open(f"@@jobs/{name}")
            self.assertEqual("404", self.status(), name)

    def test_a_job_of_another_site_is_not_found(self):
        job_id = self.put(operator.add, 40, 2)
        self.login_as_site_owner()
        other = add_site(self.layer["app"], "other")
        self.addCleanup(setSite, self.portal)
        self.url = other.absolute_url()
        self.open(f"@@jobs/{job_id}")
        self.assertEqual("404", self.status())

    def test_a_job_that_cannot_be_read_leaves_the_others_shown(self):
        job_id = self.put(operator.add, 40, 2)
        broken = self.put(operator.add, 1, 2)
        state = Job.__setstate__

        def set_state(job, stored):
            if job._p_oid == self.manager.get(broken)._p_oid:
                raise ImportError("no such class")
            state(job, stored)

        Job.__setstate__ = set_state
        self.addCleanup(delattr, Job, "__setstate__")
        self.layer["zodbDB"].cacheMinimize()
        self.manager.get(broken)._p_deactivate()
        page = self.open("@@jobs")
        self.assertIn("cannot be read", self.text(page, f"//*[@id='job-{broken}']"))
        self.assertIn("waiting", self.text(page, f"//*[@id='job-{job_id}']"))


class TestRights(ManagerPagesTestCase):
    def test_managers_and_site_administrators_may_view_jobs(self):
        roles = self.portal.rolesOfPermission(VIEW)
        self.assertEqual(
            ["Manager", "Site Administrator"],
            [role["name"] for role in roles if role["selected"]],
        )

    def test_others_may_open_neither_page(self):
        job_id = self.put(operator.add, 40, 2)
        anonymous = self.browser_of()
        for view in ("@@jobs", f"@@jobs/{job_id}"):
            self.open(view, browser=anonymous)
            self.assertIn("/login?came_from=", anonymous.url)
            self.open(view, browser=self.editor)
            self.assertIn("Insufficient Privileges", self.editor.contents)

    def test_nobody_else_learns_which_ids_there_are(self):
        job_id = self.put(operator.add, 40, 2)
        for browser in (self.editor, self.browser_of()):
            answers = set()
            for id in (job_id, "1"):
                self.open(f"@@jobs/{id}", browser=browser)
                answers.add((self.status(browser), browser.url.partition("?")[0]))
            self.assertEqual(1, len(answers), answers)

    def test_who_may_only_view_jobs_cannot_change_them(self):
        self.portal.manage_permission(VIEW, ["Manager", "Authenticated"])
        job_id = self.put(operator.add, 40, 2)
        drain()
        self.open("@@jobs", browser=self.editor)
        page = self.open("@@jobs", browser=self.editor)
        self.assertIn("completed", self.text(page, "//main"))
        self.assertEqual([], page.xpath("//main//button"))
        page = self.open("@@my-exports", browser=self.editor)
        token = self.token_of(page)
        for form in ({"remove": "1", "id": job_id}, {"start": "1"}):
            form["_authenticator"] = token
            self.open("@@jobs", form, self.editor)
            self.assertIn("Insufficient Privileges", self.editor.contents)
        transaction.begin()
        self.assertEqual([job_id], [each for each, _ in self.manager.jobs()])


class TestChanging(ManagerPagesTestCase):
    def test_the_button_removes_a_job_and_says_so(self):
        job_id = self.put(operator.add, 40, 2)
        drain()
        page = self.send(remove="1", id=job_id)
        self.assertIn(f"The job {job_id} was removed", self.message(page))
        transaction.begin()
        self.assertIsNone(self.manager.get(job_id))

    def test_a_job_that_has_not_ended_has_no_button_and_stays(self):
        job_id = self.put(operator.add, 40, 2)
        page = self.open("@@jobs")
        self.assertEqual([], page.xpath(f"//*[@id='job-{job_id}']//button"))
        page = self.send(remove="1", id=job_id)
        self.assertIn(f"The job {job_id} has not ended", self.message(page))
        transaction.begin()
        self.assertIsNotNone(self.manager.get(job_id))

    def test_removing_what_is_not_there_says_so(self):
        page = self.send(remove="1", id="1")
        self.assertIn("There is no such job", self.message(page))

    def test_a_test_job_is_started_and_named(self):
        page = self.send(start="1", duration="0")
        transaction.begin()
        ((job_id, job),) = self.manager.jobs()
        self.assertIn(f"The test job {job_id} was started", self.message(page))
        self.assertEqual(46, self.run_job(job))

    def test_a_test_job_does_not_last_for_ever(self):
        for duration in ("", "-1", "3601", "99999999", "x"):
            page = self.send(start="1", duration=duration)
            self.assertIn("whole number of seconds, 3600", self.message(page))
        transaction.begin()
        self.assertEqual([], list(self.manager.jobs()))

    def test_nothing_is_changed_without_the_authenticator(self):
        job_id = self.put(operator.add, 40, 2)
        drain()
        self.open("@@jobs")
        for form in ({"remove": "1", "id": job_id}, {"start": "1"}):
            self.open("@@jobs", form)
            self.open("@@jobs", None, **form)
        transaction.begin()
        self.assertEqual([job_id], [each for each, _ in self.manager.jobs()])
