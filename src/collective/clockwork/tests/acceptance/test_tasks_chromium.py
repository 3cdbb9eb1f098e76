"""Starting and following a task in a real browser: Debian's chromium."""

from __future__ import annotations

from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.acceptance.test_browser_chromium import (
    ChromiumTestCase as ChromiumCase,
)
from collective.clockwork.tests.acceptance.test_browser_chromium import PHONE
from plone import api
from plone.app.testing import login
from plone.app.testing import SITE_OWNER_NAME
from selenium.webdriver.common.keys import Keys
from zope.component import getUtility

import transaction


class TaskChromiumTestCase(ChromiumCase):
    def setUp(self):
        portal = self.layer["portal"]
        portal.portal_workflow.setDefaultChain("simple_publication_workflow")
        login(self.layer["app"], SITE_OWNER_NAME)
        self.news = api.content.create(portal, "Folder", "news", title="News")
        for number in range(1, 6):
            page = f"page-{number}"
            api.content.create(self.news, "Document", page, title=f"Page {number}")
        transaction.commit()
        self.service = getUtility(IAsyncService)
        self.url = f"{portal.absolute_url()}/"

    def start_at(self, view, **options):
        """A chromium that shows this page of the folder, logged in."""
        self.start(**options)
        self.driver.get(f"{self.news.absolute_url()}/{view}")

    def states(self):
        transaction.begin()
        pages = self.news.objectValues()
        return [api.content.get_state(page) for page in pages]

    def status(self):
        found = self.find_all("#background-task-status")
        return found[0].text if found else ""

    def choose(self, task):
        link = self.find(f"#background-tasks a[href*='task={task}']")
        link.send_keys(Keys.ENTER)
        self.wait_for(lambda: self.find_all("#background-task-form"))

    def submit(self):
        self.find("#background-task-form [name=start]").send_keys(Keys.ENTER)
        self.wait_for(lambda: self.find_all("#background-task-status"))


class TestFolderContents(TaskChromiumTestCase):
    def test_what_is_selected_there_is_changed_and_the_page_follows_it(self):
        self.start_at("folder_contents")
        self.wait_for(lambda: len(self.find_all(".itemRow input")) == 5)
        for box in self.find_all(".itemRow input")[:2]:
            box.click()
        self.find("#btn-background").click()
        self.wait_for(lambda: self.find_all(".popover.active button[name=task]"))
        apply_button = self.find(".popover.active .applyBtn")
        self.assertFalse(apply_button.is_displayed())
        self.find(".popover.active button[value=transition]").click()
        self.wait_for(lambda: self.find_all("#background-task-form"))
        self.assertIn("this is 2 objects", self.find("#background-task-size").text)
        choice = self.find("#background-task-transition option[value=publish]")
        choice.click()
        self.submit()
        self.assertIn("Queued", self.status())
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: "Completed" in self.status())
        self.assertIn("2", self.find("#background-task-counts dd").text)
        self.assertEqual(["published"] * 2 + ["private"] * 3, self.states())


class TestPages(TaskChromiumTestCase):
    def test_it_works_on_a_phone_by_keyboard_and_without_scripts(self):
        self.start_at("@@background-tasks", size=PHONE, scripts=False)
        self.assertFalse(self.is_too_wide())
        self.choose("delete")
        self.assertFalse(self.is_too_wide())
        self.submit()
        self.assertFalse(self.is_too_wide())
        self.assertIn("Queued", self.status())
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: "Completed" in self.status())
        transaction.begin()
        self.assertNotIn("news", self.layer["portal"])

    def test_skipped_objects_with_long_names_fit_on_a_phone(self):
        name = "a-very-long-name-" * 8
        page = api.content.create(self.news, "Document", name)
        api.content.transition(page, "publish")
        transaction.commit()
        self.start_at("@@background-tasks", size=PHONE)
        self.choose("transition")
        self.find("#background-task-inside").send_keys(Keys.SPACE)
        self.submit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: "Completed" in self.status())
        self.assertIn(name, self.find("#background-task-skipped").text)
        self.assertFalse(self.is_too_wide())
