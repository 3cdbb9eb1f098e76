"""What must not be stored with a job: refused, with the argument and the remedy."""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl.users import system
from collective.clockwork.tests.plone import content
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import add_site
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from persistent.mapping import PersistentMapping
from plone import api
from plone.dexterity.utils import createContent
from tempfile import TemporaryFile
from zope.component.hooks import setSite


class RefusalTestCase(ServiceTestCase):
    def tearDown(self):
        # Whatever was refused, a later commit must not store it.
        self.assertEqual(0, self.stored_jobs())

    def assert_refused(self, message, value):
        """As an argument, in a list in a dict, and in an attribute."""
        note = content.Note("news", value)
        for refused in (value, {"values": [1, value]}, note):
            with self.assertRaisesRegex(
                TypeError, rf"^argument 'word' \(\w+\) (is|holds) {message}"
            ):
                self.service.queueJob(work.note, self.folder, word=refused)


class TestThingsOfARequest(RefusalTestCase):
    def test_a_brain_is_refused(self):
        brain = api.content.find(self.portal, portal_type="Folder")[0]
        self.assert_refused("a catalog brain.*pass its UID or path", brain)

    def test_a_request_is_refused(self):
        self.assert_refused("a request: pass the values", self.layer["request"])

    def test_a_response_is_refused(self):
        self.assert_refused("a response", self.layer["request"].response)

    def test_a_view_is_refused(self):
        view = api.content.get_view("plone", self.folder, self.layer["request"])
        self.assert_refused("a view: pass its context", view)

    def test_a_generator_is_refused(self):
        self.assert_refused("a generator: pass a list", (x for x in "abc"))

    def test_a_coroutine_is_refused(self):
        coroutine = work.add_page_soon(self.folder, "news")
        self.addCleanup(coroutine.close)
        self.assert_refused("a coroutine that was not awaited", coroutine)

    def test_an_open_file_is_refused(self):
        with TemporaryFile() as opened:
            self.assert_refused("an open file: pass what is in it", opened)


class TestWhatBelongsToAUser(RefusalTestCase):
    def test_a_user_is_refused(self):
        self.assert_refused("a user: pass her id", api.user.get_current().getUser())

    def test_a_member_is_refused(self):
        self.assert_refused("a member: pass her id", api.user.get_current())

    def test_the_system_user_is_refused(self):
        self.assert_refused("a user: pass her id", system)

    def test_a_security_manager_is_refused(self):
        self.assert_refused("a security manager", getSecurityManager())


class TestContent(RefusalTestCase):
    def test_an_object_that_was_never_added_is_refused(self):
        page = createContent("Document", id="loose")
        self.assert_refused("an object of the site that is not found", page)

    def test_an_object_that_was_only_wrapped_is_refused(self):
        page = createContent("Document", id="loose").__of__(self.folder)
        self.assert_refused("an object of the site that is not found", page)

    def test_an_object_that_was_deleted_is_refused(self):
        page = api.content.create(self.folder, "Document", "page")
        self.folder.manage_delObjects(["page"])
        self.assert_refused("an object of the site that is not found", page)

    def test_an_object_of_another_site_is_refused(self):
        other_site = add_site(self.layer["app"], "other")
        setSite(self.portal)
        self.assert_refused("an object of another site, '/other'", other_site)
        self.assert_refused(
            "an object of another site, '/other/portal_catalog'",
            other_site.portal_catalog,
        )

    def test_the_root_of_zope_is_refused(self):
        self.assert_refused("an object of another site", self.layer["app"])

    def test_content_inside_a_persistent_object_is_refused(self):
        page = api.content.create(self.folder, "Document", "page")
        mapping = PersistentMapping({"deeper": PersistentMapping(page=page.aq_base)})
        with self.assertRaisesRegex(
            TypeError, "argument 1 .* holds a PersistentMapping with an object"
        ):
            self.service.queueJob(work.note, self.folder, mapping)

    def test_a_request_inside_a_persistent_object_is_refused(self):
        mapping = PersistentMapping(request=self.layer["request"])
        with self.assertRaisesRegex(TypeError, "argument 1 .* holds a request"):
            self.service.queueJob(work.note, self.folder, mapping)
