"""Worlds of jobs in a worker's threads: nothing is left, nothing is shared."""

from __future__ import annotations

from collective.clockwork.engine.job import Job
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone import worldwork
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.workercase import WorkerTestCase
from plone.app.testing import login
from plone.app.testing import logout
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import TEST_USER_ID
from Products.CMFCore import indexing
from zope.component.hooks import setSite
from zope.globalrequest import setRequest

import threading
import transaction


class LookingTestCase(WorkerTestCase):
    def look_around(self):
        """Queue a job of the engine, which has no world of its own."""
        job = Job(worldwork.look_around)
        job.quota_names = ("default",)
        return self.service.getQueues()[""].put(job)


class TestOneThread(LookingTestCase):
    def test_nothing_of_a_job_is_left_in_its_thread(self):
        first = self.look_around()
        jobs = []
        for func in (
            work.describe_world,
            work.upset_the_world,
            worldwork.leave_a_mess,
            worldwork.note_skin,
            work.write_and_fail,
        ):
            jobs += [self.service.queueJob(func, self.folder), self.look_around()]
        before, *results = self.run_in_worker(first, *jobs, threads=1)
        nothing = {"site": None, "request": None, "skin": False, "interaction": False}
        self.assertEqual("Anonymous User", before["user"])
        self.assertEqual(before, before | nothing)
        for around in results[1::2]:
            self.assertEqual(before, around)

    def test_the_next_job_in_a_thread_has_only_its_own_rights(self):
        self.login_as_site_owner()
        mess = self.service.queueJob(worldwork.leave_a_mess, self.folder)
        rightful = self.service.queueJob(worldwork.may_modify, self.folder)
        self.login_as_test_user()
        owner = self.service.queueJob(worldwork.may_modify, self.folder)
        logout()
        visitor = self.service.queueJob(worldwork.may_modify, self.folder)
        results = self.run_in_worker(mess, rightful, owner, visitor, threads=1)
        self.assertEqual([True, True, False], results[1:])

    def test_a_job_that_did_not_get_into_its_world_leaves_none_to_the_next(self):
        lost = self.service.queueJob(work.note, self.folder, "never")
        lost.user_id = "nobody-knows-her"
        around = self.look_around()
        failure, around = self.run_in_worker(lost, around, threads=1)
        self.assertEqual("User nobody-knows-her not found", failure.getErrorMessage())
        self.assertEqual((None, None), (around["site"], around["request"]))

    def test_a_job_whose_indexing_fails_leaves_nothing_to_be_indexed(self):
        bad = self.service.queueJob(worldwork.index_badly, self.folder)
        after = self.service.queueJob(work.add_page, self.folder, "after")
        self.enterContext(worldwork.unindexable())
        failure, _id = self.run_in_worker(bad, after, threads=1)
        self.assertTrue(failure.check(worldwork.Unindexable))
        self.assertNotEqual("half indexed", self.folder.title)
        catalog = self.portal.portal_catalog
        self.assertEqual(1, len(catalog.unrestrictedSearchResults(getId="after")))
        found = catalog.unrestrictedSearchResults(path="/plone/folder", Title="half")
        self.assertEqual(0, len(found))

    def test_a_grouped_job_indexes_its_own_while_another_thread_is_at_it(self):
        job = self.service.queueJob(worldwork.index_well, self.folder)
        transaction.commit()
        before = job.setUp()
        self.addCleanup(transaction.abort)
        indexing.processing.add(indexing.getQueue())
        try:
            job.invoke((), {})
            self.assertGreater(indexing.getQueue().length(), 0)
            job.complete_work()
            self.assertEqual(0, indexing.getQueue().length())
        finally:
            indexing.processing.discard(indexing.getQueue())
            job.tearDown(before)

    def test_a_user_of_two_sites_has_the_roles_that_each_gives_her(self):
        other = add_site(self.layer["app"], "other")
        jobs = []
        for site, role in ((self.portal, "Editor"), (other, "Reviewer")):
            site.acl_users.userFolderAddUser("twin", "a password 123", [role], [])
            setSite(site)
            login(site, "twin")
            jobs.append(self.service.queueJob(worldwork.describe_user, site))
        setSite(self.portal)
        self.login_as_test_user()
        here, there = self.run_in_worker(*jobs, threads=1)
        self.assertEqual("/plone/acl_users", here["folder"])
        self.assertEqual("/other/acl_users", there["folder"])
        self.assertIn("Editor", here["here"])
        self.assertNotIn("Reviewer", here["here"])
        self.assertIn("Reviewer", there["here"])
        self.assertNotIn("Editor", there["here"])

    def test_jobs_follow_their_site_when_that_is_renamed(self):
        other = add_site(self.layer["app"], "other")
        other.acl_users.userFolderAddUser("berta", "a password 123", ["Manager"], [])
        setSite(other)
        login(other, "berta")
        hers = self.service.queueJob(worldwork.describe_user, other)
        logout()
        visitors = self.service.queueJob(work.describe_world, other)
        setSite(self.portal)
        transaction.commit()
        self.login_as_site_owner()
        self.layer["app"].manage_renameObject("other", "renamed")
        add_site(self.layer["app"], "other")
        setSite(self.portal)
        user, world = self.run_in_worker(hers, visitors, threads=1)
        self.assertEqual("/renamed/acl_users", user["folder"])
        self.assertEqual(("/renamed", "/renamed"), (world["site"], world["context"]))
        self.assertEqual(["Anonymous"], world["roles"])

    def test_a_site_that_is_deleted_takes_no_job_of_another_with_it(self):
        other = add_site(self.layer["app"], "other")
        setSite(self.portal)
        here = self.service.queueJob(work.describe_world, self.folder)
        self.login_as_site_owner()
        setSite(other)
        gone = self.service.queueJob(work.note, other, "never")
        told = gone.addCallback(work.note_surroundings)
        setSite(self.portal)
        after = self.service.queueJob(work.describe_world, self.folder)
        transaction.commit()
        self.layer["app"]._delObject("other")
        first, failure, last = self.run_in_worker(here, gone, after, threads=1)
        self.assertEqual("Portal path /other not found", failure.getErrorMessage())
        self.assertEqual(("/plone", "/plone"), (first["site"], last["site"]))
        self.assertEqual("completed-status", told.status)
        self.assertEqual([(None, None)], work.happened)

    def test_a_script_without_request_can_queue_what_a_worker_runs(self):
        setRequest(None)
        job = self.service.queueJob(worldwork.describe_visit, self.folder)
        (visit,) = self.run_in_worker(job, threads=1)
        self.assertEqual("http://localhost/plone/folder", visit["url"])


class TestTwoThreads(LookingTestCase):
    def test_two_sites_at_the_same_moment_do_not_see_each_other(self):
        other = add_site(self.layer["app"], "other")
        setSite(self.portal)
        worldwork.meeting = threading.Barrier(2)
        here = self.service.queueJob(worldwork.meet, self.portal)
        self.login_as_site_owner()
        setSite(other)
        there = self.service.queueJob(worldwork.meet, other)
        setSite(self.portal)
        first, second = self.run_in_worker(here, there, threads=2)
        mine, hers = ("plone", TEST_USER_ID), ("other", SITE_OWNER_NAME)
        self.assertEqual((mine, mine, ("plone", "plone")), first[:3])
        self.assertEqual((hers, hers, ("other", "other")), second[:3])
        self.assertNotEqual(first[3], second[3])
