"""The order in which tasks go through objects, and go on in it."""

from __future__ import annotations

from Acquisition import aq_base
from collective.clockwork.tasks import tree as reading
from collective.clockwork.tasks.tree import places
from collective.clockwork.tasks.tree import Tree
from collective.clockwork.tests.plone.taskcase import TaskTestCase
from OFS.Folder import Folder
from plone import api
from unittest import mock


class TestTree(TaskTestCase):
    def tree(self, *objects, inside=True, **options):
        return Tree(places(objects or [self.news]), inside=inside, **options)

    def paths(self, tree, key=None):
        return [found.path for found in tree.behind(key)]

    def test_a_folder_comes_before_what_is_inside_of_it(self):
        self.assertEqual(
            ["/news", "/news/a", "/news/b", "/news/c", "/news/old", "/news/old/d"],
            self.paths(self.tree()),
        )

    def test_or_after_that_if_leaves_come_first(self):
        self.assertEqual(
            ["/news/a", "/news/b", "/news/c", "/news/old/d", "/news/old", "/news"],
            self.paths(self.tree(leaves_first=True)),
        )

    def test_it_goes_on_behind_each_object(self):
        for leaves_first in (False, True):
            for objects in ([self.news], [self.folder, self.old, self.news["b"]]):
                tree = self.tree(*objects, leaves_first=leaves_first)
                found = list(tree.behind(None))
                self.assertTrue(found)
                for number, each in enumerate(found, 1):
                    with self.subTest(leaves_first=leaves_first, key=each.key):
                        self.assertEqual(
                            [other.key for other in found[number:]],
                            [other.key for other in tree.behind(each.key)],
                        )

    def test_it_goes_on_behind_an_object_that_is_gone(self):
        for leaves_first in (False, True):
            tree = self.tree(leaves_first=leaves_first)
            found = {each.path: each for each in tree.behind(None)}
            expected = self.paths(tree, found["/news/b"].key)
            with api.env.adopt_roles(["Manager"]):
                self.news.manage_delObjects(["b"])
                self.assertEqual(expected, self.paths(tree, found["/news/b"].key))
                api.content.create(self.news, "Document", "b")

    def test_it_visits_what_was_added_behind_but_not_what_was_added_before(self):
        tree = self.tree()
        found = {each.path: each for each in tree.behind(None)}
        with api.env.adopt_roles(["Manager"]):
            api.content.create(self.news, "Document", "aa")
            api.content.create(self.news, "Document", "bb")
        self.assertEqual("/news/bb", self.paths(tree, found["/news/b"].key)[0])

    def test_of_a_large_folder_only_a_part_is_read_at_once(self):
        expected = self.paths(self.tree())
        kind = type(aq_base(self.news))
        listed = AssertionError("all ids were listed")
        with (
            mock.patch.object(reading, "IDS_AT_ONCE", 2),
            mock.patch.object(kind, "objectIds", side_effect=listed),
        ):
            self.assertEqual(expected, self.paths(self.tree()))
            found = list(self.tree().behind(None))
            self.assertEqual(expected[3:], self.paths(self.tree(), found[2].key))

    def test_a_folder_may_shrink_while_it_is_read(self):
        with mock.patch.object(reading, "IDS_AT_ONCE", 1):
            found = self.tree().behind(None)
            self.assertEqual("/news/a", [next(found), next(found)][1].path)
            with api.env.adopt_roles(["Manager"]):
                self.news.manage_delObjects(["a", "b"])
            self.assertEqual("/news/c", next(found).path)

    def test_folders_that_keep_no_tree_are_gone_through_too(self):
        self.login_as_site_owner()
        self.portal._setObject("plain", Folder("plain"))
        for name in ("b", "a", "c"):
            self.portal.plain._setObject(name, Folder(name))
        tree = self.tree(self.portal.plain, wanted=lambda obj: True)
        found = list(tree.behind(None))
        self.assertEqual(
            ["/plain", "/plain/a", "/plain/b", "/plain/c"],
            [each.path for each in found],
        )
        self.assertEqual(["/plain/c"], self.paths(tree, found[2].key))

    def test_tools_of_the_site_are_no_content(self):
        paths = self.paths(self.tree(self.portal))
        self.assertEqual(["/", "/folder", "/news"], paths[:3])
        self.assertFalse([path for path in paths if path.startswith("/portal_")])

    def test_the_estimate_is_what_the_catalog_knows(self):
        self.assertEqual(6, self.tree().estimate())
        self.assertEqual(1, self.tree(inside=False).estimate())
        self.assertEqual(3, self.tree(self.old, self.news["a"]).estimate())

    def test_comments_are_not_estimated_as_they_are_not_visited(self):
        self.catalog_comment(self.news["a"])
        self.assertEqual(6, self.tree().estimate())
