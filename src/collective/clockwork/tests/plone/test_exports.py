"""Exports: what is in them, whose they are, and how long they are kept."""

from __future__ import annotations

from AccessControl import Unauthorized
from AccessControl.SecurityManagement import newSecurityManager
from collective.clockwork.engine import clock
from collective.clockwork.engine.context import current
from collective.clockwork.engine.interfaces import AbortedError
from collective.clockwork.tasks import offer
from collective.clockwork.tasks.exports import files
from collective.clockwork.tasks.exports import job as exporting
from collective.clockwork.tasks.exports import query as asking
from collective.clockwork.tasks.exports import shelf
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.taskcase import EDITOR
from collective.clockwork.tests.plone.taskcase import PASSWORD
from collective.clockwork.tests.plone.taskcase import TaskTestCase
from DateTime import DateTime
from datetime import datetime
from datetime import timedelta
from openpyxl import load_workbook
from plone import api
from plone.app.testing import login
from plone.app.testing import logout
from plone.app.testing import TEST_USER_NAME
from unittest import mock
from ZODB.serialize import referencesf
from zope.component.hooks import setSite

import csv
import io
import os
import tempfile
import transaction
import ZEO


def read(id):
    """The bytes of a file that is ready."""
    with open(shelf.open_file(id).path, "rb") as file:
        return file.read()


def rows_of(id):
    return list(csv.reader(io.StringIO(read(id).decode("utf-8-sig"), newline="")))


class ExportTestCase(TaskTestCase):
    def query(self, obj=None, **more):
        return {"path": "/".join((obj or self.news).getPhysicalPath()), **more}

    def export(self, context=None, query=None, columns=("path",), **options):
        """Start an export and have it run; its id."""
        context = self.news if context is None else context
        query = self.query() if query is None else query
        job = shelf.start(context, query, columns, **options)
        drain()
        return job.id

    def hide(self, obj):
        """Let nobody but managers find the object."""
        obj.manage_permission("Access contents information", ["Manager"], acquire=0)
        obj.reindexObject()
        transaction.commit()

    def collection(self, **options):
        with api.env.adopt_roles(["Manager"]):
            path = {"i": "path", "o": "plone.app.querystring.operation.string.path"}
            rows = [{**path, "v": "/news"}]
            made = api.content.create(
                self.news, "Collection", "latest", query=rows, **options
            )
        transaction.commit()
        return made


class TestContent(ExportTestCase):
    def test_it_has_a_row_for_each_object_that_the_query_finds(self):
        id = self.export(columns=("Title", "path", "Type", "url"))
        url = self.portal.absolute_url()
        self.assertEqual(
            ["Title", "Path in the site", "Type", "Address"], rows_of(id)[0]
        )
        self.assertIn(["Page a", "/news/a", "Page", f"{url}/news/a"], rows_of(id))
        paths = [row[1] for row in rows_of(id)[1:]]
        found = ["/news", "/news/a", "/news/b", "/news/c", "/news/old", "/news/old/d"]
        self.assertEqual(found, paths)

    def test_it_is_in_the_order_that_the_query_asks_for(self):
        query = self.query(
            portal_type="Document", sort_on="sortable_title", sort_order="reverse"
        )
        rows = rows_of(self.export(query=query, columns=("Title",)))
        self.assertEqual([["Page d"], ["Page c"], ["Page b"], ["Page a"]], rows[1:])

    def test_a_query_may_ask_for_dates_and_lists(self):
        query = self.query(
            portal_type=["Document", "Folder"],
            modified={"query": DateTime() - 1, "range": "min"},
            created={"query": datetime.now() + timedelta(days=1), "range": "max"},
        )
        self.assertEqual(7, len(rows_of(self.export(query=query))))

    def test_what_was_written_is_forgotten(self):
        catalog = api.portal.get_tool("portal_catalog")
        for more in ({}, {"sort_on": "sortable_title"}):
            found = catalog(**self.query(**more))
            kept = []
            with mock.patch.object(asking, "ROWS_AT_ONCE", 2):
                for _brain in asking.in_turn(found, more, self.portal._p_jar):
                    kept.append(len(found._data))
            self.assertEqual([1, 2, 1, 2, 1, 2], kept)

    def test_the_same_as_an_excel_file(self):
        id = self.export(columns=("Title", "modified"), format="xlsx")
        sheet = load_workbook(io.BytesIO(read(id))).active
        rows = [[cell.value for cell in row] for row in sheet.rows]
        self.assertEqual(["Title", "Changed"], rows[0])
        self.assertEqual("Page a", rows[2][0])
        self.assertIsInstance(rows[2][1], datetime)

    def test_what_its_user_could_not_find_is_not_in_it(self):
        self.hide(self.news["a"])
        self.assertNotIn(["/news/a"], rows_of(self.export()))

    def test_rights_that_she_lost_before_it_ran_are_lost(self):
        job = shelf.start(self.news, self.query(), ("path",))
        self.hide(self.news["b"])
        drain()
        self.assertNotIn(["/news/b"], rows_of(job.id))

    def test_a_query_cannot_ask_for_the_rights_of_others(self):
        for name in ("allowedRolesAndUsers", "effectiveRange"):
            with self.assertRaisesRegex(ValueError, "no index of the catalog"):
                shelf.start(self.news, {name: "Manager"})

    def test_a_title_that_is_a_formula_is_a_text(self):
        self.news["a"].title = "=cmd|' /C calc'!A0"
        self.news["a"].reindexObject()
        rows = rows_of(self.export(columns=("Title",)))
        self.assertIn(["'=cmd|' /C calc'!A0"], rows)

    def test_a_collection_is_asked_for_its_own_query_when_it_runs(self):
        collection = self.collection(sort_on="sortable_title", limit=1000)
        job = shelf.start(collection, None, ("Title",))
        with api.env.adopt_roles(["Manager"]):
            api.content.create(self.news, "Document", "e", title="Page e")
        drain()
        self.assertEqual("Page e", rows_of(job.id)[-1][0])

    def test_a_collection_finds_no_more_than_its_limit(self):
        collection = self.collection(sort_on="sortable_title", limit=2)
        job = shelf.start(collection, None, ("Title",))
        drain()
        self.assertEqual(3, len(rows_of(job.id)))

    def test_it_is_named_after_its_context_and_the_day(self):
        name = shelf.look(self.export(format="xlsx")).name
        self.assertRegex(name, r"^news-\d{4}-\d\d-\d\d\.xlsx$")


class TestRefusals(ExportTestCase):
    def assert_refused(self, error, text, *args, **kwargs):
        with self.assertRaisesRegex(error, text):
            shelf.start(self.news, *args, **kwargs)
        self.assertEqual(0, self.stored_jobs())

    def test_a_query_that_the_catalog_would_not_understand(self):
        self.assert_refused(ValueError, "'portal_typ', which is no", {"portal_typ": 1})
        self.assert_refused(ValueError, "find the whole site", {})
        self.assert_refused(ValueError, "find the whole site", {"sort_on": "created"})
        self.assert_refused(TypeError, "pass a dict", "path=/")
        self.assert_refused(TypeError, "pass texts, numbers", {"UID": object()})
        self.assert_refused(TypeError, "for 'path'", {"path": {"query": [print]}})
        self.assert_refused(ValueError, "is no collection", None)

    def test_a_path_that_was_forgotten(self):
        for path in ("", ["/plone/news", ""], {"query": ""}, {"query": [""]}):
            self.assert_refused(ValueError, "'' for 'path'", {"path": path})

    def test_an_order_that_the_catalog_does_not_have(self):
        for names in ("nonsense", ["created", "nonsense"], 7, None):
            query = self.query(sort_on=names)
            self.assert_refused(ValueError, "for 'sort_on', which is no", query)
        query = self.query(sort_on="SearchableText")
        self.assert_refused(ValueError, "'SearchableText' .* has no order", query)
        for limit in ("2", 0, -1, None):
            query = self.query(sort_limit=limit)
            self.assert_refused(ValueError, "a number from 1", query)

    def test_columns_that_the_catalog_does_not_have(self):
        query = self.query()
        self.assert_refused(ValueError, "'password', which is", query, ["password"])
        self.assert_refused(ValueError, "columns is empty", query, [])
        self.assert_refused(TypeError, "pass a list of names", query, "Title")

    def test_a_format_that_is_not_there(self):
        self.assert_refused(ValueError, "one of csv, xlsx", self.query(), format="pdf")

    def test_anonymous_visitors_have_none(self):
        logout()
        self.assert_refused(Unauthorized, "log in", self.query())
        self.assertRaises(Unauthorized, shelf.mine)

    def test_a_database_without_room_for_files(self):
        storage = self.service.getQueues()._p_jar.db()
        with mock.patch.object(storage, "storage", object()):
            self.assert_refused(
                shelf.NoBlobsError, "give its storage .* blob-dir", self.query()
            )

    def test_a_client_without_room_for_the_files_of_its_server(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())
        address, stop = ZEO.server(
            path=f"{directory}/Data.fs", blob_dir=f"{directory}/blobs"
        )
        self.addCleanup(stop)
        database = self.service.getQueues()._p_jar.db()
        without = ZEO.client(address)
        self.addCleanup(without.close)
        with mock.patch.object(database, "storage", without):
            self.assert_refused(shelf.NoBlobsError, "blob-dir", self.query())
        client = ZEO.client(address, blob_dir=f"{directory}/cache")
        self.addCleanup(client.close)
        with mock.patch.object(database, "storage", client):
            self.assertTrue(shelf.start(self.news, self.query()).id)

    def test_more_rows_than_a_sheet_can_have(self):
        with mock.patch.object(files.XLSXWriter, "most_rows", 6):
            id = self.export(format="xlsx")
            self.assertEqual("failed", shelf.look(id).job.status)
            self.assertIn("room for 5: export them as CSV", shelf.look(id).job.error)
            self.assertTrue(shelf.look(self.export()).is_ready)


class TestShelf(ExportTestCase):
    def test_each_user_sees_her_own(self):
        mine = self.export()
        self.login_as_site_owner()
        his = self.export()
        self.assertEqual([his], [export.job.id for export in shelf.mine()])
        login(self.portal, EDITOR)
        self.assertEqual([mine], [export.job.id for export in shelf.mine()])
        newest = self.export()
        self.assertEqual([newest, mine], [export.job.id for export in shelf.mine()])

    def test_nobody_else_opens_or_removes_them_but_those_who_manage_jobs(self):
        id = self.export()
        with api.env.adopt_roles(["Manager"]):
            api.user.create("hans@example.org", "hans", "secret-enough-2")
        for name in (TEST_USER_NAME, "hans"):
            login(self.portal, name)
            self.assertIsNone(shelf.look(id))
            self.assertIsNone(shelf.open_file(id))
            self.assertFalse(shelf.remove(id))
        self.login_as_site_owner()
        self.assertTrue(read(id))
        self.assertTrue(shelf.remove(id))

    def test_a_namesake_in_another_user_folder_has_exports_of_her_own(self):
        hers = self.export()
        users = self.portal.getPhysicalRoot().acl_users
        users.userFolderAddUser(EDITOR, PASSWORD, ["Member"], [])
        newSecurityManager(None, users.getUserById(EDITOR).__of__(users))
        self.assertEqual([], shelf.mine())
        other = shelf.start(self.news, self.query()).id
        self.assertEqual([other], [export.job.id for export in shelf.mine()])
        login(self.portal, EDITOR)
        self.assertEqual([hers], [export.job.id for export in shelf.mine()])

    def test_jobs_that_make_no_file_are_no_exports(self):
        job = self.service.queueJob(work.note, self.news, "x")
        drain()
        for id in (job.id, "1", "", "x"):
            self.assertIsNone(shelf.look(id))
            self.assertIsNone(shelf.open_file(id))
            self.assertFalse(shelf.remove(id))

    def test_one_that_runs_is_neither_ready_nor_removed(self):
        id = shelf.start(self.news, self.query()).id
        transaction.commit()
        export = shelf.look(id)
        self.assertEqual(("queued", False), (export.job.status, export.is_ready))
        self.assertIsNone(shelf.open_file(id))
        self.assertFalse(shelf.remove(id))
        self.assertEqual([id], [export.job.id for export in shelf.mine()])

    def test_one_that_was_removed_is_gone_with_its_file(self):
        id = self.export()
        job = self.service.getJob(id)
        self.assertTrue(shelf.remove(id))
        transaction.commit()
        self.assertEqual([], shelf.mine())
        self.assertIsNone(shelf.look(id))
        self.assertIsNone(job.result.blob)
        self.assertIn("removed", self.service.getJobInfo(id).result)

    def test_nothing_refers_to_its_content_so_a_pack_takes_it_out(self):
        id = self.export()
        made = self.service.getJob(id).result
        storage = self.layer["zodbDB"].storage
        before = referencesf(storage.load(made._p_oid)[0])
        self.assertEqual([made.blob._p_oid], before)
        shelf.remove(id)
        transaction.commit()
        self.assertEqual([], referencesf(storage.load(made._p_oid)[0]))

    def test_it_is_kept_for_a_week(self):
        id = self.export()
        export = shelf.look(id)
        self.assertEqual(timedelta(days=7), export.until - export.job.ended)
        job = self.service.getJob(id)
        self.assertEqual(offer.KEEP_EXPORTS, job.keep_result)
        self.assertEqual(offer.KEEP_EXPORTS, job.keep_failure)
        later = clock.now() + timedelta(days=7, minutes=1)
        with mock.patch.object(shelf.clock, "now", return_value=later):
            self.assertEqual([], shelf.mine())
            self.assertIsNone(shelf.open_file(id))
            shelf.start(self.news, self.query())
        self.assertNotIn(id, shelf._ids(EDITOR))

    def test_the_newest_hundred_are_remembered(self):
        with mock.patch.object(shelf, "MOST", 2):
            ids = [self.export() for _number in range(3)]
        self.assertEqual(tuple(ids[1:]), shelf._ids(EDITOR))
        self.assertIsNone(shelf.look(ids[0]))

    def test_sites_do_not_know_each_others(self):
        id = self.export()
        self.login_as_site_owner()
        add_site(self.layer["app"], "other")
        self.addCleanup(setSite, self.portal)
        self.assertIsNone(shelf.look(id))
        self.assertEqual([], shelf.mine())

    def test_they_hold_up_no_other_tasks(self):
        job = shelf.start(self.news, self.query())
        self.assertEqual((offer.EXPORTS_QUOTA,), tuple(job.quota_names))

    def test_starting_downloading_and_removing_are_logged(self):
        with self.assertLogs("collective.clockwork", "INFO") as logged:
            id = self.export()
            shelf.open_file(id)
            shelf.remove(id)
        said = [record.getMessage() for record in logged.records]
        for word in ("started", "downloaded", "removed"):
            self.assertIn(f"export {id} was {word} by {EDITOR}", said)


class TestTrouble(ExportTestCase):
    def failing_after(self, rows, kind=files.CSVWriter):
        """Let the file be spoilt behind some rows, in the middle of the work."""
        write = kind.write
        written = []

        def fail(writer, row):
            written.append(row)
            if len(written) > rows:
                raise OSError("No space left on device")
            write(writer, row)

        return mock.patch.object(kind, "write", fail)

    def test_a_crashed_export_is_failed_and_not_ready(self):
        with self.failing_after(2):
            id = self.export()
        export = shelf.look(id)
        self.assertEqual("failed", export.job.status)
        self.assertIn("No space left on device", export.job.error)
        self.assertFalse(export.is_ready)
        self.assertIsNone(shelf.open_file(id))
        self.assertTrue(shelf.remove(id))
        self.assertEqual([], shelf.mine())

    def test_nothing_of_it_is_left_on_disk(self):
        with tempfile.TemporaryDirectory() as directory:
            with mock.patch.object(tempfile, "tempdir", directory):
                for format, kind in files.WRITERS.items():
                    with self.failing_after(2, kind):
                        id = self.export(format=format)
                    self.assertEqual("failed", shelf.look(id).job.status)
                    self.assertEqual([], os.listdir(directory))

    def test_a_retry_begins_anew(self):
        with self.failing_after(2):
            id = self.export()
        self.service.retryJob(id)
        drain()
        self.assertTrue(shelf.look(id).is_ready)
        self.assertEqual(7, len(rows_of(id)))

    def test_one_that_was_given_up_is_failed(self):
        job = shelf.start(self.news, self.query())
        transaction.commit()
        job.fail(AbortedError("the worker died too often"))
        self.assertEqual("failed", shelf.look(job.id).job.status)

    def test_it_can_be_stopped_while_it_runs(self):
        row_of = exporting.row_of

        def wait(*args):
            work.begun.set()
            # The worker hears of it a moment after the commit.
            while not current().cancel_requested and not work.released.wait(0.01):
                continue
            return row_of(*args)

        self.enterContext(mock.patch.object(exporting, "row_of", wait))
        self.addCleanup(work.released.set)
        id = shelf.start(self.news, self.query()).id
        transaction.commit()
        with running_worker(self.layer["zodbDB"]):
            self.assertTrue(work.begun.wait(30))
            self.wait_until(lambda: shelf.look(id).job.status == "active")
            self.service.cancelJob(id)
            transaction.commit()
            self.wait_until(lambda: shelf.look(id).job.status == "cancelled")
        self.assertFalse(shelf.look(id).is_ready)
