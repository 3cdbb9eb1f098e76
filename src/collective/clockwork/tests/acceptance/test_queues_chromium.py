"""The page of queues and quotas in a real browser: Debian's chromium."""

from __future__ import annotations

from collective.clockwork import quotas
from collective.clockwork.tests.acceptance.test_browser_chromium import (
    ChromiumTestCase as _ChromiumTestCase,
)
from collective.clockwork.tests.acceptance.test_browser_chromium import PHONE
from selenium.webdriver.common.keys import Keys

import transaction


class TestTheQueuesPage(_ChromiumTestCase):
    def setUp(self):
        portal = self.layer["portal"]
        self.url = f"{portal.absolute_url()}/@@background-queues"
        quotas.create("", "thumbnails", 4)
        quotas.create("", "x" * 100, 1)
        transaction.commit()

    def size(self):
        transaction.begin()
        (size,) = (q.size for q in quotas.list_quotas() if q.name == "thumbnails")
        return size

    def field(self):
        """The field for the size of the quota ``thumbnails``."""
        name = self.find('input[type="hidden"][value="thumbnails"]')
        return self.find(f"#{name.get_attribute('name').replace('name', 'size')}")

    def enter(self, size):
        """Send the form with this size, by keyboard."""
        self.field().send_keys(Keys.CONTROL, "a")
        self.field().send_keys(size, Keys.ENTER)

    def test_a_phone_shows_it_without_scrolling_sideways(self):
        self.start(PHONE)
        self.assertFalse(self.is_too_wide())
        self.enter("many")
        self.wait_for(lambda: self.find_all(".is-invalid"))
        self.assertFalse(self.is_too_wide())

    def test_it_works_by_keyboard_alone(self):
        self.start()
        self.enter("7")
        self.wait_for(lambda: "Changes saved." in self.driver.page_source)
        self.assertEqual("7", self.field().get_attribute("value"))
        self.assertEqual(7, self.size())

    def test_it_works_without_scripts(self):
        self.start(scripts=False)
        self.enter("7")
        self.wait_for(lambda: "Changes saved." in self.driver.page_source)
        self.assertEqual(7, self.size())
