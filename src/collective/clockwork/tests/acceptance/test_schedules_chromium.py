"""The pages of schedules in a real browser: Debian's chromium."""

from __future__ import annotations

from collective.clockwork.schedules import ticking
from collective.clockwork.schedules.interfaces import IScheduler
from collective.clockwork.testing import drain
from collective.clockwork.tests.acceptance.test_browser_chromium import (
    ChromiumTestCase as _ChromiumTestCase,
)
from collective.clockwork.tests.acceptance.test_browser_chromium import PHONE
from collective.clockwork.tests.plone import schedulepages
from collective.clockwork.tests.plone.schedulepages import add
from collective.clockwork.tests.plone.schedulepages import FAIL
from collective.clockwork.tests.plone.schedulepages import get
from collective.clockwork.tests.plone.schedulepages import SCRIPT
from datetime import timedelta
from plone.app.testing import login
from plone.app.testing import SITE_OWNER_NAME
from selenium.webdriver.common.keys import Keys
from urllib.parse import urlencode
from zope.component import getUtility

import transaction


class SchedulesChromiumTestCase(_ChromiumTestCase):
    def setUp(self):
        portal = self.layer["portal"]
        self.root = portal.absolute_url()
        self.url = f"{self.root}/@@background-schedules"
        login(self.layer["app"], SITE_OWNER_NAME)
        schedulepages.register_functions(self)
        self.scheduler = getUtility(IScheduler)

    def go(self, view, **query):
        address = f"{self.root}/{view}"
        self.driver.get(f"{address}?{urlencode(query)}" if query else address)

    def press(self, selector):
        """Press a button with the keyboard."""
        self.find(selector).send_keys(Keys.ENTER)

    def shows(self, text):
        return text in self.driver.page_source

    def enter(self, selector, text):
        self.find(selector).send_keys(Keys.CONTROL, "a")
        self.find(selector).send_keys(text)

    def ahead(self):
        """The next firings that the form shows: the script may change them."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll('#schedule-ahead time')]"
            ".map((moment) => moment.dateTime)"
        )


class TestTheList(SchedulesChromiumTestCase):
    def test_it_works_by_keyboard_alone_and_without_scripts(self):
        add("nightly", title="Nightly notes")
        self.start(scripts=False)
        self.press("[role=switch][value=nightly]")
        self.wait_for(lambda: self.shows("Nightly notes fires no more."))
        self.assertFalse(get("nightly").active)
        self.press("[name=run][value=nightly]")
        self.wait_for(lambda: self.shows("Nightly notes was queued"))
        self.press("#schedules-site [role=switch]")
        self.wait_for(lambda: self.shows("None fires while this is off"))
        self.find("tbody input[type=checkbox]").send_keys(Keys.SPACE)
        self.press("[name=remove-selected]:not([tabindex])")
        self.wait_for(lambda: self.shows("Remove schedules?"))
        self.press("#schedules-remove [name=removal]")
        self.wait_for(lambda: self.shows("There are no schedules yet"))
        self.assertIsNone(get("nightly"))

    def test_the_return_key_in_a_box_presses_no_button_of_a_schedule(self):
        add("nightly")
        self.start()
        box = self.find("tbody input[type=checkbox]")
        box.send_keys(Keys.SPACE)
        box.send_keys(Keys.ENTER)
        self.wait_for(lambda: self.shows("Remove schedules?"))
        self.assertTrue(get("nightly").active)
        self.assertEqual([], self.scheduler.firings("nightly"))

    def test_nothing_runs_as_a_script(self):
        title = f"{SCRIPT}<img src=x onerror=attacked=1>"
        add(SCRIPT, FAIL, title=title, arguments={"text": title})
        self.scheduler.run_now(SCRIPT)
        transaction.commit()
        drain()
        self.start()
        for view in ("schedules", "schedule", "schedule-edit"):
            self.go(f"@@background-{view}", name=SCRIPT)
            self.assertIn("window.attacked", self.driver.page_source)
            self.assertIsNone(self.driver.execute_script("return window.attacked"))


class TestTheForm(SchedulesChromiumTestCase):
    def fill_in(self):
        self.go("@@background-schedule-edit")
        self.enter("#schedule-name", "news")
        self.find(f"#schedule-function option[value='{FAIL}']").click()

    def test_the_next_firings_follow_what_is_typed_and_one_save_is_enough(self):
        self.start()
        self.fill_in()
        self.assertEqual(
            "Fetches the news of other sites.", self.find("#function-help").text
        )
        self.enter("#schedule-cron", "15 4 * * *")
        self.wait_for(lambda: self.ahead() and "T04:15:00" in self.ahead()[0])
        self.assertEqual(5, len(self.ahead()))
        self.enter("#schedule-cron", "15 4 * *")
        self.wait_for(lambda: self.shows("which has 4 fields"))
        self.enter("#schedule-cron", "20 4 * * *")
        self.wait_for(lambda: self.ahead() and "T04:20:00" in self.ahead()[0])
        self.find("#schedule-cron").send_keys(Keys.ENTER)
        self.wait_for(lambda: self.shows("The schedule was added."))
        self.assertEqual("20 4 * * *", get("news").cron)

    def test_only_what_the_chosen_kind_of_time_needs_is_shown(self):
        self.start()
        self.fill_in()
        self.assertTrue(self.find("#schedule-cron").is_displayed())
        self.assertFalse(self.find("#schedule-every").is_displayed())
        self.find("#schedule-when-cron").send_keys(Keys.ARROW_RIGHT)
        self.assertFalse(self.find("#schedule-cron").is_displayed())
        self.assertTrue(self.find("#schedule-every").is_displayed())
        self.enter("#schedule-every", "7")
        self.wait_for(lambda: self.shows("Every 7 hours"))

    def test_without_scripts_the_first_save_shows_the_firings(self):
        self.start(scripts=False)
        self.fill_in()
        self.assertTrue(self.find("noscript dl").is_displayed())
        self.enter("#schedule-cron", "15 4 * * *")
        self.find("#schedule-cron").send_keys(Keys.ENTER)
        self.wait_for(lambda: self.find_all("#schedule-asks-again"))
        self.assertIn("T04:15:00", self.ahead()[0])
        self.assertIsNone(get("news"))
        self.find("#schedule-cron").send_keys(Keys.ENTER)
        self.wait_for(lambda: self.shows("The schedule was added."))
        self.assertEqual("15 4 * * *", get("news").cron)

    def test_nothing_complains_in_the_console(self):
        self.start()
        self.fill_in()
        self.enter("#schedule-cron", "15 4 * * *")
        self.wait_for(lambda: self.ahead() and "T04:15:00" in self.ahead()[0])
        complaints = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]
        self.assertEqual([], complaints)


class TestScreens(SchedulesChromiumTestCase):
    def setUp(self):
        super().setUp()
        add("x" * 100, FAIL, arguments={"text": "y" * 500}, title="z" * 100)
        add("news", every=timedelta(minutes=15), timezone="America/New_York")
        self.scheduler.run_now("x" * 100)
        ticking.enable()
        transaction.commit()
        drain()

    def assert_none_too_wide(self):
        for view, query in (
            ("@@background-schedules", {}),
            ("@@background-schedule", {"name": "x" * 100}),
            ("@@background-schedule-edit", {"name": "x" * 100}),
            ("@@background-ticks", {}),
        ):
            with self.subTest(view=view):
                self.go(view, **query)
                for details in self.find_all("article details, form details"):
                    self.driver.execute_script("arguments[0].open = true", details)
                self.assertFalse(self.is_too_wide())

    def test_a_phone_shows_cards_without_scrolling_sideways(self):
        self.start(PHONE)
        row = self.find("tbody tr")
        self.assertEqual("grid", row.value_of_css_property("display"))
        self.assert_none_too_wide()

    def test_a_desktop_shows_tables_without_scrolling_sideways(self):
        self.start()
        row = self.find("tbody tr")
        self.assertEqual("table-row", row.value_of_css_property("display"))
        self.assert_none_too_wide()

    def test_ticks_are_switched_on_by_keyboard(self):
        ticking.disable()
        transaction.commit()
        self.start()
        self.go("@@background-ticks")
        self.find("#ticks-scheduled").send_keys(Keys.SPACE)
        self.find("#ticks-interval").send_keys(Keys.ENTER)
        self.wait_for(lambda: self.shows("Changes saved."))
        transaction.begin()
        self.assertTrue(ticking.is_enabled())
