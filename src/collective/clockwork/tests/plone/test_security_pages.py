"""The pages: who may open them, that they only look, and that texts stay texts."""

from __future__ import annotations

from collective.clockwork.tasks import offer
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.codeblocks import ROOT
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.pages import our_pages
from collective.clockwork.tests.plone.test_tasks_pages import PagesTestCase
from plone.app.testing import login
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.base.interfaces import IPloneSiteRoot
from unittest import mock
from urllib.parse import quote
from zope.i18nmessageid import Message

import json
import re
import transaction


MANAGE = "collective.clockwork: Manage background jobs"
PORTAL = "Manage portal"
SCRIPT = "<script>alert(1)</script>"

#: Table of the pages in the documentation: name and permission.
ROW = re.compile(r"^``([\w.-]+)`` {2,}(\w.*)$", re.MULTILINE)

#: What the forms of our pages send, all of it at once.
FORM = {
    "start": "1",
    "cancel": "1",
    "retry": "1",
    "save": "1",
    "add": "1",
    "remove": "1",
    "delete": "1",
    "form.buttons.save": "1",
    "form.submitted": "1",
    "task": "reindex",
    "queue": "",
    "name": "another",
    "size": "9",
    "queue-0": "",
    "name-0": "default",
    "was-0": "1",
    "size-0": "9",
}


class TestPermissions(PagesTestCase):
    maxDiff = None

    def test_each_page_asks_for_its_permission(self):
        found = {page.name: page.permission for page in our_pages()}
        chapter = (ROOT / "docs/security.rst").read_text()
        self.assertEqual(dict(ROW.findall(chapter)), found)

    def test_pages_about_all_jobs_are_pages_of_the_site_alone(self):
        pages = [page for page in our_pages() if page.permission == MANAGE]
        self.assertTrue(pages)
        for page in pages:
            self.assertIs(IPloneSiteRoot, page.context, page.name)

    def test_a_task_of_somebody_else_looks_like_one_that_is_not_there(self):
        self.login_as_site_owner()
        job = self.start("links")
        transaction.commit()
        self.url = self.portal.absolute_url()
        shown = set()
        for id in (job.id, "99999999"):
            page = self.open("@@background-task", id=id)
            self.assertTrue(self.browser.headers["Status"].startswith("404"))
            shown.add(self.text(page, "//main"))
        self.assertEqual(1, len(shown))


class TestForgedRequests(PagesTestCase):
    """What another site's page can have a manager's browser send."""

    def setUp(self):
        super().setUp()
        self.manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        self.login_as_site_owner()
        self.job = self.start("reindex")
        self.failed = self.service.queueJob(work.fail, self.portal)
        drain()
        self.job = self.start("reindex")
        transaction.commit()
        self.url = self.portal.absolute_url()
        # Plone's portlets write at the first visit.
        self.open("@@background-tasks", None, self.manager)

    def pages(self):
        """Our pages of a site, except for the ticks, which ``cron`` calls."""
        return [
            page
            for page in our_pages()
            if page.permission != PORTAL and page.context.providedBy(self.portal)
        ]

    def last_write(self):
        return self.layer["zodbDB"].lastTransaction()

    def test_no_page_writes_anything_without_the_authenticator(self):
        for page in self.pages():
            for job in (self.job, self.failed):
                form = {**FORM, "id": job.id}
                for data in (form, {**form, "_authenticator": "guessed"}):
                    with self.subTest(page=page.name, data=data):
                        before = self.last_write()
                        self.open(f"@@{page.name}", data, self.manager)
                        self.assertEqual(before, self.last_write())
                        self.open(f"@@{page.name}", None, self.manager, **data)
                        self.assertEqual(before, self.last_write())

    def test_with_it_they_would_be_written(self):
        """So the test above asks for what can be done."""
        for view, query in (
            ("@@background-task-form", {"task": "reindex"}),
            ("@@background-task", {"id": self.job.id}),
            ("@@background-queues", {}),
        ):
            page = self.open(view, None, self.manager, **query)
            token = page.xpath("//*[@name='_authenticator']/@value")[0]
            before = self.last_write()
            form = {**FORM, "id": self.job.id, "_authenticator": token}
            self.open(view, form, self.manager)
            self.assertNotEqual(before, self.last_write())


class TestHostileTexts(PagesTestCase):
    """Texts of real jobs, shown to a manager and to their user."""

    def setUp(self):
        super().setUp()
        self.manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)

    def assert_harmless(self, view, browser, marks=1, **query):
        page = self.open(view, None, browser, **query)
        self.assertTrue(browser.headers["Status"].startswith("200"))
        shown = page.text_content() + "".join(page.xpath("//@title"))
        self.assertGreaterEqual(shown.count("alert(1)"), marks, view)
        self.assertNotIn("<script>alert", browser.contents)
        return page

    def test_whatever_a_job_says_of_itself_is_text(self):
        message = Message(
            "title_x", "collective.clockwork", "On ${x}", mapping={"x": SCRIPT}
        )
        for title in (SCRIPT, message):
            using = self.service.using(title=title, quota=())
            using.queueJob(work.note, self.news, SCRIPT)
            using.queueJob(work.fail, self.news, SCRIPT)
        drain()
        self.url = self.portal.absolute_url()
        for view in ("@@background-jobs", "@@background-jobs-list"):
            self.assert_harmless(view, self.manager, 8)
        for info in self.service.findJobs():
            self.assert_harmless("@@background-job", self.manager, 2, id=info.id)

    def test_who_cancelled_it_and_why_is_text(self):
        job = self.service.queueJob(work.note, self.news, "x")
        transaction.commit()
        self.service.cancelJob(job.id, reason=SCRIPT)
        transaction.commit()
        self.url = self.portal.absolute_url()
        self.assert_harmless("@@background-job", self.manager, id=job.id)

    def test_ids_of_users_are_text(self):
        self.login_as_site_owner()
        name = "eve<script>alert(1)</script>"
        self.portal.acl_users.source_users.addUser(name, "eve", "correct-horse")
        login(self.portal, "eve")
        self.service.queueJob(work.note, self.portal, "x")
        transaction.commit()
        self.url = self.portal.absolute_url()
        page = self.assert_harmless("@@background-jobs", self.manager)
        addresses = [href for href in page.xpath("//@href") if "alert" in href]
        self.assertTrue(addresses)
        for address in addresses:
            self.assertIn(quote(SCRIPT, safe=""), address)

    def test_titles_of_content_are_text_in_the_pages_of_tasks(self):
        self.news["a"].title = SCRIPT
        self.news["a"].reindexObject()
        transaction.commit()
        selection = self.selection(self.news["a"])
        self.assert_harmless(
            "@@background-task-form", self.browser, task="delete", selection=selection
        )

    def test_progress_of_a_task_that_runs_is_text(self):
        name = f"{__name__}.{say_and_wait.__name__}"
        known = mock.patch.dict(offer._BY_FUNCTION, {name: offer.TASKS["links"]})
        self.enterContext(known)
        job = self.service.queueJob(say_and_wait, self.news)
        transaction.commit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: offer.look(job.id).message is not None)
            try:
                self.assert_harmless("@@background-task", self.browser, id=job.id)
            finally:
                work.released.set()

    def test_jobs_json_says_it_as_json(self):
        self.service.queueJob(work.note, self.news, SCRIPT)
        transaction.commit()
        self.manager.open(f"{self.portal.absolute_url()}/@@jobs.json")
        self.assertEqual("application/json", self.manager.headers["Content-Type"])
        self.assertEqual("nosniff", self.manager.headers["X-Content-Type-Options"])
        (job,) = json.loads(self.manager.contents)["jobs"]
        self.assertEqual(repr(SCRIPT), job["arguments"])


def say_and_wait(context, *, ctx):
    """Report a message, and wait for the test."""
    ctx.progress(1, 2, message=SCRIPT)
    if not work.released.wait(30):
        raise RuntimeError("nobody released this job")
