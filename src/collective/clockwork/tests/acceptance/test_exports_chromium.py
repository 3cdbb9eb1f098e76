"""Exporting in a real browser: Debian's chromium."""

from __future__ import annotations

from collective.clockwork.testing import running_worker
from collective.clockwork.tests.acceptance.test_browser_chromium import PHONE
from collective.clockwork.tests.acceptance.test_tasks_chromium import (
    TaskChromiumTestCase as TaskChromiumCase,
)
from openpyxl import load_workbook
from pathlib import Path
from plone import api
from selenium.webdriver.common.keys import Keys

import os
import tempfile
import transaction


class ExportChromiumTestCase(TaskChromiumCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="clockwork-test-")
        self.addCleanup(directory.cleanup)
        self.downloads = Path(directory.name)

    def start(self, *args, **options):
        super().start(*args, **options)
        self.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": str(self.downloads)},
        )

    def shoot(self, name):
        """Keep a picture of the page for who looks at them."""
        place = os.environ.get("CLOCKWORK_SCREENSHOTS")
        if place:
            self.driver.save_screenshot(f"{place}/{name}.png")

    def downloaded(self, pattern):
        """The rows of the file that is being downloaded."""
        self.wait_for(lambda: list(self.downloads.glob(pattern)))
        (path,) = self.downloads.glob(pattern)
        sheet = load_workbook(path).active
        return [[cell.value for cell in row] for row in sheet.rows]


class TestExport(ExportChromiumTestCase):
    def test_an_editor_exports_two_selected_pages_and_downloads_the_file(self):
        self.start_at("folder_contents")
        self.wait_for(lambda: len(self.find_all(".itemRow input")) == 5)
        for box in self.find_all(".itemRow input")[:2]:
            box.click()
        self.find("#btn-background").click()
        self.wait_for(lambda: self.find_all(".popover.active button[value=export]"))
        self.shoot("export-button")
        self.find(".popover.active button[value=export]").click()
        self.wait_for(lambda: self.find_all("#background-task-form"))
        self.assertIn("this is 2 objects", self.find("#background-task-size").text)
        self.assertNotIn("error while rendering", self.driver.page_source)
        self.shoot("export-form")
        self.submit()
        self.assertIn("Queued", self.status())
        self.shoot("export-queued")
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: "Completed" in self.status())
        self.shoot("export-ready")
        self.find("#background-task-download").click()
        titles = [row[0] for row in self.downloaded("news-*.xlsx")]
        self.assertEqual(["Title", "Page 1", "Page 2"], titles)

    def test_a_collection_is_exported_and_the_file_is_removed_on_a_phone(self):
        operation = "plone.app.querystring.operation.selection.any"
        api.content.create(
            self.news,
            "Collection",
            "pages",
            title="Pages",
            query=[{"i": "portal_type", "o": operation, "v": ["Document"]}],
            sort_on="sortable_title",
        )
        transaction.commit()
        self.start_at("pages/@@background-task-form?task=export", size=PHONE)
        self.assertFalse(self.is_too_wide())
        self.assertIn("finds 5 objects", self.find("#background-task-size").text)
        self.shoot("collection-form")
        self.submit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: "Completed" in self.status())
        self.assertFalse(self.is_too_wide())
        self.find("a[href$='@@my-exports']").send_keys(Keys.ENTER)
        self.wait_for(lambda: self.find_all("#background-exports"))
        self.assertFalse(self.is_too_wide())
        self.shoot("my-exports")
        self.find("#background-exports a.btn").send_keys(Keys.ENTER)
        self.assertEqual(6, len(self.downloaded("pages-*.xlsx")))
        self.find("#background-exports button[name=remove]").send_keys(Keys.ENTER)
        self.wait_for(lambda: not self.find_all("#background-exports"))

    def test_it_works_without_scripts(self):
        self.start_at("@@background-task-form?task=export", scripts=False)
        self.find("#background-task-csv").click()
        self.submit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: self.find_all("#background-task-download"))
        self.find("#background-task-download").send_keys(Keys.ENTER)
        self.wait_for(lambda: list(self.downloads.glob("news-*.csv")))


class TestManager(ExportChromiumTestCase):
    def test_the_pages_of_the_manager_fit_on_a_phone(self):
        self.start(size=PHONE)
        site = self.layer["portal"].absolute_url()
        self.driver.get(f"{site}/@@jobs")
        self.assertFalse(self.is_too_wide())
        duration = self.find("#manager-duration")
        duration.clear()
        duration.send_keys("0", Keys.ENTER)
        self.wait_for(lambda: self.find_all("#manager-jobs li"))
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(self.is_completed)
        self.shoot("jobs")
        self.assertFalse(self.is_too_wide())
        self.find("#manager-jobs a").send_keys(Keys.ENTER)
        self.wait_for(lambda: self.find_all("#manager-job-status"))
        self.shoot("job")
        self.assertFalse(self.is_too_wide())

    def is_completed(self):
        self.driver.refresh()
        return "completed" in self.find("#manager-jobs").text
