"""The pages from which editors export, and get what was exported."""

from __future__ import annotations

from base64 import b64encode
from collective.clockwork.tasks.exports import shelf
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone.taskcase import EDITOR
from collective.clockwork.tests.plone.taskcase import PASSWORD
from collective.clockwork.tests.plone.test_tasks_pages import PagesTestCase
from io import BytesIO
from openpyxl import load_workbook
from plone import api
from plone.app.testing import login
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from unittest import mock

import json
import transaction


SCRIPT = "<script>alert(1)</script>"
CREDENTIALS = b64encode(f"{EDITOR}:{PASSWORD}".encode()).decode()


class ExportPagesTestCase(PagesTestCase):
    def form(self, **fields):
        """Open the form of an export."""
        return self.open("@@background-task-form", task="export", **fields)

    def send(self, **fields):
        """Send it; the page that follows."""
        token = self.token_of(self.form())
        data = {
            "task": "export",
            "start": "1",
            "format": "csv",
            "columns:list": "path",
            "_authenticator": token,
            **fields,
        }
        return self.open("@@background-task-form", data)

    def exports(self):
        transaction.begin()
        return shelf.mine()

    def download(self, export, browser=None):
        """The file, as the browser gets it."""
        browser = browser or self.browser
        address = f"{self.portal.absolute_url()}/@@download-export"
        browser.open(f"{address}?id={export.job.id}")
        return browser.contents

    def open_list(self, data=None, browser=None):
        self.url = self.portal.absolute_url()
        return self.open("@@my-exports", data, browser)

    def collection(self):
        path = {"i": "path", "o": "plone.app.querystring.operation.string.path"}
        made = api.content.create(
            self.news, "Collection", "latest", query=[{**path, "v": "/news"}]
        )
        transaction.commit()
        return made

    def ready(self):
        """An export of hers that is ready."""
        self.send(inside="1")
        drain()
        (export,) = self.exports()
        return export


class TestForm(ExportPagesTestCase):
    def test_a_folder_is_exported_with_all_that_is_inside(self):
        page = self.form()
        size = self.text(page, "//*[@id='background-task-size']")
        self.assertIn("this is 6 objects", size)
        (inside,) = page.xpath("//input[@name='inside']/@checked")
        self.assertEqual("checked", inside)
        self.send(inside="1")
        drain()
        (export,) = self.exports()
        self.assertEqual(6, export.rows)

    def test_of_what_is_selected_just_that(self):
        self.send(selection=self.selection(self.news["a"], self.old))
        drain()
        (export,) = self.exports()
        self.assertEqual(2, export.rows)

    def test_of_what_is_selected_with_all_inside(self):
        self.send(selection=self.selection(self.news["a"], self.old), inside="1")
        drain()
        (export,) = self.exports()
        self.assertEqual(3, export.rows)

    def test_a_page_alone(self):
        self.url = self.news["a"].absolute_url()
        self.send()
        drain()
        (export,) = self.exports()
        self.assertEqual(1, export.rows)

    def test_what_has_expired_is_in_it(self):
        page = self.news["a"]
        page.expiration_date = page.created() - 1
        page.reindexObject()
        transaction.commit()
        self.assertEqual(6, self.ready().rows)

    def test_a_collection_exports_what_it_finds(self):
        collection = self.collection()
        self.url = collection.absolute_url()
        size = self.text(self.form(), "//*[@id='background-task-size']")
        self.assertIn("This collection finds 7 objects", size)
        self.send()
        drain()
        (export,) = self.exports()
        self.assertEqual(7, export.rows)

    def test_collections_have_an_entry_in_the_menu_of_actions(self):
        collection = self.collection()
        for obj, number in ((collection, 1), (self.news, 0), (self.news["a"], 0)):
            self.url = obj.absolute_url()
            links = self.open("view").xpath(
                "//a[contains(@href, 'background-task-form?task=export')]"
            )
            self.assertEqual(number, len(links), obj.getId())
            self.assertNotIn("error while rendering", self.browser.contents)

    def test_the_columns_that_are_chosen(self):
        fields = {"columns:list": ["Title", "UID"]}
        token = self.token_of(self.form())
        data = [
            ("task", "export"),
            ("start", "1"),
            ("format", "xlsx"),
            ("_authenticator", token),
            *(("columns:list", name) for name in fields["columns:list"]),
        ]
        self.open("@@background-task-form", data)
        drain()
        (export,) = self.exports()
        sheet = load_workbook(BytesIO(self.file_of(export))).active
        titles = [cell.value for cell in next(iter(sheet.rows))]
        self.assertEqual(["Title", "Permanent id"], titles)

    def file_of(self, export):
        with open(shelf.open_file(export.job.id).path, "rb") as file:
            return file.read()

    def test_a_form_without_columns_or_kind_comes_back(self):
        for fields, text in (
            ({"columns:list": ""}, "at least one column"),
            ({"columns:list": "password"}, "at least one column"),
            ({"format": "pdf"}, "a kind of file"),
            ({"format:list": "csv"}, "a kind of file"),
        ):
            page = self.send(**fields)
            error = self.text(page, "//*[@id='background-task-error']")
            self.assertIn(text, error)
        self.assertEqual([], self.jobs())

    def test_a_database_without_room_for_files_is_told(self):
        text = "give its storage a blob-dir"
        refuse = mock.patch.object(
            shelf, "_require_blobs", side_effect=shelf.NoBlobsError(text)
        )
        with refuse:
            page = self.send()
        self.assertEqual(text, self.text(page, "//*[@id='background-task-error']"))
        self.assertEqual([], self.jobs())


class TestProgress(ExportPagesTestCase):
    def test_the_page_of_the_job_leads_to_the_file(self):
        page = self.send(inside="1")
        self.assertIn("Queued", self.text(page, "//*[@id='background-task-status']"))
        self.assertEqual([], page.xpath("//*[@id='background-task-download']"))
        drain()
        (export,) = self.exports()
        page = self.open("@@background-task", id=export.job.id)
        (address,) = page.xpath("//*[@id='background-task-download']/@href")
        self.browser.open(address)
        self.assertIn("/news/old/d", self.browser.contents)

    def test_a_failed_one_says_why_and_offers_nothing(self):
        with mock.patch.object(
            shelf.WRITERS["csv"], "write", side_effect=OSError("No space left")
        ):
            export = self.ready()
        page = self.open("@@background-task", id=export.job.id)
        self.assertIn("Failed", self.text(page, "//*[@id='background-task-status']"))
        self.assertIn("No space left", self.text(page, "//main"))
        self.assertEqual([], page.xpath("//*[@id='background-task-download']"))
        row = self.text(self.open_list(), f"//*[@id='export-{export.job.id}']")
        self.assertIn("Failed", row)
        self.assertIn("No space left", row)
        self.assertNotIn("Download", row)

    def test_a_manager_gets_there_from_the_control_panel(self):
        export = self.ready()
        self.url = self.portal.absolute_url()
        manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        page = self.open("@@background-job", browser=manager, id=export.job.id)
        address = f"{self.url}/@@background-task?id={export.job.id}"
        self.assertIn(address, page.xpath("//main//a/@href"))
        self.assertIn("/news/old/d", self.download(export, manager))


class TestList(ExportPagesTestCase):
    def test_a_user_sees_hers_alone(self):
        export = self.ready()
        page = self.open_list()
        row = self.text(page, f"//*[@id='export-{export.job.id}']")
        for text in (export.name, "Completed", "6 rows", "kept until", "Download"):
            self.assertIn(text, row)
        manager = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)
        page = self.open_list(browser=manager)
        self.assertIn("There is none", self.text(page, "//main"))

    def test_it_refreshes_itself_as_long_as_one_is_made(self):
        self.send()
        page = self.open_list()
        self.assertEqual(1, len(page.xpath("//meta[@http-equiv='refresh']")))
        self.assertEqual([], page.xpath("//button[@name='remove']"))
        page = self.open("@@my-exports", refresh="no")
        self.assertEqual([], page.xpath("//meta[@http-equiv='refresh']"))
        drain()
        page = self.open_list()
        self.assertEqual([], page.xpath("//meta[@http-equiv='refresh']"))

    def test_anonymous_visitors_are_asked_to_log_in(self):
        export = self.ready()
        anonymous = self.browser_of()
        self.url = self.portal.absolute_url()
        for view in ("@@my-exports", "@@my-exports.json"):
            self.open(view, browser=anonymous)
            self.assertIn("/login?came_from=", anonymous.url)
        self.open("@@download-export", browser=anonymous, id=export.job.id)
        self.assertFalse(anonymous.headers["Status"].startswith("200"))

    def test_titles_and_errors_are_text(self):
        with mock.patch.object(
            shelf.WRITERS["csv"], "write", side_effect=OSError(SCRIPT)
        ):
            export = self.ready()
        page = self.open_list()
        self.assertIn(SCRIPT, self.text(page, f"//*[@id='export-{export.job.id}']"))
        self.assertNotIn(SCRIPT, self.browser.contents)


class TestDownload(ExportPagesTestCase):
    def test_it_has_type_name_and_length_and_is_cached_nowhere(self):
        export = self.ready()
        content = self.download(export)
        headers = self.browser.headers
        self.assertEqual("text/csv; charset=utf-8", headers["Content-Type"])
        self.assertEqual(str(export.size), headers["Content-Length"])
        self.assertEqual(
            f"attachment; filename*=UTF-8''{export.name}",
            headers["Content-Disposition"],
        )
        self.assertEqual("nosniff", headers["X-Content-Type-Options"])
        self.assertEqual("no-store", headers["Cache-Control"])
        self.assertEqual(7, len(content.splitlines()))

    def test_who_asks_for_the_headers_alone_gets_no_more(self):
        export = self.ready()
        self.download(export)
        wanted = {"Authorization": f"Basic {CREDENTIALS}"}
        answer = self.browser.testapp.head(self.browser.url, headers=wanted)
        self.assertEqual(200, answer.status_int)
        self.assertEqual(str(export.size), answer.headers["Content-Length"])
        self.assertEqual(b"", answer.body)

    def test_a_file_of_somebody_else_looks_like_one_that_is_not_there(self):
        with api.env.adopt_roles(["Manager"]):
            api.user.create("hans@example.org", "hans", "secret-enough-2")
        transaction.commit()
        export = self.ready()
        hans = self.browser_of("hans", "secret-enough-2")
        shown = set()
        for id in (export.job.id, "99999999", "x", ""):
            self.url = self.portal.absolute_url()
            self.open("@@download-export", browser=hans, id=id)
            self.assertTrue(hans.headers["Status"].startswith("404"))
            shown.add(str(hans.contents))
        self.assertNotIn("/news/a", "".join(shown))

    def test_one_that_was_removed_is_not_found(self):
        export = self.ready()
        shelf.remove(export.job.id)
        transaction.commit()
        self.download(export)
        self.assertTrue(self.browser.headers["Status"].startswith("404"))


class TestRemoving(ExportPagesTestCase):
    def remove(self, id, **fields):
        page = self.open_list()
        token = self.token_of(page)
        return self.open_list(
            {"remove": "1", "id": id, "_authenticator": token, **fields}
        )

    def test_the_button_removes_it_and_says_so(self):
        export = self.ready()
        page = self.remove(export.job.id)
        self.assertIn("The export was removed", page.text_content())
        self.assertEqual([], self.exports())

    def test_it_needs_the_authenticator(self):
        export = self.ready()
        self.remove(export.job.id, _authenticator="guessed")
        self.url = self.portal.absolute_url()
        self.open("@@my-exports", remove="1", id=export.job.id)
        self.assertEqual(1, len(self.exports()))

    def test_nobody_removes_that_of_somebody_else(self):
        self.login_as_site_owner()
        foreign = shelf.start(self.news, {"portal_type": "Document"})
        drain()
        login(self.portal, EDITOR)
        self.ready()
        page = self.remove(foreign.id)
        self.assertIn("no such export", page.text_content())
        self.login_as_site_owner()
        self.assertEqual(1, len(self.exports()))


class TestStatus(ExportPagesTestCase):
    def status(self):
        self.browser.open(f"{self.portal.absolute_url()}/@@my-exports.json")
        self.assertEqual("application/json", self.browser.headers["Content-Type"])
        return json.loads(self.browser.contents)

    def test_it_says_whether_a_script_has_to_wait(self):
        nothing = {"html": "", "interval": 0, "reload": False}
        self.assertEqual(nothing, self.status())
        self.send()
        waiting = self.status()
        self.assertIn("Please wait", waiting["html"])
        self.assertEqual((500, False), (waiting["interval"], waiting["reload"]))
        drain()
        self.assertEqual({**nothing, "reload": True}, self.status())
