"""Content objects as arguments: stored by path and UID, given to the function again."""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork import Job
from collective.clockwork import queue
from collective.clockwork.references import ContentReference
from collective.clockwork.references import Referring
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import content
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from OFS.SimpleItem import SimpleItem
from plone import api
from plone.app.testing import logout
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from zExceptions import NotFound
from zope.component.hooks import setSite

import transaction


class ReferenceTestCase(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.page = api.content.create(self.folder, "Document", "page", "A page")
        self.other = api.content.create(self.folder, "Document", "other")
        transaction.commit()

    def queue(self, func, *args, **kwargs):
        return self.service.queueJob(func, self.folder, *args, **kwargs)

    def paths_seen(self, *args, **kwargs):
        """What the function found in its arguments."""
        return self.run_job(self.queue(content.paths_in, *args, **kwargs))

    def as_manager(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])


class TestArguments(ReferenceTestCase):
    def test_an_object_arrives_wrapped_and_in_the_jobs_request(self):
        self.assertEqual(
            {"path": "/plone/folder/page", "request": True, "title": "A page"},
            self.run_job(self.queue(content.describe, self.page)),
        )

    def test_an_object_is_stored_as_a_reference(self):
        job = self.queue(content.paths_in, self.page, page=self.other)
        reference = ContentReference(("folder", "page"), self.page.UID())
        self.assertEqual([reference], job.args)
        self.assertEqual({"page"}, set(job.kwargs))
        self.assertIs(ContentReference, type(job.kwargs["page"]))

    def test_keyword_arguments_are_given_back_too(self):
        self.assertEqual(["/plone/folder/page"], self.paths_seen(page=self.page))

    def test_an_object_without_acquisition_is_found_by_its_uid(self):
        self.assertEqual(
            ["/plone/folder/page", "/plone/folder/page"],
            self.paths_seen(self.page.aq_base, [self.page.aq_base]),
        )

    def test_an_object_that_was_acquired_is_stored_where_it_is_contained(self):
        api.content.create(self.folder, "Folder", "inner")
        acquired = self.folder.inner.page
        self.assertEqual(["/plone/folder/page"], self.paths_seen(acquired))

    def test_an_object_added_in_this_transaction_is_found(self):
        page = api.content.create(self.folder, "Document", "brand-new")
        self.assertEqual(
            ["/plone/folder/brand-new", "/plone/folder/brand-new"],
            self.paths_seen(page, page.aq_base),
        )

    def test_the_site_itself_can_be_an_argument(self):
        self.assertEqual(["/plone"], self.paths_seen(self.portal))

    def test_a_tool_is_stored_by_its_path(self):
        self.assertEqual(
            ["/plone/portal_catalog"], self.paths_seen(self.portal.portal_catalog)
        )

    def test_an_object_without_uid_is_stored_by_its_path(self):
        item = SimpleItem()
        item.id = "note"
        self.folder._setObject("note", item)
        self.assertEqual(["/plone/folder/note"], self.paths_seen(self.folder.note))

    def test_an_object_of_another_folder_than_the_context_is_found(self):
        self.as_manager()
        api.content.create(self.portal, "Document", "elsewhere")
        self.assertEqual(["/plone/elsewhere"], self.paths_seen(self.portal.elsewhere))

    def test_plain_values_are_stored_as_they_are(self):
        values = ["text", 1, 2.5, True, b"bytes", None]
        nested = {"list": [1, (2, {3})], "deep": [[["text"]]]}
        job = self.queue(content.paths_in, *values, nested)
        self.assertEqual([*values, nested], list(job.args))
        self.assertIs(nested, job.args[-1])

    def test_a_reference_can_be_passed_on(self):
        job = self.queue(content.paths_in, self.page)
        self.assertEqual(
            ["/plone/folder/page", "/plone/folder/page"],
            self.paths_seen(job.args[0], [job.args[0]]),
        )

    def test_what_was_stored_of_a_list_can_be_passed_on(self):
        stored = self.queue(content.paths_in, [self.page]).args[0]
        self.assertIs(Referring, type(stored))
        page = "/plone/folder/page"
        self.assertEqual([page, page], self.paths_seen(stored, {"pages": stored}))


class TestStructures(ReferenceTestCase):
    def test_objects_are_found_in_lists_tuples_dicts_and_sets(self):
        value = [
            {"page": self.page},
            (self.other, [self.page]),
            {self.page: 1},
            {self.other},
        ]
        job = self.queue(content.paths_in, value)
        self.assertIs(Referring, type(job.args[0]))
        page, other = "/plone/folder/page", "/plone/folder/other"
        self.assertEqual([page, other, page, page, other], self.run_job(job))

    def test_objects_are_found_in_fields_and_attributes(self):
        note = content.Note("news", self.page)
        plain = content.Plain()
        plain.page, plain.pages = self.page, [self.other]
        self.assertEqual(
            ["/plone/folder/page", "/plone/folder/page", "/plone/folder/other"],
            self.paths_seen(note, plain),
        )

    def test_what_was_passed_is_left_as_it_was(self):
        value = {"pages": [self.page]}
        self.queue(content.paths_in, value)
        self.assertEqual({"pages": [self.page]}, value)
        self.assertIs(self.page.aq_base, value["pages"][0].aq_base)

    def test_one_object_in_two_places_is_one_object_in_the_job(self):
        job = self.queue(content.are_the_same, [self.page, self.page])
        self.assertTrue(self.run_job(job))

    def test_a_list_that_holds_itself_arrives_so(self):
        ring = [self.page]
        ring.append(ring)
        self.assertEqual(
            ["/plone/folder/page", True], self.run_job(self.queue(content.ring, ring))
        )

    def test_a_plain_list_that_holds_itself_arrives_so(self):
        ring = ["plain"]
        ring.append(ring)
        self.assertEqual(["plain", True], self.run_job(self.queue(content.ring, ring)))

    def test_a_value_far_too_deep_is_refused_and_named(self):
        deep = content.nested(self.page, 100_000)
        try:
            with self.assertRaisesRegex(TypeError, "argument 1 .* nested too deeply"):
                self.queue(content.paths_in, deep)
        finally:
            content.flatten(deep)

    def test_a_rather_deep_value_arrives(self):
        deep = content.nested(self.page, 100)
        self.assertEqual(
            "/plone/folder/page", self.run_job(self.queue(content.innermost, deep))
        )

    def test_the_deepest_value_that_is_accepted_arrives_and_can_be_given_back(self):
        for levels in range(300, 2000, 10):
            try:
                self.queue(content.same_argument, content.nested(self.page, levels))
            except TypeError:
                break
            transaction.abort()
        else:
            self.fail("nothing was refused")
        deepest = content.nested(self.page, levels - 10)
        job = self.queue(content.same_argument, deepest)
        drain()
        self.assertEqual("completed-status", job.status)
        found = content.innermost(None, job.result)
        self.assertEqual("/plone/folder/page", found)

    def test_the_names_of_objects_are_what_people_see_of_arguments(self):
        job = self.queue(content.paths_in, [self.page], site=self.portal)
        transaction.commit()
        self.assertEqual(
            "[<content folder/page>], site=<content the site>",
            self.service.getJobInfo(job.id).arguments,
        )


class TestLookingUp(ReferenceTestCase):
    def failure(self, job):
        return self.run_job(job).value

    def test_an_object_that_was_moved_is_found_by_its_uid(self):
        job = self.queue(content.paths_in, self.page)
        transaction.commit()
        self.as_manager()
        api.content.move(self.page, self.portal)
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        self.assertEqual(["/plone/page"], self.run_job(job))

    def test_an_object_that_is_gone_fails_the_job_and_is_named(self):
        job = self.queue(content.paths_in, 1, [self.page])
        transaction.commit()
        self.folder.manage_delObjects(["page"])
        error = self.failure(job)
        self.assertIsInstance(error, NotFound)
        self.assertEqual(
            "positional argument 2 after the context has <content folder/page>, "
            "which is gone",
            str(error),
        )

    def test_another_object_at_its_path_is_not_taken_for_it(self):
        job = self.queue(content.paths_in, page=self.page)
        transaction.commit()
        self.folder.manage_delObjects(["page"])
        api.content.create(self.folder, "Document", "page")
        error = self.failure(job)
        self.assertIsInstance(error, NotFound)
        self.assertRegex(str(error), "argument 'page' has .* gone")

    def test_an_object_that_the_user_may_not_view_fails_the_job(self):
        self.as_manager()
        api.content.create(self.portal, "Document", "secret")
        job = self.queue(content.paths_in, page={"secret": self.portal.secret})
        self.portal.secret.manage_permission("View", ["Manager"], acquire=False)
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        error = self.failure(job)
        self.assertIsInstance(error, Unauthorized)
        self.assertEqual(
            "argument 'page' has <content secret>, which the user 'test_user_1_' may "
            "not view",
            str(error),
        )

    def test_anonymous_may_not_view_a_private_object(self):
        logout()
        job = self.queue(content.paths_in, self.page)
        error = self.failure(job)
        self.assertIsInstance(error, Unauthorized)
        self.assertRegex(str(error), "argument 1 .* Anonymous may not view")

    def test_the_function_is_not_called_when_an_argument_is_gone(self):
        job = self.queue(content.note, self.page)
        transaction.commit()
        self.folder.manage_delObjects(["page"])
        self.failure(job)
        self.assertEqual([], content.happened)

    def test_objects_in_arguments_of_a_batch_are_found(self):
        make = self.service.makeJob
        batch = self.service.queueSerialJobs(
            make(content.paths_in, self.folder, self.page),
            make(content.paths_in, self.folder, [self.other]),
        )
        self.assertEqual(
            [["/plone/folder/page"], ["/plone/folder/other"]],
            [job.result for job in self.run_job(batch)],
        )


class TestSites(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.app = self.layer["app"]
        self.other = add_site(self.app, "other")
        self.login_as_site_owner()
        setSite(self.other)
        self.addCleanup(setSite, self.portal)

    def test_objects_are_found_when_their_site_was_renamed(self):
        tool = self.other.portal_catalog
        job = self.service.queueJob(content.paths_in, self.other, [self.other, tool])
        method = queue(Job(tool.getId))
        transaction.commit()
        setSite(self.portal)
        self.app.manage_renameObject("other", "renamed")
        self.assertEqual(["/renamed", "/renamed/portal_catalog"], self.run_job(job))
        self.assertEqual("portal_catalog", method.result)

    def test_a_result_is_given_back_in_whichever_site_one_is(self):
        job = self.service.queueJob(content.same, self.other)
        setSite(self.portal)
        self.assertEqual("/other", content.path_of(self.run_job(job)))

    def test_a_result_whose_site_is_gone_stays_a_reference(self):
        job = self.service.queueJob(content.same, self.other)
        self.run_job(job)
        setSite(self.portal)
        self.app._delObject("other")
        self.assertIs(ContentReference, type(job.result))
