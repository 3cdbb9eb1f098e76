"""Content objects in the results of jobs, given back to who may view them."""

from __future__ import annotations

from collective.clockwork.interfaces import IJobSuccess
from collective.clockwork.references import ContentReference
from collective.clockwork.references import Referring
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import content
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import logout
from plone.dexterity.interfaces import IDexterityContent
from zope.component import getGlobalSiteManager

import transaction


class ResultTestCase(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.page = api.content.create(self.folder, "Document", "page", "A page")
        transaction.commit()

    def done(self, func, *args):
        """A job that was done, without looking at its result."""
        job = self.service.queueJob(func, self.folder, *args)
        drain()
        self.assertEqual("completed-status", job.status)
        return job


class TestResults(ResultTestCase):
    def test_an_object_is_stored_as_a_reference(self):
        job = self.done(content.give, "page")
        self.assertEqual(
            ContentReference(("folder", "page"), self.page.UID()), job.stored_result
        )

    def test_who_may_view_the_object_gets_it_in_the_current_request(self):
        result = self.done(content.give, "page").result
        self.assertEqual("A page", result.title)
        self.assertEqual("/plone/folder/page", content.path_of(result))
        self.assertEqual(self.page.absolute_url(), result.absolute_url())

    def test_who_may_not_gets_a_reference_that_says_so(self):
        job = self.done(content.give, "page")
        logout()
        result = job.result
        self.assertEqual(("folder", "page"), result.path)
        self.assertEqual(self.page.UID(), result.uid)
        self.assertEqual("<content folder/page: You may not view it>", repr(result))

    def test_an_object_that_is_gone_is_a_reference_that_says_so(self):
        job = self.done(content.give, "page")
        self.folder.manage_delObjects(["page"])
        self.assertEqual("It is gone", job.result.reason)

    def test_an_object_that_was_moved_is_found(self):
        inner = api.content.create(self.folder, "Folder", "inner")
        job = self.done(content.give, "page")
        api.content.move(self.page, inner)
        self.assertEqual("/plone/folder/inner/page", content.path_of(job.result))

    def test_objects_anywhere_in_the_result_are_given_back(self):
        job = self.done(content.give_nested, "page")
        self.assertIs(Referring, type(job.stored_result))
        result = job.result
        self.assertEqual("A page", result["pages"][0].title)
        self.assertEqual("A page", result["note"].about.title)
        self.assertEqual("plain", result["plain"])

    def test_in_a_result_each_object_is_judged_for_itself(self):
        other = api.content.create(self.folder, "Document", "other")
        self.page.manage_permission("View", ["Anonymous"], acquire=False)
        other.manage_permission("View", ["Owner"], acquire=False)
        job = self.done(content.give_all)
        self.assertEqual(["page", "other"], [each.getId() for each in job.result])
        logout()
        page, refused = job.result
        self.assertEqual("A page", page.title)
        self.assertEqual("You may not view it", refused.reason)

    def test_an_object_that_the_job_made_is_given_back(self):
        job = self.done(content.make_and_give, "made")
        self.assertEqual("/plone/folder/made", content.path_of(job.result))

    def test_an_object_without_acquisition_is_given_back(self):
        job = self.done(content.give_bare, "page")
        self.assertEqual("/plone/folder/page", content.path_of(job.result))

    def test_plain_results_are_stored_as_they_are(self):
        for value in ("text", 7, None, {"a": [1, (2, 3)]}):
            job = self.done(work.note, value)
            self.assertEqual(value, job.stored_result)
            self.assertEqual(value, job.result)

    def test_a_result_of_a_job_that_was_waited_for_is_given_back(self):
        job = self.done(content.give_by_another_job, "page")
        self.assertEqual("/plone/folder/page", content.path_of(job.result))
        logout()
        self.assertEqual("You may not view it", job.result.reason)

    def test_of_members_of_a_batch_the_results_are_given_back(self):
        make = self.service.makeJob
        batch = self.service.queueSerialJobs(make(content.give, self.folder, "page"))
        drain()
        self.assertEqual("A page", batch.result[0].result.title)

    def test_the_list_of_jobs_shows_where_objects_are_and_loads_none(self):
        job = self.done(content.give, "page")
        logout()
        self.login_as_site_owner()
        info = self.service.getJobInfo(job.id)
        self.assertEqual("<content folder/page>", info.result)
        self.assertEqual("completed", info.status)


class TestWhatIsTold(ResultTestCase):
    def test_callbacks_get_the_object(self):
        job = self.service.queueJob(content.give, self.folder, "page")
        job.addCallback(content.note_title)
        drain()
        self.assertEqual(["A page"], work.happened)

    def test_a_callback_may_return_an_object(self):
        job = self.service.queueJob(content.give, self.folder, "page")
        callback = job.addCallback(content.same)
        drain()
        self.assertEqual("A page", callback.result.title)

    def test_handlers_get_the_object(self):
        registry = getGlobalSiteManager()
        registry.registerHandler(content.note_event, [IJobSuccess])
        self.addCleanup(registry.unregisterHandler, content.note_event, [IJobSuccess])
        self.done(content.give, "page")
        self.assertEqual(["A page"], work.happened)

    def test_handlers_for_this_kind_of_object_are_told(self):
        registry = getGlobalSiteManager()
        required = [IDexterityContent, IJobSuccess]
        registry.registerHandler(content.note_object, required)
        self.addCleanup(registry.unregisterHandler, content.note_object, required)
        self.done(content.give, "page")
        self.assertEqual(["A page"], work.happened)


class TestRefusals(ResultTestCase):
    def assert_fails(self, message, func, *args):
        job = self.done(func, *args)
        self.assertIsInstance(job.result.value, TypeError)
        self.assertRegex(str(job.result.value), message)

    def test_a_result_of_brains_fails_the_job_clearly(self):
        self.assert_fails(
            r"^The result \(list\) holds a catalog brain.*getObject",
            content.give_brains,
        )

    def test_a_request_as_a_result_fails_the_job_clearly(self):
        self.assert_fails(r"^The result .* is a request", content.give_request)

    def test_an_object_that_was_never_added_fails_the_job_clearly(self):
        message = r"^The result \(Document\) is an object of the site .*add it"
        self.assert_fails(message, content.give_loose)

    def test_what_the_job_did_is_rolled_back_then(self):
        self.assert_fails("is a request", content.rename_and_give_request)
        self.assertNotEqual("half done", self.folder.title)
