"""Jobs that are looked up, cancelled and retried, and who may do that."""

from __future__ import annotations

from AccessControl import Unauthorized
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import system
from collective.clockwork import jobrules
from collective.clockwork.engine import clock
from collective.clockwork.engine import quarantine
from collective.clockwork.engine.deaths import Evidence
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.interfaces import IJobFailure
from collective.clockwork.interfaces import IJobSuccess
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import backgroundwork
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import login
from plone.app.testing import logout
from plone.app.testing import TEST_USER_ID
from Products.CMFPlone.factory import addPloneSite
from zope.component import getGlobalSiteManager
from zope.component.hooks import setSite

import transaction


class ControlTestCase(ServiceTestCase):
    def setUp(self):
        super().setUp()
        backgroundwork.state["works"] = False

    def login_as(self, name, roles=("Member",)):
        """Become another user of the site, who is made if need be."""
        if api.user.get(name) is None:
            self.login_as_site_owner()
            api.user.create(f"{name}@example.org", name, "correct-horse", list(roles))
        login(self.portal, name)

    def queue_hers(self, function=work.note, *arguments):
        """A job of the test user, committed."""
        job = self.service.queueJob(function, self.folder, *(arguments or ("hers",)))
        transaction.commit()
        return job

    def fail_hers(self):
        job = backgroundwork.unreliable.queue(self.folder)
        drain()
        backgroundwork.state["works"] = True
        return job


class TestWhoMayDoWhat(ControlTestCase):
    def actions(self, job):
        return {
            "see": lambda: self.service.getJob(job.id),
            "facts": lambda: self.service.getJobInfo(job.id),
            "cancel": lambda: self.service.cancelJob(job.id),
            "retry": lambda: self.service.retryJob(job.id),
        }

    def assert_all_refused(self, job):
        before = job.status
        for name, action in self.actions(job).items():
            with self.subTest(name):
                with self.assertRaisesRegex(Unauthorized, "Manage background jobs"):
                    action()
        self.assertEqual([], self.service.findJobs())
        self.assertEqual(0, sum(self.service.countJobs().values()))
        self.assertEqual(before, job.status)

    def assert_search_refused(self):
        with self.assertRaisesRegex(Unauthorized, "Manage background jobs"):
            self.service.findJobs(user=TEST_USER_ID)

    def test_the_owner_sees_her_job_with_its_arguments(self):
        job = self.queue_hers()
        self.assertIs(job, self.service.getJob(job.id))
        (info,) = self.service.findJobs()
        self.assertEqual("'hers'", info.arguments)
        self.assertEqual(1, self.service.countJobs()["queued"])

    def test_another_member_sees_and_does_nothing(self):
        job = self.fail_hers()
        self.login_as("bob")
        self.assert_all_refused(job)
        self.assert_search_refused()

    def test_an_editor_sees_and_does_nothing(self):
        job = self.fail_hers()
        self.login_as("eve", ["Member", "Editor", "Reviewer", "Contributor"])
        self.assert_all_refused(job)

    def test_anonymous_sees_and_does_nothing(self):
        job = self.fail_hers()
        logout()
        self.assert_all_refused(job)
        self.assert_search_refused()

    def test_anonymous_does_not_see_jobs_of_other_anonymous_visitors(self):
        logout()
        job = self.queue_hers()
        with self.assertRaises(Unauthorized):
            self.service.getJob(job.id)
        self.assertEqual([], self.service.findJobs())
        self.login_as_site_owner()
        self.assertEqual(1, len(self.service.findJobs()))

    def test_a_site_administrator_may_do_all(self):
        job = self.fail_hers()
        self.login_as("adam", ["Member", "Site Administrator"])
        self.assertEqual(1, len(self.service.findJobs(user=TEST_USER_ID)))
        self.service.retryJob(job.id)
        self.assertEqual("withdrawn", self.service.cancelJob(job.id))

    def test_the_system_may_do_all(self):
        job = self.queue_hers()
        newSecurityManager(None, system)
        self.assertEqual(1, len(self.service.findJobs()))
        self.assertEqual("withdrawn", self.service.cancelJob(job.id))

    def test_a_namesake_in_another_user_folder_is_somebody_else(self):
        job = self.queue_hers()
        root = self.layer["app"].acl_users
        root.userFolderAddUser(TEST_USER_ID, "correct-horse", [], [])
        user = root.getUserById(TEST_USER_ID)
        newSecurityManager(None, user)
        self.assert_all_refused(job)
        self.assertEqual([], self.service.findJobs(user=TEST_USER_ID))

    def test_a_role_in_the_folder_alone_gives_no_right(self):
        job = self.fail_hers()
        self.login_as("bob")
        self.folder.manage_setLocalRoles("bob", ["Manager"])
        self.assert_all_refused(job)

    def test_inside_of_a_job_its_own_user_counts(self):
        self.login_as_site_owner()
        self.queue_hers()
        self.login_as_test_user()
        job = self.service.queueJob(count_visible, self.folder)
        self.assertEqual(1, self.run_job(job))

    def test_a_job_of_another_site_does_not_exist_here(self):
        self.login_as_site_owner()
        other = addPloneSite(self.layer["app"], "other", setup_content=False)
        setSite(other)
        job = self.service.queueJob(work.note, other, "there")
        transaction.commit()
        setSite(self.portal)
        self.assertIsNone(self.service.getJob(job.id))
        self.assertIsNone(self.service.getJobInfo(job.id))
        for action in (self.service.cancelJob, self.service.retryJob):
            with self.assertRaisesRegex(LookupError, "no job .* in this site"):
                action(job.id)
        self.assertEqual([], self.service.findJobs(function=work.note))

    def test_a_job_that_is_none_does_not_exist(self):
        for wrong in ("0", "999999999", str(2**64), "x", "-1", ""):
            self.assertIsNone(self.service.getJob(wrong))
            with self.assertRaisesRegex(LookupError, "no job"):
                self.service.cancelJob(wrong)
            with self.assertRaisesRegex(LookupError, "no job"):
                self.service.retryJob(wrong)

    def test_the_permission_is_the_one_that_zcml_defines(self):
        self.login_as_site_owner()
        self.assertTrue(jobrules.current().manages)
        self.portal.manage_permission(jobrules.MANAGE_JOBS, [], acquire=0)
        self.login_as("adam", ["Member", "Site Administrator"])
        self.assertFalse(jobrules.current().manages)


def count_visible(context):
    from collective.clockwork.interfaces import IAsyncService
    from zope.component import getUtility

    return len(getUtility(IAsyncService).findJobs())


class TestFinding(ControlTestCase):
    def test_jobs_are_found_by_function(self):
        note = self.queue_hers()
        self.queue_hers(work.add_numbers, 1)
        name = "collective.clockwork.tests.plone.work.note"
        for function in (work.note, name):
            (info,) = self.service.findJobs(function=function)
            self.assertEqual(note.id, info.id)
        self.assertEqual([], self.service.findJobs(function="work.note"))

    def test_jobs_are_found_by_their_decorated_function(self):
        job = backgroundwork.plain.queue(self.folder)
        self.queue_hers()
        (info,) = self.service.findJobs(function=backgroundwork.plain)
        self.assertEqual(job.id, info.id)

    def test_a_function_without_name_is_refused(self):
        with self.assertRaisesRegex(ValueError, "lambda"):
            self.service.findJobs(function=lambda context: None)

    def test_jobs_are_found_by_context_and_by_its_path(self):
        here = self.queue_hers()
        self.service.queueJob(work.note, self.portal, "there")
        for context in (self.folder, "/plone/folder"):
            (info,) = self.service.findJobs(context=context)
            self.assertEqual(here.id, info.id)

    def test_jobs_are_found_by_a_context_that_was_renamed(self):
        job = self.queue_hers()
        self.login_as_site_owner()
        api.content.rename(self.folder, "renamed")
        (info,) = self.service.findJobs(context=self.portal["renamed"])
        self.assertEqual(job.id, info.id)

    def test_what_is_asked_for_goes_together_and_is_limited(self):
        for number in range(3):
            self.queue_hers(work.add_numbers, number)
        self.queue_hers()
        found = self.service.findJobs(
            status="queued", user=TEST_USER_ID, function=work.add_numbers, limit=2
        )
        self.assertEqual(["2", "1"], [info.arguments for info in found])


class TestCancelling(ControlTestCase):
    def test_a_waiting_job_is_withdrawn_in_the_name_of_who_asks(self):
        job = self.queue_hers()
        answer = self.service.cancelJob(job.id, "no more needed")
        self.assertEqual("withdrawn", answer)
        transaction.commit()
        info = self.service.getJobInfo(job.id)
        self.assertEqual("cancelled", info.status)
        self.assertEqual(
            f"{TEST_USER_ID}: no more needed", info.reason.mapping["details"]
        )
        drain()
        self.assertEqual([], work.happened)

    def test_a_job_that_ended_is_not_changed(self):
        job = self.queue_hers()
        drain()
        self.assertEqual("late", self.service.cancelJob(job.id))
        self.assertEqual("completed", self.service.getJobInfo(job.id).status)

    def test_a_running_job_is_asked_to_stop(self):
        job = self.queue_hers(check_until_cancelled)
        with running_worker(self.layer["zodbDB"]):
            self.assertTrue(work.begun.wait(20))
            transaction.begin()
            self.assertEqual("asked", self.service.cancelJob(job.id))
            transaction.commit()
            self.wait_until(
                lambda: self.service.getJobInfo(job.id).status == "cancelled"
            )


def check_until_cancelled(context, word, *, ctx):
    work.begun.set()
    while not work.released.wait(0.01):
        ctx.checkpoint()


class TestRetrying(ControlTestCase):
    def test_a_failed_job_is_run_again_as_its_owner(self):
        job = self.fail_hers()
        self.login_as_site_owner()
        self.service.retryJob(job.id)
        self.assertEqual("queued", self.service.getJobInfo(job.id).status)
        self.assertEqual("it works", self.run_job(job))
        info = self.service.getJobInfo(job.id)
        self.assertEqual(("completed", TEST_USER_ID), (info.status, info.user))
        self.assertEqual(("RuntimeError: it does not work",), info.earlier_errors)

    def test_each_end_is_told_to_the_subscribers(self):
        heard = []

        def hear(event):
            heard.append((event.job.id, IJobFailure.providedBy(event)))

        registry = getGlobalSiteManager()
        for kind in (IJobSuccess, IJobFailure):
            registry.registerHandler(hear, [kind])
            self.addCleanup(registry.unregisterHandler, hear, [kind])
        job = self.fail_hers()
        self.service.retryJob(job.id)
        drain()
        self.assertEqual([(job.id, True), (job.id, False)], heard)

    def test_what_did_not_fail_is_refused(self):
        job = self.queue_hers()
        with self.assertRaisesRegex(BadStatusError, "has not ended"):
            self.service.retryJob(job.id)
        drain()
        with self.assertRaisesRegex(BadStatusError, "has not failed"):
            self.service.retryJob(job.id)

    def test_a_unique_key_that_is_in_use_again_is_respected(self):
        calls = backgroundwork.unreliable.using(unique="{context_uid}")
        job = calls.queue(self.folder)
        drain()
        other = calls.queue(self.folder)
        transaction.commit()
        with self.assertRaises(DuplicateJobError) as refused:
            self.service.retryJob(job.id)
        self.assertIs(other, refused.exception.job)
        self.assertEqual("failed", self.service.getJobInfo(job.id).status)

    def test_a_job_that_was_set_aside_is_released(self):
        job = self.queue_hers()
        queue = job.queue
        queue.pull()
        job._deaths = Evidence()
        quarantine.set_aside(queue, job, clock.now_us())
        transaction.commit()
        self.service.retryJob(job.id)
        transaction.commit()
        self.assertEqual("queued", self.service.getJobInfo(job.id).status)
        self.assertEqual("hers", self.run_job(job))
