"""Background views as browsers meet them: forms, uploads, results, errors, cookies."""

from __future__ import annotations

from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import asyncviews
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from hashlib import sha256
from io import BytesIO
from lxml import html
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.app.testing import TEST_USER_ID
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_PASSWORD
from plone.testing.zope import Browser
from Products.SiteAccess.VirtualHostMonster import manage_addVirtualHostMonster
from unittest.mock import patch
from ZODB.blob import Blob
from ZPublisher import HTTPRequest

import json
import transaction


class PageTestCase(ServiceTestCase):
    """A folder that everybody may view, and browsers."""

    layer = asyncviews.ASYNC_VIEWS_TESTING

    def setUp(self):
        super().setUp()
        asyncviews.forget()
        self.addCleanup(asyncviews.released.set)
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.portal.portal_workflow.doActionFor(self.folder, "publish")
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        transaction.commit()
        self.address = self.folder.absolute_url()
        self.browser = self.browser_of(TEST_USER_NAME, TEST_USER_PASSWORD)

    def browser_of(self, name=None, password=None):
        browser = Browser(self.layer["app"])
        browser.handleErrors = True
        browser.raiseHttpErrors = False
        if name is not None:
            browser.addHeader("Authorization", f"Basic {name}:{password}")
        return browser

    def submit(self, view="my_process_view", browser=None, upload=None, **fields):
        """Fill in the form of a view and send it; where that leads to."""
        browser = self.browser if browser is None else browser
        browser.open(f"{self.address}/{view}")
        for name, value in fields.items():
            browser.getControl(name=name).value = value
        if upload is not None:
            browser.getControl(name="upload").add_file(*upload)
        browser.getControl(name="go").click()
        return browser.url

    def fetch(self, kind):
        """What the view that answers with this kind of thing gives, in the end."""
        self.browser.followRedirects = True
        self.browser.open(f"{self.address}/answering?kind={kind}")
        self.browser.getControl(name="go").click()
        page = self.browser.url
        drain()
        self.browser.followRedirects = False
        self.browser.open(page.replace("/processing?", "/result?"))
        return self.browser

    def asked(self, page, browser=None):
        browser = self.browser if browser is None else browser
        address = page.replace("/processing?", "/completed?") + "&output_json=1"
        browser.open(address)
        return json.loads(browser.contents)


class FormTests(PageTestCase):
    def test_a_form_leads_to_the_page_and_that_to_the_result(self):
        page = self.submit(name="Ann")
        self.assertIn("/folder/my_process_view/processing?process_id=", page)
        tree = html.fromstring(self.browser.contents)
        self.assertTrue(tree.xpath('//*[@role="progressbar"]'))
        self.assertTrue(tree.xpath('//*[@aria-live="polite"]//*[@id="progress"]'))
        (refresh,) = tree.xpath('//noscript//meta[@http-equiv="refresh"]/@content')
        self.assertEqual(f"5;url={page}", refresh)
        self.assertIn("no-store", self.browser.headers["Cache-Control"])
        self.assertIs(False, self.asked(page)["finished"])
        drain()
        self.assertIs(True, self.asked(page)["finished"])
        self.browser.open(page)
        self.assertIn("/result?process_id=", self.browser.url)
        self.assertEqual("Hello, Ann!", self.browser.contents)
        self.browser.open(page)
        self.assertTrue(self.browser.headers["Status"].startswith("404"))
        self.assertIn("No such work", self.browser.contents)

    def test_a_form_sent_from_elsewhere_starts_nothing(self):
        self.browser.open(f"{self.address}/my_process_view")
        self.browser.post(f"{self.address}/my_process_view", "name=Eve")
        self.assertRegex(self.browser.headers["Status"], "^40[34]")
        self.assertEqual(0, self.stored_jobs())

    def test_what_was_sent_is_there_in_the_run(self):
        upload = (b"\x00\xff" * 500_000, "image/png", "Bär.png")
        page = self.submit("uploading", upload=upload, name="Zoë")
        self.assertGreater(self.blobs(), 0)
        drain()
        self.browser.open(page)
        said = json.loads(self.browser.contents)
        self.assertEqual({"name": "Zoë", "go": "Go"}, said["form"])
        self.assertEqual("Bär.png", said["filename"])
        self.assertEqual("image/png", said["type"])
        self.assertEqual(sha256(upload[0]).hexdigest(), said["digest"])
        self.assertEqual(1_000_000, said["length"])
        self.assertEqual("POST", said["method"])
        self.assertEqual(f"{self.address}/uploading", said["url"])
        self.assertEqual(self.address, said["url1"])
        self.assertEqual(self.address, said["address"])
        self.assertEqual("uploading", said["published"])
        self.assertIn("urllib", said["agent"])

    def blobs(self):
        """How many blobs the waiting jobs have."""
        jobs = [job for queue in self.service.getQueues().values() for job in queue]
        return sum(isinstance(job.args[0].sent.body, Blob) for job in jobs)

    def test_no_secret_of_the_request_is_kept(self):
        self.browser.addHeader("Cookie", "secret=chocolate")
        page = self.submit("uploading", name="x")
        (job,) = self.service.getQueues()[""]
        kept = str(job.args[0].sent.environ)
        for secret in ("chocolate", "Basic", "AUTH", "COOKIE"):
            self.assertNotIn(secret, kept)
        drain()
        self.browser.open(page)
        said = json.loads(self.browser.contents)
        self.assertEqual([], said["cookies"])
        self.assertIsNone(said["authorization"])
        self.assertFalse([name for name in said["environ"] if "AUTH" in name])

    def test_what_was_sent_is_dropped_with_the_run(self):
        self.submit()
        (job,) = self.service.getQueues()[""]
        drain()
        self.assertIsNone(job.args[0].sent)

    def test_a_body_that_is_no_form_is_there_too(self):
        anonymous = self.browser_of()
        anonymous.post(
            f"{self.address}/uploading?page=2", '{"a": 1}', "application/json"
        )
        page = anonymous.url
        drain()
        anonymous.open(page)
        said = json.loads(anonymous.contents)
        self.assertEqual(8, said["body"])
        self.assertEqual({"page": "2"}, said["form"])
        self.assertEqual("page=2", said["query"])

    def test_a_body_above_the_limit_is_refused(self):
        limit = asyncviews.Uploading.body_limit
        self.addCleanup(setattr, asyncviews.Uploading, "body_limit", limit)
        asyncviews.Uploading.body_limit = 1000
        upload = (b"x" * 1000, "text/plain", "x.txt")
        self.submit("uploading", upload=upload)
        self.assertTrue(self.browser.headers["Status"].startswith("400"))
        self.assertEqual(0, self.stored_jobs())

    def test_several_go_on_at_once(self):
        first, second = self.submit(name="Ann"), self.submit(name="Bob")
        self.assertNotEqual(first, second)
        drain()
        self.browser.open(second)
        self.assertEqual("Hello, Bob!", self.browser.contents)
        self.browser.open(first)
        self.assertEqual("Hello, Ann!", self.browser.contents)

    def test_behind_a_web_server_the_work_finds_the_public_address(self):
        manage_addVirtualHostMonster(self.layer["app"], "virtual_hosting")
        transaction.commit()
        site = "http://nohost/VirtualHostBase/https/www.example.org:443/plone"
        visitor = self.browser_of()
        visitor.followRedirects = False
        visitor.post(f"{site}/VirtualHostRoot/folder/uploading", "name=Ann")
        public = "https://www.example.org/folder/uploading"
        page = visitor.headers["Location"]
        self.assertTrue(page.startswith(f"{public}/processing?process_id="))
        cookie = visitor.headers["Set-Cookie"]
        self.assertIn("Secure", cookie)
        self.assertIn("Path=/;", cookie)
        drain()
        visitor = self.browser_of()
        visitor.addHeader("Cookie", cookie.partition(";")[0])
        query = page.partition("?")[2]
        visitor.open(f"{site}/VirtualHostRoot/folder/uploading/result?{query}")
        said = json.loads(visitor.contents)
        self.assertEqual(public, said["url"])
        self.assertEqual("https://www.example.org/folder", said["url1"])
        self.assertEqual("https://www.example.org/folder", said["address"])

    def test_behind_a_proxy_that_is_trusted_the_work_finds_the_client(self):
        anonymous = self.browser_of()
        anonymous.testapp.extra_environ["REMOTE_ADDR"] = "127.0.0.1"
        anonymous.addHeader("X-Forwarded-For", "192.0.2.7")
        with patch.object(HTTPRequest, "trusted_proxies", ["127.0.0.1"]):
            page = self.submit("uploading", browser=anonymous)
        drain()
        anonymous.open(page)
        self.assertEqual("192.0.2.7", json.loads(anonymous.contents)["client"])

    def test_it_works_as_the_user_with_her_rights(self):
        self.submit("editing", name="Mine")
        drain()
        self.assertEqual("Mine", self.folder.Title())


class ResultTests(PageTestCase):
    def test_nothing(self):
        browser = self.fetch("nothing")
        self.assertTrue(browser.headers["Status"].startswith("204"))

    def test_html_gets_the_theme_of_the_site(self):
        browser = self.fetch("html")
        self.assertIn("Ünder way", browser.contents)
        self.assertIn("text/html", browser.headers["Content-Type"])

    def test_bytes_with_their_type(self):
        browser = self.fetch("bytes")
        self.assertEqual("application/pdf", browser.headers["Content-Type"])
        self.assertEqual(b"%PDF \xff", self.body(browser))

    def body(self, browser):
        return browser._response.body

    def test_an_iterator_of_texts(self):
        browser = self.fetch("iterator")
        self.assertEqual("line 0\nline 1\nline 2\n", browser.contents)
        self.assertIn("text/plain", browser.headers["Content-Type"])

    def test_a_large_one_is_streamed_from_a_blob(self):
        browser = self.fetch("large")
        self.assertEqual("1000000", browser.headers["Content-Length"])
        expected = b"".join(bytes([n % 256]) * 10_000 for n in range(100))
        self.assertEqual(expected, self.body(browser))

    def test_a_file_with_its_name(self):
        browser = self.fetch("opened")
        self.assertEqual("application/pdf", browser.headers["Content-Type"])
        self.assertRegex(
            browser.headers["Content-Disposition"],
            r"^attachment; filename\*=UTF-8''tmp\w+\.pdf$",
        )
        self.assertEqual(b"a,b\n" * 50_000, self.body(browser))

    def test_a_stream_and_a_file_in_memory(self):
        for kind, expected in (("stream", b"streamed"), ("memory", b"in memory")):
            browser = self.fetch(kind)
            self.assertEqual(expected, self.body(browser))
            self.assertNotIn("Content-Disposition", browser.headers)

    def test_a_named_file_of_plone(self):
        browser = self.fetch("named")
        self.assertEqual("application/x-named", browser.headers["Content-Type"])
        self.assertEqual(
            "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe.bin",
            browser.headers["Content-Disposition"],
        )
        self.assertEqual(b"x" * 100_000, self.body(browser))

    def test_what_was_written_to_the_response(self):
        browser = self.fetch("written")
        self.assertEqual(b"first\nsecond\n", self.body(browser))

    def test_the_response_itself(self):
        self.assertEqual(b"said to the response", self.body(self.fetch("response")))

    def test_status_headers_and_cookies(self):
        browser = self.fetch("headers")
        self.assertTrue(browser.headers["Status"].startswith("418"))
        self.assertEqual("pot", browser.headers["X-Tea"])
        links = browser._response.headers.getall("Link")
        self.assertEqual(["<a>; rel=next", "<b>; rel=prev"], links)
        cookies = browser._response.headers.getall("Set-Cookie")
        self.assertTrue([each for each in cookies if each.startswith("tea=")])
        self.assertIn("statusmessages", str(cookies))

    def test_cookies_are_for_the_one_who_started_it_alone(self):
        self.fetch("headers")
        manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        manager.open(self.browser.url)
        self.assertEqual("pot", manager.headers["X-Tea"])
        self.assertNotIn("Set-Cookie", manager.headers)

    def test_a_manager_who_looks_at_it_takes_it_away_from_nobody(self):
        page = self.submit(name="Ann")
        drain()
        manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        for browser in (manager, self.browser):
            browser.open(page)
            self.assertEqual("Hello, Ann!", browser.contents)
        manager.open(page)
        self.assertTrue(manager.headers["Status"].startswith("404"))

    def test_whatever_it_is_it_can_be_fetched_once(self):
        with patch.object(asyncviews.Answering, "result_once", True):
            for kind in ("html", "large", "named", "redirect", "nothing"):
                page = self.fetch(kind).url
                self.browser.open(page)
                self.assertTrue(self.browser.headers["Status"].startswith("404"))

    def test_redirects(self):
        for kind in ("redirect", "raised"):
            browser = self.fetch(kind)
            self.assertTrue(browser.headers["Status"].startswith("302"))
            self.assertEqual(f"{self.address}/there", browser.headers["Location"])
            self.browser = self.browser_of(TEST_USER_NAME, TEST_USER_PASSWORD)

    def test_a_head_request_takes_nothing_away(self):
        page = self.submit(name="Ann")
        drain()
        result = page.replace("/processing?", "/result?")
        self.browser.testapp.head(
            result.replace("http://nohost", ""),
            headers={"Authorization": self.authorization()},
            expect_errors=True,
        )
        self.browser.open(result)
        self.assertEqual("Hello, Ann!", self.browser.contents)

    def authorization(self):
        return f"Basic {TEST_USER_NAME}:{TEST_USER_PASSWORD}"


class ErrorTests(PageTestCase):
    def test_a_failure_has_a_page_with_the_number_that_is_in_the_log(self):
        page = self.submit("failing")
        with self.assertLogs("collective.clockwork", "ERROR") as logged:
            drain()
        for address in (page, page.replace("/processing?", "/result?")):
            self.browser.open(address)
            self.assertTrue(self.browser.headers["Status"].startswith("500"))
            tree = html.fromstring(self.browser.contents)
            text = tree.get_element_by_id("background-view-error").text_content()
            number = text.partition("give the number ")[2].partition(".")[0]
            self.assertTrue(number.isdecimal())
            self.assertIn(f"oid {number},", "".join(logged.output))
            self.assertNotIn("wheel", self.browser.contents)
            (back,) = tree.xpath('//*[@id="background-view-error"]//a/@href')
            self.assertEqual(f"{self.address}/failing", back)
        self.assertEqual(number, self.asked(page)["error_id"])

    def test_the_page_of_another_user_is_like_one_that_is_not_there(self):
        owner = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        page = self.submit(browser=owner)
        drain()
        unknown = f"{page[:-16]}{'f' * 16}"
        for address in (page, unknown):
            for sub_page in ("processing", "result", "completed"):
                self.browser.open(address.replace("/processing?", f"/{sub_page}?"))
                self.assertTrue(self.browser.headers["Status"].startswith("404"))
                self.assertIn("No such work", self.browser.contents)
            self.assertEqual("ERROR", self.asked(address)["progress"])
        self.assertEqual("Hello, !", self.result(owner, page))

    def result(self, browser, page):
        browser.open(page)
        return browser.contents

    def test_who_may_not_see_the_view_may_not_see_its_sub_pages(self):
        page = self.submit("editing", name="Mine")
        anonymous = self.browser_of()
        for sub_page in ("processing", "completed", "result", "cancel"):
            anonymous.open(page.replace("/processing?", f"/{sub_page}?"))
            self.assertIn("/login?came_from=", anonymous.url)

    def test_without_an_id_it_is_an_error_for_people(self):
        for sub_page in ("processing", "result", "completed", "cancel"):
            self.browser.open(f"{self.address}/my_process_view/{sub_page}")
            self.assertRegex(self.browser.headers["Status"], "^40[34]")

    def test_what_is_no_sub_page_is_the_view(self):
        self.browser.open(f"{self.address}/my_process_view/set_progress")
        self.assertIn("<form", self.browser.contents)


class CancelTests(PageTestCase):
    def test_what_waits_is_stopped(self):
        page = self.submit("held")
        self.browser.getForm(id="background-view-cancel").submit()
        self.assertEqual(page, self.browser.url)
        self.assertIn("The work was stopped.", self.browser.contents)
        self.assertTrue(self.browser.headers["Status"].startswith("200"))
        self.assertEqual("ERROR", self.asked(page)["progress"])
        drain()
        self.assertFalse(asyncviews.begun.is_set())

    def test_what_runs_is_stopped(self):
        page = self.submit("held")
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: self.asked(page)["message"] == "half way")
            self.browser.open(page)
            self.browser.getForm(id="background-view-cancel").submit()
            self.wait_until(lambda: self.asked(page)["progress"] == "ERROR")
        self.assertEqual("The work was stopped.", self.asked(page)["progress_message"])

    def test_where_the_view_does_not_allow_it_there_is_no_button(self):
        page = self.submit_kept()
        self.assertNotIn("background-view-cancel", self.browser.contents)
        token = self.token()
        address = page.replace("/processing?", "/cancel?")
        self.browser.post(address, f"_authenticator={token}")
        self.assertTrue(self.browser.headers["Status"].startswith("403"))
        self.assertEqual(1, drain())

    def submit_kept(self):
        self.browser.open(f"{self.address}/my_process_view")
        self.browser.getForm()._form.action = f"{self.address}/kept"
        self.browser.getControl(name="go").click()
        return self.browser.url

    def token(self):
        self.browser.open(f"{self.address}/my_process_view")
        return self.browser.getControl(name="_authenticator").value

    def test_a_manager_may_stop_it_all_the_same(self):
        page = self.submit_kept()
        manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        manager.open(page)
        manager.getForm(id="background-view-cancel").submit()
        self.assertIn("The work was stopped.", manager.contents)

    def test_it_takes_a_post_with_a_token(self):
        page = self.submit("held")
        address = page.replace("/processing?", "/cancel?")
        self.browser.open(address)
        self.assertTrue(self.browser.headers["Status"].startswith("403"))
        self.browser.post(address, "")
        self.assertTrue(self.browser.headers["Status"].startswith("403"))
        self.assertIs(False, self.asked(page)["progress"])

    def test_what_is_done_cannot_be_stopped(self):
        page = self.submit(name="Ann")
        token = self.token()
        drain()
        address = page.replace("/processing?", "/cancel?")
        self.browser.post(address, f"_authenticator={token}")
        self.assertEqual("Hello, Ann!", self.browser.contents)

    def test_uploads_can_be_read_in_parts(self):
        data = BytesIO(b"abc" * 50_000)
        self.submit("uploading", upload=(data, "text/plain", "a.txt"))
        page = self.browser.url
        drain()
        self.browser.open(page)
        self.assertEqual(150_000, json.loads(self.browser.contents)["length"])
