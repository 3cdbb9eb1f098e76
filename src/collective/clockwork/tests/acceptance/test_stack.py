"""The whole path with real processes: ZEO, a web instance and workers."""

from __future__ import annotations

from collective.clockwork.tests.acceptance.addon.held import begun_file
from collective.clockwork.tests.acceptance.addon.held import release_file
from sandbox import ports
from sandbox.people import ROOT_USER
from sandbox.stack import ROOT
from sandbox.stack import Stack
from sandbox.stack import StackError
from sandbox.visitor import Visitor

import os
import socket
import subprocess
import sys
import tempfile
import unittest


ADDON = "collective.clockwork.tests.acceptance.addon"

#: Seconds that anything may take on a busy machine.
PATIENCE = 120


class StackTestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.var = cls.enter(tempfile.TemporaryDirectory(prefix="clockwork-test-"))
        cls.signals = cls.enter(tempfile.TemporaryDirectory(prefix="clockwork-test-"))
        cls.start_stack()
        cls.addClassCleanup(lambda: cls.stack.stop())

    @classmethod
    def enter(cls, directory):
        cls.addClassCleanup(directory.cleanup)
        return directory.name

    @classmethod
    def start_stack(cls):
        cls.stack = Stack(cls.var, http_port=ports.any_free(), packages=(ADDON,))
        cls.stack.start()

    @property
    def admin(self):
        """The Manager, who has a new password at each start."""
        password = self.stack.passwords[ROOT_USER]
        return Visitor.with_password(self.stack.site_url, ROOT_USER, password)

    def queue(self, name):
        return self.admin.json("@@queue-held-job", directory=self.signals, name=name)

    def release(self, name):
        release_file(self.signals, name).touch()

    def times_begun(self, name):
        path = begun_file(self.signals, name)
        return len(path.read_text()) if path.exists() else 0

    def times_done(self, name):
        return self.admin.json("@@held-jobs.json").get(name, 0)

    def job(self, job_id):
        jobs = self.admin.json("@@jobs.json")["jobs"]
        return next(job for job in jobs if job["id"] == job_id)

    def wait_until(self, condition):
        self.stack.children["web"].wait_until(condition, PATIENCE)


class TestWorkers(StackTestCase):
    def test_a_job_whose_worker_is_killed_is_done_once_by_the_next(self):
        job_id = self.queue("killed")
        self.wait_until(lambda: self.times_begun("killed") == 1)
        self.stack.kill_worker()
        self.release("killed")
        self.assertEqual(0, self.times_done("killed"))

        self.stack.start_worker()
        self.wait_until(lambda: self.job(job_id)["status"] == "completed")

        self.assertEqual(2, self.times_begun("killed"))
        self.assertEqual(1, self.times_done("killed"))
        self.assertEqual("1", self.job(job_id)["result"])
        self.assertEqual(ROOT_USER, self.job(job_id)["user"])

    def test_a_job_that_runs_is_seen_from_the_web_process(self):
        job_id = self.queue("seen")
        self.wait_until(lambda: self.job(job_id)["status"] == "active")
        self.release("seen")
        self.wait_until(lambda: self.job(job_id)["status"] == "completed")
        self.assertEqual(1, self.times_begun("seen"))

    def test_a_job_finds_the_address_that_its_user_visited(self):
        root, _slash, site_id = self.stack.site_url.rpartition("/")
        public = f"{root}/VirtualHostBase/https/www.example.org:443/{site_id}"
        password = self.stack.passwords[ROOT_USER]
        visitor = Visitor.with_password(
            f"{public}/VirtualHostRoot/_vh_intranet", ROOT_USER, password
        )
        job_id = visitor.json("@@queue-where")
        self.wait_until(lambda: self.job(job_id)["status"] == "completed")
        where = f"https://www.example.org/intranet en {site_id} {ROOT_USER} True"
        self.assertEqual(repr(where), self.job(job_id)["result"])

    def test_a_stack_that_is_started_again_goes_on_with_its_jobs(self):
        self.stack.stop_worker()
        job_id = self.queue("restarted")
        self.assertEqual("queued", self.job(job_id)["status"])
        self.stack.stop()

        self.start_stack()
        self.assertEqual(0, self.times_done("restarted"))
        self.release("restarted")
        self.wait_until(lambda: self.job(job_id)["status"] == "completed")

        self.assertEqual(1, self.times_done("restarted"))

    def test_a_second_stack_on_the_same_data_is_refused(self):
        second = Stack(self.var, http_port=ports.any_free())
        with self.assertRaisesRegex(StackError, "Another local stack .* Stop it, or"):
            second.start()
        self.stack.check()


class TestPorts(unittest.TestCase):
    def setUp(self):
        self.taken = socket.create_server((ports.HOST, 0))
        self.addCleanup(self.taken.close)
        self.port = self.taken.getsockname()[1]

    def test_a_stack_names_the_port_that_is_in_use(self):
        with self.assertRaisesRegex(ports.PortInUse, f"Port {self.port} .* in use"):
            Stack("unused", http_port=self.port)

    def test_make_run_names_the_variable_of_the_port_that_is_in_use(self):
        for name in ("CLOCKWORK_HTTP_PORT", "CLOCKWORK_ZEO_PORT"):
            with self.subTest(name):
                result = subprocess.run(
                    [sys.executable, "-m", "sandbox.run"],
                    env={**os.environ, name: str(self.port)},
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                )
                self.assertEqual(1, result.returncode)
                self.assertIn(f"{name}={self.port}: this port is in use", result.stderr)
                self.assertNotIn("Traceback", result.stderr)
