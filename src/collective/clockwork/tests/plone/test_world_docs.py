"""The examples of docs/world.rst."""

from __future__ import annotations

from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import drain
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone import worldwork
from collective.clockwork.tests.plone.postbox import Postbox
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from zope.component import getUtility
from zope.globalrequest import getRequest

import sys
import types


class WorldDocsTests(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.postbox = self.enterContext(Postbox())
        registry = api.portal.get_tool("portal_registry")
        registry["plone.smtp_host"] = "127.0.0.1"
        registry["plone.smtp_port"] = self.postbox.port
        registry["plone.email_from_address"] = "site@example.org"
        self.blocks = named_blocks("docs/world.rst")

    def load(self, name):
        """Have an example as a module, in which a worker finds its functions."""
        module = types.ModuleType(name)
        sys.modules[name] = module
        self.addCleanup(sys.modules.pop, name)
        source = self.blocks[f"{name}.py"]
        exec(compile(source, f"{name}.py", "exec"), vars(module))
        return module

    def test_the_example_of_a_review(self):
        page = api.content.create(self.folder, "Document", "page", title="Our news")
        getRequest()["SERVER_URL"] = "https://www.example.org"
        self.load("reviewing").ask_later(page, "boss@example.org")
        self.assertEqual([], self.postbox.letters)
        drain()
        (letter,) = self.postbox.letters
        self.assertEqual(["Please review Our news"], self.postbox.subjects)
        self.assertIn("https://www.example.org/plone/folder/page", str(letter))
        self.assertEqual("pending", api.content.get_state(self.folder["page"]))

    def test_nobody_gets_a_mail_if_the_page_may_not_be_submitted(self):
        page = api.content.create(self.folder, "Document", "page", title="Our news")
        self.load("reviewing").ask_later(page, "boss@example.org")
        with api.env.adopt_roles(["Manager"]):
            api.content.transition(page, "publish")
        drain()
        self.assertEqual([], self.postbox.letters)

    def test_the_example_of_a_script(self):
        with api.env.adopt_roles(["Manager"]):
            api.user.create("anna@example.org", "anna", "a password 123")
        source = self.blocks["script.py"]
        names = {"app": self.layer["app"]}
        exec(compile(source, "script.py", "exec"), names)
        service = getUtility(IAsyncService)
        here = names["portal"]["folder"]
        job = service.queueJob(worldwork.describe_visit, here)
        self.assertEqual("anna", job.user_id)
        self.assertEqual("https://www.example.org/folder", self.run_job(job)["url"])
