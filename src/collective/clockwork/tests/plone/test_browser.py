"""The pages about background jobs, as a browser gets them."""

from __future__ import annotations

from collections import Counter
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.browsercase import BrowserTestCase
from collective.clockwork.tests.plone.browsercase import text
from collective.clockwork.tests.plone.browsercase import VIEWS
from collective.clockwork.tests.plone.stubservice import COMPLETED
from collective.clockwork.tests.plone.stubservice import FAILED
from collective.clockwork.tests.plone.stubservice import QUEUED
from dataclasses import replace
from lxml import html
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from zope.component import getUtility

import transaction


STATUS_LINKS = '//nav[@aria-label="Filter by status"]//a'


class TestTheList(BrowserTestCase):
    def test_a_job_is_shown_with_function_context_user_and_status(self):
        row = text(self.open(), '//tr[@id="job-7"]')
        for fact in ("convert", "/news", "ada", "Queued"):
            self.assertIn(fact, row)

    def test_a_completed_job_shows_its_result_and_how_long_it_took(self):
        row = text(self.open(), '//tr[@id="job-9"]')
        self.assertIn("'intro'", row)
        self.assertIn("3 min 20 s", row)

    def test_a_failed_job_shows_its_error_and_folds_its_traceback_away(self):
        page = self.open()
        self.assertIn("no such chapter", text(page, '//tr[@id="job-10"]//td[4]/div'))
        (details,) = page.xpath('//tr[@id="job-10"]//details')
        self.assertIsNone(details.get("open"))
        self.assertEqual(FAILED.traceback, details.find("pre").text)

    def test_the_error_in_the_list_is_one_line_with_its_text_as_title(self):
        error = "ValueError: first line\nsecond line"
        self.service.jobs = [replace(FAILED, error=error)]
        (line,) = self.open().xpath('//tr[@id="job-10"]//td[4]/div')
        self.assertIn("background-jobs-line", line.get("class"))
        self.assertEqual(error, line.get("title"))

    def test_a_running_job_shows_its_progress(self):
        for view in ("@@background-jobs", "@@background-job?id=8"):
            with self.subTest(view=view):
                (bar,) = self.open(view).xpath('//*[@role="progressbar"]')
                self.assertEqual("40", bar.get("aria-valuenow"))
                self.assertEqual("Progress", bar.get("aria-label"))
                self.assertIn("40 %", bar.getparent().text_content())

    def test_jobs_of_one_function_are_told_apart_by_their_arguments(self):
        self.service.jobs.append(replace(QUEUED, id="11", arguments="'end.rst', 2"))
        page = self.open()
        self.assertEqual("convert('intro.rst')", text(page, '//tr[@id="job-7"]//th/a'))
        self.assertEqual(
            "convert('end.rst', 2)", text(page, '//tr[@id="job-11"]//th/a')
        )

    def test_the_name_with_its_modules_and_arguments_is_the_title_of_the_link(self):
        (link,) = self.open().xpath('//tr[@id="job-7"]//th/a')
        self.assertEqual("my.addon.chapters.convert('intro.rst')", link.get("title"))

    def test_long_arguments_are_cut_in_the_list_and_whole_on_the_page_of_the_job(self):
        self.service.jobs = [replace(QUEUED, arguments="x" * 500)]
        self.assertEqual(f"convert({'x' * 160}…)", text(self.open(), "//th/a"))
        self.assertIn("x" * 500, text(self.open("@@background-job?id=7"), "//dl"))

    def test_a_waiting_job_says_why_it_waits(self):
        self.service.jobs = [replace(QUEUED, reason="Quota default is in use.")]
        self.assertIn(
            "Quota default is in use.", text(self.open(), '//tr[@id="job-7"]')
        )

    def test_a_job_without_user_is_shown_as_anonymous(self):
        self.assertIn("Anonymous", text(self.open(), '//tr[@id="job-9"]'))

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

    def test_a_rare_status_is_a_link_where_there_are_such_jobs(self):
        cancelled = replace(QUEUED, id="13", status="cancelled", reason="by anna")
        self.service.jobs.append(cancelled)
        links = self.open().xpath(STATUS_LINKS)
        self.assertIn(
            "Cancelled 1", [" ".join(link.text_content().split()) for link in links]
        )
        row = text(
            self.open("@@background-jobs?status=cancelled"), "//tr[@id='job-13']"
        )
        self.assertIn("Cancelled", row)
        self.assertIn("by anna", row)

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

    def test_it_links_to_the_report_that_a_ready_made_task_has(self):
        function = "collective.clockwork.tasks.links.check_links"
        self.service.jobs = [COMPLETED, replace(FAILED, function=function)]
        found = "//a[contains(@href, '@@background-task?')]"
        self.assertEqual([], self.open("@@background-job?id=9").xpath(found))
        (link,) = self.open("@@background-job?id=10").xpath(found)
        address = f"{self.portal.absolute_url()}/@@background-task?id=10"
        self.assertEqual(address, link.get("href"))
        self.assertEqual("Report of this task", link.text_content().strip())

    def test_unknown_and_malformed_ids_answer_404(self):
        for query in ("?id=999", "?id=x", "?id=", "", "?id=7&id=8", "?id=%D9%A7"):
            with self.subTest(query=query):
                page = self.open(f"@@background-job{query}")
                self.assertTrue(self.browser.headers["Status"].startswith("404"))
                self.assertIn("No such job", page.text_content())


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

    def test_german_readers_get_german(self):
        self.browser.addHeader("Accept-Language", "de")
        settings = api.portal.get_tool("portal_languages").settings
        settings.available_languages = ["en", "de"]
        settings.use_request_negotiation = True
        transaction.commit()
        page = self.open()
        self.assertIn("Hintergrundaufgaben", text(page, "//head/title"))
        self.assertIn("Lief", text(page, '//tr[@id="job-9"]'))
        function = "collective.clockwork.engine.compose.run_serial"
        self.service.jobs = [
            replace(COMPLETED, function=function, arguments="a.b, a.c")
        ]
        row = text(self.open(), '//tr[@id="job-9"]//th')
        self.assertEqual("Stapel, nacheinander 2 Aufgaben: b, c", row)
        function = "collective.clockwork.tasks.links.check_links"
        self.service.jobs = [replace(COMPLETED, function=function)]
        page = self.open("@@background-job?id=9")
        self.assertIn("Bericht dieser Aufgabe", page.text_content())


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


class TestWithTheRealService(BrowserTestCase):
    """The same pages, with jobs that the service queued and a worker's code ran."""

    real = True

    def setUp(self):
        super().setUp()
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.folder = api.content.create(self.portal, "Folder", "folder")
        self.service = getUtility(IAsyncService)

    def test_a_new_site_gets_the_explanation_and_the_warning(self):
        transaction.commit()
        page = self.open().text_content()
        self.assertIn("There are no background jobs yet", page)
        self.assertIn("No worker is running", page)

    def test_a_queued_job_waits_and_says_why(self):
        self.service.queueJob(work.add_numbers, self.folder, 40, 2)
        transaction.commit()
        (row,) = self.open("@@background-jobs?status=queued").xpath("//tbody/tr")
        row = row.text_content()
        for fact in ("add_numbers", "/folder", TEST_USER_ID, "No worker is alive"):
            self.assertIn(fact, row)

    def test_a_job_that_ran_shows_its_result(self):
        self.service.queueJob(work.add_numbers, self.folder, 40, 2)
        drain()
        (code,) = self.open("@@background-jobs?status=completed").xpath("//td/code")
        self.assertEqual("42", code.text)

    def test_a_job_that_failed_shows_error_and_traceback_as_text(self):
        attack = "<script>alert(1)</script>"
        self.service.queueJob(work.fail, self.folder, attack)
        drain()
        page = self.open("@@background-jobs?status=failed")
        self.assertIn(f"RuntimeError: {attack}", page.text_content())
        self.assertNotIn(attack, self.browser.contents)
        (address,) = page.xpath("//tbody//th/a/@href")
        self.browser.open(address)
        self.assertIn("Traceback", self.browser.contents)
        self.assertIn("work.py", self.browser.contents)
        self.assertNotIn(attack, self.browser.contents)

    def test_looking_at_real_jobs_writes_nothing(self):
        self.service.queueJob(work.fail, self.folder)
        drain()
        self.service.queueJob(work.add_numbers, self.folder, 1)
        transaction.commit()
        database = self.portal._p_jar.db()
        self.open()
        before = database.lastTransaction()
        for view in VIEWS:
            self.browser.open(f"{self.portal.absolute_url()}/{view}")
        self.assertEqual(before, database.lastTransaction())
