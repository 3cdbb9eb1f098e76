"""Whose rights a job has, and what it finds around it; what if these are gone."""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import emergency_user
from AccessControl.users import system
from collective.clockwork import arguments
from collective.clockwork import identity
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import logout
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import TEST_USER_ID
from unittest import mock
from ZEO.Exceptions import ClientDisconnected
from zExceptions import BadRequest
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.globalrequest import getRequest

import transaction


class TestAwayStorage(ServiceTestCase):
    """What cannot be loaded for a while is not taken for something that is gone."""

    def setUp(self):
        super().setUp()
        self.page = api.content.create(self.folder, "Document", "page")
        transaction.commit()
        self.path = self.page.getPhysicalPath()
        self.folder._p_deactivate()

        def setstate(obj):
            raise ClientDisconnected("the storage is away")

        away = mock.patch.object(self.folder._p_jar, "setstate", setstate)
        away.start()
        self.addCleanup(away.stop)

    def test_a_context_is_not_said_to_be_gone(self):
        with self.assertRaises(ClientDisconnected):
            identity.find_context(self.portal, self.path, None)

    def test_a_context_is_not_refused(self):
        with self.assertRaises(ClientDisconnected):
            arguments.check_context(self.page, self.portal)


class TestTheWorld(ServiceTestCase):
    def test_a_job_finds_site_user_request_and_layers(self):
        world = self.result_of(work.describe_world)
        self.assertEqual("/plone/folder", world["context"])
        self.assertEqual("/plone", world["site"])
        self.assertEqual("/plone", world["portal"])
        self.assertEqual(TEST_USER_ID, world["user"])
        self.assertIn("Owner", world["roles"])
        self.assertTrue(world["request"])
        self.assertIn("IClockworkLayer", world["layers"])

    def test_a_job_queued_by_anonymous_runs_as_anonymous(self):
        logout()
        job = self.service.queueJob(work.describe_world, self.folder)
        self.login_as_test_user()
        world = self.run_job(job)
        self.assertIsNone(world["user"])
        self.assertEqual(["Anonymous"], world["roles"])

    def test_a_user_of_the_zope_root_is_found_there(self):
        self.login_as_site_owner()
        job = self.service.queueJob(work.describe_world, self.portal)
        self.login_as_test_user()
        world = self.run_job(job)
        self.assertEqual(SITE_OWNER_NAME, world["user"])
        self.assertIn("Manager", world["roles"])
        self.assertEqual(("", "acl_users"), job.userfolder_path)

    def test_adopted_roles_are_not_taken_along(self):
        with api.env.adopt_roles(["Manager"]):
            job = self.service.queueJob(work.describe_world, self.portal)
        world = self.run_job(job)
        self.assertEqual(TEST_USER_ID, world["user"])
        self.assertNotIn("Manager", world["roles"])

    def test_the_thread_is_afterwards_as_it_was_before(self):
        user, site, request = getSecurityManager().getUser(), getSite(), getRequest()
        self.result_of(work.upset_the_world)
        self.assertEqual(user.getId(), getSecurityManager().getUser().getId())
        self.assertIs(site, getSite())
        self.assertIs(request, getRequest())

    def test_nothing_of_a_job_is_left_for_the_next_one(self):
        self.login_as_site_owner()
        self.service.queueJob(work.upset_the_world, self.folder)
        logout()
        job = self.service.queueJob(work.describe_world, self.folder)
        self.login_as_test_user()
        self.assertEqual(["Anonymous"], self.run_job(job)["roles"])

    def test_a_job_that_cannot_enter_its_world_leaves_the_thread_alone(self):
        job = self.service.queueJob(work.note, self.folder, "never")
        job.user_id = "nobody-knows-her"
        user, request = getSecurityManager().getUser(), getRequest()
        self.run_job(job)
        self.assertEqual(user.getId(), getSecurityManager().getUser().getId())
        self.assertIs(request, getRequest())


class TestGone(ServiceTestCase):
    def assert_refused(self, job, message):
        failure = self.run_job(job)
        self.assertIsInstance(failure.value, BadRequest)
        self.assertEqual(message, failure.getErrorMessage())
        self.assertEqual([], work.happened)
        self.assertEqual(0, job.attempt)

    def test_a_job_whose_context_is_deleted_fails(self):
        self.result_of(work.add_page, "news")
        job = self.service.queueJob(work.note, self.folder["news"], "never")
        transaction.commit()
        self.folder._delObject("news")
        self.assert_refused(job, "Context path /plone/folder/news not found")

    def test_a_namesake_further_up_is_not_taken_for_the_context(self):
        self.result_of(work.add_page, "news")
        job = self.service.queueJob(work.note, self.folder["news"], "never")
        self.folder._delObject("news")
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        api.content.create(self.portal, "Document", "news")
        self.assert_refused(job, "Context path /plone/folder/news not found")

    def test_a_successor_at_the_same_path_is_not_taken_for_the_context(self):
        self.result_of(work.add_page, "news")
        job = self.service.queueJob(work.note, self.folder["news"], "never")
        self.folder._delObject("news")
        api.content.create(self.folder, "Document", "news")
        self.assert_refused(job, "Context path /plone/folder/news not found")

    def test_a_context_that_was_moved_is_found(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        page = api.content.create(self.folder, "Document", "news")
        job = self.service.queueJob(work.describe_world, page)
        transaction.commit()
        api.content.move(page, self.portal)
        self.assertEqual("/plone/news", self.run_job(job)["context"])

    def test_a_context_whose_catalog_entry_is_wrong_counts_as_gone(self):
        self.result_of(work.add_page, "news")
        page = self.folder["news"]
        job = self.service.queueJob(work.note, page, "never")
        self.folder._delOb("news")
        self.assert_refused(job, "Context path /plone/folder/news not found")

    def test_a_job_whose_user_is_deleted_fails(self):
        job = self.service.queueJob(work.note, self.folder, "never")
        transaction.commit()
        self.portal.acl_users.userFolderDelUsers([TEST_USER_ID])
        self.assert_refused(job, f"User {TEST_USER_ID} not found")

    def test_a_job_whose_user_folder_is_gone_fails(self):
        job = self.service.queueJob(work.note, self.folder, "never")
        job.userfolder_path = ("", "plone", "folder", "acl_users")
        self.assert_refused(job, "Userfolder path /plone/folder/acl_users not found")

    def test_what_took_the_place_of_a_user_folder_is_not_asked(self):
        job = self.service.queueJob(work.note, self.folder, "never")
        job.userfolder_path = ("", "plone", "folder")
        self.assert_refused(job, "Userfolder path /plone/folder not found")

    def test_a_job_whose_site_is_deleted_fails(self):
        other = add_site(self.layer["app"], "other")
        self.login_as_site_owner()
        setSite(other)
        job = self.service.queueJob(work.note, other, "never")
        transaction.commit()
        setSite(self.portal)
        self.layer["app"]._delObject("other")
        self.assert_refused(job, "Portal path /other not found")

    def test_a_site_of_the_same_name_is_not_taken_for_the_one_that_was_deleted(self):
        other = add_site(self.layer["app"], "other")
        self.login_as_site_owner()
        setSite(other)
        job = self.service.queueJob(work.note, other, "never")
        transaction.commit()
        setSite(self.portal)
        self.layer["app"]._delObject("other")
        add_site(self.layer["app"], "other")
        setSite(self.portal)
        self.assert_refused(job, "Portal path /other not found")


class TestSites(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.other = add_site(self.layer["app"], "other")
        self.login_as_site_owner()
        setSite(self.portal)

    def test_each_job_runs_in_the_site_in_which_it_was_queued(self):
        here = self.service.queueJob(work.describe_world, self.portal)
        setSite(self.other)
        there = self.service.queueJob(work.describe_world, self.other)
        setSite(self.portal)
        drain()
        self.assertEqual("/plone", here.result["site"])
        self.assertEqual("/other", there.result["site"])
        self.assertEqual("/other", there.result["portal"])

    def test_a_site_sees_only_its_own_jobs(self):
        here = self.service.queueJob(work.note, self.portal, "here")
        setSite(self.other)
        there = self.service.queueJob(work.note, self.other, "there")
        transaction.commit()
        (info,) = self.service.findJobs()
        self.assertEqual("/other", info.site)
        self.assertEqual(1, self.service.countJobs()["queued"])
        self.assertIsNone(self.service.getJobInfo(job_id(here)))
        setSite(self.portal)
        (info,) = self.service.findJobs()
        self.assertEqual("/plone", info.site)
        self.assertIsNone(self.service.getJobInfo(job_id(there)))

    def test_a_copy_of_a_site_with_its_uid_does_not_see_its_jobs(self):
        app = self.layer["app"]
        setSite(self.other)
        job = self.service.queueJob(work.describe_world, self.other)
        transaction.commit()
        copy = self.other._getCopy(app)
        copy._setId("copy")
        app._setObject("copy", copy)
        self.assertEqual(identity.uid_of(self.other), identity.uid_of(app["copy"]))
        transaction.commit()
        setSite(app["copy"])
        self.assertEqual([], self.service.findJobs())
        setSite(self.other)
        self.assertEqual(1, len(self.service.findJobs()))
        self.assertEqual("/other", self.run_job(job)["site"])

    def test_a_job_follows_its_site_when_that_is_renamed(self):
        setSite(self.other)
        job = self.service.queueJob(work.describe_world, self.other)
        transaction.commit()
        setSite(self.portal)
        self.layer["app"].manage_renameObject("other", "renamed")
        world = self.run_job(job)
        self.assertEqual("/renamed", world["site"])
        self.assertEqual("/renamed", world["context"])


class TestUsersWhoCannotBeStored(ServiceTestCase):
    def test_the_system_user_is_refused(self):
        newSecurityManager(None, system)
        with self.assertRaisesRegex(ValueError, "system or emergency user"):
            self.service.queueJob(work.note, self.folder, "never")
        self.assertEqual(0, self.stored_jobs())

    def test_the_emergency_user_is_refused(self):
        newSecurityManager(None, emergency_user.__of__(self.portal.acl_users))
        with self.assertRaisesRegex(ValueError, "system or emergency user"):
            self.service.queueJob(work.note, self.folder, "never")
        self.assertEqual(0, self.stored_jobs())

    def test_a_user_of_no_folder_is_refused(self):
        user = self.portal.acl_users.getUserById(TEST_USER_ID)
        user.aq_base.id = user.aq_base._id = "stranger"
        newSecurityManager(None, user)
        with self.assertRaisesRegex(ValueError, "'stranger' is in none"):
            self.service.queueJob(work.note, self.folder, "never")

    def test_without_a_current_site_nothing_can_be_queued(self):
        setSite(None)
        with self.assertRaisesRegex(LookupError, "setSite"):
            self.service.queueJob(work.note, self.folder, "never")


class TestRebasing(ServiceTestCase):
    def test_only_paths_inside_a_moved_site_move_with_it(self):
        old, new = ("", "a"), ("", "b", "c")
        self.assertEqual(
            ("", "b", "c", "x"), identity.rebased(("", "a", "x"), old, new)
        )
        self.assertEqual(("", "ab", "x"), identity.rebased(("", "ab", "x"), old, new))


def job_id(job):
    return str(int.from_bytes(job._p_oid, "big"))
