"""The pages about background jobs, as a browser gets them."""

from __future__ import annotations

from collections import Counter
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING
from collective.clockwork.tests.plone.stubservice import ACTIVE
from collective.clockwork.tests.plone.stubservice import COMPLETED
from collective.clockwork.tests.plone.stubservice import FAILED
from collective.clockwork.tests.plone.stubservice import install
from collective.clockwork.tests.plone.stubservice import NOON
from collective.clockwork.tests.plone.stubservice import QUEUED
from collective.clockwork.tests.plone.stubservice import StubService
from dataclasses import replace
from datetime import timedelta
import json
from lxml import html
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.app.testing import TEST_USER_ID
from plone.testing.zope import Browser
import transaction
import unittest
from zope.i18n.config import COMPILE_MO_FILES


VIEWS = (
    "@@background-jobs",
    "@@background-jobs-list",
    "@@background-job?id=10",
    "@@jobs.json",
    "@@manage-job-queue",
    "@@manage-job-error?id=10",
)

STATUS_LINKS = '//nav[@aria-label="Filter by status"]//a'


class BrowserTestCase(unittest.TestCase):
    layer = COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING

    def setUp(self):
        self.portal = self.layer["portal"]
        self.service = install(self, StubService(QUEUED, ACTIVE, COMPLETED, FAILED))
        self.browser = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)

    def browser_of(self, name=None, password=None):
        browser = Browser(self.layer["app"])
        browser.handleErrors = True
        browser.raiseHttpErrors = False
        if name is not None:
            credentials = f"Basic {name}:{password}"
            browser.addHeader("Authorization", credentials)
        return browser

    def open(self, view="@@background-jobs"):
        """Open one of our views; what it shows, as a tree."""
        self.browser.open(f"{self.portal.absolute_url()}/{view}")
        return html.fromstring(self.browser.contents)

    def open_json(self, view="@@jobs.json"):
        self.browser.open(f"{self.portal.absolute_url()}/{view}")
        return json.loads(self.browser.contents)

    def shown_ids(self, page):
        return [
            row.get("id") for row in page.xpath('//tbody[starts-with(@id, "job-")]')
        ]


def text(page, path):
    """The text of the one element at `path`, in single spaces."""
    (element,) = page.xpath(path)
    return " ".join(element.text_content().split())


class TestTheList(BrowserTestCase):
    def test_a_job_is_shown_with_function_context_user_and_status(self):
        row = text(self.open(), '//tbody[@id="job-7"]')
        for fact in ("convert", "/news", "ada", "Queued"):
            self.assertIn(fact, row)

    def test_a_completed_job_shows_its_result_and_how_long_it_took(self):
        row = text(self.open(), '//tbody[@id="job-9"]')
        self.assertIn("'intro'", row)
        self.assertIn("3 min 20 s", row)

    def test_a_failed_job_shows_its_error_and_folds_its_traceback_away(self):
        page = self.open()
        self.assertIn("no such chapter", text(page, '//tbody[@id="job-10"]//td[4]/div'))
        (details,) = page.xpath('//tbody[@id="job-10"]//details')
        self.assertIsNone(details.get("open"))
        self.assertEqual(FAILED.traceback, details.find("pre").text)

    def test_a_running_job_shows_its_progress(self):
        (bar,) = self.open().xpath('//tbody[@id="job-8"]//*[@role="progressbar"]')
        self.assertEqual("40", bar.get("aria-valuenow"))

    def test_a_waiting_job_says_why_it_waits(self):
        self.service.jobs = [replace(QUEUED, reason="Quota default is in use.")]
        self.assertIn(
            "Quota default is in use.", text(self.open(), '//tbody[@id="job-7"]')
        )

    def test_a_job_without_user_is_shown_as_anonymous(self):
        self.assertIn("Anonymous", text(self.open(), '//tbody[@id="job-9"]'))

    def test_times_are_in_the_time_zone_of_the_site_with_iso_beside(self):
        api.portal.set_registry_record("plone.portal_timezone", "Asia/Kolkata")
        transaction.commit()
        (time,) = self.open().xpath('//tbody[@id="job-7"]//time')
        self.assertIn("05:30 PM", time.text)
        self.assertEqual(NOON.isoformat(), time.get("title"))

    def test_the_due_time_of_a_delayed_job_is_shown(self):
        self.service.jobs = [replace(QUEUED, due=NOON + timedelta(days=1))]
        times = self.open().xpath('//tbody[@id="job-7"]//time/@datetime')
        self.assertEqual(
            ["2026-03-04T12:00:00+00:00", "2026-03-05T12:00:00+00:00"], times
        )

    def test_a_long_result_is_cut_in_the_list_and_whole_on_the_page_of_the_job(self):
        self.service.jobs = [replace(COMPLETED, result="x" * 2000)]
        self.assertEqual("x" * 160 + "…", text(self.open(), "//td/code"))
        self.assertIn(
            "x" * 2000, text(self.open("@@background-job?id=9"), "//article//dl")
        )

    def test_no_id_occurs_twice(self):
        ids = Counter(self.open().xpath("//@id"))
        self.assertEqual({}, {id: n for id, n in ids.items() if n > 1})

    def test_it_is_not_cached(self):
        self.open()
        self.assertEqual("no-store", self.browser.headers["Cache-Control"])

    def test_nothing_is_written(self):
        database = self.portal._p_jar.db()
        self.open()
        before = database.lastTransaction()
        for view in VIEWS:
            self.browser.open(f"{self.portal.absolute_url()}/{view}")
        self.assertEqual(before, database.lastTransaction())


class TestTheFilters(BrowserTestCase):
    def test_each_status_is_a_link_with_its_count(self):
        self.service.jobs.append(replace(FAILED, id="11"))
        links = self.open().xpath(STATUS_LINKS)
        self.assertEqual(
            ["All 5", "Queued 1", "Active 1", "Failed 2", "Completed 1"],
            [" ".join(link.text_content().split()) for link in links],
        )

    def test_a_status_link_leads_to_the_jobs_of_that_status(self):
        self.open()
        self.browser.getLink("Failed").click()
        page = html.fromstring(self.browser.contents)
        self.assertEqual(["job-10"], self.shown_ids(page))
        self.assertEqual(
            "Failed 1", text(page, f'{STATUS_LINKS}[@aria-current="page"]')
        )

    def test_the_form_filters_by_user_and_keeps_the_status(self):
        self.service.jobs.append(replace(QUEUED, id="12", user="bob"))
        self.open("@@background-jobs?status=queued")
        self.browser.getControl("User id").value = "bob"
        self.browser.getControl("Filter").click()
        page = html.fromstring(self.browser.contents)
        self.assertEqual(["job-12"], self.shown_ids(page))

    def test_the_counts_of_all_users_are_not_shown_beside_a_user_filter(self):
        page = self.open("@@background-jobs?user=bob")
        self.assertEqual([], page.xpath(f"{STATUS_LINKS}/span"))

    def test_an_unknown_status_shows_all_jobs(self):
        page = self.open("@@background-jobs?status=nonsense")
        self.assertEqual(4, len(self.shown_ids(page)))

    def test_parameters_given_twice_are_ignored(self):
        page = self.open("@@background-jobs?user=ada&user=bob&status=a&status=b")
        self.assertEqual(4, len(self.shown_ids(page)))

    def test_a_filter_without_match_says_so_and_offers_a_way_back(self):
        page = self.open("@@background-jobs?user=nobody")
        self.assertIn("No job matches this filter.", page.text_content())
        self.browser.getLink("Show all jobs").click()
        self.assertIn("job-7", self.browser.contents)


class TestLimitWorkersAndEmptyState(BrowserTestCase):
    def test_more_jobs_than_fit_are_cut_with_a_note(self):
        self.service.jobs = [replace(QUEUED, id=str(n)) for n in range(101)]
        page = self.open()
        self.assertEqual(100, len(self.shown_ids(page)))
        self.assertIn(
            "Showing the newest 100 jobs.", " ".join(page.text_content().split())
        )

    def test_as_many_jobs_as_fit_need_no_note(self):
        self.service.jobs = [replace(QUEUED, id=str(n)) for n in range(100)]
        page = self.open()
        self.assertEqual(100, len(self.shown_ids(page)))
        self.assertNotIn("Showing the newest", page.text_content())

    def test_it_warns_when_no_worker_is_alive(self):
        warning = "No worker is running: queued jobs wait until one starts."
        self.assertNotIn(warning, self.open().text_content())
        self.service.workers = 0
        self.assertIn(warning, self.open().text_content())

    def test_a_site_without_jobs_gets_an_explanation(self):
        self.service.jobs = []
        page = self.open()
        self.assertIn("There are no background jobs yet", page.text_content())
        self.assertEqual([], page.xpath('//table[@role="table"]'))


class TestHostileTexts(BrowserTestCase):
    hostile = '"><script>alert(1)</script>'

    def setUp(self):
        super().setUp()
        fields = ("function", "user", "error", "traceback", "reason", "arguments")
        texts = dict.fromkeys(fields, self.hostile)
        context = f"/plone/{self.hostile}"
        self.service.jobs = [
            replace(FAILED, context=context, quota_names=(self.hostile,), **texts),
            replace(COMPLETED, result=self.hostile, queue=self.hostile),
        ]

    def assert_harmless(self, view):
        page = self.open(view)
        self.assertIn("alert(1)", page.text_content() + "".join(page.xpath("//@value")))
        self.assertNotIn("<script>alert", self.browser.contents)

    def test_texts_of_jobs_stay_texts_in_the_list(self):
        self.assert_harmless("@@background-jobs")

    def test_texts_of_jobs_stay_texts_in_the_fragment(self):
        self.assert_harmless("@@background-jobs-list")

    def test_texts_of_jobs_stay_texts_on_the_page_of_a_failed_job(self):
        self.assert_harmless("@@background-job?id=10")

    def test_texts_of_jobs_stay_texts_on_the_page_of_a_completed_job(self):
        self.assert_harmless("@@background-job?id=9")

    def test_the_user_filter_stays_a_text(self):
        self.service.jobs = []
        self.assert_harmless(
            "@@background-jobs?user=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
        )

    def test_json_is_never_taken_for_html(self):
        self.open_json()
        self.assertEqual("application/json", self.browser.headers["Content-Type"])
        self.assertEqual("nosniff", self.browser.headers["X-Content-Type-Options"])


class TestOneJob(BrowserTestCase):
    def test_the_list_links_to_it(self):
        self.open("@@background-jobs?status=failed")
        self.browser.getLink("convert").click()
        self.assertTrue(self.browser.url.endswith("/@@background-job?id=10"))

    def test_it_shows_all_facts(self):
        facts = text(self.open("@@background-job?id=10"), '//*[@id="background-job"]')
        for fact in (
            "my.addon.chapters.convert",
            "'intro.rst'",
            "/news",
            "bob",
            "default",
            "ValueError: no such chapter",
            "Traceback (most recent call last):",
        ):
            self.assertIn(fact, facts)

    def test_its_context_is_a_link_into_the_site(self):
        page = self.open("@@background-job?id=10")
        self.assertEqual(
            [f"{self.portal.absolute_url()}/news"],
            page.xpath('//*[@id="background-job"]//a[text()="/news"]/@href'),
        )

    def test_unknown_and_malformed_ids_answer_404(self):
        for query in ("?id=999", "?id=x", "?id=", "", "?id=7&id=8", "?id=%D9%A7"):
            with self.subTest(query=query):
                page = self.open(f"@@background-job{query}")
                self.assertTrue(self.browser.headers["Status"].startswith("404"))
                self.assertIn("No such job", page.text_content())


class TestJSON(BrowserTestCase):
    def test_it_tells_counts_workers_and_every_field_of_the_jobs(self):
        answer = self.open_json()
        self.assertEqual(
            {"queued": 1, "active": 1, "completed": 1, "failed": 1}, answer["counts"]
        )
        self.assertEqual(1, answer["workers"])
        job = answer["jobs"][3]
        self.assertEqual("10", job["id"])
        self.assertEqual("2026-03-04T12:04:20+00:00", job["ended"])
        self.assertEqual(["default"], job["quota_names"])
        self.assertIsNone(job["due"])
        self.assertEqual(set(FAILED.__dataclass_fields__), set(job))

    def test_it_keeps_the_lists_of_plone_app_async(self):
        answer = self.open_json()
        self.assertEqual([7], [job["id"] for job in answer["queued"]])
        self.assertEqual([9], [job["id"] for job in answer["completed"]])
        (active,) = answer["active"]
        self.assertEqual("40 %", active["progress"])
        self.assertTrue(active["status"].startswith("Started at Mar 04, 2026"))
        (dead,) = answer["dead"]
        self.assertEqual("ValueError: no such chapter", dead["failure"])
        self.assertEqual("my.addon.chapters.convert", dead["callable"])
        self.assertEqual("'intro.rst'", dead["args"])

    def test_it_filters_and_limits(self):
        answer = self.open_json("@@jobs.json?status=failed&user=bob&limit=5")
        self.assertEqual(["10"], [job["id"] for job in answer["jobs"]])
        answer = self.open_json("@@jobs.json?limit=1")
        self.assertEqual(["7"], [job["id"] for job in answer["jobs"]])

    def test_wrong_parameters_answer_400_and_say_what_is_wrong(self):
        for query, word in (
            ("status=dead", "status"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("limit=" + "9" * 5000, "limit"),
            ("limit=many", "limit"),
            ("user=a&user=b", "user"),
        ):
            with self.subTest(query=query[:20]):
                answer = self.open_json(f"@@jobs.json?{query}")
                self.assertTrue(self.browser.headers["Status"].startswith("400"))
                self.assertIn(word, answer["error"])

    def test_it_is_not_cached(self):
        self.open_json()
        self.assertEqual("no-store", self.browser.headers["Cache-Control"])


class TestNamesAndEntries(BrowserTestCase):
    def test_the_old_name_of_the_list_leads_to_the_list(self):
        self.open("manage-job-queue")
        self.assertTrue(self.browser.url.endswith("/@@background-jobs"))

    def test_the_old_name_of_the_traceback_leads_to_the_job(self):
        page = self.open("manage-job-error?id=10")
        self.assertIn("Traceback (most recent call last):", page.text_content())

    def test_site_setup_has_an_entry(self):
        self.open("@@overview-controlpanel")
        self.browser.getLink("Background jobs").click()
        self.assertTrue(self.browser.url.endswith("/@@background-jobs"))

    @unittest.skipUnless(
        COMPILE_MO_FILES, "needs zope_i18n_compile_mo_files=1 in the environment"
    )
    def test_german_readers_get_german(self):
        self.browser.addHeader("Accept-Language", "de")
        settings = api.portal.get_tool("portal_languages").settings
        settings.available_languages = ["en", "de"]
        settings.use_request_negotiation = True
        transaction.commit()
        self.assertIn("Hintergrundaufgaben", self.open().text_content())


class TestPermission(BrowserTestCase):
    def status_for(self, view, role):
        browser = self.browser_of()
        if role is not None:
            browser = self.browser_of(role.replace(" ", ""), "correct horse battery")
        browser.followRedirects = False
        browser.open(f"{self.portal.absolute_url()}/{view}")
        return browser.headers["Status"][:3], browser.headers.get("Location", "")

    def setUp(self):
        super().setUp()
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        for role in ("Editor", "Site Administrator", "Manager"):
            api.user.create(
                email="somebody@example.org",
                username=role.replace(" ", ""),
                password="correct horse battery",
                roles=("Member", role),
            )
        transaction.commit()

    def test_managers_and_site_administrators_may_see_every_view(self):
        for role in ("Manager", "Site Administrator"):
            for view in VIEWS:
                with self.subTest(role=role, view=view):
                    status, location = self.status_for(view, role)
                    self.assertIn(status, ("200", "302"))
                    self.assertNotIn("require_login", location)

    def test_editors_and_anonymous_visitors_may_see_none(self):
        for role in ("Editor", None):
            for view in VIEWS:
                with self.subTest(role=role, view=view):
                    status, location = self.status_for(view, role)
                    self.assertTrue(status == "401" or "require_login" in location)

    def test_a_role_in_a_folder_gives_no_view_of_the_jobs(self):
        folder = api.content.create(self.portal, "Folder", "team")
        api.user.grant_roles(
            username="Editor", roles=["Site Administrator"], obj=folder
        )
        transaction.commit()
        for view in VIEWS:
            with self.subTest(view=view):
                status, _location = self.status_for(f"team/{view}", "Editor")
                self.assertEqual("404", status)
