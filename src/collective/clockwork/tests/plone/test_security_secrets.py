"""What a browser sends stays in its request: not in a record, and not in a log."""

from __future__ import annotations

from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.postbox import Postbox
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import TEST_USER_ID
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_PASSWORD
from plone.testing.zope import Browser
from urllib.parse import urlencode
from zope.component import getGlobalSiteManager
from zope.component.hooks import setSite
from zope.configuration import xmlconfig
from zope.interface import Interface
from zope.publisher.interfaces.browser import IDefaultBrowserLayer

import base64
import Products.Five
import transaction


PAGE = """\
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:browser="http://namespaces.zope.org/browser"
    >
  <browser:page
      name="queue-all"
      for="*"
      class="collective.clockwork.tests.plone.securitywork.QueueAllView"
      permission="zope2.View"
      />
</configure>
"""

#: In the headers, the cookies, the form and the address of the request.
SECRET = "s3cr3t-of-the-browser"


class SecretsTestCase(ServiceTestCase):
    def setUp(self):
        super().setUp()
        page = (None, (Interface, IDefaultBrowserLayer), Interface, "queue-all")
        # Else it would be registered, and stored, in the site.
        setSite(None)
        xmlconfig.string(PAGE, xmlconfig.file("meta.zcml", Products.Five))
        setSite(self.portal)
        self.addCleanup(getGlobalSiteManager().unregisterAdapter, *page)
        transaction.commit()
        credentials = f"{TEST_USER_NAME}:{TEST_USER_PASSWORD}"
        self.secrets = (
            SECRET,
            TEST_USER_PASSWORD,
            base64.b64encode(credentials.encode()).decode(),
            base64.b64encode(SECRET.encode()).decode(),
        )

    def queue_by_browser(self):
        """Send the secret in every part of a request, which is answered by queueing."""
        browser = Browser(self.layer["app"])
        browser.handleErrors = False
        for name, value in (
            ("Authorization", f"Basic {TEST_USER_NAME}:{TEST_USER_PASSWORD}"),
            ("Cookie", f"__ac={SECRET}; session={SECRET}"),
            ("X-Api-Token", SECRET),
            ("X-Forwarded-For", SECRET),
            ("User-Agent", SECRET),
            ("Referer", f"http://nohost/?token={SECRET}"),
            ("Accept-Language", SECRET),
        ):
            browser.addHeader(name, value)
        form = urlencode({"password": SECRET, "_authenticator": SECRET})
        browser.open(f"http://nohost/plone/folder/@@queue-all?token={SECRET}", form)
        self.assertEqual("queued", browser.contents)
        transaction.begin()

    def records(self):
        """Everything that was written since the layer was set up, as text."""
        for txn in self.layer["zodbDB"].storage.changes.iterator():
            yield repr((txn.user, txn.description, txn.extension))
            for record in txn:
                yield (record.data or b"").decode("latin-1")

    def assert_no_secret(self, texts):
        for secret in self.secrets:
            for text in texts:
                self.assertNotIn(secret, text)


class TestRecords(SecretsTestCase):
    def written(self):
        return [record for record in self.records() if record not in self.before]

    def setUp(self):
        super().setUp()
        self.before = set(self.records())

    def test_no_record_has_a_header_a_cookie_a_form_or_a_password_in_it(self):
        self.queue_by_browser()
        queued = self.written()
        self.assertTrue(any("marked-argument" in record for record in queued))
        self.assert_no_secret(queued)
        drain()
        ended = self.written()
        self.assertTrue(any("marked-failure" in record for record in ended))
        self.assert_no_secret(ended)

    def test_a_job_cannot_read_them_from_its_request(self):
        self.queue_by_browser()
        drain()
        (info,) = self.service.findJobs(
            function="collective.clockwork.tests.plone.securitywork.read_request"
        )
        self.assertEqual("completed", info.status)
        self.assertIn("SERVER_NAME", info.result)
        self.assert_no_secret([info.result])


class TestLogs(SecretsTestCase):
    def test_no_line_of_a_log_has_them_in_it(self):
        with self.assertLogs(level="DEBUG") as logged:
            self.queue_by_browser()
            drain()
        self.assertIn("marked-failure", "".join(logged.output))
        self.assert_no_secret(logged.output)

    def test_a_traceback_has_no_values_of_variables_in_it(self):
        job = self.service.queueJob(fail_with_variable, self.folder)
        with self.assertLogs("collective.clockwork", "INFO") as logged:
            drain()
        info = self.service.getJobInfo(job.id)
        self.assertIn("in fail_with_variable", info.traceback)
        for text in (info.traceback, *logged.output):
            self.assertNotIn("value-value", text)


class TestYourOwnSecrets(ServiceTestCase):
    def test_an_argument_is_stored_and_logged_with_a_failure(self):
        job = self.service.queueJob(work.fail, self.folder, SECRET)
        transaction.commit()
        record = self.portal._p_jar.db().storage.load(job._p_oid)[0]
        self.assertIn(SECRET.encode(), record)
        with self.assertLogs("collective.clockwork") as logged:
            drain()
        self.assertIn(SECRET, "".join(logged.output))


class TestMail(SecretsTestCase):
    def setUp(self):
        super().setUp()
        self.postbox = self.enterContext(Postbox())
        registry = api.portal.get_tool("portal_registry")
        registry["plone.smtp_host"] = "127.0.0.1"
        registry["plone.smtp_port"] = self.postbox.port
        registry["plone.email_from_address"] = "site@example.org"
        user = api.user.get(TEST_USER_ID)
        user.setMemberProperties({"email": "editor@example.org"})
        transaction.commit()

    def test_it_has_neither_arguments_nor_results_nor_tracebacks(self):
        using = self.service.using(notify="both")
        using.queueJob(work.note, self.folder, "marked-argument")
        using.queueJob(work.fail, self.folder, "marked-failure")
        drain()
        letters = self.postbox.letters
        self.assertEqual(["Done: note", "Failed: fail"], self.postbox.subjects)
        for letter in letters:
            text = letter.get_payload(decode=True).decode()
            self.assertIn("background-job", text)
            self.assertNotIn("marked", text)
            self.assertNotIn("Traceback", text)

    def test_no_title_adds_a_header_or_ends_them(self):
        title = "x\r\nBcc: all@example.org\r\n\r\n<script>alert(1)</script>"
        using = self.service.using(notify="done", title=title)
        using.queueJob(work.note, self.folder, "x")
        drain()
        (letter,) = self.postbox.letters
        self.assertIsNone(letter["Bcc"])
        self.assertEqual("editor@example.org", letter["To"])
        self.assertEqual("text/plain", letter.get_content_type())
        self.assertIn("Bcc: all@example.org", self.postbox.subjects[0])


def fail_with_variable(context):
    variable = "value-" * 3
    raise RuntimeError(f"{len(variable)} characters")
