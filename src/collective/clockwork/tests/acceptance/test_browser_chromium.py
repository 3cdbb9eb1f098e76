"""The page of background jobs in a real browser: Debian's chromium."""

from __future__ import annotations

from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FIXTURE
from collective.clockwork.tests.plone.stubservice import ACTIVE
from collective.clockwork.tests.plone.stubservice import COMPLETED
from collective.clockwork.tests.plone.stubservice import FAILED
from collective.clockwork.tests.plone.stubservice import install
from collective.clockwork.tests.plone.stubservice import QUEUED
from collective.clockwork.tests.plone.stubservice import StubService
from dataclasses import replace
from plone.app.testing import FunctionalTesting
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.testing.zope import WSGI_SERVER_FIXTURE
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import shutil
import unittest


CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")

DESKTOP = (1280, 900)
PHONE = (390, 844)

#: Chromium's number for "blocked" in its content settings.
BLOCKED = 2

BROWSER_TESTING = FunctionalTesting(
    bases=(COLLECTIVE_CLOCKWORK_FIXTURE, WSGI_SERVER_FIXTURE),
    name="ClockworkBrowser:Functional",
)


@unittest.skipUnless(
    CHROMIUM and CHROMEDRIVER,
    "needs chromium and chromedriver: apt-get install chromium chromium-driver",
)
class ChromiumTestCase(unittest.TestCase):
    layer = BROWSER_TESTING

    def setUp(self):
        self.service = install(self, StubService(QUEUED, ACTIVE, COMPLETED, FAILED))
        self.url = f"{self.layer['portal'].absolute_url()}/@@background-jobs"

    def start(self, size=DESKTOP, scripts=True):
        """A chromium of this size that shows the page, logged in."""
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        # A window cannot be as narrow as a phone, an emulated screen can.
        metrics = {"width": size[0], "height": size[1], "pixelRatio": 1.0}
        options.add_experimental_option(
            "mobileEmulation", {"deviceMetrics": {**metrics, "touch": size == PHONE}}
        )
        if not scripts:
            blocked = {"profile.managed_default_content_settings.javascript": BLOCKED}
            options.add_experimental_option("prefs", blocked)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
        self.addCleanup(self.driver.quit)
        self.driver.get(f"{self.url.rpartition('/')[0]}/login")
        self.find("#__ac_name").send_keys(SITE_OWNER_NAME)
        self.find("#__ac_password").send_keys(SITE_OWNER_PASSWORD, Keys.ENTER)
        self.wait_for(lambda: not self.find_all("#__ac_name"))
        self.driver.get(self.url)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait_for(self, condition):
        # What a script has just replaced is looked for again.
        ignored = [StaleElementReferenceException]
        wait = WebDriverWait(self.driver, 30, ignored_exceptions=ignored)
        wait.until(lambda driver: condition())

    def is_too_wide(self):
        return self.driver.execute_script(
            "const page = document.documentElement;"
            "return page.scrollWidth > page.clientWidth"
        )


class TestRefreshing(ChromiumTestCase):
    def test_the_list_follows_the_jobs_and_leaves_the_reader_in_peace(self):
        self.start()
        summary = self.find("#job-10 summary")
        summary.send_keys(Keys.ENTER)
        self.assertTrue(self.find("#job-10 pre").is_displayed())

        self.service.jobs.insert(0, replace(QUEUED, id="11"))
        self.wait_for(lambda: self.find_all("#job-11"))

        self.assertTrue(self.find("#job-10 pre").is_displayed())
        self.assertEqual(
            self.find("#job-10 summary"), self.driver.switch_to.active_element
        )
        announcement = self.find("#background-jobs-announcement")
        self.assertEqual("polite", announcement.get_attribute("aria-live"))
        self.assertEqual(
            "2 queued, 1 active, 1 failed, 1 completed.",
            announcement.get_attribute("textContent"),
        )

    def test_a_filter_holds_over_a_refresh(self):
        self.start()
        self.driver.get(f"{self.url}?status=failed")
        self.service.jobs.append(replace(QUEUED, id="11"))
        self.service.jobs.append(replace(FAILED, id="12"))
        self.wait_for(lambda: self.find_all("#job-12"))
        self.assertEqual([], self.find_all("#job-11"))

    def test_whoever_switches_it_off_finds_it_off_on_the_next_page(self):
        self.start()
        self.assertTrue(self.find("#background-jobs-refresh-switch").is_selected())
        self.find("#background-jobs-refresh-switch").send_keys(Keys.SPACE)
        self.driver.refresh()
        self.assertFalse(self.find("#background-jobs-refresh-switch").is_selected())

    def test_a_lost_session_is_told(self):
        self.start()
        self.driver.delete_all_cookies()
        notice = self.find("#background-jobs-announcement")
        self.wait_for(lambda: "can no longer be refreshed" in notice.text)
        self.assertTrue(self.find_all("#job-7"))

    def test_nothing_complains_in_the_console(self):
        self.start()
        self.service.jobs.append(replace(QUEUED, id="11"))
        self.wait_for(lambda: self.find_all("#job-11"))
        complaints = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and "clockwork" in entry["message"]
        ]
        self.assertEqual([], complaints)

    def test_no_text_of_a_job_runs_as_a_script(self):
        attack = "<script>window.attacked = 1</script><img src=x onerror=attacked=1>"
        self.service.jobs = [replace(FAILED, error=attack, traceback=attack)]
        self.start()
        self.service.jobs.append(replace(COMPLETED, result=attack, user=attack))
        self.wait_for(lambda: self.find_all("#job-9"))
        self.assertIn("window.attacked", self.find("#job-9").text)
        self.assertIsNone(self.driver.execute_script("return window.attacked"))


class TestScreens(ChromiumTestCase):
    def test_a_phone_shows_cards_without_scrolling_sideways(self):
        self.service.jobs.append(replace(FAILED, id="11", error="x" * 500))
        self.start(PHONE)
        self.assertFalse(self.is_too_wide())
        self.assertEqual("grid", self.find("#job-7").value_of_css_property("display"))
        self.driver.get(self.url.replace("@@background-jobs", "@@background-job?id=11"))
        self.assertTrue(self.find("#background-job"))
        self.assertFalse(self.is_too_wide())

    def test_a_desktop_shows_a_table_without_scrolling_sideways(self):
        self.service.jobs.append(replace(FAILED, id="11", error="x" * 500))
        self.start()
        self.assertFalse(self.is_too_wide())
        display = self.find("#job-7").value_of_css_property("display")
        self.assertEqual("table-row", display)

    def test_a_desktop_shows_eight_jobs_at_once_whatever_came_of_them(self):
        some = (QUEUED, ACTIVE, COMPLETED, FAILED)
        long = {"error": "x" * 500, "arguments": "y" * 500, "user": "z" * 100}
        self.service.jobs = [
            replace(some[number % 4], id=str(number), **long) for number in range(20)
        ]
        self.start()
        self.driver.get(self.url)
        eighth = self.find_all("#background-jobs-list tbody tr")[7]
        self.assertLessEqual(
            self.driver.execute_script(
                "return arguments[0].getBoundingClientRect().bottom", eighth
            ),
            DESKTOP[1],
        )

    def test_an_open_traceback_is_as_wide_as_the_table(self):
        self.start()
        self.find("#job-10 summary").click()
        width = self.find("#job-10").rect["width"]
        self.assertGreater(self.find("#job-10 pre").rect["width"], 0.9 * width)
        self.assertFalse(self.is_too_wide())

    def test_it_works_by_keyboard_alone(self):
        self.start()
        self.find("#background-jobs-user").send_keys("bob", Keys.ENTER)
        self.wait_for(lambda: "user=bob" in self.driver.current_url)
        self.assertEqual(1, len(self.find_all("#background-jobs-list tbody tr")))
        self.find("#job-10 th a").send_keys(Keys.ENTER)
        self.wait_for(lambda: "@@background-job?id=10" in self.driver.current_url)

    def test_it_works_without_scripts(self):
        self.start(scripts=False)
        self.assertFalse(self.find("#background-jobs-refresh").is_displayed())
        self.assertEqual(4, len(self.find_all("#background-jobs-list tbody tr")))
        self.find('#background-jobs-list nav a[href*="failed"]').click()
        self.wait_for(lambda: "status=failed" in self.driver.current_url)
        self.assertEqual(1, len(self.find_all("#background-jobs-list tbody tr")))
        self.find("#job-10 summary").click()
        self.assertTrue(self.find("#job-10 pre").is_displayed())
