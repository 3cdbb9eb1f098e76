"""Ready-made jobs: indexing a part of the site, and rebuilding the catalog."""

from __future__ import annotations

from Acquisition import aq_base
from collective.clockwork.jobinfo import describe
from collective.clockwork.tasks.tree import places
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone.taskcase import EDITOR
from collective.clockwork.tests.plone.taskcase import TaskTestCase
from plone import api
from plone.dexterity.content import Item
from plone.indexer.interfaces import IIndexer
from Products.CMFCore.interfaces import IContentish
from Products.ZCatalog.interfaces import IZCatalog
from unittest import mock
from zope.component import getGlobalSiteManager
from zope.interface import implementer

import transaction


class CatalogTestCase(TaskTestCase):
    def setUp(self):
        super().setUp()
        self.catalog = api.portal.get_tool("portal_catalog")

    def spoil(self, obj, title="spoilt"):
        """Have the object's title differ from what is indexed."""
        obj.title = title
        transaction.commit()

    def metadata(self, path):
        rid = self.catalog.getrid(f"/plone{path}")
        return self.catalog.getMetadataForRID(rid)


class TestReindex(CatalogTestCase):
    def test_all_that_is_below_is_indexed(self):
        self.spoil(self.news["a"], "new a")
        self.spoil(self.old["d"], "new d")
        report = self.run_task("reindex")
        self.assertEqual((6, []), (report["done"], report["skipped"]))
        self.assertEqual(["/news/a"], self.found(SearchableText="new", getId="a"))
        self.assertEqual("new d", self.metadata("/news/old/d")["Title"])

    def test_only_the_selection_is_indexed(self):
        self.spoil(self.news["a"])
        self.spoil(self.news["b"])
        self.run_task("reindex", selection=places([self.news["b"]]))
        self.assertEqual("Page a", self.metadata("/news/a")["Title"])
        self.assertEqual("spoilt", self.metadata("/news/b")["Title"])

    def test_the_date_of_modification_stays(self):
        before = self.news["a"].modified()
        self.run_task("reindex")
        self.assertEqual(before, self.news["a"].modified())

    def test_whoever_may_not_modify_an_object_leaves_its_entry_as_it_is(self):
        self.spoil(self.news["b"])
        self.leave_edith_only(self.news["b"], "Reader")
        report = self.run_task("reindex")
        self.assertEqual([("/news/b", "unauthorized")], report["skipped"])
        self.assertEqual("Page b", self.metadata("/news/b")["Title"])


class TestRebuild(CatalogTestCase):
    def rebuild(self, **arguments):
        self.login_as_site_owner()
        return self.run_task("catalog", context=self.portal, **arguments)

    def lose_entry(self, obj):
        self.catalog.uncatalog_object("/".join(obj.getPhysicalPath()))
        transaction.commit()

    def test_it_finds_what_has_no_entry_and_drops_entries_without_object(self):
        self.lose_entry(self.news["a"])
        self.catalog.catalog_object(self.news["b"], "/plone/news/ghost")
        self.spoil(self.old["d"])
        report = self.rebuild()
        self.assertEqual((1, []), (report["removed"], report["failed"]))
        self.assertEqual(report["done"], len(self.catalog))
        self.assertEqual(
            ["/news", "/news/a", "/news/b", "/news/c", "/news/old", "/news/old/d"],
            self.found(path="/plone/news"),
        )
        self.assertEqual("spoilt", self.metadata("/news/old/d")["Title"])

    def test_it_indexes_what_the_user_may_not_see(self):
        self.spoil(self.news["b"])
        self.leave_edith_only(self.news["b"])
        self.rebuild()
        self.assertEqual("spoilt", self.metadata("/news/b")["Title"])

    def test_an_entry_is_dropped_whose_path_leads_to_something_acquired(self):
        self.catalog.catalog_object(self.news["a"], "/plone/news/old/a")
        self.assertEqual(1, self.rebuild()["removed"])
        self.assertNotIn("/news/old/a", self.found(path="/plone/news"))

    def test_it_can_be_emptied_first_which_is_not_done_again_for_a_later_attempt(self):
        ends = iter([SystemExit("the process ends")])

        @implementer(IIndexer)
        class EndOnce:
            def __init__(self, obj, catalog):
                self.obj = obj

            def __call__(self):
                if self.obj.getId() == "b":
                    for error in ends:
                        raise error
                return self.obj.title

        registry = getGlobalSiteManager()
        adapter = (EndOnce, (IContentish, IZCatalog), IIndexer, "Title")
        registry.registerAdapter(*adapter)
        self.addCleanup(registry.unregisterAdapter, *adapter)
        before = len(self.catalog)
        kind = type(aq_base(self.catalog))
        clears = []
        clear = kind.manage_catalogClear

        def count_and_clear(catalog):
            clears.append(len(catalog))
            clear(catalog)

        with (
            mock.patch("collective.clockwork.tasks.reindex.COMMIT_EVERY", 1),
            mock.patch.object(kind, "manage_catalogClear", count_and_clear),
        ):
            self.login_as_site_owner()
            job = self.start("catalog", context=self.portal, clear=True)
            drain()
            drain()
        self.assertEqual("completed-status", job.status)
        self.assertEqual(([before], before), (clears, len(self.catalog)))
        self.assertEqual(before, job.result["done"])

    def test_an_object_that_cannot_be_indexed_is_told_and_the_others_are_indexed(self):
        self.spoil(self.news["c"])

        def fail_for_b(catalog, obj, *args, **kwargs):
            if obj.getId() == "b":
                raise RuntimeError("no such scale")
            return index(catalog, obj, *args, **kwargs)

        kind = type(aq_base(self.catalog))
        index = kind._reindexObject
        with mock.patch.object(kind, "_reindexObject", fail_for_b):
            report = self.rebuild()
        self.assertEqual([("/news/b", "RuntimeError: no such scale")], report["failed"])
        self.assertEqual("spoilt", self.metadata("/news/c")["Title"])
        self.assertIn("/news/b", self.found(path="/plone/news"))

    def test_an_object_whose_record_is_lost_is_told_and_the_others_are_indexed(self):
        self.spoil(self.news["c"])
        connection = self.news._p_jar
        lost = Item("bb")
        lost._p_jar, lost._p_oid = connection, connection.new_oid()
        self.news._setOb("bb", lost)
        transaction.commit()
        connection.cacheMinimize()
        report = self.rebuild()
        self.assertEqual(["/news/bb"], [path for path, _reason in report["failed"]])
        self.assertEqual("spoilt", self.metadata("/news/c")["Title"])
        report = self.run_task("transition", transition="publish", inside=True)
        self.assertEqual(["/news/bb"], [path for path, _reason in report["failed"]])
        self.assertEqual(["published"], self.states("news/c"))

    def test_an_editor_who_may_not_manage_the_catalog_is_refused(self):
        job = self.start("catalog", context=self.portal)
        drain()
        info = describe(job)
        self.assertEqual((EDITOR, "failed"), (info.user, info.status))
        self.assertIn("may not rebuild the catalog", info.error)
