"""The examples of the chapter about the event dispatcher that need Plone."""

from __future__ import annotations

from collective.clockwork.eventdispatcher import IEventDispatcher
from collective.clockwork.testing import assert_queued
from collective.clockwork.testing import drain
from collective.clockwork.tests.codeblocks import Examples
from collective.clockwork.tests.plone.startupcase import StartupTestCase
from plone import api
from zope.component import getUtility

import pytest
import transaction


class TestExamples(StartupTestCase):
    @pytest.fixture(autouse=True)
    def use_examples(self, monkeypatch):
        self.example = Examples("docs/eventdispatcher.rst", monkeypatch)

    def setUp(self):
        super().setUp()
        self.load("eventdispatcher.zcml")

    def test_a_handler_of_new_folders(self):
        self.example("handlers.py")
        folder = api.content.create(self.folder, "Folder", "news", title="News")
        self.assertEqual("Welcome to News", folder.description)
        page = api.content.create(self.folder, "Document", "page", title="Page")
        self.assertEqual("", page.description)

    def test_a_job_for_each_new_page(self):
        example = self.example("queueing.py")
        page = api.content.create(self.folder, "Document", "page")
        transaction.commit()
        job = assert_queued(example.inform, page)
        self.assertEqual("/plone/folder/page", job.args[0]["path"])
        drain()
        self.assertEqual(("Document",), page.subject)
        (info,) = self.service.findJobs()
        self.assertEqual("Inform the others", info.title)

    def test_a_line_of_zcml_adds_events(self):
        self.load_text(self.example.blocks["registry.zcml"])
        changed = []
        getUtility(IEventDispatcher).add_event_handler(
            lambda event: changed.append(event.record.__name__), "during", False
        )
        api.portal.set_registry_record("plone.site_title", "Another")
        self.assertEqual(["plone.site_title"], changed)
