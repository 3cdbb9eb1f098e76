"""What a job finds around it: address, language, layers, skin, and plone.api."""

from __future__ import annotations

from collective.clockwork.sitejob import SiteJob
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone import worldwork
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from five.localsitemanager.registry import PersistentComponents
from OFS.SimpleItem import SimpleItem
from plone import api
from plone.app.testing import logout
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_PASSWORD
from plone.testing.zope import Browser
from Products.CMFCore.Skinnable import SKINDATA
from Products.Five.component import enableSite
from Products.Five.component.interfaces import IObjectManagerSite
from Products.SiteAccess.VirtualHostMonster import manage_addVirtualHostMonster
from zope.component import getGlobalSiteManager
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.configuration import xmlconfig
from zope.globalrequest import getRequest
from zope.globalrequest import setRequest
from zope.i18n.interfaces import ITranslationDomain
from zope.i18n.simpletranslationdomain import SimpleTranslationDomain
from zope.interface import Interface
from zope.publisher.interfaces import IEndRequestEvent
from zope.publisher.interfaces.browser import IDefaultBrowserLayer

import _thread
import Products.Five
import transaction


PAGE = """\
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:browser="http://namespaces.zope.org/browser"
    >
  <browser:page
      name="queue-a-visit"
      for="*"
      class="collective.clockwork.tests.plone.worldwork.QueueView"
      permission="zope2.View"
      />
</configure>
"""

GREETINGS = {("en", "greeting"): "Hello", ("de", "greeting"): "Guten Tag"}

#: As a web server in front of Zope asks for it.
PUBLIC = "VirtualHostBase/https/www.example.org:443/plone/VirtualHostRoot"


class VisitTestCase(ServiceTestCase):
    """A site in two languages, with a page that queues a job."""

    def setUp(self):
        super().setUp()
        registry = api.portal.get_tool("portal_registry")
        registry["plone.available_languages"] = ["en", "de"]
        registry["plone.use_cookie_negotiation"] = True
        manage_addVirtualHostMonster(self.layer["app"], "virtual_hosting")
        domain = SimpleTranslationDomain("clockwork.tests", GREETINGS)
        site_manager = getGlobalSiteManager()
        site_manager.registerUtility(domain, ITranslationDomain, domain.domain)
        self.addCleanup(
            site_manager.unregisterUtility, domain, ITranslationDomain, domain.domain
        )
        page = (None, (Interface, IDefaultBrowserLayer), Interface, "queue-a-visit")
        # Else it would be registered, and stored, in the site.
        setSite(None)
        xmlconfig.string(PAGE, xmlconfig.file("meta.zcml", Products.Five))
        setSite(self.portal)
        self.addCleanup(site_manager.unregisterAdapter, *page)
        transaction.commit()

    def queue_by_browser(self, path, **cookies):
        """Visit the page that queues, as the test user; returns the job."""
        browser = Browser(self.layer["app"])
        browser.handleErrors = False
        browser.addHeader(
            "Authorization", f"Basic {TEST_USER_NAME}:{TEST_USER_PASSWORD}"
        )
        for name, value in cookies.items():
            browser.addHeader("Cookie", f"{name}={value}")
        browser.open(f"http://localhost/{path}/@@queue-a-visit?secret=form")
        transaction.begin()
        oid = int(browser.contents)
        (job,) = [j for j in self.service.getQueues()[""] if j.id == str(oid)]
        return job

    def visit(self, path, **cookies):
        return self.run_job(self.queue_by_browser(path, **cookies))


class TestTheAddress(VisitTestCase):
    def test_a_job_makes_the_public_urls_of_the_request_that_queued_it(self):
        visit = self.visit(f"{PUBLIC}/folder")
        self.assertEqual("https://www.example.org/folder", visit["url"])
        self.assertEqual("https://www.example.org", visit["portal"])
        self.assertEqual("/folder", visit["path"])
        self.assertEqual("/plone/folder", visit["from url"])
        self.assertEqual((visit["url"], visit["url"]), visit["request url"])

    def test_parts_of_the_path_that_the_web_server_adds_are_kept(self):
        visit = self.visit(f"{PUBLIC}/_vh_our/_vh_in%20tra/folder")
        self.assertEqual("https://www.example.org/our/in%20tra/folder", visit["url"])
        self.assertEqual("/our/in%20tra/folder", visit["path"])

    def test_a_root_above_or_below_the_site_is_kept(self):
        above = "VirtualHostBase/http/localhost:8080/VirtualHostRoot/plone/folder"
        self.assertEqual("http://localhost:8080/plone/folder", self.visit(above)["url"])
        below = "VirtualHostBase/http/folder.example.org/plone/folder/VirtualHostRoot"
        self.assertEqual("http://folder.example.org", self.visit(below)["url"])

    def test_without_a_virtual_host_the_path_of_the_site_is_used(self):
        visit = self.visit("plone/folder")
        self.assertEqual("http://localhost/plone/folder", visit["url"])
        self.assertEqual(["folder", "plone", ""], visit["parents"])

    def test_a_job_of_a_script_has_the_path_of_the_site_too(self):
        setRequest(None)
        job = self.service.queueJob(worldwork.describe_visit, self.folder)
        visit = self.run_job(job)
        self.assertEqual("http://localhost/plone/folder", visit["url"])
        self.assertEqual("en", visit["language"])

    def test_a_renamed_site_keeps_its_public_address(self):
        inside = f"{PUBLIC}/folder"
        below = "VirtualHostBase/http/folder.example.org/plone/folder/VirtualHostRoot"
        first, second = map(self.queue_by_browser, (inside, below))
        self.login_as_site_owner()
        self.layer["app"].manage_renameObject("plone", "renamed")
        self.addCleanup(self.rename_back)
        drain()
        self.assertEqual("https://www.example.org/folder", first.result["url"])
        self.assertEqual("/renamed/folder", first.result["from url"])
        self.assertEqual("http://folder.example.org", second.result["url"])

    def rename_back(self):
        self.layer["app"].manage_renameObject("renamed", "plone")
        transaction.commit()

    def test_a_callback_has_the_address_and_language_of_its_job(self):
        job = self.queue_by_browser(f"{PUBLIC}/folder", I18N_LANGUAGE="de")
        job.addCallback(worldwork.note_visit)
        drain()
        self.assertEqual([("https://www.example.org", "de")], work.happened)

    def test_a_job_that_a_job_queues_has_its_address_and_language(self):
        request = getRequest()
        request["SERVER_URL"] = "https://www.example.org"
        request["LANGUAGE"] = "de"
        job = self.service.queueJob(worldwork.queue_a_visit, self.folder)
        visit = self.run_job(job)
        self.assertEqual("https://www.example.org/plone/folder", visit["url"])
        self.assertEqual("de", visit["language"])

    def test_what_is_no_address_is_not_stored(self):
        request = getRequest()
        for url in (
            "http://anna:password@example.org",
            "http://example.org/?token=secret",
            f"http://{'a' * 300}",
            "javascript:alert(1)",
            "",
        ):
            with self.subTest(url=url):
                request["SERVER_URL"] = url
                job = SiteJob(work.add_numbers)
                job.belong_to(self.portal)
                self.assertIsNone(job.virtual_url)

    def test_addresses_of_all_kinds_are_stored(self):
        request = getRequest()
        for url in (
            "http://localhost:8080",
            "https://xn--mller-kva.example.org",
            "http://[::1]:8080",
            "http://my_host",
            "http://127.0.0.1",
        ):
            with self.subTest(url=url):
                request["SERVER_URL"] = url
                job = self.service.queueJob(worldwork.describe_visit, self.folder)
                self.assertEqual(f"{url}/plone/folder", self.run_job(job)["url"])


class TestTheLanguage(VisitTestCase):
    def test_a_job_speaks_the_language_of_the_user_who_queued_it(self):
        visit = self.visit("plone/folder", I18N_LANGUAGE="de")
        self.assertEqual("de", visit["language"])
        self.assertEqual("Guten Tag", visit["greeting"])
        self.assertEqual("de", visit["locale"])

    def test_a_job_of_a_user_without_preference_speaks_the_sites_language(self):
        visit = self.visit("plone/folder")
        self.assertEqual("en", visit["language"])
        self.assertEqual("Hello", visit["greeting"])
        self.assertEqual("en", visit["locale"])

    def test_a_language_that_the_site_gave_up_gives_way_to_its_default(self):
        job = self.queue_by_browser("plone/folder", I18N_LANGUAGE="de")
        registry = api.portal.get_tool("portal_registry")
        registry["plone.available_languages"] = ["en"]
        self.assertEqual("en", self.run_job(job)["language"])

    def test_what_is_no_language_is_not_stored(self):
        request = getRequest()
        for language in ("../../etc", "d" * 40, "", b"de", None):
            with self.subTest(language=language):
                request["LANGUAGE"] = language
                job = SiteJob(work.add_numbers)
                job.belong_to(self.portal)
                self.assertIsNone(job.language)

    def test_what_the_browser_sends_is_no_language(self):
        request = getRequest()
        request.other.pop("LANGUAGE", None)
        request.form["LANGUAGE"] = "de"
        job = SiteJob(work.add_numbers)
        job.belong_to(self.portal)
        self.assertIsNone(job.language)


class TestWhatIsStored(VisitTestCase):
    def record_of(self, job):
        return self.portal._p_jar.db().storage.load(job._p_oid)[0]

    def test_both_cost_few_bytes_and_a_record_without_them_runs(self):
        with_both = self.queue_by_browser(f"{PUBLIC}/folder", I18N_LANGUAGE="de")
        setRequest(None)
        without = self.service.queueJob(worldwork.describe_visit, self.folder)
        transaction.commit()
        stored = self.record_of(without)
        self.assertLess(len(self.record_of(with_both)) - len(stored), 100)
        for name in (b"language", b"virtual_url", b"virtual_root"):
            self.assertNotIn(name, stored)
        visit = self.run_job(without)
        self.assertEqual("http://localhost/plone/folder", visit["url"])

    def test_nothing_else_of_the_request_is_stored(self):
        job = self.queue_by_browser(f"{PUBLIC}/folder", __ac="secret", other="secret")
        record = self.record_of(job)
        self.assertIn(b"www.example.org", record)
        for secret in (b"secret", b"__ac", b"Basic", TEST_USER_PASSWORD.encode()):
            self.assertNotIn(secret, record)

    def test_a_job_finds_nothing_else_of_that_request(self):
        visit = self.visit("plone/folder", __ac="secret", other="secret")
        # The theme is what puts the second there.
        headers = ["HTTP_ACCEPT_LANGUAGE", "HTTP_X_THEME_ENABLED"]
        self.assertEqual(headers, visit["headers"])
        self.assertEqual({}, visit["cookies"])
        self.assertEqual({}, visit["form"])


class Banner(SimpleItem):
    """Something in a skin."""

    title = "from the skin"


class TestLayersAndSkin(ServiceTestCase):
    def test_a_job_finds_what_the_skin_of_its_site_has(self):
        self.portal.portal_skins.custom._setObject("banner", Banner())
        self.assertEqual("from the skin", self.result_of(worldwork.note_skin))

    def test_a_job_has_its_own_skin_and_leaves_the_thread_the_one_it_had(self):
        self.portal.portal_skins.custom._setObject("banner", Banner())
        skin = (object(), "another skin", {}, {})
        SKINDATA[_thread.get_ident()] = skin
        self.assertEqual("from the skin", self.result_of(worldwork.note_skin))
        self.assertIs(skin, SKINDATA[_thread.get_ident()])
        self.portal.clearCurrentSkin()
        self.result_of(worldwork.note_skin)
        self.assertNotIn(_thread.get_ident(), SKINDATA)

    def test_layers_of_the_theme_stand_before_zopes_own(self):
        layers = self.result_of(work.describe_world)["layers"]
        self.assertIn("IThemingLayer", layers)
        self.assertLess(
            layers.index("IThemingLayer"), layers.index("IDefaultBrowserLayer")
        )


class TestSitesInsideTheSite(ServiceTestCase):
    def test_a_job_finds_what_is_registered_in_the_site_nearest_to_its_context(self):
        enableSite(self.folder, iface=IObjectManagerSite)
        components = PersistentComponents("++etc++site")
        components.__parent__ = self.folder
        self.folder.setSiteManager(components)
        components.registerUtility(Banner(), Interface, "clockwork.tests.banner")
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        page = api.content.create(self.folder, "Document", "page")
        inside = self.service.queueJob(worldwork.find_banner, page)
        outside = self.service.queueJob(worldwork.find_banner, self.portal)
        drain()
        self.assertEqual(("folder", "plone", "from the skin"), inside.result)
        self.assertEqual(("plone", "plone", None), outside.result)


class TestChecks(ServiceTestCase):
    def test_zope_security_asks_for_the_rights_of_the_jobs_user(self):
        self.assertTrue(self.result_of(worldwork.may_view))
        logout()
        job = self.service.queueJob(worldwork.may_view, self.folder)
        self.login_as_test_user()
        self.assertFalse(self.run_job(job))

    def test_the_thread_is_put_back_even_if_the_end_of_the_request_fails(self):
        request, site = getRequest(), getSite()
        registry = getGlobalSiteManager()
        registry.registerHandler(worldwork.refuse_the_end, [IEndRequestEvent])
        try:
            self.result_of(worldwork.may_view)
        finally:
            registry.unregisterHandler(worldwork.refuse_the_end, [IEndRequestEvent])
        self.assertEqual(["refused"], work.happened)
        self.assertIs(request, getRequest())
        self.assertIs(site, getSite())
        self.assertEqual(TEST_USER_ID, api.user.get_current().getId())

    def test_plone_api_works_in_a_job(self):
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        api.user.create("anna@example.org", "anna", "a password 123")
        self.assertEqual(
            {
                "state": "published",
                "url": "http://nohost/plone/folder/renamed",
                "found": ["renamed"],
                "user": TEST_USER_ID,
                "anonymous": False,
                "permission": True,
                "roles": ["Reader"],
                "subrequest": 200,
                "rendered": True,
            },
            self.result_of(worldwork.use_api),
        )
        self.assertIn("anna", api.group.get("Reviewers").getGroupMemberIds())
