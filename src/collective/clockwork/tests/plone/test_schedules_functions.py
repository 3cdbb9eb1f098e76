"""The functions that can be scheduled: listed, registered, and gone."""

from __future__ import annotations

from collective.clockwork.schedules import functions
from collective.clockwork.schedules.interfaces import ISchedulable
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.schedulerscase import NOTE
from collective.clockwork.tests.plone.schedulerscase import SchedulersTestCase
from collective.clockwork.tests.plone.schedulerscase import SUM
from collective.clockwork.tests.plone.schedulerscase import tell_user
from collective.clockwork.tests.plone.servicecase import add_site
from datetime import timedelta
from plone.app.testing import TEST_USER_ID
from zope.component import getGlobalSiteManager
from zope.component.hooks import setSite

import transaction


DAY = timedelta(days=1)


class TestFunctions(SchedulersTestCase):
    def test_they_are_listed_by_title(self):
        self.register("tests.first", work.fail, "AAA", "Fails")
        found = self.scheduler.functions()
        self.assertEqual(
            ("tests.first", "AAA", "Fails"),
            (found[0].name, found[0].title, found[0].description),
        )
        names = [info.name for info in found]
        self.assertLess(names.index(SUM), names.index(NOTE))

    def test_one_is_registered_in_python_under_its_dotted_name(self):
        functions.register(tell_user, "Who")
        name = f"{tell_user.__module__}.tell_user"
        registry = self.portal.getSiteManager()
        self.addCleanup(registry.unregisterUtility, None, ISchedulable, name)
        self.assertIn(name, [info.name for info in self.scheduler.functions()])
        self.assertEqual(name, self.scheduler.add("who", name, every=DAY).function)

    def test_one_that_a_site_registers_is_its_own(self):
        functions.register(tell_user, "Who", name="who")
        self.scheduler.add("who", "who", every=DAY)
        transaction.commit()
        job = self.scheduler.run_now("who")
        drain()
        self.assertEqual(TEST_USER_ID, job.result)
        self.login_as_site_owner()
        add_site(self.layer["app"], "other")
        self.addCleanup(setSite, self.portal)
        self.assert_refused(ValueError, "'who'", self.scheduler.add, "who", "who")

    def test_what_no_worker_could_import_is_not_registered(self):
        self.assert_refused(
            ValueError, "lambda", functions.register, lambda context: None, "Nothing"
        )
        self.assert_refused(
            ValueError, "colon", functions.register, tell_user, "Who", name="os:system"
        )

    def test_one_that_is_registered_no_more_is_a_problem(self):
        self.add()
        stored = self.scheduler.get("notes")
        self.assertIsNone(stored.problem)
        getGlobalSiteManager().unregisterUtility(None, ISchedulable, NOTE)
        problem = self.scheduler.get("notes").problem
        self.assertEqual({"function": NOTE}, problem.mapping)
        self.assert_refused(
            ValueError,
            "choose another function",
            self.scheduler.change,
            "notes",
            arguments={"word": "x"},
        )
