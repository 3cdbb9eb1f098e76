"""Two sites in one database: who administers the one learns nothing of the other."""

from __future__ import annotations

from AccessControl import Unauthorized
from Acquisition import aq_base
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.tasks import offer
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import login
from plone.testing.zope import Browser
from plone.uuid.interfaces import ATTRIBUTE_NAME
from urllib.parse import urlencode
from zope.component.hooks import getSite
from zope.component.hooks import setSite

import re
import transaction


ADMIN, PASSWORD = "adam", "correct horse battery"
SECRET = "plans-of-the-other-site"


class SitesTestCase(ServiceTestCase):
    """Adam administers the site ``plone``; in the site ``other`` a job has a secret."""

    def setUp(self):
        super().setUp()
        self.login_as_site_owner()
        api.user.create(
            "adam@example.org", ADMIN, PASSWORD, ["Member", "Site Administrator"]
        )
        self.other = add_site(self.layer["app"], "other")
        self.secret = self.service.queueJob(work.note, self.other, SECRET)
        self.failed = self.service.queueJob(work.fail, self.other, SECRET)
        drain()
        self.waiting = self.service.queueJob(work.note, self.other, SECRET)
        self.task = offer.start(offer.TASKS["reindex"], self.other)
        transaction.commit()
        setSite(self.portal)
        login(self.portal, ADMIN)

    def foreign_jobs(self):
        return (self.secret, self.failed, self.waiting, self.task)


class TestAddresses(SitesTestCase):
    def setUp(self):
        super().setUp()
        self.browser = Browser(self.layer["app"])
        self.browser.handleErrors = True
        self.browser.raiseHttpErrors = False
        self.browser.followRedirects = False
        self.browser.addHeader("Authorization", f"Basic {ADMIN}:{PASSWORD}")

    def open(self, path, data=None):
        """The status; fails if the secret is in the answer."""
        data = None if data is None else urlencode(data)
        self.browser.open(f"http://nohost/{path}", data)
        self.assertNotIn(SECRET, str(self.browser.contents))
        return self.browser.headers["Status"][:3]

    def test_the_lists_of_his_site_know_only_its_jobs(self):
        for page in ("background-jobs", "background-jobs-list", "jobs.json"):
            for query in ("", "?status=failed", "?status=queued", "?user=admin"):
                with self.subTest(page + query):
                    self.assertEqual("200", self.open(f"plone/@@{page}{query}"))

    def test_ids_of_the_other_sites_jobs_are_unknown_in_his(self):
        for job in self.foreign_jobs():
            for page in ("background-job", "background-task"):
                with self.subTest(page=page, job=job.callable_name):
                    status = self.open(f"plone/@@{page}?id={job.id}")
                    self.assertEqual("404", status)

    def test_he_cannot_cancel_the_other_sites_task(self):
        mine = offer.start(offer.TASKS["reindex"], self.portal)
        transaction.commit()
        self.open(f"plone/@@background-task?id={mine.id}")
        (token,) = re.findall(
            r'name="_authenticator"[^>]*value="(\w+)"', self.browser.contents
        )[:1]
        data = {"cancel": "1", "_authenticator": token}
        path = "plone/@@background-task"
        self.assertEqual("404", self.open(path, {"id": self.task.id, **data}))
        self.assertEqual("302", self.open(path, {"id": mine.id, **data}))
        transaction.begin()
        self.assertEqual("pending-status", self.task.status)
        self.assertEqual("completed-status", mine.status)

    def test_the_other_sites_pages_are_closed_however_they_are_reached(self):
        for way in ("other", "plone/other", "plone/folder/other"):
            for page in (
                "@@background-jobs",
                "@@background-jobs-list",
                "@@jobs.json",
                f"@@background-job?id={self.secret.id}",
                f"@@background-task?id={self.task.id}",
            ):
                with self.subTest(f"{way}/{page}"):
                    status = self.open(f"{way}/{page}")
                    self.assertIn(status, ("302", "401", "404"))
                    if status == "302":
                        self.assertIn("login", self.browser.headers["Location"])

    def test_his_own_site_through_the_other_shows_his_own_jobs_at_most(self):
        for page in ("@@background-jobs", "@@jobs.json"):
            with self.subTest(page):
                self.assertIn(self.open(f"other/plone/{page}"), ("200", "404"))


class TestService(SitesTestCase):
    def test_an_acquired_site_gives_him_no_rights_in_it(self):
        setSite(self.portal.other)
        self.assertEqual(("", "other"), getSite().getPhysicalPath())
        self.assertEqual([], self.service.findJobs())
        self.assertEqual(0, sum(self.service.countJobs().values()))
        for action in (
            self.service.getJob,
            self.service.getJobInfo,
            self.service.cancelJob,
            self.service.retryJob,
        ):
            for job in self.foreign_jobs():
                with self.assertRaises(Unauthorized):
                    action(job.id)

    def test_a_namesake_in_the_other_site_is_somebody_else(self):
        setSite(self.other)
        self.login_as_site_owner()
        api.user.create("adam@example.org", ADMIN, PASSWORD)
        login(self.other, ADMIN)
        job = self.service.queueJob(work.note, self.other, SECRET)
        transaction.commit()
        self.assertEqual(1, len(self.service.findJobs()))
        setSite(self.portal)
        login(self.portal, ADMIN)
        self.assertEqual([], self.service.findJobs(user=ADMIN))
        self.assertIsNone(self.service.getJob(job.id))

    def test_guessed_ids_of_other_records_are_no_jobs(self):
        users = self.portal.acl_users.source_users
        records = (self.portal, users, self.service.getQueues(), self.folder)
        for obj in records:
            number = str(int.from_bytes(aq_base(obj)._p_oid, "big"))
            self.assertIsNone(self.service.getJob(number))
            self.assertIsNone(self.service.getJobInfo(number))

    def test_an_id_of_any_length_is_no_job(self):
        for wrong in ("9" * 5000, "0" * 5000, "1" * 20, "٣" * 30):
            self.assertIsNone(self.service.getJob(wrong))

    def test_a_copy_of_a_site_knows_none_of_its_jobs(self):
        self.login_as_site_owner()
        app = self.layer["app"]
        app.manage_pasteObjects(app.manage_copyObjects(["other"]))
        copy = app["copy_of_other"]
        setSite(copy)
        self.assertEqual([], self.service.findJobs())
        self.assertIsNone(self.service.getJob(self.secret.id))


class TestSharing(SitesTestCase):
    def test_jobs_of_all_sites_wait_in_one_quota(self):
        mine = self.service.queueJob(work.note, self.portal, "mine")
        transaction.commit()
        self.assertIs(self.waiting.queue, mine.queue)
        self.assertEqual(self.waiting.quota_names, mine.quota_names)
        self.assertEqual(1, mine.queue.quotas["default"].size)
        drain()
        self.assertLess(self.waiting.active_end, mine.active_end)


class TestUniqueKeys(SitesTestCase):
    def queue(self, site, key, **asked):
        setSite(site)
        self.login_as_site_owner()
        using = self.service.using(unique=key, **asked)
        return using.queueJob(work.note, site, key)

    def test_a_key_that_names_another_site_replaces_nothing_there(self):
        theirs = self.queue(self.other, "news")
        transaction.commit()
        for key in ("news", theirs.unique, f"{self.other.UID()} news", "/other news"):
            for how in ("replace", "drop"):
                with self.subTest(key=key, how=how):
                    mine = self.queue(self.portal, key, on_duplicate=how)
                    self.assertIsNot(theirs, mine)
                    self.assertEqual("/plone", "/".join(mine.site_path))
        self.assertEqual("pending-status", theirs.status)

    def test_sites_without_uid_do_not_share_keys_either(self):
        near = add_site(self.layer["app"], "other x")
        for site in (self.other, near):
            delattr(aq_base(site), ATTRIBUTE_NAME)
        theirs = self.queue(near, "news")
        mine = self.queue(self.other, "x news", on_duplicate="replace")
        self.assertNotEqual(theirs.unique, mine.unique)
        self.assertEqual("pending-status", theirs.status)

    def test_a_duplicate_of_somebody_else_is_told_of_without_her_arguments(self):
        setSite(self.portal)
        self.login_as_test_user()
        hers = self.service.using(unique="news").queueJob(
            work.note, self.folder, "hers alone"
        )
        api.user.create("bob@example.org", "bob", PASSWORD)
        login(self.portal, "bob")
        with self.assertRaises(DuplicateJobError) as refused:
            self.service.using(unique="news").queueJob(work.note, self.portal, "x")
        self.assertNotIn("hers alone", str(refused.exception))
        self.assertIn("work.note", str(refused.exception))
        self.assertIs(hers, refused.exception.job)
