"""Schedules that ZCML declares come into sites, and follow it until changed by hand."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.schedules import adoption
from collective.clockwork.schedules import scheduler
from collective.clockwork.schedules.directives import ScheduleDefinition
from collective.clockwork.schedules.interfaces import IScheduleDefinition
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.schedulerscase import ANNA
from collective.clockwork.tests.plone.schedulerscase import NOTE
from collective.clockwork.tests.plone.schedulerscase import SchedulersTestCase
from datetime import timedelta
from plone.app.testing import applyProfile
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import TEST_USER_ID
from plone.browserlayer.utils import register_layer
from plone.browserlayer.utils import unregister_layer
from Products.CMFPlone.factory import addPloneSite
from zope.component import getGlobalSiteManager
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.interface import Interface

import threading
import transaction


HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class IAddOnLayer(Interface):
    """Of a site with another add-on."""


class AdoptionTestCase(SchedulersTestCase):
    def declare(self, name="nightly", layer=None, **fields):
        """Have ZCML declare this, in place of what it declared by that name."""
        given = {
            "function": work.note,
            "cron": "30 2 * * *",
            "arguments": {"word": name},
            "user": SITE_OWNER_NAME,
            **fields,
        }
        given = {key: value for key, value in given.items() if value is not None}
        definition = ScheduleDefinition(name, given, layer)
        getGlobalSiteManager().registerUtility(definition, IScheduleDefinition, name)
        self.addCleanup(self.withdraw, name)

    def withdraw(self, name="nightly"):
        getGlobalSiteManager().unregisterUtility(None, IScheduleDefinition, name)

    def start_worker(self):
        """Do what a worker does first; the test sees it."""
        transaction.commit()
        adoption.adopt(self.layer["zodbDB"])
        transaction.begin()

    def get(self, name="nightly"):
        return self.scheduler.get(name)


class TestAdoption(AdoptionTestCase):
    def test_a_site_gets_what_is_declared(self):
        self.declare(title="Every night", overlap="both", jitter=HOUR)
        self.start_worker()
        info = self.get()
        self.assertEqual(("zcml", "Every night"), (info.origin, info.title))
        self.assertEqual(
            ("both", HOUR, NOTE), (info.overlap, info.jitter, info.function)
        )
        self.assertEqual((True, None), (info.active, info.problem))
        self.assertIsNotNone(info.next)

    def test_it_runs_as_the_user_of_the_declaration(self):
        self.declare(user=TEST_USER_ID)
        self.start_worker()
        job = self.scheduler.run_now("nightly")
        drain()
        self.assertEqual((TEST_USER_ID, "nightly"), (job.user_id, job.result))

    def test_a_second_start_writes_nothing(self):
        self.declare()
        self.declare("second", user=None, context="gone", quota="gone")
        self.start_worker()
        before = self.layer["zodbDB"].lastTransaction()
        self.start_worker()
        self.assertEqual(before, self.layer["zodbDB"].lastTransaction())

    def test_without_declarations_nothing_is_written(self):
        transaction.commit()
        before = self.layer["zodbDB"].lastTransaction()
        self.start_worker()
        self.assertEqual(before, self.layer["zodbDB"].lastTransaction())

    def test_without_a_user_it_waits_for_a_manager_to_choose_one(self):
        self.declare(user=None)
        self.start_worker()
        info = self.get()
        self.assertEqual((False, ""), (info.active, info.user))
        self.assertEqual("Choose the user as whom it is to run.", info.problem)
        self.scheduler.change("nightly", user=TEST_USER_ID, active=True)
        self.start_worker()
        info = self.get()
        self.assertEqual((TEST_USER_ID, None), (info.user, info.problem))
        self.assertTrue(info.active)

    def test_what_is_not_there_yet_is_a_problem_until_it_is(self):
        self.declare(user=ANNA, context="folder/page", quota="night")
        self.start_worker()
        self.assertEqual({"user": ANNA}, self.get().problem.mapping)
        self.add_user(ANNA)
        self.assertEqual({"path": "folder/page"}, self.get().problem.mapping)
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.folder.invokeFactory("Document", "page")
        self.assertEqual({"quota": "night"}, self.get().problem.mapping)
        self.service.getQueues()[""].quotas.create("night", size=1)
        self.assertIsNone(self.get().problem)

    def test_a_schedule_of_the_site_keeps_its_name(self):
        self.add("nightly", cron="0 0 * * *")
        self.declare()
        with self.assertLogs("collective.clockwork.schedules", "WARNING") as log:
            self.start_worker()
        self.assertIn("of its own", log.output[0])
        self.assertEqual(("site", "0 0 * * *"), (self.get().origin, self.get().cron))

    def test_the_thread_of_a_worker_begins_with_it(self):
        self.declare()
        transaction.commit()
        timekeeper = scheduler.Timekeeper(self.layer["zodbDB"])
        timekeeper.start()
        self.addCleanup(timekeeper.stop)
        self.wait_until(lambda: self.get() is not None)

    def test_workers_that_start_at_once_make_one(self):
        self.declare()
        self.declare("second")
        transaction.commit()
        failures = []

        def start():
            try:
                adoption.adopt(self.layer["zodbDB"])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=start) for _number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        transaction.begin()
        self.assertEqual([], failures)
        self.assertEqual(["nightly", "second"], self.names())

    def test_it_is_told_and_leaves_the_current_site_alone(self):
        self.declare()
        site = getSite()
        self.start_worker()
        self.assertEqual(["nightly"], [event.name for event in self.told])
        self.assertIs(site, getSite())

    def test_what_fails_in_one_site_is_logged(self):
        self.declare(cron="never")
        with self.assertLogs("collective.clockwork.schedules", "ERROR") as log:
            self.start_worker()
        self.assertIn("/plone", log.output[0])
        self.assertEqual([], self.names())


class TestFollowing(AdoptionTestCase):
    def setUp(self):
        super().setUp()
        self.declare(grace=HOUR)
        self.start_worker()

    def declare_again(self, **fields):
        self.declare(**fields)
        self.start_worker()

    def test_a_changed_declaration_is_followed(self):
        self.declare_again(cron=None, every=DAY, title="New", arguments={"word": "x"})
        info = self.get()
        self.assertEqual((None, DAY, "New"), (info.cron, info.every, info.title))
        self.assertEqual({"word": "x"}, info.arguments)
        self.assertEqual(timedelta(minutes=5), info.grace)

    def test_what_was_changed_by_hand_is_kept_and_the_rest_is_followed(self):
        self.scheduler.change("nightly", cron="0 5 * * *")
        with self.assertLogs("collective.clockwork.schedules", "INFO") as log:
            self.declare_again(cron="0 6 * * *", title="New")
        self.assertIn("cron", log.output[-1])
        self.assertEqual(("0 5 * * *", "New"), (self.get().cron, self.get().title))
        self.declare_again(cron="0 7 * * *")
        self.assertEqual("0 5 * * *", self.get().cron)

    def test_what_was_written_to_be_done_as_one_user_is_not_done_as_another(self):
        self.declare_again(user=TEST_USER_ID)
        self.scheduler.change("nightly", arguments={"word": "mine"})
        self.declare_again(user=SITE_OWNER_NAME, title="New")
        info = self.get()
        self.assertEqual(
            (TEST_USER_ID, {"word": "mine"}, "New", True),
            (info.user, info.arguments, info.title, info.active),
        )

    def test_one_of_nobody_is_not_activated_by_that(self):
        self.declare("open", user=None)
        self.start_worker()
        self.scheduler.change("open", arguments={"word": "mine"})
        self.declare("open", user=SITE_OWNER_NAME)
        self.start_worker()
        info = self.scheduler.get("open")
        self.assertEqual(("", False), (info.user, info.active))

    def test_one_that_was_deactivated_stays_so(self):
        self.scheduler.deactivate("nightly")
        self.declare_again(cron="0 6 * * *")
        self.assertEqual((False, "0 6 * * *"), (self.get().active, self.get().cron))

    def test_one_that_is_declared_is_not_removed(self):
        self.assert_refused(
            ValueError, "deactivate it instead", self.scheduler.remove, "nightly"
        )

    def test_one_that_is_declared_no_more_is_switched_off(self):
        self.withdraw()
        with self.assertLogs("collective.clockwork.schedules", "WARNING"):
            self.start_worker()
        info = self.get()
        self.assertEqual((False, None), (info.active, info.next))
        self.assertEqual("ZCML declares it no more.", info.problem)
        before = self.layer["zodbDB"].lastTransaction()
        self.start_worker()
        self.assertEqual(before, self.layer["zodbDB"].lastTransaction())
        self.scheduler.remove("nightly")
        self.assertEqual([], self.names())

    def test_one_that_is_declared_again_is_as_it_was(self):
        self.withdraw()
        self.start_worker()
        now = clock.now_us()
        self.declare_again(title="New")
        info = self.get()
        self.assertEqual((True, None, "New"), (info.active, info.problem, info.title))
        schedule = adoption.editing.find(self.portal, "nightly")
        self.assertGreaterEqual(schedule.since, now)

    def test_one_that_was_off_before_stays_off(self):
        self.scheduler.deactivate("nightly")
        self.withdraw()
        self.start_worker()
        self.declare_again(cron="0 6 * * *")
        self.assertEqual((False, None), (self.get().active, self.get().problem))

    def test_a_manager_may_activate_one_that_is_declared_no_more(self):
        self.withdraw()
        self.start_worker()
        self.scheduler.activate("nightly")
        self.start_worker()
        self.assertEqual((True, None), (self.get().active, self.get().problem))


class TestSites(AdoptionTestCase):
    def test_those_with_the_add_on_get_it_also_in_folders(self):
        self.login_as_site_owner()
        app = self.layer["app"]
        app.manage_addFolder("customers")
        self.addCleanup(setSite, self.portal)
        other = addPloneSite(
            app["customers"],
            "other",
            setup_content=False,
            extension_ids=("collective.clockwork:default",),
        )
        setSite(self.portal)
        self.declare()
        self.start_worker()
        for site in (self.portal, other):
            setSite(site)
            self.assertEqual(["nightly"], self.names())

    def test_those_without_the_layer_do_not_get_it_until_they_have_it(self):
        self.declare(layer=IAddOnLayer)
        self.start_worker()
        self.assertEqual([], self.names())
        register_layer(IAddOnLayer, "addon")
        self.start_worker()
        self.assertTrue(self.get().active)
        unregister_layer("addon")
        self.start_worker()
        self.assertFalse(self.get().active)
        self.scheduler.remove("nightly")

    def test_an_import_of_a_profile_brings_it_at_once(self):
        self.declare()
        applyProfile(self.portal, "plone.app.registry:default")
        self.assertEqual(["nightly"], self.names())

    def test_uninstalled_nothing_fires_and_installed_again_all_is_as_before(self):
        self.declare()
        self.add("own")
        self.start_worker()
        applyProfile(self.portal, "collective.clockwork:uninstall")
        self.assertFalse(self.scheduler.is_enabled())
        self.start_worker()
        self.assertFalse(self.scheduler.is_enabled())
        applyProfile(self.portal, "collective.clockwork:default")
        self.assertTrue(self.scheduler.is_enabled())
        self.assertEqual([True, True], [i.active for i in self.scheduler.list()])

    def test_a_site_that_never_had_the_add_on_keeps_its_switch(self):
        self.add("own")
        unregister_layer("collective.clockwork")
        applyProfile(self.portal, "plone.app.registry:default")
        self.start_worker()
        self.assertTrue(self.scheduler.is_enabled())

    def test_a_switch_that_was_off_before_stays_off(self):
        self.add("own")
        self.scheduler.disable()
        applyProfile(self.portal, "collective.clockwork:uninstall")
        applyProfile(self.portal, "collective.clockwork:default")
        self.assertFalse(self.scheduler.is_enabled())
