"""Restricted code, and the addresses of pages: neither leads to the service.

What a manager types into the browser (Script (Python), page templates) is restricted.
Whoever could reach the service from there could have any function called.
"""

from __future__ import annotations

from collective.clockwork.job import Job
from collective.clockwork.tests.plone import backgroundwork
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.pages import our_pages
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.app.testing import TEST_USER_ID
from plone.testing.zope import Browser
from Products.Five.browser import BrowserView
from Products.PageTemplates.ZopePageTemplate import ZopePageTemplate
from Products.PythonScripts.PythonScript import PythonScript
from zExceptions import Unauthorized
from zope.component import getMultiAdapter
from zope.location.interfaces import LocationError
from zope.publisher.interfaces import NotFound

import transaction
import zExceptions


#: Lines of a script, each of which would be a way to the service.
SCRIPTS = (
    "from collective.clockwork import queue",
    "from collective.clockwork import background",
    "from collective.clockwork.job import Job",
    "from collective.clockwork.interfaces import IAsyncService",
    "from collective.clockwork.service import AsyncService",
    "from collective.clockwork.sitejob import ServiceJob",
    "from collective.clockwork.engine.job import Job",
    "from collective.clockwork.tasks.offer import start",
    "import collective.clockwork.engine",
    "from zope.component import getUtility",
    "return container.getSiteManager().queryUtility",
    "return container.getSiteManager().registeredUtilities",
    "return container.restrictedTraverse('@@background-jobs').service",
    "return container.restrictedTraverse('@@background-jobs/service')",
    "return container.restrictedTraverse('@@background-job').find_job",
    "return container.restrictedTraverse('@@background-tasks').objects",
    "return container.restrictedTraverse('@@jobs.json').service",
    "return getattr(container, 'getSiteManager')().utilities",
)

#: Expressions of a page template, likewise.
EXPRESSIONS = (
    "modules/collective.clockwork/queue",
    "modules/collective.clockwork.interfaces/IAsyncService",
    "modules/zope.component/getUtility",
    "context/@@background-jobs/service",
    "context/@@background-jobs/service/countJobs",
    "context/@@background-tasks/objects",
    "context/getSiteManager/queryUtility",
    "python: context.getSiteManager().queryUtility",
    "python: context.restrictedTraverse('@@background-jobs').service",
)

#: What trusted code might pass to restricted code, and what that must not use.
HANDED_OVER = {
    "service": ("queueJob", "getQueues", "findJobs", "cancelJob", "using"),
    "using": ("queueJob", "using"),
    "queue": ("put", "quotas", "dispatchers"),
    "job": ("cancel", "args", "user_id", "result", "addCallback"),
    "description": ("func", "args"),
    "info": ("arguments", "traceback"),
    "function": ("queue", "schedule", "using"),
    "job_class": ("bind", "invoke"),
}


class RestrictedTestCase(ServiceTestCase):
    """The test user is a Manager of the site, who may add scripts."""

    def setUp(self):
        super().setUp()
        setRoles(self.portal, TEST_USER_ID, ["Manager"])

    def script(self, body, params=""):
        script = PythonScript("attack")
        script.ZPythonScript_edit(params, body)
        return script.__of__(self.portal)

    def template(self, expression):
        template = ZopePageTemplate("attack")
        template.pt_edit(f'<p tal:content="{expression}" />', "text/html")
        return template.__of__(self.portal)


class TestScripts(RestrictedTestCase):
    def test_a_script_works_as_such(self):
        self.assertEqual("plone", self.script("return container.getId()")())

    def test_no_script_reaches_the_service(self):
        for line in SCRIPTS:
            with self.subTest(line), self.assertRaises(Unauthorized):
                self.script(line)()

    def test_private_names_do_not_compile(self):
        for name in ("_p_jar", "__class__", "_queues_as_they_are"):
            with self.subTest(name), self.assertRaisesRegex(RuntimeError, "errors"):
                self.script(f"return container.{name}")()

    def test_what_trusted_code_hands_over_is_of_no_use(self):
        job = self.service.queueJob(work.note, self.folder, "hers")
        transaction.commit()
        things = {
            "service": self.service,
            "using": self.service.using(),
            "queue": self.service.getQueues()[""],
            "job": job,
            "description": self.service.makeJob(work.note, self.folder),
            "info": self.service.getJobInfo(job.id),
            "function": backgroundwork.plain,
            "job_class": Job,
        }
        for kind, names in HANDED_OVER.items():
            for name in names:
                with self.subTest(f"{kind}.{name}"):
                    self.assertTrue(hasattr(things[kind], name))
                    with self.assertRaises(Unauthorized):
                        self.script(f"return thing.{name}", "thing")(things[kind])

    def test_a_script_of_an_editor_that_a_manager_runs_gets_no_page_of_jobs(self):
        line = "return container.restrictedTraverse('@@background-jobs')()"
        script = self.script(line)
        self.assertIn("background-jobs", script())
        api.user.create("eve@example.org", "eve", "correct-horse", ["Editor"])
        eve = self.portal.acl_users.getUserById("eve")
        script.changeOwnership(eve)
        with self.assertRaises(Unauthorized):
            script()


class TestTemplates(RestrictedTestCase):
    def test_a_template_works_as_such(self):
        self.assertIn("plone", self.template("context/getId")())

    def test_no_template_reaches_the_service(self):
        for expression in EXPRESSIONS:
            with (
                self.subTest(expression),
                self.assertRaises((Unauthorized, zExceptions.NotFound, LocationError)),
            ):
                self.template(expression)()


class TestAddresses(RestrictedTestCase):
    def test_nothing_inside_of_a_page_has_an_address(self):
        request = self.layer["request"]
        pages = [page for page in our_pages() if page.context.providedBy(self.portal)]
        self.assertGreater(len(pages), 15)
        for page in pages:
            view = getMultiAdapter((self.portal, request), name=page.name)
            own = set(dir(type(view))) - set(dir(BrowserView))
            self.assertTrue(own)
            for name in own:
                with self.subTest(page=page.name, name=name):
                    with self.assertRaises(NotFound):
                        view.publishTraverse(request, name)

    def test_a_manager_cannot_call_the_service_by_its_address(self):
        job = self.service.queueJob(work.note, self.folder, "hers")
        transaction.commit()
        browser = Browser(self.layer["app"])
        browser.handleErrors = True
        browser.raiseHttpErrors = False
        credentials = f"Basic {SITE_OWNER_NAME}:{SITE_OWNER_PASSWORD}"
        browser.addHeader("Authorization", credentials)
        for path in (
            "@@background-jobs/service/findJobs",
            f"@@background-jobs/service/cancelJob?id={job.id}",
            f"@@background-job/service/getJob?id={job.id}",
            "@@jobs.json/read_parameters",
        ):
            with self.subTest(path):
                browser.open(f"{self.portal.absolute_url()}/{path}")
                self.assertTrue(browser.headers["Status"].startswith("404"))
        transaction.begin()
        self.assertEqual("queued", self.service.getJobInfo(job.id).status)
