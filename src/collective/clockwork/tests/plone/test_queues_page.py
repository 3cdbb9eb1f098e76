"""The page of queues and quotas, in a browser."""

from __future__ import annotations

from collective.clockwork import quotas
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.browsercase import BrowserTestCase
from collective.clockwork.tests.plone.browsercase import text
from collective.clockwork.tests.plone.servicecase import add_site
from lxml import html
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.app.testing import TEST_USER_ID
from zope.component import getUtility
from zope.component.hooks import setSite

import transaction


VIEW = "@@background-queues"
ERRORS = '//*[contains(@class, "invalid-feedback")]'


class TestTheQueuesPage(BrowserTestCase):
    real = True

    def setUp(self):
        super().setUp()
        #: What the add-on brings with it besides ``default``.
        self.installed = {quota.name for quota in quotas.list_quotas()} - {"default"}
        quotas.create("", "thumbnails", 4)
        transaction.commit()

    def sizes(self, queue=""):
        """The sizes of a queue's quotas, without those of the installation."""
        transaction.begin()
        found = (quota for quota in quotas.list_quotas() if quota.queue == queue)
        return {q.name: q.size for q in found if q.name not in self.installed}

    def size_of(self, name):
        """The field of a quota, by its label."""
        return self.browser.getControl(f"Size of {name}")

    def save(self):
        self.browser.getControl("Save").click()

    def add(self, name, size="1"):
        self.browser.getControl("Name, as the code uses it").value = name
        self.browser.getControl("Size", index=-1).value = size
        self.browser.getControl("Add").click()

    def errors(self):
        page = self.parsed()
        return [" ".join(e.text_content().split()) for e in page.xpath(ERRORS)]

    def parsed(self):
        return html.fromstring(self.browser.contents)

    def use(self, name):
        """Let a job wait for a quota."""
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        service = getUtility(IAsyncService)
        service.queueJobInQueue("", (name,), work.note, self.portal, "waits")
        transaction.commit()

    def test_the_list_of_jobs_leads_to_it_and_it_back(self):
        self.open("@@background-jobs")
        self.browser.getLink("Queues and quotas").click()
        self.assertTrue(self.browser.url.endswith(VIEW))
        self.browser.getLink("All background jobs").click()
        self.assertTrue(self.browser.url.endswith("@@background-jobs"))

    def test_it_shows_the_quotas_with_their_sizes(self):
        page = self.open(VIEW)
        self.assertEqual("Default queue", text(page, "//form[1]//legend[@class]"))
        self.assertEqual("1", self.size_of("default").value)
        self.assertEqual("4", self.size_of("thumbnails").value)

    def test_its_title_is_the_browsers_title(self):
        self.assertIn("Queues and quotas", text(self.open(VIEW), "//head/title"))

    def test_looking_at_it_writes_nothing(self):
        self.open(VIEW)
        database = self.portal._p_jar.db()
        before = database.lastTransaction()
        self.open(VIEW)
        self.assertEqual(before, database.lastTransaction())

    def test_a_size_is_changed(self):
        self.open(VIEW)
        self.size_of("thumbnails").value = " 7 "
        self.save()
        self.assertEqual({"default": 1, "thumbnails": 7}, self.sizes())
        self.assertIn("Changes saved.", self.browser.contents)

    def test_nothing_changed_writes_nothing_and_says_so(self):
        self.open(VIEW)
        self.save()
        self.assertIn("Nothing was changed.", self.browser.contents)

    def test_what_is_no_size_is_marked_kept_in_the_field_and_not_saved(self):
        for wrong in ("many", "-1", "1.5", "", "1234567"):
            with self.subTest(wrong=wrong):
                self.open(VIEW)
                self.size_of("default").value = "3"
                self.size_of("thumbnails").value = wrong
                self.save()
                self.assertEqual({"default": 1, "thumbnails": 4}, self.sizes())
                self.assertEqual(
                    ["Please enter a whole number from 0 to 999999."], self.errors()
                )
                self.assertEqual(wrong, self.size_of("thumbnails").value)
                self.assertEqual("3", self.size_of("default").value)

    def test_an_error_is_told_with_its_field(self):
        self.open(VIEW)
        self.size_of("thumbnails").value = "many"
        self.save()
        (wrong,) = self.parsed().xpath('//input[@aria-invalid="true"]')
        (message,) = self.parsed().xpath(f'//*[@id="{wrong.get("aria-describedby")}"]')
        self.assertIn("whole number", message.text_content())

    def test_a_corrected_error_is_saved(self):
        self.open(VIEW)
        self.size_of("thumbnails").value = "many"
        self.save()
        self.size_of("thumbnails").value = "5"
        self.save()
        self.assertEqual(5, self.sizes()["thumbnails"])

    def test_a_size_that_another_has_changed_meanwhile_is_left_alone(self):
        self.open(VIEW)
        quotas.set_size("", "thumbnails", 9)
        transaction.commit()
        self.size_of("default").value = "2"
        self.save()
        self.assertEqual({"default": 2, "thumbnails": 9}, self.sizes())

    def test_a_size_that_another_has_changed_meanwhile_is_not_overwritten(self):
        self.open(VIEW)
        quotas.set_size("", "thumbnails", 9)
        transaction.commit()
        self.size_of("thumbnails").value = "2"
        self.save()
        self.assertEqual(9, self.sizes()["thumbnails"])
        self.assertEqual(["Somebody has set it to 9 meanwhile."], self.errors())
        self.save()
        self.assertEqual(2, self.sizes()["thumbnails"])

    def test_a_quota_that_another_has_removed_meanwhile_stays_removed(self):
        self.open(VIEW)
        quotas.remove("", "thumbnails")
        transaction.commit()
        self.size_of("thumbnails").value = "2"
        self.save()
        self.assertEqual({"default": 1}, self.sizes())

    def test_a_quota_is_removed(self):
        self.open(VIEW)
        self.browser.getControl("Remove thumbnails").click()
        self.save()
        self.assertEqual({"default": 1}, self.sizes())

    def test_a_quota_that_a_job_waits_for_is_not_removed(self):
        self.use("thumbnails")
        self.open(VIEW)
        self.browser.getControl("Remove thumbnails").click()
        self.save()
        self.assertEqual({"default": 1, "thumbnails": 4}, self.sizes())
        (error,) = self.errors()
        self.assertIn("cannot be removed now", error)

    def test_default_cannot_be_removed(self):
        page = self.open(VIEW)
        labels = [" ".join(e.text_content().split()) for e in page.xpath("//label")]
        self.assertIn("Remove thumbnails", labels)
        self.assertNotIn("Remove default", labels)

    def test_a_quota_is_added(self):
        self.open(VIEW)
        self.add(" news letter ", "2")
        self.assertEqual(2, self.sizes()["news letter"])
        self.assertIn("The quota news letter was added.", self.browser.contents)

    def test_a_quota_is_added_to_the_chosen_queue(self):
        quotas.ensure_queue("slow")
        transaction.commit()
        self.open(VIEW)
        self.browser.getControl("Queue", index=0).displayValue = ["slow"]
        self.add("night", "2")
        self.assertEqual({"default": 1, "night": 2}, self.sizes("slow"))

    def test_a_quota_that_cannot_be_added_is_marked(self):
        for name, size, error in (
            ("", "1", "Please enter a name of 1 to 100 characters."),
            ("x" * 101, "1", "Please enter a name of 1 to 100 characters."),
            ("default", "1", "There is a quota of this name already."),
            ("new", "few", "Please enter a whole number from 0 to 999999."),
        ):
            with self.subTest(name=name, size=size):
                self.open(VIEW)
                self.add(name, size)
                self.assertEqual([error], self.errors())
                self.assertEqual({"default": 1, "thumbnails": 4}, self.sizes())

    def test_names_are_shown_as_text(self):
        attack = "<script>alert(1)</script>"
        quotas.create("", attack, 1)
        transaction.commit()
        page = self.open(VIEW)
        self.assertIn(attack, page.text_content())
        self.assertNotIn(attack, self.browser.contents)


class TestWhoMayChangeThem(BrowserTestCase):
    real = True

    def setUp(self):
        super().setUp()
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        for role in ("Editor", "Site Administrator"):
            api.user.create(
                email="somebody@example.org",
                username=role.replace(" ", ""),
                password="correct horse battery",
                roles=("Member", role),
            )
        transaction.commit()
        self.url = f"{self.portal.absolute_url()}/{VIEW}"

    def post(self, browser, **form):
        data = "&".join(f"{name.replace('_', '-')}={v}" for name, v in form.items())
        browser.post(self.url, data)

    def default_size(self):
        transaction.begin()
        (size,) = (q.size for q in quotas.list_quotas() if q.name == "default")
        return size

    def test_a_site_administrator_may(self):
        browser = self.browser_of("SiteAdministrator", "correct horse battery")
        browser.open(self.url)
        browser.getControl("Size of default").value = "2"
        browser.getControl("Save").click()
        self.assertEqual(2, self.default_size())

    def test_of_several_sites_no_administrator_has_a_say_in_the_others(self):
        add_site(self.layer["app"], "second")
        setSite(self.portal)
        browser = self.browser_of("SiteAdministrator", "correct horse battery")
        browser.open(self.url)
        self.assertIn("There are several sites", browser.contents)
        self.assertNotIn('name="save"', browser.contents)
        token = browser.getControl(name="_authenticator", index=0).value
        sent = "save=1&queue-0=&name-0=default&was-0=1&size-0=5"
        browser.post(self.url, f"_authenticator={token}&{sent}")
        self.assertEqual(1, self.default_size())

    def test_who_manages_jobs_at_the_root_may_for_all_sites(self):
        add_site(self.layer["app"], "second")
        setSite(self.portal)
        browser = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        browser.open(self.url)
        browser.getControl("Size of default").value = "2"
        browser.getControl("Save").click()
        self.assertEqual(2, self.default_size())

    def test_an_editor_and_an_anonymous_visitor_may_not(self):
        sent = {"queue_0": "", "name_0": "default", "was_0": "1", "size_0": "5"}
        for credentials in (("Editor", "correct horse battery"), ()):
            with self.subTest(credentials=credentials):
                browser = self.browser_of(*credentials)
                self.post(browser, save=1, **sent)
                self.assertNotIn("Size of", browser.contents)
                self.assertEqual(1, self.default_size())

    def test_a_form_of_another_site_changes_nothing(self):
        sent = {"queue_0": "", "name_0": "default", "was_0": "1", "size_0": "5"}
        self.post(self.browser, save=1, **sent)
        self.assertEqual("403", self.browser.headers["Status"][:3])
        self.assertEqual(1, self.default_size())

    def test_a_get_request_changes_nothing(self):
        query = "save=1&queue-0=&name-0=default&was-0=1&size-0=5"
        self.browser.open(f"{self.url}?{query}")
        self.assertEqual(1, self.default_size())

    def test_fields_that_are_no_texts_change_nothing_and_break_nothing(self):
        self.browser.open(self.url)
        token = self.browser.getControl(name="_authenticator", index=0).value
        for extra in ("name-0=a&name-0=b", "name-0=default&size-0=2&size-0=3"):
            with self.subTest(extra=extra):
                self.browser.post(self.url, f"_authenticator={token}&save=1&{extra}")
                self.assertEqual("200", self.browser.headers["Status"][:3])
                self.assertEqual(1, self.default_size())
