"""Schedules belong to a site, whatever becomes of it."""

from __future__ import annotations

from Acquisition import aq_base
from collective.clockwork.engine import clock
from collective.clockwork.schedules import model
from collective.clockwork.tests.plone.schedulecase import HOUR
from collective.clockwork.tests.plone.schedulecase import NOON
from collective.clockwork.tests.plone.schedulecase import ScheduleTestCase
from collective.clockwork.tests.plone.servicecase import add_site
from plone.app.testing import TEST_USER_ID
from plone.uuid.interfaces import ATTRIBUTE_NAME
from zope.component.hooks import setSite

import transaction


class SitesTestCase(ScheduleTestCase):
    def setUp(self):
        super().setUp()
        self.app = self.layer["app"]
        self.login_as_site_owner()

    def add_site(self, name="other"):
        site = add_site(self.app, name)
        setSite(self.portal)
        return site

    def add_for_owner(self, site, name="hourly", **fields):
        """One whose user is in the Zope root, and so in all sites."""
        folder = self.app.acl_users.getPhysicalPath()
        return self.add(
            name, site=site, userfolder_path=folder, user_id="admin", **fields
        )

    def rename(self, old, new):
        self.app.manage_renameObject(old, new)
        transaction.commit()

    def give_uid_of(self, site, other):
        setattr(aq_base(other), ATTRIBUTE_NAME, site.UID())
        transaction.commit()


class TestSites(SitesTestCase):
    def test_schedules_of_the_same_name_fire_in_each_site(self):
        other = self.add_site()
        here, there = self.add_for_owner(self.portal), self.add_for_owner(other)
        self.after(HOUR)
        for schedule, path in ((here, ("", "plone")), (there, ("", "other"))):
            (job,) = self.jobs(schedule)
            self.assertEqual(path, job.site_path)
            self.assertEqual(path, job.context_path)
        self.assertNotEqual(here.site.key, there.site.key)

    def test_a_renamed_site_keeps_its_schedules_with_users_and_context(self):
        schedule = self.add(context="folder")
        key = schedule.site.key
        self.rename("plone", "renamed")
        renamed = self.app["renamed"]
        self.assertEqual(key, model.schedules_in(self.app._p_jar).of_site(renamed).key)
        self.after(HOUR)
        (job,) = self.jobs(schedule)
        self.assertEqual(("", "renamed", "folder"), job.context_path)
        self.assertEqual(("", "renamed", "acl_users"), job.userfolder_path)
        self.assertEqual(TEST_USER_ID, job.user_id)
        self.rename("renamed", "plone")

    def test_a_deleted_site_fires_nothing_and_is_logged_once(self):
        gone = self.add_site("gone")
        lost = self.add_for_owner(gone)
        kept = self.add_for_owner(self.portal)
        self.look()
        self.app.manage_delObjects(["gone"])
        transaction.commit()
        with self.assertLogs("collective.clockwork.schedules", "ERROR") as logs:
            for _hour in range(3):
                self.after(HOUR)
        (line,) = logs.output
        self.assertIn("'hourly'", line)
        self.assertIn("/gone not found", line)
        self.assertEqual([], self.kinds(lost))
        self.assertEqual(model.JOB, self.kinds(kept)[0])
        self.assertEqual(
            {lost.site.key, kept.site.key}, set(model.schedules_in(self.app._p_jar))
        )

    def test_a_copy_with_the_same_uid_neither_sees_nor_fires_the_schedules(self):
        schedule = self.add_for_owner(self.portal)
        copy = self.add_site("copy")
        self.give_uid_of(self.portal, copy)
        schedules = model.schedules_in(self.app._p_jar)
        self.assertIsNone(schedules.of_site(copy))
        own = self.add_for_owner(copy)
        self.assertIsNot(own.site, schedule.site)
        self.assertIs(own.site, schedules.of_site(copy))
        self.assertIs(schedule.site, schedules.of_site(self.portal))
        self.after(HOUR)
        self.assertEqual(("", "plone"), self.jobs(schedule)[0].site_path)
        self.assertEqual(("", "copy"), self.jobs(own)[0].site_path)

    def test_when_the_original_is_gone_its_copy_fires_its_own_schedules_alone(self):
        original = self.add_site("original")
        schedule = self.add_for_owner(original)
        copy = self.add_site("copy")
        self.give_uid_of(original, copy)
        own = self.add_for_owner(copy)
        self.app.manage_delObjects(["original"])
        transaction.commit()
        with self.assertLogs("collective.clockwork.schedules", "ERROR") as logs:
            self.after(HOUR)
        self.assertIn("another site with its UID", logs.output[0])
        self.assertEqual([], self.kinds(schedule))
        self.assertEqual([model.JOB], self.kinds(own))

    def test_a_site_without_uid_has_schedules_by_its_path(self):
        other = self.add_site()
        delattr(aq_base(other), ATTRIBUTE_NAME)
        schedule = self.add_for_owner(other)
        self.assertEqual("/other", schedule.site.key)
        self.after(HOUR)
        self.assertEqual(("", "other"), self.jobs(schedule)[0].site_path)


class TestSwitches(SitesTestCase):
    def test_each_site_has_its_own_switch(self):
        other = self.add_site()
        here, there = self.add_for_owner(self.portal), self.add_for_owner(other)
        here.site.disable()
        transaction.commit()
        self.after(HOUR)
        self.assertEqual([], self.kinds(here))
        self.assertEqual([model.JOB], self.kinds(there))
        here.site.enable(clock.now_us())
        transaction.commit()
        self.after(HOUR)
        self.assertEqual(["14:00:00"], self.slots(here))
        self.assertEqual(2, (clock.now() - NOON) // HOUR)
