"""The API of netsight.async, called as its own tests called it."""

from __future__ import annotations

from collective.clockwork.browser import BaseAsyncView
from collective.clockwork.browser import is_numeric
from collective.clockwork.browser import NoSuchProcessError
from collective.clockwork.browser import ThreadDiedBeforeCompletionError
from collective.clockwork.browser import uid_generator
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import asyncviews
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from io import BytesIO
from plone.app.testing import logout
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from urllib.parse import parse_qs
from urllib.parse import urlencode
from urllib.parse import urlsplit
from zope.component import getMultiAdapter
from zope.globalrequest import getRequest
from zope.globalrequest import setRequest
from zope.interface import alsoProvides
from zope.publisher.browser import setDefaultSkin
from ZPublisher.HTTPRequest import WSGIRequest
from ZPublisher.HTTPResponse import WSGIResponse

import json
import re
import transaction


class AsyncViewTestCase(ServiceTestCase):
    """Views on a folder of the test user, in requests that a test makes itself."""

    layer = asyncviews.ASYNC_VIEWS_TESTING

    def setUp(self):
        super().setUp()
        asyncviews.forget()
        self.addCleanup(setRequest, getRequest())
        # Of one that a failed test left waiting.
        self.addCleanup(asyncviews.released.set)
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.folder.manage_permission("View", ["Owner", "Manager"], acquire=0)
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        transaction.commit()

    def view(self, name="my_process_view", method="GET", /, context=None, **form):
        """The view in a new request, which is the current one."""
        body = urlencode(form).encode()
        environ = {
            "REQUEST_METHOD": method,
            "SERVER_NAME": "nohost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(body)),
            "QUERY_STRING": body.decode() if method == "GET" else "",
        }
        request = WSGIRequest(BytesIO(body), environ, WSGIResponse())
        request.processInputs()
        setDefaultSkin(request)
        for layer in self.layer["request"].__provides__:
            alsoProvides(request, layer)
        request["PARENTS"] = [self.portal, self.layer["app"]]
        setRequest(request)
        context = self.folder if context is None else context
        return getMultiAdapter((context.__of__(self.portal), request), name=name)

    def start(self, name="my_process_view", /, **form):
        """Start it by a POST, in an open transaction; the id of the process."""
        view = self.view(name, "POST", **form)
        view()
        location = view.request.response.getHeader("Location")
        return parse_qs(urlsplit(location).query)["process_id"][0]

    def run_to_its_end(self, name="my_process_view", /, **form):
        process_id = self.start(name, **form)
        drain()
        return process_id

    def state(self, name, process_id):
        return json.loads(self.view(name).completed(process_id, output_json=True))


class StartTests(AsyncViewTestCase):
    def test_a_get_shows_the_initial_page(self):
        self.assertIn("<form", self.view()())

    def test_the_initial_page_may_be_a_template(self):
        self.assertIn("The form of kept", self.view("kept")())

    def test_without_an_initial_page_a_get_shows_the_template_of_its_zcml(self):
        self.assertIn("The form of templated", self.view("templated")())

    def test_a_post_leads_to_the_page_of_the_process(self):
        view = self.view("my_process_view", "POST")
        view()
        url = re.escape(f"{self.folder.absolute_url()}/my_process_view/processing")
        location = view.request.response.getHeader("Location")
        self.assertEqual(302, view.request.response.getStatus())
        self.assertRegex(location, rf"^{url}\?process_id=[0-9a-f]{{33,48}}$")

    def test_with_no_process_a_post_starts_nothing(self):
        view = self.view("my_process_view", "POST")
        self.assertIn("<form", view(no_process=True))
        self.assertEqual(0, self.stored_jobs())

    def test_the_view_decides_what_starts_it(self):
        self.assertIn("<form", self.view("asked", "POST")())
        self.assertEqual(0, self.stored_jobs())
        self.view("asked", "GET", go="1")()
        self.assertEqual(1, self.stored_jobs())

    def test_a_run_may_show_the_form_again(self):
        process_id = self.run_to_its_end("asked", go="1")
        response = self.view("asked").result(process_id)
        self.assertIn(b"<form", response.body)

    def test_what_is_aborted_starts_nothing(self):
        process_id = self.start()
        transaction.abort()
        self.assertEqual(0, self.stored_jobs())
        with self.assertRaises(NoSuchProcessError):
            self.view().completed(process_id)

    def test_a_view_without_run_says_so(self):
        process_id = self.run_to_its_end("templated")
        with self.assertRaises(ThreadDiedBeforeCompletionError) as caught:
            self.view("templated").completed(process_id)
        self.assertIsInstance(caught.exception.args[0], NotImplementedError)

    def test_it_is_called_with_the_process_id_alone(self):
        process_id = self.run_to_its_end(name="Ann")
        self.assertEqual([(process_id, (), {})], asyncviews.seen)


class WithoutProgressTests(AsyncViewTestCase):
    def test_right_after_the_start_nothing_is_there(self):
        process_id = self.start()
        self.assertIs(False, self.view().completed(process_id))
        view = self.view()
        self.assertIsNone(view.result(process_id))
        self.assertIn("/processing?", view.request.response.getHeader("Location"))
        self.assertIn('id="background-view"', self.view().processing(process_id))

    def test_after_the_run_the_result_is_there_once(self):
        process_id = self.run_to_its_end(name="Ann")
        self.assertIs(True, self.view().completed(process_id))
        view = self.view()
        view.processing(process_id)
        self.assertEqual(
            f"{self.folder.absolute_url()}/my_process_view/result"
            f"?process_id={process_id}",
            view.request.response.getHeader("Location"),
        )
        self.assertEqual(b"Hello, Ann!", self.view().result(process_id).body)
        for method in ("result", "completed", "processing"):
            with self.assertRaises(NoSuchProcessError):
                getattr(self.view(), method)(process_id)

    def test_json_says_the_same(self):
        process_id = self.start()
        state = self.state("my_process_view", process_id)
        self.assertIs(False, state["completed"])
        self.assertIs(False, state["progress"])
        self.assertIs(False, state["finished"])
        self.assertEqual(0, state["progress_message"])
        drain()
        view = self.view()
        state = json.loads(view.completed(process_id, output_json=True))
        self.assertIs(True, state["completed"])
        self.assertIs(True, state["progress"])
        self.assertIs(True, state["finished"])
        content_type = view.request.response.getHeader("Content-Type")
        self.assertEqual("application/json", content_type)


class WithProgressTests(AsyncViewTestCase):
    def test_progress_is_seen_while_it_runs(self):
        process_id = self.start("counting")
        transaction.commit()
        self.assertIs(False, self.view("counting").completed(process_id))
        with running_worker(self.layer["zodbDB"]):
            self.wait_until(lambda: self.completed(process_id) is not False)
            self.assertEqual(0, self.completed(process_id))
            page = self.view("counting").processing(process_id)
            self.assertIn("0% completed", page)
            self.assertIsNone(self.view("counting").result(process_id))
            asyncviews.steps.put((54.96, "page 11"))
            self.wait_until(lambda: self.completed(process_id) == 55)
            self.assertIs(int, type(self.completed(process_id)))
            page = self.view("counting").processing(process_id)
            self.assertIn("55% completed", page)
            self.assertIn("page 11", page)
            self.assertIn('aria-valuenow="55"', page)
            asyncviews.steps.put((55.55,))
            self.wait_until(lambda: self.completed(process_id) == 55.5)
            asyncviews.steps.put((100,))
            self.wait_until(lambda: self.completed(process_id) == 100)
            state = self.state("counting", process_id)
            self.assertEqual((100, False), (state["progress"], state["finished"]))
            self.assertEqual("100% completed", state["progress_message"])
            self.assertEqual("page 11", state["message"])
            self.assertIsNone(self.view("counting").result(process_id))
            asyncviews.steps.put(None)
            self.wait_until(lambda: self.state("counting", process_id)["finished"])
        self.assertEqual(100, self.completed(process_id))
        view = self.view("counting")
        view.processing(process_id)
        self.assertIn("/result?", view.request.response.getHeader("Location"))
        self.assertEqual(b"counted", self.view("counting").result(process_id).body)
        with self.assertRaises(NoSuchProcessError):
            self.view("counting").result(process_id)

    def test_it_ends_at_a_hundred_whatever_was_told_last(self):
        asyncviews.steps.put((20,))
        asyncviews.steps.put(None)
        process_id = self.run_to_its_end("counting")
        self.assertEqual(100, self.completed(process_id))

    def completed(self, process_id):
        return self.view("counting").completed(process_id)

    def test_only_the_run_itself_can_tell_its_progress(self):
        process_id = self.start("counting")
        for wrong in (process_id, "unknown"):
            with self.assertRaises(NoSuchProcessError):
                self.view("counting").set_progress(wrong, 10)

    def test_what_is_no_percentage_ends_the_run_with_an_error(self):
        for value, kind in (("7", TypeError), (True, TypeError), (101, ValueError)):
            asyncviews.steps.put((value,))
            process_id = self.run_to_its_end("counting")
            with self.assertRaises(ThreadDiedBeforeCompletionError) as caught:
                self.completed(process_id)
            self.assertIsInstance(caught.exception.args[0], kind)


class FailureTests(AsyncViewTestCase):
    def test_a_failure_is_told_and_nothing_else_is_left(self):
        title = self.folder.Title()
        with self.assertLogs("collective.clockwork", "ERROR") as logged:
            process_id = self.run_to_its_end("failing")
        self.assertEqual(title, self.folder.Title())
        for method in ("completed", "processing", "result"):
            with self.assertRaises(ThreadDiedBeforeCompletionError) as caught:
                getattr(self.view("failing"), method)(process_id)
            error = caught.exception
            self.assertIsInstance(error.args[0], ValueError)
            self.assertIn("the wheel came off", str(error))
            self.assertIn(f"oid {error.error_id},", "".join(logged.output))

    def test_json_says_error_for_dead_and_unknown(self):
        dead = self.run_to_its_end("failing")
        for process_id in (dead, "unknown", uid_generator() + "1", "", None):
            state = self.state("failing", process_id)
            self.assertEqual("ERROR", state["completed"])
            self.assertEqual("ERROR", state["progress"])
            view = self.view("failing")
            said = json.loads(view.result(process_id, output_json=True))
            self.assertEqual(state, said)
            self.assertNotIn("wheel", json.dumps(state))

    def test_unknown_ids_raise_an_error(self):
        odd = ("unknown", uid_generator() + "1", uid_generator() + "f" * 16, None, 7)
        for process_id in odd:
            for method in ("completed", "processing", "result"):
                with self.assertRaises(NoSuchProcessError):
                    getattr(self.view(), method)(process_id)

    def test_the_id_of_another_view_or_object_is_unknown(self):
        process_id = self.run_to_its_end()
        with self.assertRaises(NoSuchProcessError):
            self.view("kept").completed(process_id)
        with self.assertRaises(NoSuchProcessError):
            self.view(context=self.portal).completed(process_id)

    def test_an_id_with_a_wrong_random_part_is_unknown(self):
        process_id = self.run_to_its_end()
        wrong = uid_generator() + process_id[32:]
        with self.assertRaises(NoSuchProcessError):
            self.view().completed(wrong)

    def test_a_user_who_lost_her_rights_gets_an_error(self):
        process_id = self.start("editing", name="Mine")
        self.folder.manage_permission("Modify portal content", ["Manager"], acquire=0)
        drain()
        with self.assertRaises(ThreadDiedBeforeCompletionError) as caught:
            self.view("editing").completed(process_id)
        self.assertIn("Unauthorized", type(caught.exception.args[0]).__name__)
        self.assertNotEqual("Mine", self.folder.Title())


class OwnersTests(AsyncViewTestCase):
    def test_another_user_sees_nothing_of_it(self):
        self.login_as_site_owner()
        process_id = self.run_to_its_end()
        self.login_as_test_user()
        with self.assertRaises(NoSuchProcessError):
            self.view().completed(process_id)
        with self.assertRaises(NoSuchProcessError):
            self.view().result(process_id)

    def test_a_manager_sees_it(self):
        process_id = self.run_to_its_end()
        self.login_as_site_owner()
        self.assertEqual(b"Hello, world!", self.view().result(process_id).body)

    def test_an_anonymous_visitor_needs_the_cookie(self):
        logout()
        view = self.view("my_process_view", "POST", context=self.portal)
        view()
        location = view.request.response.getHeader("Location")
        process_id = parse_qs(urlsplit(location).query)["process_id"][0]
        cookie = view.request.response.cookies["clockwork_visitor"]
        drain()
        logout()

        def asking(value):
            asked = self.view(context=self.portal)
            if value is not None:
                asked.request.cookies["clockwork_visitor"] = value
            return asked

        name, _dot, signature = cookie["value"].partition(".")
        forged = (None, "", name, f"{name}.", f"x{name}.{signature}", f".{signature}")
        for value in forged:
            with self.assertRaises(NoSuchProcessError):
                asking(value).completed(process_id)
        self.assertIs(True, asking(cookie["value"]).completed(process_id))
        response = asking(cookie["value"]).result(process_id)
        self.assertEqual(b"Hello, world!", response.body)


class NamesTests(AsyncViewTestCase):
    def test_ids_are_32_hex_digits_and_differ(self):
        self.assertRegex(uid_generator(), r"^[0-9a-f]{32}$")
        self.assertNotEqual(uid_generator(), uid_generator())

    def test_numbers(self):
        self.assertEqual(
            [True, True, False, False, False],
            [is_numeric(each) for each in (1, 2.5, True, None, "3")],
        )

    def test_sub_pages_are_found_by_name_and_other_names_are_the_view(self):
        view = self.view()
        for name in ("processing", "completed", "result", "cancel"):
            page = view.publishTraverse(None, name)
            self.assertEqual((view, name), (page.__parent__, page.__name__))
        self.assertIs(view, view.publishTraverse(None, "set_progress"))
        self.assertIsInstance(view, BaseAsyncView)
