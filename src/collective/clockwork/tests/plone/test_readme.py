"""The examples of the README, in their order, as an add-on ``my.addon``."""

from __future__ import annotations

from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.schedules.interfaces import IScheduler
from collective.clockwork.testing import drain
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from collective.clockwork.tests.plone.zcml import load_views
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from plone.testing.zope import Browser
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.configuration import xmlconfig

import sys
import transaction
import types


ZCML = """
<configure xmlns="http://namespaces.zope.org/zope">
  <include package="zope.component" file="meta.zcml" />
  <configure package="my.addon">{}</configure>
</configure>
"""

VIEW_ZCML = """
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:browser="http://namespaces.zope.org/browser">
  <include package="Products.Five" file="meta.zcml" />
  <browser:page
      name="year-report"
      for="*"
      class="my.addon.view.YearReport"
      permission="zope.Public"
      />
</configure>
"""


class ReadmeTests(ServiceTestCase):
    """Each method runs one section."""

    def setUp(self):
        super().setUp()
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.blocks = named_blocks("README.rst")
        for name in ("my", "my.addon"):
            package = self.add_module(name, "")
            package.__path__, package.__file__ = [], __file__
        self.work = self.add_module("my.addon.work", self.blocks["work.py"])
        self.names = {
            **vars(self.work),
            "IAsyncService": IAsyncService,
            "getUtility": getUtility,
            "folder": self.folder,
            "service": self.service,
        }
        transaction.commit()

    def add_module(self, name, code, **names):
        module = types.ModuleType(name)
        sys.modules[name] = module
        self.addCleanup(sys.modules.pop, name)
        vars(module).update(names)
        exec(compile(code, name, "exec"), vars(module))
        return module

    def run_block(self, name):
        exec(compile(self.blocks[name], name, "exec"), self.names)
        return self.names

    def test_the_first_example(self):
        first = self.add_module("my.addon.first", self.blocks["first.py"])
        first.queue_report(self.folder)
        drain()
        self.assertIn("report-2026", self.folder)

    def test_a_job_now(self):
        job = self.run_block("now.py")["job"]
        drain()
        self.assertEqual("report-2026", job.result)

    def test_a_function_that_is_decorated(self):
        module = self.add_module("my.addon.decorated", self.blocks["decorated.py"])
        self.names["archive_report"] = module.archive_report
        self.run_block("decorated_call.py")
        self.run_block("decorated_call.py")
        self.assertEqual(1, drain())
        self.assertIn("archive-2023", self.folder)

    def test_a_job_later(self):
        job = self.run_block("later.py")["job"]
        drain()
        self.assertEqual("pending-status", job.status)

    def test_several_jobs(self):
        batch = self.run_block("batch.py")["batch"]
        drain()
        self.assertEqual(["report-2024", None], [job.result for job in batch.result])
        self.assertEqual("pending", api.content.get_state(self.folder["report-2024"]))

    def test_what_comes_after_a_success(self):
        self.run_block("then.py")
        with self.assertLogs("my.addon") as logs:
            drain()
        self.assertIn("report-2025", logs.output[0])

    def test_what_comes_after_a_failure(self):
        self.run_block("then.py")
        setRoles(self.portal, TEST_USER_ID, [])
        self.portal.manage_permission("Add portal content", ["Manager"])
        self.folder.manage_permission("Add portal content", ["Manager"])
        self.folder.manage_permission(
            "plone.app.contenttypes: Add Document", ["Manager"]
        )
        with self.assertLogs("my.addon", "WARNING") as logs:
            drain()
        self.assertIn("no new page", logs.output[0])

    def test_a_view_that_takes_long(self):
        self.add_module("my.addon.view", self.blocks["view.py"])
        load_views(VIEW_ZCML, self.addCleanup)
        browser = Browser(self.layer["app"])
        browser.post(f"{self.portal.absolute_url()}/year-report", "year=2026")
        page = browser.url
        self.assertIn("/year-report/processing?process_id=", page)
        drain()
        browser.open(page)
        self.assertEqual("All of 2026", browser.contents)

    def test_each_night(self):
        self.run_block("nightly.py")
        scheduler = getUtility(IScheduler)
        at = scheduler.get("report").next
        self.assertEqual((2, 30), (at.hour, at.minute))
        scheduler.run_now("report")
        transaction.commit()
        drain()
        self.assertIn("report-2028", self.folder)

    def test_every_quarter_of_an_hour(self):
        names = {name: self.names[name] for name in ("getUtility", "IAsyncService")}
        self.add_module(
            "my.addon.ticks",
            self.blocks["ticks.py"],
            publish_report=self.work.publish_report,
            **names,
        )
        before = set(map(repr, getGlobalSiteManager().registeredHandlers()))
        xmlconfig.string(ZCML.format(self.blocks["ticks.zcml"]))
        self.addCleanup(self.forget_handlers, before)
        self.folder.restrictedTraverse("@@tick_fifteen")()
        drain()
        self.assertIn("report-now", self.folder)

    def forget_handlers(self, before):
        manager = getGlobalSiteManager()
        for registration in list(manager.registeredHandlers()):
            # They are made anew for each look, and differ in their hashes.
            if repr(registration) not in before:
                manager.unregisterHandler(registration.handler, registration.required)
