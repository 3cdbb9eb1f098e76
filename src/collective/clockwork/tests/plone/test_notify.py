"""Mail to a user whose job has ended: to a real server, in her words, if she asked."""

from __future__ import annotations

from collective.clockwork.decorator import background
from collective.clockwork.engine import local
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.job import isFailure
from collective.clockwork.tasks import offer
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.postbox import Postbox
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from email.header import decode_header
from email.header import make_header
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import TEST_USER_ID
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_PASSWORD
from plone.testing.zope import Browser
from zope.globalrequest import getRequest

import transaction


@background(notify="done")
def make_report(context, year):
    return year


def fail_the_first_time(context):
    """Fails unless it was retried by hand."""
    if not local.getJob().endings:
        raise RuntimeError("for the first time")


class NotifyTestCase(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.postbox = self.enterContext(Postbox())
        self.registry = api.portal.get_tool("portal_registry")
        self.registry["plone.smtp_host"] = "127.0.0.1"
        self.registry["plone.smtp_port"] = self.postbox.port
        self.registry["plone.email_from_address"] = "site@example.org"
        self.registry["plone.email_from_name"] = "The site"
        self.set_member(email="anna@example.org")
        transaction.commit()

    def set_member(self, **properties):
        member = self.portal.portal_membership.getMemberById(TEST_USER_ID)
        member.setMemberProperties(properties)

    def queue(self, func, *args, notify="both", **options):
        service = self.service.using(notify=notify, **options)
        return service.queueJob(func, self.folder, *args)

    def letter(self):
        (letter,) = self.postbox.letters
        return letter

    def subjects(self):
        found = self.postbox.subjects
        return [str(make_header(decode_header(subject))) for subject in found]

    def text(self):
        return self.letter().get_payload(decode=True).decode("utf-8")


class TestWhatIsAskedFor(NotifyTestCase):
    def run_both(self, notify):
        self.queue(work.add_numbers, 1, notify=notify, title="good")
        self.queue(work.fail, notify=notify, title="bad")
        drain()
        return sorted(self.subjects())

    def test_of_a_job_that_does_not_ask_nothing_is_sent(self):
        self.assertEqual([], self.run_both(None))

    def test_done_is_told(self):
        self.assertEqual(["Done: good"], self.run_both("done"))

    def test_failed_is_told(self):
        self.assertEqual(["Failed: bad"], self.run_both("failed"))

    def test_both_are_told(self):
        self.assertEqual(["Done: good", "Failed: bad"], self.run_both("both"))

    def test_a_decorated_function_can_ask(self):
        make_report.queue(self.folder, 2026)
        drain()
        self.assertEqual(["Done: make_report"], self.subjects())

    def test_the_example_of_the_documentation(self):
        names = {"service": self.service, "folder": self.folder}
        code = named_blocks("docs/setup.rst")["mail.py"]
        exec(code, {**names, "make_report": work.find_pages})
        drain()
        self.assertEqual(["Done: Yearly report"], self.subjects())

    def test_another_wish_is_refused(self):
        with self.assertRaisesRegex(
            OptionError, "notify is 'always'.*'done', 'failed'"
        ):
            self.service.using(notify="always")
        with self.assertRaisesRegex(OptionError, "notify is True"):
            self.service.using(notify=True)

    def test_a_job_that_does_not_ask_gets_no_callback(self):
        job = self.queue(work.add_numbers, 1, notify="failed")
        self.run_job(job)
        self.assertEqual((), job.callbacks)

    def test_a_job_that_was_stored_without_the_attribute_is_sent_no_mail_about(self):
        job = self.service.queueJob(work.add_numbers, self.folder, 1)
        self.assertNotIn("notify", job.__dict__)
        self.run_job(job)
        self.assertEqual([], self.subjects())

    def test_each_end_of_a_job_that_is_retried_is_told(self):
        job = self.queue(work.fail)
        drain()
        self.service.retryJob(job.id)
        drain()
        self.assertEqual(["Failed: fail", "Failed: fail"], self.subjects())
        self.assertEqual(1, len(job.callbacks))

    def test_a_retry_that_works_is_not_told_to_who_asked_for_failures(self):
        job = self.queue(fail_the_first_time, notify="failed")
        drain()
        self.service.retryJob(job.id)
        drain()
        self.assertFalse(isFailure(job.result))
        self.assertEqual(["Failed: fail_the_first_time"], self.subjects())

    def test_of_what_she_cancelled_herself_she_gets_no_mail(self):
        job = self.queue(work.note, "never")
        transaction.commit()
        self.service.cancelJob(job.id)
        drain()
        self.assertEqual([], self.subjects())

    def test_that_somebody_else_cancelled_it_is_told(self):
        job = self.queue(work.note, "never", notify="failed")
        transaction.commit()
        self.login_as_site_owner()
        self.service.cancelJob(job.id)
        self.login_as_test_user()
        drain()
        self.assertEqual(["Cancelled: note"], self.subjects())
        self.assertIn("The background job “note” was cancelled.", self.text())

    def test_of_a_batch_it_is_told_how_many_failed(self):
        make = self.service.makeJob
        self.service.using(notify="failed").queueSerialJobs(
            make(work.add_numbers, self.folder, 1), make(work.fail, self.folder)
        )
        drain()
        self.assertEqual(["Done with errors: Batch of 2 jobs"], self.subjects())
        self.assertIn("1 of its 2 parts have failed", self.text())


class TestTheMail(NotifyTestCase):
    def test_it_comes_from_the_site_and_goes_to_the_user(self):
        self.run_job(self.queue(work.add_numbers, 1))
        self.assertEqual("The site <site@example.org>", self.letter()["From"])
        self.assertEqual("anna@example.org", self.letter()["To"])

    def test_it_goes_to_the_address_that_she_has_by_then(self):
        self.queue(work.add_numbers, 1)
        transaction.commit()
        self.set_member(email="new@example.org")
        drain()
        self.assertEqual("new@example.org", self.letter()["To"])

    def test_it_says_what_it_is_about_and_how_it_ended(self):
        self.queue(work.fail, title="Größe: alle\nBilder")
        drain()
        self.assertEqual(["Failed: Größe: alle Bilder"], self.subjects())
        self.assertIn("job “Größe: alle Bilder” has failed.", self.text())

    def test_it_has_neither_arguments_nor_error_nor_traceback(self):
        self.queue(work.fail, "secret argument")
        drain()
        source = self.letter().as_string() + self.text()
        for word in ("secret", "RuntimeError", "Traceback", "work.py"):
            self.assertNotIn(word, source)

    def test_its_link_is_the_public_address_of_the_jobs_page(self):
        getRequest()["SERVER_URL"] = "https://www.example.org"
        job = self.queue(work.add_numbers, 1)
        self.run_job(job)
        page = f"https://www.example.org/plone/@@background-job?id={job.id}"
        self.assertIn(page, self.text().split())

    def test_of_a_ready_made_task_it_leads_to_the_report_in_words(self):
        check = offer.TASKS["links"]
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        job = offer.start(check, self.folder, notify="done")
        self.run_job(job)
        page = f"{self.portal.absolute_url()}/@@background-task?id={job.id}"
        self.assertIn(page, self.text().split())
        browser = self.browser_of(TEST_USER_NAME, TEST_USER_PASSWORD)
        browser.open(page)
        self.assertIn("background-task-counts", browser.contents)

    def test_its_link_leads_the_user_to_her_job(self):
        self.queue(work.add_numbers, 40, 2, title="Sums")
        drain()
        (page,) = (word for word in self.text().split() if "@@background-job" in word)
        browser = self.browser_of(TEST_USER_NAME, TEST_USER_PASSWORD)
        browser.open(page)
        self.assertIn("Sums", browser.contents)
        self.assertIn("42", browser.contents)
        self.assertNotIn("All background jobs", browser.contents)

    def test_its_link_shows_nothing_to_others(self):
        job = self.queue(work.add_numbers, 40, 2, title="Sums")
        self.run_job(job)
        self.portal.acl_users.userFolderAddUser(
            "other", "correct horse", ["Editor"], []
        )
        transaction.commit()
        page = f"{self.portal.absolute_url()}/@@background-job?id={job.id}"
        for credentials in (("other", "correct horse"), ()):
            with self.subTest(credentials=credentials):
                browser = self.browser_of(*credentials)
                browser.followRedirects = False
                browser.open(page)
                self.assertNotIn("Sums", str(browser.contents))
                status = browser.headers["Status"][:3]
                location = browser.headers.get("Location", "")
                self.assertTrue(status == "401" or "require_login" in location)

    def browser_of(self, name=None, password=None):
        browser = Browser(self.layer["app"])
        browser.handleErrors = True
        browser.raiseHttpErrors = False
        if name is not None:
            browser.addHeader("Authorization", f"Basic {name}:{password}")
        return browser

    def test_it_is_in_the_language_of_the_request(self):
        self.speak_german_too()
        job = self.queue(work.add_numbers, 1)
        job.language = "de"
        self.run_job(job)
        self.assertEqual(["Erledigt: add_numbers"], self.subjects())

    def test_it_is_in_the_language_of_her_preferences_first(self):
        self.speak_german_too()
        self.set_member(language="de")
        self.run_job(self.queue(work.add_numbers, 1))
        self.assertEqual(["Erledigt: add_numbers"], self.subjects())
        self.assertIn("Die Hintergrundaufgabe „add_numbers“ ist erledigt.", self.text())

    def speak_german_too(self):
        self.registry["plone.available_languages"] = ["en", "de"]

    def test_a_workers_thread_sends_it(self):
        self.queue(work.add_numbers, 1)
        transaction.commit()
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: self.postbox.letters)
        self.assertEqual(["Done: add_numbers"], self.subjects())

    def test_it_is_sent_once_though_the_job_conflicts(self):
        self.run_job(self.queue(work.conflict, 2))
        self.assertEqual(["Done: conflict"], self.subjects())


class TestWhatKeepsItFromBeingSent(NotifyTestCase):
    def assert_logged(self, job, reason):
        with self.assertLogs("collective.clockwork", "WARNING") as logs:
            drain()
        self.assertEqual("completed-status", job.status)
        (line,) = (text for text in logs.output if "No mail about job" in text)
        self.assertIn(f"job {job.id} is sent: {reason}", line)
        self.assertEqual([], self.postbox.letters)

    def test_a_user_without_an_address(self):
        self.set_member(email="")
        job = self.queue(work.add_numbers, 40, 2)
        self.assert_logged(job, f"the user '{TEST_USER_ID}' has no e-mail address")
        self.assertEqual(42, job.result)

    def test_an_address_that_would_be_more_than_one_or_another_header(self):
        for email in ("a@example.org,b@example.org", "a@example.org\nBcc: b@c.org"):
            with self.subTest(email=email):
                self.set_member(email=email)
                job = self.queue(work.add_numbers, 1)
                self.assert_logged(job, "the user")

    def test_a_user_who_is_gone(self):
        job = self.queue(work.add_numbers, 1)
        transaction.commit()
        self.portal.acl_users.userFolderDelUsers([TEST_USER_ID])
        self.assert_logged(job, f"there is no user '{TEST_USER_ID}'")

    def test_a_user_of_the_zope_root_without_an_address(self):
        self.login_as_site_owner()
        job = self.queue(work.add_numbers, 1)
        self.assert_logged(job, f"the user '{SITE_OWNER_NAME}' has no e-mail address")

    def test_a_site_without_mail_settings(self):
        self.registry["plone.smtp_host"] = None
        job = self.queue(work.add_numbers, 1)
        self.assert_logged(job, "the site's mail settings are incomplete")

    def test_a_mail_server_that_is_away_leaves_the_job_done(self):
        with Postbox() as closed:
            self.registry["plone.smtp_port"] = closed.port
        job = self.queue(work.add_numbers, 40, 2)
        with self.assertLogs("collective.clockwork.engine", "ERROR") as logs:
            self.run_job(job)
        self.assertFalse(isFailure(job.result))
        self.assertIn("ConnectionRefusedError", "\n".join(logs.output))
        self.assertEqual([], self.postbox.letters)
