"""A job has its user's rights of that moment, whoever retries, cancels or replaces."""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone import worldwork
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import login
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_PASSWORD
from Products.PluggableAuthService.interfaces.plugins import IAuthenticationPlugin
from Products.PythonScripts.PythonScript import PythonScript
from zope.globalrequest import getRequest

import transaction


class RightsTestCase(ServiceTestCase):
    """The test user is a Member, who may not add anything to the site itself."""

    def add_to_site(self):
        return self.service.makeJob(work.add_page, self.portal, "never")

    def queue_forbidden(self, **asked):
        using = self.service.using(**asked)
        return using.queueJob(*self.add_to_site()[:2], "never")

    def assert_unauthorized(self, job):
        self.assertTrue(isFailure(job.result))
        self.assertIsInstance(job.result.value, Unauthorized)
        self.assertIn(repr(TEST_USER_ID), job.result.getErrorMessage())
        self.assertNotIn("never", self.portal)


class TestWhoQueues(RightsTestCase):
    def test_proxy_roles_of_a_script_are_not_taken_along(self):
        seen = {}

        def queue():
            """Trusted code that a script with proxy roles may call."""
            seen["may"] = api.user.has_permission("Add portal content", obj=self.portal)
            seen["job"] = self.queue_forbidden()

        script = PythonScript("proxy")
        script.ZPythonScript_edit("queue", "queue()")
        script._proxy_roles = ("Manager",)
        script.__of__(self.portal)(queue)
        self.assertTrue(seen["may"])
        drain()
        self.assert_unauthorized(seen["job"])

    def test_members_of_a_batch_have_the_rights_of_who_queued_it(self):
        batch = self.service.queueParallelJobs(self.add_to_site(), self.add_to_site())
        drain()
        for member in batch.result:
            self.assert_unauthorized(member)

    def test_a_job_queued_by_a_job_has_the_rights_of_that_ones_user(self):
        job = self.service.queueJob(queue_forbidden_work, self.folder)
        drain()
        self.assert_unauthorized(job)


class TestWhoRetries(RightsTestCase):
    def test_a_retry_by_a_manager_does_not_lend_her_rights(self):
        job = self.queue_forbidden()
        drain()
        self.assert_unauthorized(job)
        self.login_as_site_owner()
        self.service.retryJob(job.id)
        drain()
        self.assertEqual(1, job.attempt)
        self.assert_unauthorized(job)

    def test_a_retry_after_the_owner_lost_her_role_fails(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        job = self.service.queueJob(add_page_or_fail, self.portal)
        drain()
        self.assertEqual("not yet", job.result.getErrorMessage())
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        work.happened.append("ready")
        self.login_as_site_owner()
        self.service.retryJob(job.id)
        drain()
        self.assert_unauthorized(job)

    def test_callbacks_of_a_job_that_a_manager_cancels_are_her_own(self):
        job = self.queue_forbidden()
        job.addCallback(work.note_surroundings)
        transaction.commit()
        self.login_as_site_owner()
        self.service.cancelJob(job.id)
        drain()
        self.assertEqual([(TEST_USER_ID, "/plone")], work.happened)


class TestWhoReplaces(RightsTestCase):
    def test_who_replaces_a_managers_job_does_not_get_her_rights(self):
        self.login_as_site_owner()
        managers = self.queue_forbidden(unique="page")
        transaction.commit()
        self.login_as_test_user()
        job = self.queue_forbidden(unique="page", on_duplicate="replace")
        drain()
        self.assertEqual("CancelledError", type(managers.result.value).__name__)
        self.assert_unauthorized(job)

    def test_who_is_given_a_managers_job_cannot_act_on_it(self):
        self.login_as_site_owner()
        managers = self.queue_forbidden(unique="page")
        transaction.commit()
        self.login_as_test_user()
        job = self.queue_forbidden(unique="page", on_duplicate="drop")
        self.assertIs(managers, job)
        for action in (self.service.getJobInfo, self.service.cancelJob):
            with self.assertRaises(Unauthorized):
                action(job.id)


class TestWhoIsGone(RightsTestCase):
    def test_a_user_who_cannot_log_in_keeps_her_jobs_until_she_is_deleted(
        self,
    ):
        users = self.portal.acl_users
        jobs = [self.service.queueJob(worldwork.may_modify, self.folder)]
        users.plugins.deactivatePlugin(IAuthenticationPlugin, "source_users")
        name, password = TEST_USER_NAME, TEST_USER_PASSWORD
        self.assertIsNone(users.authenticate(name, password, self.layer["request"]))
        drain()
        self.assertIs(True, jobs[0].result)
        jobs.append(self.service.queueJob(worldwork.may_modify, self.folder))
        users.userFolderDelUsers([TEST_USER_ID])
        drain()
        self.assertEqual(
            f"User {TEST_USER_ID} not found", jobs[1].result.getErrorMessage()
        )

    def test_a_new_user_with_the_id_of_a_deleted_one_gets_her_jobs(self):
        self.login_as_site_owner()
        api.user.create("bob@example.org", "bob", "correct-horse", ["Manager"])
        login(self.portal, "bob")
        job = self.service.queueJob(work.describe_world, self.portal)
        transaction.commit()
        self.login_as_site_owner()
        api.user.delete("bob")
        api.user.create("bob@example.com", "bob", "correct-horse")
        drain()
        login(self.portal, "bob")
        self.assertEqual("bob", job.result["user"])
        self.assertEqual(job.id, self.service.findJobs()[0].id)


class TestForgedHost(RightsTestCase):
    def test_a_forged_host_is_in_the_links_of_her_own_jobs_only(self):
        request = getRequest()
        jobs = []
        for address in ("http://evil.example.com", "https://www.example.org"):
            request["SERVER_URL"] = address
            jobs.append(self.service.queueJob(address_of, self.folder))
        drain()
        self.assertEqual(
            [
                "http://evil.example.com/plone/folder",
                "https://www.example.org/plone/folder",
            ],
            [job.result for job in jobs],
        )


def address_of(context):
    return context.absolute_url()


def queue_forbidden_work(context):
    """Queue what its user may not do; the result of that becomes its own."""
    from collective.clockwork.interfaces import IAsyncService
    from zope.component import getUtility

    service = getUtility(IAsyncService)
    portal = api.portal.get()
    return service.queueJobInQueue("", (), work.add_page, portal, "never")


def add_page_or_fail(context):
    if not work.happened:
        raise RuntimeError("not yet")
    return work.add_page(context, "never")
