"""``Job`` and ``queue``: calls without a context, and methods of content objects."""

from __future__ import annotations

from AccessControl import Unauthorized
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import system
from collective.clockwork import Job
from collective.clockwork import queue
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.interfaces import IJobFailure
from collective.clockwork.interfaces import IJobSuccess
from collective.clockwork.references import ContentReference
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import content
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from functools import partial
from plone import api
from plone.app.testing import logout
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from plone.dexterity.utils import createContent
from transaction.interfaces import DoomedTransaction
from types import MethodType
from zExceptions import BadRequest
from zope.component import getGlobalSiteManager
from zope.component.hooks import setSite

import transaction


class TestFunctions(ServiceTestCase):
    def test_a_function_is_called_without_a_context(self):
        job = queue(Job(content.multiply, 21, by=2))
        transaction.commit()
        self.assertEqual("pending-status", job.status)
        self.assertEqual(42, self.run_job(job))

    def test_it_is_put_into_the_default_queue_under_no_quota(self):
        job = queue(Job(content.multiply, 1))
        self.assertIs(self.service.getQueues()[""], job.queue)
        self.assertEqual((), job.quota_names)

    def test_a_quota_that_it_names_is_kept(self):
        job = Job(content.multiply, 1)
        job.quota_names = ("default",)
        self.assertEqual(("default",), queue(job).quota_names)

    def test_it_runs_in_the_site_and_as_the_user(self):
        self.assertEqual(
            {"site": "/plone", "user": TEST_USER_ID, "request": True},
            self.run_job(queue(Job(content.where_and_who))),
        )

    def test_an_anonymous_visitors_job_runs_as_anonymous(self):
        logout()
        job = queue(Job(content.where_and_who))
        self.login_as_test_user()
        self.assertIsNone(self.run_job(job)["user"])

    def test_content_objects_among_its_arguments_are_references(self):
        job = queue(Job(content.path_of, self.folder))
        self.assertIs(ContentReference, type(job.args[0]))
        self.assertEqual("/plone/folder", self.run_job(job))

    def test_an_argument_that_is_gone_fails_it_and_is_named(self):
        page = api.content.create(self.folder, "Document", "page")
        job = queue(Job(content.path_of, page))
        transaction.commit()
        self.folder.manage_delObjects(["page"])
        error = self.run_job(job).value
        self.assertRegex(str(error), "^positional argument 1 has .* gone$")

    def test_a_job_that_queues_another_while_it_runs_lets_both_work(self):
        job = queue(Job(content.queue_a_job, "second"))
        self.assertIsNone(self.run_job(job))
        self.assertEqual(["second"], work.happened)

    def test_a_job_that_dooms_its_transaction_is_tried_five_times(self):
        job = queue(Job(content.doom))
        self.assertIsInstance(self.run_job(job).value, DoomedTransaction)
        self.assertEqual(["called"] * 5, work.happened)

    def test_a_callback_that_dooms_once_is_run_twice_and_the_result_kept(self):
        job = queue(Job(content.multiply, 21))
        job.addCallback(content.doom_once)
        self.assertEqual(42, self.run_job(job))
        self.assertEqual(["called", "called"], work.happened)

    def test_bind_gives_it_itself_as_first_argument(self):
        job = queue(Job.bind(content.quota_names_of))
        self.assertEqual((), self.run_job(job))

    def test_it_is_listed_with_its_arguments(self):
        job = queue(Job(content.multiply, 21, by=2))
        transaction.commit()
        (info,) = self.service.findJobs()
        self.assertEqual(job.id, info.id)
        self.assertEqual("21, by=2", info.arguments)
        self.assertEqual(TEST_USER_ID, info.user)

    def test_handlers_are_told_of_its_end(self):
        registry = getGlobalSiteManager()
        for kind in (IJobSuccess, IJobFailure):
            registry.registerHandler(content.note_outcome, [kind])
            self.addCleanup(registry.unregisterHandler, content.note_outcome, [kind])
        queue(Job(content.multiply, 21))
        queue(Job(content.multiply, "x", by="y"))
        drain()
        self.assertEqual([42, "TypeError"], work.happened)

    def test_it_fails_clearly_when_its_user_is_gone(self):
        job = queue(Job(content.multiply, 1))
        self.portal.acl_users.userFolderDelUsers([TEST_USER_ID])
        error = self.run_job(job).value
        self.assertIsInstance(error, BadRequest)
        self.assertIn(TEST_USER_ID, str(error))


class TestMethodsOfContent(ServiceTestCase):
    def make_page(self, name="page"):
        page = api.content.create(self.folder, "Document", name)
        transaction.commit()
        return page

    def test_the_method_is_called_as_the_user_who_made_the_job(self):
        job = queue(Job(self.folder.invokeFactory, "Document", "news", title="News"))
        self.assertEqual("news", self.run_job(job))
        self.assertEqual("News", self.folder["news"].title)
        self.assertEqual(TEST_USER_ID, self.folder["news"].Creator())

    def test_its_arguments_are_passed(self):
        self.make_page()
        self.run_job(queue(Job(self.folder.manage_delObjects, ["page"])))
        self.assertNotIn("page", self.folder)

    def test_no_more_is_allowed_than_the_user_may_do(self):
        job = queue(Job(self.portal.invokeFactory, "Document", "news"))
        error = self.run_job(job).value
        self.assertIsInstance(error, Unauthorized)
        self.assertNotIn("news", self.portal)

    def test_an_object_that_was_moved_meanwhile_is_found(self):
        page = self.make_page()
        inner = api.content.create(self.folder, "Folder", "inner")
        job = queue(Job(page.getPhysicalPath))
        transaction.commit()
        api.content.move(page, inner)
        self.assertEqual(("", "plone", "folder", "inner", "page"), self.run_job(job))

    def test_an_object_that_is_gone_fails_it_clearly(self):
        job = queue(Job(self.make_page().reindexObject))
        transaction.commit()
        self.folder.manage_delObjects(["page"])
        error = self.run_job(job).value
        self.assertIsInstance(error, BadRequest)
        self.assertEqual("Context path /plone/folder/page not found", str(error))

    def test_an_object_added_in_this_transaction_will_do(self):
        page = api.content.create(self.folder, "Document", "brand-new")
        self.assertEqual("brand-new", self.run_job(queue(Job(page.getId))))

    def test_an_object_without_acquisition_will_do(self):
        page = self.make_page()
        job = queue(Job(page.aq_base.getId))
        self.assertEqual(("", "plone", "folder", "page"), job.context_path)
        self.assertEqual("page", self.run_job(job))

    def test_a_method_of_a_tool_will_do(self):
        tool = self.portal.portal_workflow
        job = queue(Job(tool.getInfoFor, self.make_page(), "review_state"))
        self.assertEqual("private", self.run_job(job))

    def test_the_method_can_be_read_outside_of_a_run(self):
        job = queue(Job(self.folder.invokeFactory, "Document", "news"))
        self.assertEqual(self.folder, job.callable.__self__)
        transaction.commit()
        method = job.callable
        self.assertEqual("invokeFactory", method.__name__)
        self.assertEqual("/plone/folder", content.path_of(method.__self__))
        drain()
        self.assertEqual("invokeFactory", job.callable.__name__)

    def test_reading_the_method_of_an_object_that_is_gone_says_so(self):
        job = queue(Job(self.make_page().reindexObject))
        transaction.commit()
        self.folder.manage_delObjects(["page"])
        with self.assertRaisesRegex(BadRequest, "/plone/folder/page not found"):
            _ = job.callable

    def test_no_content_object_is_stored_with_it(self):
        job = queue(Job(self.folder.invokeFactory, "Document", "news"))
        transaction.commit()
        self.assertNotIn(self.folder._p_oid, content.oids_from(job))

    def test_where_it_works_and_what_it_calls_is_listed(self):
        job = queue(Job(self.folder.invokeFactory, "Document", id="news"))
        transaction.commit()
        info = self.service.getJobInfo(job.id)
        self.assertEqual("/plone/folder", info.context)
        self.assertRegex(info.function, r"\.Folder\.invokeFactory$")
        self.assertEqual("'Document', id='news'", info.arguments)

    def test_another_method_can_be_set_until_it_is_queued(self):
        job = Job(self.folder.getId)
        job.callable = self.portal.getId
        self.assertEqual("plone", self.run_job(queue(job)))
        with self.assertRaises(BadStatusError):
            job.callable = self.folder.getId

    def test_it_can_be_a_callback_of_another_job(self):
        job = queue(Job(content.multiply, 1))
        job.addCallback(Job(self.folder.setDescription))
        self.run_job(job)
        self.assertEqual("2", str(self.folder.description))


class TestRefusals(ServiceTestCase):
    def tearDown(self):
        self.assertEqual(0, self.stored_jobs())

    def assert_refused(self, error, message, *arguments, **keywords):
        with self.assertRaisesRegex(error, message):
            Job(*arguments, **keywords)

    def test_without_a_current_site_none_is_made(self):
        self.addCleanup(setSite, self.portal)
        setSite(None)
        try:
            self.assert_refused(LookupError, "no current site", content.multiply, 1)
        finally:
            setSite(self.portal)

    def test_the_system_users_are_refused(self):
        newSecurityManager(None, system)
        self.addCleanup(self.login_as_test_user)
        self.assert_refused(ValueError, "system or emergency", content.multiply, 1)

    def test_something_that_cannot_be_called_is_refused(self):
        self.assert_refused(TypeError, "'text' cannot be called", "text")

    def test_a_lambda_is_refused(self):
        self.assert_refused(ValueError, "lambda", lambda: None)

    def test_an_argument_that_must_not_be_stored_is_named(self):
        request = self.layer["request"]
        self.assert_refused(
            TypeError, r"^positional argument 2 .* a request", work.note, 1, request
        )
        self.assert_refused(
            TypeError, "^argument 'word' .* a request", work.note, word=request
        )

    def test_a_method_of_an_object_that_was_never_added_is_refused(self):
        page = createContent("Document", id="loose").__of__(self.folder)
        message = "^The object whose method getId .* is an object of the site .*add it"
        self.assert_refused(TypeError, message, page.getId)

    def test_a_method_of_an_object_outside_of_the_site_is_refused(self):
        message = "^The object whose method .* is an object of another site"
        self.assert_refused(TypeError, message, self.layer["app"].getId)

    def test_a_method_of_a_view_is_refused(self):
        view = api.content.get_view("plone", self.folder, self.layer["request"])
        self.assert_refused(
            TypeError, "callable .* is a view: pass its context", view.toLocalizedTime
        )

    def test_a_partial_that_holds_content_is_refused(self):
        self.assert_refused(
            TypeError, "holds one: pass a function", partial(work.note, self.folder)
        )

    def test_a_method_that_the_object_has_not_under_its_name_is_refused(self):
        method = MethodType(content.path_of, self.folder)
        self.assert_refused(ValueError, "decorator or patched", method)


class TestRights(ServiceTestCase):
    def test_roles_are_those_of_the_moment_it_runs(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        job = queue(Job(self.portal.invokeFactory, "Document", "news"))
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        self.assertIsInstance(self.run_job(job).value, Unauthorized)
