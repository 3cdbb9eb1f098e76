"""Who may see, change and run schedules, and as whom; and that sites are apart."""

from __future__ import annotations

from AccessControl import Unauthorized
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import system
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.schedulerscase import ANNA
from collective.clockwork.tests.plone.schedulerscase import BERT
from collective.clockwork.tests.plone.schedulerscase import NOTE
from collective.clockwork.tests.plone.schedulerscase import SchedulersTestCase
from collective.clockwork.tests.plone.schedulerscase import SUM
from collective.clockwork.tests.plone.schedulerscase import tell_user
from collective.clockwork.tests.plone.servicecase import add_site
from datetime import timedelta
from plone.app.testing import logout
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import TEST_USER_ID
from Products.CMFPlone.factory import addPloneSite
from zope.component.hooks import setSite

import transaction


DAY = timedelta(days=1)

#: What asks for the permission, and how it is called.
CALLS = {
    "add": ("other", NOTE),
    "change": ("notes",),
    "remove": ("notes",),
    "get": ("notes",),
    "list": (),
    "activate": ("notes",),
    "deactivate": ("notes",),
    "run_now": ("notes",),
    "firings": ("notes",),
    "forget_firings": ("notes",),
    "enable": (),
    "disable": (),
}


class TestPermission(SchedulersTestCase):
    def setUp(self):
        super().setUp()
        self.add()

    def assert_all_is_refused(self):
        for name, args in CALLS.items():
            with self.subTest(name=name):
                call = getattr(self.scheduler, name)
                self.assert_refused(Unauthorized, "Manage background jobs", call, *args)

    def test_members_may_nothing(self):
        setRoles(self.portal, TEST_USER_ID, ["Member", "Editor"])
        self.assert_all_is_refused()

    def test_visitors_may_nothing(self):
        logout()
        self.assert_all_is_refused()

    def test_who_manages_a_folder_alone_may_nothing(self):
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        self.folder.manage_setLocalRoles(TEST_USER_ID, ["Manager"])
        self.folder.reindexObjectSecurity()
        self.assert_all_is_refused()

    def test_a_preview_is_for_all(self):
        logout()
        self.assertEqual(5, len(self.scheduler.preview(every=DAY)))


class TestNaming(SchedulersTestCase):
    def refused(self, *parts, **fields):
        given = {"every": DAY, **fields}
        self.assert_refused(
            Unauthorized, parts, self.scheduler.add, "who", tell_user, **given
        )
        self.assertEqual([], self.names())

    def test_a_user_with_roles_that_one_does_not_have_cannot_be_named(self):
        self.add_user(ANNA, "Member", "Manager")
        self.refused("'anna'", "Manager", user=ANNA)
        self.add_user(BERT, "Member", "Reviewer")
        self.refused("'bert'", "Reviewer", user=BERT)

    def test_roles_in_the_site_alone_count_too(self):
        self.add_user(ANNA)
        self.portal.manage_setLocalRoles(ANNA, ["Manager"])
        self.refused("'anna'", "Manager", user=ANNA)

    def test_a_user_with_fewer_roles_can_be_named(self):
        self.add_user(ANNA)
        info = self.scheduler.add("who", tell_user, every=DAY, user=ANNA)
        self.assertEqual(ANNA, info.user)

    def test_a_manager_names_whom_she_wants_in_her_site(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.add_user(ANNA, "Member", "Reviewer", "Site Administrator")
        info = self.scheduler.add("who", tell_user, every=DAY, user=ANNA)
        self.assertEqual(ANNA, info.user)

    def test_a_user_of_the_root_has_rights_elsewhere_and_is_named_by_those_alone(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.refused("'admin' of the Zope root", user=SITE_OWNER_NAME)
        self.login_as_site_owner()
        info = self.scheduler.add("who", tell_user, every=DAY)
        self.assertEqual(SITE_OWNER_NAME, info.user)
        self.assertIsNone(info.problem)

    def test_one_of_a_folder_between_has_no_rights_there_either(self):
        app = self.layer["app"]
        app.manage_addFolder("customers")
        customers = app["customers"]
        customers.manage_addUserFolder()
        customers.acl_users.userFolderAddUser("boss", "Secret-1234", ["Manager"], [])
        self.login_as_site_owner()
        site = addPloneSite(customers, "other", setup_content=False)
        self.addCleanup(setSite, self.portal)
        setSite(site)
        boss = customers.acl_users.getUser("boss").__of__(customers.acl_users)
        newSecurityManager(None, boss)
        self.refused("'admin' of the Zope root", user=SITE_OWNER_NAME)
        self.assertEqual("boss", self.scheduler.add("who", tell_user, every=DAY).user)

    def test_with_a_user_who_is_gone_nothing_else_can_be_had_done(self):
        self.add_user(ANNA)
        self.add(user=ANNA)
        self.portal.acl_users.source_users.removeUser(ANNA)
        before = self.scheduler.get("notes")
        given = {"arguments": {"word": "mine"}}
        change = self.scheduler.change
        self.assert_refused(ValueError, "'anna', who is gone", change, "notes", **given)
        self.assertEqual(before, self.scheduler.get("notes"))
        info = change("notes", user=TEST_USER_ID, **given)
        self.assertIsNone(info.problem)

    def test_what_others_are_to_do_is_not_changed_by_who_could_not_name_them(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.add_user(ANNA, "Member", "Manager")
        self.add(user=ANNA)
        before = self.scheduler.get("notes")
        setRoles(self.portal, TEST_USER_ID, ["Member", "Site Administrator"])
        for field, value in (
            ("function", SUM),
            ("arguments", {"word": "mine"}),
            ("context", "folder"),
        ):
            with self.subTest(field=field):
                given = {field: value}
                if field == "function":
                    given["arguments"] = {}
                self.assert_refused(
                    Unauthorized, "'anna'", self.scheduler.change, "notes", **given
                )
        self.assertEqual(before, self.scheduler.get("notes"))

    def test_when_and_whether_it_is_done_may_be_changed(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.add_user(ANNA, "Member", "Manager")
        self.add(user=ANNA)
        setRoles(self.portal, TEST_USER_ID, ["Member", "Site Administrator"])
        self.scheduler.change("notes", every=DAY, arguments={"word": "notes"})
        self.scheduler.deactivate("notes")
        self.scheduler.activate("notes")
        self.scheduler.run_now("notes")
        # She may take it over.
        info = self.scheduler.change(
            "notes", user=TEST_USER_ID, arguments={"word": "mine"}
        )
        self.assertEqual((TEST_USER_ID, ANNA), (info.user, ANNA))

    def test_the_system_user_is_nobody_who_could_run_it(self):
        newSecurityManager(None, system)
        self.assert_refused(
            ValueError, "system", self.scheduler.add, "who", tell_user, every=DAY
        )
        info = self.scheduler.add("who", tell_user, every=DAY, user=TEST_USER_ID)
        self.assertEqual(TEST_USER_ID, info.user)

    def test_rights_are_those_of_the_moment_at_which_it_runs(self):
        self.add_user(ANNA)
        self.scheduler.add("page", work.add_page, every=DAY, user=ANNA, **PAGE)
        self.scheduler.run_now("page")
        drain()
        (info,) = self.scheduler.firings("page")
        self.assertEqual("failed", info.status)
        self.assertIn("Unauthorized", info.message)


PAGE = {"context": "folder", "arguments": {"page_id": "page"}}


class TestSites(SchedulersTestCase):
    def setUp(self):
        super().setUp()
        self.add()
        self.login_as_site_owner()
        self.other = add_site(self.layer["app"], "other")
        self.addCleanup(setSite, self.portal)

    def refused(self, part, **fields):
        add = self.scheduler.add
        self.assert_refused(
            ValueError, part, add, "who", tell_user, every=DAY, **fields
        )

    def test_each_has_its_own(self):
        self.assertEqual([], self.names())
        self.assertIsNone(self.scheduler.get("notes"))
        for name in ("change", "remove", "activate", "deactivate", "run_now"):
            with self.assertRaises(LookupError):
                getattr(self.scheduler, name)("notes")
        self.add(cron="0 0 * * *")
        setSite(self.portal)
        self.assertEqual("30 2 * * *", self.scheduler.get("notes").cron)

    def test_each_has_its_own_switch(self):
        self.scheduler.disable()
        setSite(self.portal)
        self.assertTrue(self.scheduler.is_enabled())

    def test_users_of_one_cannot_be_named_in_the_other(self):
        self.refused("no such user", user=TEST_USER_ID)

    def test_a_context_in_the_other_is_refused(self):
        for context in (self.folder, "../plone/folder"):
            with self.subTest(context=context):
                self.refused("context is", context=context)

    def test_a_renamed_one_keeps_its_own(self):
        setSite(self.portal)
        self.layer["app"].manage_renameObject("plone", "renamed")
        transaction.commit()
        setSite(self.layer["app"]["renamed"])
        info = self.scheduler.get("notes")
        self.assertEqual((TEST_USER_ID, None), (info.user, info.problem))
        job = self.scheduler.run_now("notes")
        drain()
        self.assertEqual("completed-status", job.status)
