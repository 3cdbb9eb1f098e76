"""Anonymous visitors keep what they started by a signed cookie."""

from __future__ import annotations

from collective.clockwork.testing import drain
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.test_asyncview_http import PageTestCase
from plone.app.testing import login
from plone.app.testing import SITE_OWNER_NAME
from zope.component.hooks import setSite


class AnonymousTests(PageTestCase):
    def test_a_visitor_keeps_what_she_started_by_a_signed_cookie(self):
        ann, bob = self.browser_of(), self.browser_of()
        page = self.submit(browser=ann, name="Ann")
        other = self.submit(browser=bob, name="Bob")
        cookie = ann.cookies.getinfo("clockwork_visitor")
        self.assertEqual("/plone", cookie["path"])
        self.assertIsNone(cookie["expires"])
        drain()
        bob.open(page)
        self.assertTrue(bob.headers["Status"].startswith("404"))
        bob.open(other)
        self.assertEqual("Hello, Bob!", bob.contents)
        ann.open(page)
        self.assertEqual("Hello, Ann!", ann.contents)

    def test_the_cookie_is_for_the_server_alone_and_the_same_for_all_she_starts(self):
        ann = self.browser_of()
        ann.open(f"{self.address}/my_process_view")
        ann.followRedirects = False
        ann.getControl(name="go").click()
        header = ann.headers["Set-Cookie"]
        self.assertIn("HttpOnly", header)
        self.assertIn("SameSite=Lax", header)
        self.assertNotIn("Secure", header)
        first = ann.cookies["clockwork_visitor"]
        ann.open(f"{self.address}/my_process_view")
        ann.getControl(name="go").click()
        self.assertNotIn("Set-Cookie", ann.headers)
        self.assertEqual(first, ann.cookies["clockwork_visitor"])

    def test_she_may_do_that_in_two_sites_at_one_address(self):
        self.addCleanup(setSite, self.portal)
        login(self.layer["app"], SITE_OWNER_NAME)
        other = add_site(self.layer["app"], "plone2")
        ann = self.browser_of()
        here = self.submit(browser=ann, name="Ann")
        self.address = other.absolute_url()
        there = self.submit(browser=ann, name="Bob")
        drain()
        for page, greeting in ((here, "Hello, Ann!"), (there, "Hello, Bob!")):
            ann.open(page)
            self.assertEqual(greeting, ann.contents)

    def test_a_cookie_that_somebody_made_up_is_not_taken(self):
        ann = self.browser_of()
        ann.addHeader("Cookie", "clockwork_visitor=known.signature")
        ann.open(f"{self.address}/my_process_view")
        ann.followRedirects = False
        ann.getControl(name="go").click()
        self.assertNotIn("known", ann.headers["Set-Cookie"])

    def test_a_visitor_may_stop_what_she_started(self):
        ann, bob = self.browser_of(), self.browser_of()
        page = self.submit("held", browser=ann)
        bob.post(page.replace("/processing?", "/cancel?"), "")
        self.assertRegex(bob.headers["Status"], "^40[34]")
        ann.open(page)
        ann.getForm(id="background-view-cancel").submit()
        self.assertIn("The work was stopped.", ann.contents)
