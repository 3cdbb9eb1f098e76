"""Background views with real processes: a worker, no worker, and a web that dies."""

from __future__ import annotations

from collective.clockwork.tests.acceptance.test_stack import PATIENCE
from collective.clockwork.tests.acceptance.test_stack import StackTestCase
from hashlib import sha256
from sandbox import ports
from sandbox.people import ROOT_USER
from sandbox.stack import Stack

import os
import re
import requests


ADDON = "collective.clockwork.tests.acceptance.viewaddon"

TOKEN = re.compile(r'name="_authenticator"[^>]*value="([^"]+)"')
UPLOAD = os.urandom(300_000)


class TestBackgroundViews(StackTestCase):
    @classmethod
    def start_stack(cls):
        cls.stack = Stack(cls.var, http_port=ports.any_free(), packages=(ADDON,))
        cls.stack.start()

    def setUp(self):
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = (ROOT_USER, self.stack.passwords[ROOT_USER])

    def send(self, name):
        """Send the form with an upload; the address of the page that follows."""
        view = f"{self.stack.site_url}/held-view"
        token = TOKEN.search(self.session.get(view, timeout=PATIENCE).text)[1]
        fields = {"directory": self.signals, "name": name, "_authenticator": token}
        answer = self.session.post(
            view, fields, files={"upload": ("a.bin", UPLOAD)}, timeout=PATIENCE
        )
        self.assertEqual(200, answer.status_code)
        self.assertIn("/held-view/processing?process_id=", answer.url)
        return answer.url

    def state(self, page):
        address = page.replace("/processing?", "/completed?") + "&output_json=1"
        return self.session.get(address, timeout=PATIENCE).json()

    def result(self, page):
        answer = self.session.get(page, timeout=PATIENCE)
        self.assertEqual("application/json", answer.headers["Content-Type"])
        told = answer.json()
        self.assertEqual(sha256(UPLOAD).hexdigest(), told["digest"])
        self.assertEqual(ROOT_USER, told["user"])
        return told

    def is_half_way(self, page):
        state = self.state(page)
        return (state["progress"], state["message"]) == (50, "half way")

    def wait_for_the_end(self, page):
        self.wait_until(lambda: self.state(page)["finished"])
        self.assertEqual(100, self.state(page)["progress"])

    def process_of(self, name):
        return self.stack.children[name].pid

    def test_a_worker_does_the_work_and_the_web_sees_its_progress(self):
        page = self.send("worker")
        self.wait_until(lambda: self.is_half_way(page))
        self.release("worker")
        self.wait_for_the_end(page)
        self.assertEqual(self.process_of("worker"), self.result(page)["process"])

    def test_without_a_worker_the_web_does_it_and_goes_on_after_it_was_killed(self):
        self.stack.stop_worker()
        page = self.send("web")
        self.wait_until(lambda: self.is_half_way(page))
        first = self.process_of("web")
        self.stack.children.pop("web").kill()

        self.stack.start_web()
        address = f"{self.stack.url}{page[page.index('/', len('http://')) :]}"
        self.assertFalse(self.state(address)["finished"])
        self.wait_until(lambda: self.times_begun("web") == 2)
        self.release("web")
        self.wait_for_the_end(address)
        process = self.result(address)["process"]
        self.assertEqual(self.process_of("web"), process)
        self.assertNotEqual(first, process)
        self.stack.start_worker()

    def test_a_web_that_is_stopped_gives_back_what_it_was_doing(self):
        self.stack.stop_worker()
        page = self.send("stopped")
        self.wait_until(lambda: self.is_half_way(page))
        self.stack.children.pop("web").stop()

        self.stack.start_web()
        address = f"{self.stack.url}{page[page.index('/', len('http://')) :]}"
        self.assertEqual("The work is waiting to begin.", self.state(address)["state"])
        self.wait_until(lambda: self.times_begun("stopped") == 2)
        self.wait_until(lambda: self.is_half_way(address))
        self.release("stopped")
        self.wait_for_the_end(address)
        self.stack.start_worker()
