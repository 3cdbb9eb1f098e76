"""The layers with a worker, on which other add-ons' tests stand."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork import testing
from collective.clockwork.engine import dispatcher
from collective.clockwork.engine import local
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import wait_for_result
from collective.clockwork.tests import base
from collective.clockwork.tests.plone import work
from plone import api
from plone.app import testing as plone_testing
from plone.protect.interfaces import IDisableCSRFProtection
from Products.Five.browser import BrowserView
from zExceptions import Unauthorized
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.component import queryUtility
from zope.interface import alsoProvides
from zope.interface import Interface
from zope.publisher.interfaces.browser import IDefaultBrowserLayer

import requests
import threading
import transaction
import unittest


def name_of_database(context):
    return context._p_jar.db().database_name


def commit_and_queue_another(context):
    """As the tests of the old package do it: an own commit, and a job behind it."""
    context.title = "committed by the job itself"
    transaction.commit()
    inner = Job(sum, (40, 2))
    local.getQueue().put(inner)
    return inner


def doom_once(result):
    work.happened.append(result)
    if len(work.happened) == 1:
        transaction.doom()


class QueuePage(BrowserView):
    """A page that queues a job, as an add-on has it."""

    def __call__(self):
        alsoProvides(self.request, IDisableCSRFProtection)
        service = getUtility(IAsyncService)
        job = service.queueJob(work.add_page, self.context, self.request.form["name"])
        transaction.commit()
        return job.id


class TestWhatATestFinds(base.AsyncTestCase):
    def test_a_database_for_the_queues_is_beside_the_main_one(self):
        main = self.layer["zodbDB"]
        other = getUtility(IAsyncDatabase)
        self.assertIs(main.databases["async"], other)
        self.assertIsNot(main, other)
        self.assertIs(other, self.async_.getQueues()._p_jar.db())

    def test_a_worker_is_in_the_registry(self):
        worker = dispatcher.get(testing._dispatcher_uuid)
        self.assertTrue(worker.activated)
        self.assertIs(getUtility(IAsyncDatabase), worker.db)

    def test_the_default_quota_has_one_place(self):
        self.assertEqual(1, self.async_.getQueues()[""].quotas["default"].size)

    def test_jobs_are_run_on_the_main_database(self):
        job = self.async_.queueJob(name_of_database, self.folder)
        transaction.commit()
        name = self.layer["zodbDB"].database_name
        self.assertEqual(name, wait_for_result(job))

    def test_the_test_user_owns_the_folder_and_may_add_nothing_outside(self):
        self.assertEqual(self.layer["test-folder"], self.folder)
        inside = self.async_.queueJob(work.add_page, self.folder, "page")
        outside = self.async_.queueJob(work.add_page, self.portal, "page")
        transaction.commit()
        self.assertIsInstance(wait_for_result(outside).value, Unauthorized)
        self.assertEqual("page", inside.result)
        page = self.folder["page"]
        self.assertEqual("private", api.content.get_state(page))
        self.assertEqual(testing.TEST_USER_ID, page.Creator())

    def test_the_user_can_be_changed(self):
        self.logout()
        self.assertTrue(api.user.is_anonymous())
        self.login(testing.PLONE_MANAGER_NAME)
        user = getSecurityManager().getUser()
        self.assertEqual(testing.PLONE_MANAGER_ID, user.getId())
        self.assertIn("Manager", user.getRoles())
        self.login()
        self.setRoles(["Editor"])
        self.assertIn("Editor", getSecurityManager().getUser().getRoles())

    def test_the_layer_has_the_same_helpers(self):
        self.layer.loginAsPortalOwner()
        user = getSecurityManager().getUser()
        self.assertEqual(plone_testing.SITE_OWNER_NAME, user.getId())
        self.layer.logout()
        self.assertTrue(api.user.is_anonymous())
        self.layer.login()
        self.layer.setRoles(["Editor"])
        self.assertIn("Editor", getSecurityManager().getUser().getRoles())


class TestJobs(base.AsyncTestCase):
    def setUp(self):
        super().setUp()
        work.happened.clear()
        self.addCleanup(work.happened.clear)

    def test_a_job_that_commits_itself_may_answer_with_another_jobs_result(self):
        job = self.async_.queueJobInQueueWithDelay(
            None, None, "", (), commit_and_queue_another, self.folder
        )
        transaction.commit()
        self.assertEqual(42, wait_for_result(job))
        self.assertEqual("committed by the job itself", self.folder.title)

    def test_a_callback_that_dooms_its_transaction_is_run_again(self):
        job = self.async_.queueJob(work.add_page, self.folder, "page")
        job.addCallback(doom_once)
        transaction.commit()
        self.assertEqual("page", wait_for_result(job))
        self.assertEqual(["page", "page"], work.happened)
        self.assertIn("page", self.folder)


class TestBrowser(base.FunctionalAsyncTestCase):
    def setUp(self):
        super().setUp()
        registry = getGlobalSiteManager()
        where = (Interface, IDefaultBrowserLayer), Interface, "queue-page"
        registry.registerAdapter(QueuePage, *where)
        self.addCleanup(registry.unregisterAdapter, QueuePage, *where)

    def test_what_a_page_queues_is_done_and_then_seen_in_the_browser(self):
        browser = self.getBrowser()
        browser.post(f"{self.folder.absolute_url()}/@@queue-page", "name=posted")
        job = self.async_.getJobInfo(browser.contents)
        self.assertEqual("/plone/test-folder", job.context)
        self.wait_until(lambda: "posted" in self.folder)
        browser.open(f"{self.folder.absolute_url()}/posted")
        self.assertIn("posted", browser.contents)

    def test_an_anonymous_browser_does_not_see_private_pages(self):
        browser = self.getBrowser(loggedIn=False)
        browser.handleErrors = True
        browser.open(self.folder.absolute_url())
        self.assertIn("/login?came_from=", browser.url)

    def wait_until(self, condition):
        wait_until(condition, "the job", 30, transaction.begin)


class TestServer(base.SiteMixin, unittest.TestCase):
    layer = testing.PLONE_APP_ASYNC_SELENIUM_TESTING

    def test_a_browser_outside_of_the_test_sees_what_a_job_did(self):
        job = self.async_.queueJob(work.add_page, self.folder, "served")
        transaction.commit()
        wait_for_result(job)
        url = f"http://{self.layer['host']}:{self.layer['port']}/plone/test-folder"
        name, password = testing.TEST_USER_NAME, testing.TEST_USER_PASSWORD
        answer = requests.get(f"{url}/served", auth=(name, password), timeout=60)
        self.assertEqual(200, answer.status_code)
        self.assertIn("served", answer.text)


class TestLifeCycle(unittest.TestCase):
    """Sets up layers of an add-on by hand, as a test runner does."""

    layer = testing.COLLECTIVE_CLOCKWORK_WORKER_FIXTURE

    def make(self, kind=testing.FunctionalTesting, *bases, name="AddOn:Functional"):
        layer = kind(bases=bases or (self.layer,), name=name, module=__name__)
        layer.setUp()
        self.addCleanup(layer.tearDown)
        return layer

    def test_nothing_is_left_after_a_test(self):
        threads = set(threading.enumerate())
        layer = self.make()
        layer.testSetUp()
        self.assertGreater(set(threading.enumerate()), threads)
        layer.testTearDown()
        self.assertIsNone(queryUtility(IAsyncDatabase))
        self.assertIsNone(dispatcher.get(testing._dispatcher_uuid))
        self.assertEqual(threads, set(threading.enumerate()))

    def test_no_test_sees_what_another_one_did(self):
        layer = self.make()
        for _number in range(2):
            layer.testSetUp()
            try:
                folder = layer["test-folder"]
                self.assertEqual([], folder.objectIds())
                service = getUtility(IAsyncService)
                self.assertEqual(0, len(service.getQueues()[""]))
                job = service.queueJob(work.add_page, folder, "page")
                transaction.commit()
                self.assertEqual("page", wait_for_result(job))
            finally:
                layer.testTearDown()

    def test_a_layer_on_such_a_layer_has_the_same_worker(self):
        below = self.make()
        above = self.make(testing.FunctionalTesting, below, name="AddOn:Selenium")
        below.testSetUp()
        above.testSetUp()
        try:
            worker = dispatcher.get(testing._dispatcher_uuid)
            self.assertIs(above["zodbDB"].databases["async"], worker.db)
            self.assertEqual("test-folder", above["test-folder"].getId())
        finally:
            above.testTearDown()
            self.assertTrue(worker.activated)
            below.testTearDown()
        self.assertFalse(worker.activated)

    def test_a_layer_may_add_to_what_is_set_up(self):
        class Mixin(testing.LayerMixin):
            def testSetUp(self):
                testing.LayerMixin.testSetUp(self)
                self["test-folder"].title = "of the add-on"
                transaction.commit()

        class AddOnTesting(Mixin, testing.IntegrationTesting):
            def testSetUp(self):
                testing.IntegrationTesting.testSetUp(self)
                Mixin.testSetUp(self)

        layer = self.make(AddOnTesting)
        layer.testSetUp()
        try:
            self.assertEqual("of the add-on", layer["test-folder"].title)
        finally:
            layer.testTearDown()


class TestOldNames(unittest.TestCase):
    def test_layers_that_have_a_worker_and_fixtures_are_registered(self):
        testing.registerAsyncLayers(testing.PLONE_APP_ASYNC_SELENIUM_TESTING)
        testing.registerAsyncLayers(
            [
                testing.PLONE_APP_ASYNC_FIXTURE,
                testing.PLONE_APP_ASYNC_INTEGRATION_TESTING,
                testing.PLONE_APP_ASYNC_FUNCTIONAL_TESTING,
            ]
        )

    def test_a_layer_without_a_worker_is_refused_with_the_class_to_use(self):
        layer = plone_testing.FunctionalTesting(
            bases=(testing.PLONE_APP_ASYNC_FIXTURE,), name="AddOn:Plain"
        )
        with self.assertRaises(TypeError) as caught:
            testing.registerAsyncLayers([layer])
        text = str(caught.exception)
        self.assertIn("'AddOn:Plain'", text)
        self.assertIn("the FunctionalTesting of collective.clockwork.testing", text)

    def test_a_second_database_of_the_name_is_refused(self):
        class Main:
            database_name = "main"
            databases = {"async": object()}

        with self.assertRaisesRegex(ValueError, "'main' has a database 'async'"):
            testing.createAsyncDB(Main())
