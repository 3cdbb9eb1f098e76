"""As whom a job runs: users of all kinds, and what happened to them meanwhile."""

from __future__ import annotations

from AccessControl import Unauthorized
from AccessControl.SecurityManagement import newSecurityManager
from Acquisition import aq_parent
from collective.clockwork.engine.job import isFailure
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone import worldwork
from collective.clockwork.tests.plone.directory import Directory
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import login
from plone.app.testing import logout
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from unittest import mock
from zope.globalrequest import setRequest

import transaction


PASSWORD = "a password 123"


class UserTestCase(ServiceTestCase):
    def setUp(self):
        super().setUp()
        with api.env.adopt_roles(["Manager"]):
            api.user.create("anna@example.org", "anna", PASSWORD)
        transaction.commit()
        self.users = self.portal.acl_users

    def queue_as_anna(self, func, *args):
        login(self.portal, "anna")
        job = self.service.queueJob(func, self.folder, *args)
        self.login_as_test_user()
        return job

    def as_manager(self):
        return api.env.adopt_roles(["Manager"])


class TestRightsOfTheMoment(UserTestCase):
    def test_roles_groups_and_local_roles_are_those_when_it_runs(self):
        job = self.queue_as_anna(worldwork.describe_user)
        with self.as_manager():
            api.user.grant_roles("anna", roles=["Contributor"])
            api.group.add_user(groupname="Reviewers", username="anna")
            self.folder.manage_setLocalRoles("anna", ["Editor"])
            self.portal.manage_setLocalRoles("Reviewers", ["Reader"])
        user = self.run_job(job)
        self.assertEqual("/plone/acl_users", user["folder"])
        self.assertEqual({"Reviewers", "AuthenticatedUsers"}, set(user["groups"]))
        self.assertLessEqual({"Contributor", "Reviewer", "Member"}, set(user["roles"]))
        self.assertLessEqual({"Editor", "Reader"}, set(user["here"]))

    def test_what_she_lost_since_is_lost_for_the_job(self):
        with self.as_manager():
            api.user.grant_roles("anna", roles=["Manager"])
            api.group.add_user(groupname="Reviewers", username="anna")
            self.folder.manage_setLocalRoles("anna", ["Editor"])
        job = self.queue_as_anna(worldwork.describe_user)
        with self.as_manager():
            api.group.remove_user(groupname="Reviewers", username="anna")
            api.user.revoke_roles("anna", roles=["Manager"])
            self.folder.manage_delLocalRoles(["anna"])
        user = self.run_job(job)
        self.assertEqual(["AuthenticatedUsers"], user["groups"])
        self.assertEqual({"Authenticated", "Member"}, set(user["here"]))

    def test_a_member_who_was_away_for_a_while_has_the_rights_that_she_then_has(self):
        with self.as_manager():
            api.user.grant_roles("anna", roles=["Manager"])
        job = self.queue_as_anna(worldwork.describe_user)
        with self.as_manager():
            api.user.delete("anna")
        transaction.commit()
        self.assertIsNone(self.users.getUserById("anna"))
        # Plone keeps the roles of a deleted member for whoever gets her id.
        self.users.portal_role_manager.removeRoleFromPrincipal("Manager", "anna")
        with self.as_manager():
            api.user.create("anna@example.org", "anna", PASSWORD)
        user = self.run_job(job)
        self.assertEqual("anna", user["id"])
        self.assertNotIn("Manager", user["roles"])

    def test_a_user_with_a_new_login_name_is_found(self):
        job = self.queue_as_anna(worldwork.describe_user)
        with self.as_manager():
            self.users.updateLoginName("anna", "anna.new")
        user = self.run_job(job)
        self.assertEqual(("anna", "anna.new"), (user["id"], user["login"]))

    def test_a_user_with_a_new_id_counts_as_gone(self):
        job = self.queue_as_anna(work.note, "never")
        with self.as_manager():
            api.user.delete("anna")
            api.user.create("anna@example.org", "anna2", PASSWORD)
        failure = self.run_job(job)
        self.assertEqual("User anna not found", failure.getErrorMessage())
        self.assertEqual([], work.happened)


class TestBetweenTheCommitsOfALoop(UserTestCase):
    def run_loop(self, number, change):
        """Run a loop during which others change something; return its result."""
        job = self.queue_as_anna(worldwork.note_rights_between)
        meanwhile = worldwork.in_round(number, change)
        with mock.patch.object(worldwork, "change_rights", meanwhile):
            return self.run_job(job)

    def test_roles_that_she_loses_are_lost_from_the_next_commit_on(self):
        with self.as_manager():
            api.user.grant_roles("anna", roles=["Manager"])
        self.run_loop(
            1,
            lambda users: users.portal_role_manager.removeRoleFromPrincipal(
                "Manager", "anna"
            ),
        )
        self.assertEqual([True, True, False], work.happened)

    def test_local_roles_that_she_loses_are_lost_from_the_next_commit_on(self):
        self.portal.manage_setLocalRoles("anna", ["Manager"])
        self.run_loop(1, lambda users: aq_parent(users).manage_delLocalRoles(["anna"]))
        self.assertEqual([True, True, False], work.happened)

    def test_roles_that_she_gets_are_hers_from_the_next_commit_on(self):
        self.run_loop(
            0,
            lambda users: users.portal_role_manager.assignRoleToPrincipal(
                "Manager", "anna"
            ),
        )
        self.assertEqual([False, True, True], work.happened)

    def test_code_that_put_the_request_away_gets_the_new_rights_too(self):
        def grant(users):
            setRequest(None)
            users.portal_role_manager.assignRoleToPrincipal("Manager", "anna")

        self.run_loop(0, grant)
        self.assertEqual([False, True, True], work.happened)

    def test_a_user_who_is_deleted_meanwhile_ends_the_loop(self):
        result = self.run_loop(1, lambda users: users.source_users.removeUser("anna"))
        self.assertEqual([False, False], work.happened)
        self.assertEqual("User anna not found", result.getErrorMessage())

    def test_roles_that_the_code_adopted_are_kept(self):
        self.run_job(self.queue_as_anna(worldwork.note_adopted_rights))
        self.assertEqual([True, True], work.happened)


class TestOtherSources(UserTestCase):
    def setUp(self):
        super().setUp()
        self.users._setObject("directory", Directory())
        self.directory = self.users.directory
        self.directory.list_in(self.users)
        transaction.commit()

    def queue_as_berta(self, func, *args):
        user = self.users.getUserById("berta")
        newSecurityManager(None, user)
        job = self.service.queueJob(func, self.folder, *args)
        self.login_as_test_user()
        return job

    def run_in_thread(self, job):
        transaction.commit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: job.status == "completed-status")
        return job.result

    def test_a_user_whom_a_plugin_knows_has_its_roles_and_groups(self):
        self.directory.entries = {"berta": (("Editor",), ("clerks",))}
        job = self.queue_as_berta(worldwork.describe_user)
        with self.as_manager():
            self.folder.manage_setLocalRoles("clerks", ["Reviewer"])
        user = self.run_in_thread(job)
        self.assertEqual("berta", user["id"])
        self.assertEqual("/plone/acl_users", user["folder"])
        self.assertIn("clerks", user["groups"])
        self.assertIn("Editor", user["roles"])
        self.assertIn("Reviewer", user["here"])

    def test_what_the_plugin_says_when_it_runs_counts(self):
        self.directory.entries = {"berta": (("Manager",), ("clerks",))}
        job = self.queue_as_berta(worldwork.describe_user)
        self.directory.entries = {"berta": ((), ())}
        user = self.run_in_thread(job)
        self.assertNotIn("Manager", user["roles"])
        self.assertNotIn("clerks", user["groups"])

    def test_a_user_whom_the_plugin_does_not_know_any_more_is_gone(self):
        self.directory.entries = {"berta": ((), ())}
        job = self.queue_as_berta(work.note, "never")
        self.directory.entries = {}
        failure = self.run_in_thread(job)
        self.assertEqual("User berta not found", failure.getErrorMessage())

    def test_a_namesake_in_another_folder_is_not_taken_for_her(self):
        self.directory.entries = {"berta": ((), ())}
        user = self.users.getUserById("berta")
        newSecurityManager(None, user)
        self.directory.entries = {}
        root = self.layer["app"].acl_users
        root.userFolderAddUser("berta", PASSWORD, ["Manager"], [])
        with self.assertRaisesRegex(ValueError, "'berta' is in none"):
            self.service.queueJob(work.note, self.folder, "never")


class TestUnauthorized(UserTestCase):
    def test_the_failure_says_who_may_not_do_what(self):
        job = self.queue_as_anna(work.add_page, "never")
        failure = self.run_job(job)
        self.assertIsInstance(failure.value, Unauthorized)
        self.assertRegex(
            failure.getErrorMessage(),
            r"^User 'anna' is not allowed to do what "
            r"collective\.clockwork\.tests\.plone\.work\.add_page does on "
            r"/plone/folder: .*\w",
        )

    def test_anonymous_is_named_too(self):
        logout()
        job = self.service.queueJob(work.add_page, self.folder, "never")
        self.login_as_test_user()
        self.assertRegex(self.run_job(job).getErrorMessage(), "^Anonymous is not")

    def test_one_without_words_is_told_of_in_words(self):
        failure = self.result_of(worldwork.ask_for_nothing)
        message = failure.getErrorMessage()
        self.assertIn(f"User {TEST_USER_ID!r} is not allowed to do what", message)
        self.assertIn("ask_for_nothing does on /plone/folder", message)

    def test_a_callback_has_no_more_rights_than_its_job(self):
        job = self.queue_as_anna(work.add_numbers, 1)
        callback = job.addCallback(worldwork.note_without_right)
        drain()
        self.assertEqual(["tried"], work.happened)
        self.assertTrue(isFailure(callback.result))
        self.assertRegex(
            callback.result.getErrorMessage(), "^User 'anna' is not allowed to do what"
        )
        self.assertNotIn("never", self.portal)

    def test_a_job_cannot_use_roles_that_were_adopted_when_it_was_queued(self):
        with self.as_manager():
            job = self.service.queueJob(work.add_page, self.portal, "never")
        self.assertIsInstance(self.run_job(job).value, Unauthorized)

    def test_a_user_who_may_do_it_is_not_stopped(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        job = self.service.queueJob(work.add_page, self.portal, "page")
        self.assertEqual("page", self.run_job(job))
