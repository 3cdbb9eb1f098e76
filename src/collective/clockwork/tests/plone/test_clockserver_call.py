"""What one call of a clock is to the application, through the whole publisher."""

from __future__ import annotations

from base64 import b64decode
from collective.clockwork.clockcall import Answer
from collective.clockwork.clockcall import call
from collective.clockwork.clockcall import make_environ
from collective.clockwork.clocksection import ClockSection
from collective.clockwork.tests.plone.ticking import HTTPTestCase
from collective.clockwork.tests.plone.ticking import subscribed
from concurrent.futures import ThreadPoolExecutor
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from zExceptions import NotFound
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from ZPublisher.httpexceptions import HTTPExceptionHandler
from ZPublisher.interfaces import IPubAfterTraversal
from ZPublisher.interfaces import IPubStart

import socket
import transaction
import unittest


class EnvironTests(unittest.TestCase):
    def environ(self, method="/@@tick", **keys):
        return make_environ(ClockSection("tick", method, **keys))

    def test_a_call_looks_as_it_did_in_zserver(self):
        environ = self.environ("/Plone/@@tick", host="www.example.org:8080")
        expected = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/Plone/@@tick",
            "PATH_TRANSLATED": "/Plone/@@tick",
            "QUERY_STRING": "",
            "SERVER_NAME": "Zope Clock Server",
            "SERVER_PORT": "Clock",
            "SERVER_PROTOCOL": "HTTP/1.0",
            "SERVER_SOFTWARE": "Zope",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "REMOTE_ADDR": "0",
            "HTTP_ACCEPT": "text/html,text/plain",
            "HTTP_HOST": "www.example.org:8080",
            "HTTP_USER_AGENT": "Zope Clock Server Client",
        }
        self.assertEqual(expected, {key: environ[key] for key in expected})
        self.assertIn("channel.creation_time", environ)
        self.assertNotIn("HTTP_AUTHORIZATION", environ)
        self.assertNotIn("HTTP_COOKIE", environ)

    def test_without_a_host_it_is_the_name_of_the_machine(self):
        self.assertEqual(socket.gethostname(), self.environ()["HTTP_HOST"])

    def test_the_path_is_unquoted_and_the_query_is_not(self):
        environ = self.environ("/Plone/%C3%BCber%20uns/@@tick?a=%C3%A4&b=?")
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8")
        self.assertEqual("/Plone/über uns/@@tick", path)
        self.assertEqual("a=%C3%A4&b=?", environ["QUERY_STRING"])

    def test_long_credentials_stay_in_one_line(self):
        user, password = "u" * 100, "pä:" * 100
        environ = self.environ(user=user, password=password)
        kind, token = environ["HTTP_AUTHORIZATION"].split(" ")
        self.assertEqual("Basic", kind)
        self.assertEqual(f"{user}:{password}", b64decode(token, validate=True).decode())

    def test_each_call_has_an_environ_of_its_own(self):
        section = ClockSection("tick", "/@@tick")
        make_environ(section)["REMOTE_USER"] = "left behind"
        self.assertNotIn("REMOTE_USER", make_environ(section))


class Body:
    """A streamed answer."""

    def __init__(self, *parts):
        self.parts = parts
        self.read = []
        self.closed = False

    def __iter__(self):
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            self.read.append(part)
            yield part

    def close(self):
        self.closed = True


class AnswerTests(unittest.TestCase):
    def call(self, body, headers=()):
        def application(environ, start_response):
            start_response("200 OK", list(headers))
            return body

        return call(ClockSection("tick", "/@@tick"), application)

    def test_a_streamed_answer_is_read_to_its_end_and_closed(self):
        body = Body(b"one", b"two")
        self.assertEqual(Answer("200 OK"), self.call(body))
        self.assertEqual([b"one", b"two"], body.read)
        self.assertTrue(body.closed)

    def test_an_answer_that_breaks_is_closed(self):
        body = Body(b"one", OSError("broken"))
        with self.assertRaisesRegex(OSError, "broken"):
            self.call(body)
        self.assertTrue(body.closed)

    def test_only_2xx_is_a_success(self):
        for status, expected in (
            ("200 OK", True),
            ("204 No Content", True),
            ("302 Found", False),
            ("401 Unauthorized", False),
            ("500 Internal Server Error", False),
        ):
            self.assertIs(expected, Answer(status).is_success, status)

    def test_an_exception_for_which_there_is_no_view_is_an_answer(self):
        def raising(environ, start_response):
            raise NotFound("nothing here")

        section = ClockSection("tick", "/@@tick")
        answer = call(section, HTTPExceptionHandler(raising))
        self.assertEqual("404 Not Found", answer.status)


class PublisherTests(HTTPTestCase):
    """In a thread, as clocks call."""

    def call(self, method, user=SITE_OWNER_NAME, password=SITE_OWNER_PASSWORD, **keys):
        section = ClockSection("tick", method, user=user, password=password, **keys)
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(call, section).result()

    def seen(self, method, **keys):
        """What the application sees of a call that succeeds."""
        seen = []

        def look(event):
            request = event.request
            seen.append(
                {
                    "user": request["AUTHENTICATED_USER"].getUserName(),
                    "form": dict(request.form),
                    "url": request.URL,
                    "site": getSite() and getSite().absolute_url(),
                    "client": request.getClientAddr(),
                }
            )

        with subscribed(look, to=IPubAfterTraversal):
            self.assertEqual("200 OK", self.call(method, **keys).status)
        (first,) = seen
        return first

    def test_a_tick_is_sent_and_stored(self):
        self.assertEqual("200 OK", self.call("/plone/@@tick").status)
        self.assertIsNotNone(self.last_tick())

    def test_the_view_runs_as_the_user_with_the_form(self):
        seen = self.seen("/plone/@@tick?x=%C3%A4&y:int=3", host="localhost:8080")
        self.assertEqual(
            {
                "user": SITE_OWNER_NAME,
                "form": {"x": "ä", "y": 3},
                "url": "http://localhost:8080/plone/@@tick",
                "site": "http://localhost:8080/plone",
                "client": "0",
            },
            seen,
        )

    def test_a_query_that_is_not_quoted_arrives_as_it_is_written(self):
        self.assertEqual({"x": "ü€"}, self.seen("/plone/@@tick?x=ü€")["form"])

    def test_without_a_host_the_machine_is_in_the_urls(self):
        url = f"http://{socket.gethostname()}/plone"
        self.assertEqual(url, self.seen("/plone/@@tick")["site"])

    def test_virtual_hosting_works_with_https(self):
        public = "/VirtualHostBase/https/www.example.org:443/plone/VirtualHostRoot"
        seen = self.seen(f"{public}/_vh_intranet/@@tick")
        self.assertEqual("https://www.example.org/intranet", seen["site"])
        self.assertEqual("https://www.example.org/intranet/@@tick", seen["url"])

    def test_the_zope_root_can_be_called(self):
        self.assertIsNone(self.seen("/@@tick")["site"])
        self.assertIsNotNone(self.last_tick(path=None))

    def test_nobody_else_can_tick(self):
        for user, password in (
            (None, None),
            (SITE_OWNER_NAME, None),
            (SITE_OWNER_NAME, "wrong"),
        ):
            for method in ("/plone/@@tick", "/@@tick"):
                with self.subTest(method, user=user, password=password):
                    answer = self.call(method, user, password)
                    self.assertFalse(answer.is_success)
                    self.assertRegex(answer.status, "^(302|401) ")
        self.assertIsNone(self.last_tick())

    def test_an_unknown_path_is_not_found(self):
        self.assertEqual("404 Not Found", self.call("/plone/@@tock").status)

    def test_a_failed_commit_is_an_internal_server_error(self):
        def doom(event):
            transaction.doom()

        with subscribed(doom):
            answer = self.call("/plone/@@tick")
        self.assertEqual("500 Internal Server Error", answer.status)

    def test_what_a_view_writes_is_kept_without_a_token(self):
        """plone.protect drops the same write when it comes over HTTP."""
        self.get(f"{self.site}/@@writing")
        self.assertIsNone(self.attribute("first"))
        self.assertEqual("200 OK", self.call("/plone/@@writing").status)
        self.assertEqual("written", self.attribute("first"))

    def test_a_repeated_call_keeps_its_writes_too(self):
        attempts = []

        def conflict_once(event):
            attempts.append(event)
            if len(attempts) == 1:
                raise ConflictError

        with subscribed(conflict_once, to=IPubStart):
            self.assertEqual("200 OK", self.call("/plone/@@writing").status)
        self.assertEqual(2, len(attempts))
        self.assertEqual("written", self.attribute("first"))
