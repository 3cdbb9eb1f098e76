"""A background view in a real browser: Debian's chromium."""

from __future__ import annotations

from collective.clockwork.backgroundview import here
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.acceptance.test_browser_chromium import (
    ChromiumTestCase as ChromiumCase,
)
from collective.clockwork.tests.acceptance.test_browser_chromium import PHONE
from collective.clockwork.tests.plone import asyncviews
from pathlib import Path
from plone import api
from plone.app.testing import login
from plone.app.testing import SITE_OWNER_NAME
from selenium.common.exceptions import NoSuchElementException
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from unittest.mock import patch

import hashlib
import json
import os
import tempfile
import transaction


class AsyncViewChromiumTestCase(ChromiumCase):
    layer = asyncviews.ASYNC_VIEWS_BROWSER_TESTING

    def setUp(self):
        asyncviews.forget()
        self.addCleanup(asyncviews.released.set)
        portal = self.layer["portal"]
        portal.portal_workflow.setDefaultChain("simple_publication_workflow")
        login(self.layer["app"], SITE_OWNER_NAME)
        self.news = api.content.create(portal, "Folder", "news", title="News")
        transaction.commit()
        self.url = f"{portal.absolute_url()}/"

    def start_at(self, view, **options):
        """A chromium that shows the form of this view, logged in."""
        self.start(**options)
        self.open_form(view)

    def open_form(self, view):
        self.driver.get(f"{self.news.absolute_url()}/{view}")

    def submit(self):
        self.find("#go").send_keys(Keys.ENTER)
        self.wait_for(lambda: self.find_all("#background-view"))

    def wait_for(self, condition):
        """Wait until it is true, while the page may be exchanged for another."""
        gone = (NoSuchElementException, StaleElementReferenceException)
        waiting = WebDriverWait(self.driver, 30, ignored_exceptions=gone)
        waiting.until(lambda driver: condition())

    def text_of(self, selector):
        found = self.find_all(selector)
        return found[0].text if found else ""

    def body(self):
        return self.find("body").text

    def picture(self, name):
        """Keep a picture of the page, if somebody asks for them."""
        place = os.environ.get("CLOCKWORK_PICTURES")
        if place:
            self.driver.save_screenshot(str(Path(place, f"{name}.png")))

    def downloads(self):
        """Let the browser keep downloads in a directory of their own; its path."""
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": place.name},
        )
        return Path(place.name)


class TestPage(AsyncViewChromiumTestCase):
    def test_the_page_follows_the_work_without_reload_and_leads_to_the_result(self):
        self.start_at("counting")
        self.submit()
        self.assertTrue(self.find("#background-view-spinner").is_displayed())
        self.assertFalse(self.find("#background-view-bar").is_displayed())
        self.assertEqual([], self.find_all("#background-view-result"))
        self.picture("waiting")
        self.driver.execute_script("window.untouched = true")
        bar = self.find("#background-view [role=progressbar]")
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: "0% completed" in self.text_of("#progress"))
            asyncviews.steps.put((55, "page 11 of 20"))
            self.wait_for(lambda: "55% completed" in self.text_of("#progress"))
            self.assertEqual("55", bar.get_attribute("aria-valuenow"))
            self.assertTrue(bar.is_displayed())
            self.assertEqual("page 11 of 20", self.text_of("#background-view-message"))
            self.assertIn("left", self.text_of("#background-view-left"))
            self.assertTrue(self.driver.execute_script("return window.untouched"))
            self.picture("progress")
            asyncviews.steps.put((100,))
            self.wait_for(lambda: "100% completed" in self.text_of("#progress"))
            asyncviews.steps.put(None)
            self.wait_for(lambda: "counted" in self.body())
        self.assertIn("/result?", self.driver.current_url)

    def test_an_upload_is_there_in_the_work(self):
        content = os.urandom(300_000)
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            file.write(content)
            file.flush()
            self.start_at("uploading")
            self.find("#name").send_keys("Zoë")
            self.find("#upload").send_keys(file.name)
            self.submit()
            with running_worker(self.layer["zodbDB"]):
                self.wait_for(lambda: "digest" in self.body())
        said = json.loads(self.find("pre").text)
        self.assertEqual(hashlib.sha256(content).hexdigest(), said["digest"])
        self.assertEqual("Zoë", said["form"]["name"])

    def test_a_download_leaves_the_page_which_says_that_the_work_is_done(self):
        self.start_at("answering?kind=named")
        place = self.downloads()
        self.submit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: list(place.glob("*.bin")))
        (file,) = place.glob("*.bin")
        self.assertEqual("Größe.bin", file.name)
        self.assertEqual(100_000, file.stat().st_size)
        self.assertIn("The work is done.", self.text_of("#background-view-state"))
        self.assertEqual("Done", self.text_of("#background-view-title"))
        self.assertTrue(self.find("#background-view-result a").is_displayed())
        self.assertFalse(self.find("#background-view-spinner").is_displayed())
        self.assertFalse(self.find("#background-view-cancel").is_displayed())
        self.picture("downloaded")

    def test_a_failure_has_a_page_with_a_number(self):
        self.start_at("failing")
        self.submit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: self.find_all("#background-view-error"))
        self.assertRegex(self.body(), r"give the number \d+")
        self.picture("failed")
        self.find("#background-view-error a").click()
        self.wait_for(lambda: self.find_all("#go"))

    def test_it_can_be_stopped(self):
        self.start_at("held")
        self.submit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: "half way" in self.body())
            self.find("#background-view-cancel button").send_keys(Keys.ENTER)
            self.wait_for(lambda: "The work was stopped." in self.body())
        self.picture("stopped")

    def test_two_tabs_follow_two_works_and_one_comes_back(self):
        self.start_at("held")
        self.submit()
        first, held = self.driver.current_window_handle, self.driver.current_url
        self.driver.switch_to.new_window("tab")
        self.open_form("counting")
        self.submit()
        second = self.driver.current_window_handle
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: "0% completed" in self.text_of("#progress"))
            asyncviews.steps.put((33,))
            self.wait_for(lambda: "33% completed" in self.text_of("#progress"))
            self.driver.switch_to.window(first)
            self.wait_for(lambda: "half way" in self.body())
            self.driver.get(f"{self.url}sitemap")
            self.driver.get(held)
            self.assertIn("half way", self.body())
            asyncviews.released.set()
            self.wait_for(lambda: "released" in self.body())
            self.driver.switch_to.window(second)
            asyncviews.steps.put(None)
            self.wait_for(lambda: "counted" in self.body())

    def test_one_work_in_two_tabs(self):
        with patch.object(asyncviews.Held, "result_once", False):
            self.start_at("held")
            self.submit()
            first, address = self.driver.current_window_handle, self.driver.current_url
            self.driver.switch_to.new_window("tab")
            self.driver.get(address)
            with running_worker(self.layer["zodbDB"]):
                self.wait_for(lambda: "half way" in self.body())
                asyncviews.released.set()
                self.wait_for(lambda: "released" in self.body())
                self.driver.switch_to.window(first)
                self.wait_for(lambda: "released" in self.body())

    def test_who_was_logged_out_meanwhile_is_asked_to_log_in(self):
        self.start_at("held")
        self.submit()
        self.driver.delete_all_cookies()
        self.wait_for(lambda: "/login?came_from=" in self.driver.current_url)
        self.assertIn("/processing%3Fprocess_id", self.driver.current_url)

    def test_without_a_worker_this_instance_does_the_work(self):
        self.addCleanup(here.stop)
        with patch.object(here, "allowed", True):
            self.start_at("my_process_view")
            self.find("#name").send_keys("Ann")
            # It may be done before its page is shown.
            self.find("#go").send_keys(Keys.ENTER)
            self.wait_for(lambda: "Hello, Ann!" in self.body())

    def test_nothing_complains_in_the_console(self):
        self.start_at("counting")
        self.submit()
        with running_worker(self.layer["zodbDB"]):
            asyncviews.steps.put((40,))
            self.wait_for(lambda: "40% completed" in self.text_of("#progress"))
            asyncviews.steps.put(None)
            self.wait_for(lambda: "counted" in self.body())
        complaints = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and "clockwork" in entry["message"]
        ]
        self.assertEqual([], complaints)


class TestWithoutScripts(AsyncViewChromiumTestCase):
    def test_on_a_phone_by_keyboard_the_page_refreshes_itself(self):
        self.start_at("counting", size=PHONE, scripts=False)
        self.submit()
        self.assertFalse(self.is_too_wide())
        with running_worker(self.layer["zodbDB"]):
            asyncviews.steps.put((70, "a-very-long-name-" * 10))
            self.wait_for(lambda: "70% completed" in self.text_of("#progress"))
            self.assertFalse(self.is_too_wide())
            self.picture("phone")
            asyncviews.steps.put(None)
            self.wait_for(lambda: "counted" in self.body())

    def test_it_can_be_stopped(self):
        self.start_at("held", scripts=False)
        self.submit()
        self.find("#background-view-cancel button").send_keys(Keys.ENTER)
        self.wait_for(lambda: "The work was stopped." in self.body())

    def test_a_download_comes_too(self):
        self.start_at("answering?kind=named", scripts=False)
        place = self.downloads()
        self.submit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_for(lambda: list(place.glob("*.bin")))
