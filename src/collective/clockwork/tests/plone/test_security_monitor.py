"""Who reaches a worker's monitor port reads what jobs do, and changes nothing."""

from __future__ import annotations

from collective.clockwork.engine import monitor
from collective.clockwork.engine import monitordb
from collective.clockwork.engine import monitorserver
from collective.clockwork.testing import drain
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase

import json
import socket
import transaction


SECRET = "marked-argument"

#: What a web page could have a browser on the worker's machine send to the port. The
#: first word is the method, which a page may choose; then comes a path.
REQUESTS = (
    "GET / HTTP/1.1",
    "POST /asyncdb HTTP/1.1",
    "asyncdb /jobs HTTP/1.1",
    "asyncdb /jobs?x pending display:repr HTTP/1.1",
    "async /status HTTP/1.1",
    "interactive / HTTP/1.1",
    "help / HTTP/1.1",
)

#: What looks like a way out of the commands.
ATTEMPTS = (
    "asyncdb __class__",
    "asyncdb help __globals__",
    "asyncdb job {id} detail:verbose __import__:os",
    "asyncdb job {id} context:x",
    "asyncdb jobs pending display:__import__('os')",
    "asyncdb jobs pending callable:__import__('os').system('true')",
    "asyncdb job 0",
    "asyncdb job 1",
    "asyncdb job 99999999",
    "asyncdb job {id} nowhere",
    "async job {id}; asyncdb",
    "eval 1+1",
    "import os",
    "help __class__",
)


#: How the answers to these begin; the last one is an empty list of jobs.
REFUSED = r"^(ValueError|TypeError|Invalid command|There is no|\[Unknown|\[\])"


class MonitorTestCase(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.db = self.layer["zodbDB"]
        self.monitor = monitorserver.start(0, self.db)
        self.addCleanup(self.monitor.close)
        self.done = self.service.queueJob(work.note, self.folder, SECRET)
        self.failed = self.service.queueJob(work.fail, self.folder, SECRET)
        drain()
        self.waiting = self.service.queueJob(work.note, self.folder, SECRET)
        transaction.commit()

    def ask(self, *lines):
        with socket.create_connection(self.monitor.address) as client:
            client.settimeout(10)
            client.sendall("".join(f"{line}\r\n" for line in lines).encode())
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()


class TestWhatItTells(MonitorTestCase):
    def test_arguments_of_the_jobs_of_all_users_are_told_to_whoever_connects(self):
        for job in (self.done, self.failed, self.waiting):
            told = json.loads(self.ask(f"asyncdb job {job.id}"))
            self.assertIn(repr(SECRET), told["args"])

    def test_nothing_but_jobs_is_told(self):
        users = self.portal.acl_users.source_users
        oid = int.from_bytes(users._user_passwords._p_oid, "big")
        answer = self.ask(f"asyncdb job {oid}")
        self.assertRegex(answer, "^ValueError: object .*, not a job")
        self.assertNotIn("SSHA", answer)


class TestWhatItDoes(MonitorTestCase):
    def test_no_command_writes_anything(self):
        before = self.db.lastTransaction()
        ids = [job.id for job in (self.done, self.failed, self.waiting)]
        lines = [f"async {tool}" for tool in monitor.TOOLS]
        lines += [f"asyncdb {tool}" for tool in monitordb.TOOLS]
        lines += [f"asyncdb {tool} pending" for tool in monitordb.TOOLS]
        lines += [f"asyncdb jobs completed display:{how}" for how in ("repr", "detail")]
        lines += [f"asyncdb {tool} {id}" for tool in ("job", "traceback") for id in ids]
        self.assertGreater(len(lines), 30)
        for line in lines:
            with self.subTest(line):
                self.assertTrue(self.ask(line))
                self.assertEqual(before, self.db.lastTransaction())
        transaction.begin()
        self.assertEqual("queued", self.service.getJobInfo(self.waiting.id).status)

    def test_words_are_never_code(self):
        before = self.db.lastTransaction()
        for attempt in ATTEMPTS:
            with self.subTest(attempt):
                answer = self.ask(attempt.format(id=self.waiting.id))
                self.assertRegex(answer, REFUSED)
        self.assertEqual(before, self.db.lastTransaction())

    def test_a_web_page_cannot_have_a_browser_ask_it(self):
        body = ("Host: 127.0.0.1", "", f"asyncdb job {self.done.id}", "asyncdb status")
        for line in REQUESTS:
            with self.subTest(line):
                answer = self.ask(line, *body)
                self.assertNotIn(SECRET, answer)
                self.assertNotIn("dispatchers", answer)
                self.assertFalse(answer.startswith("HTTP/"))

    def test_commands_look_at_a_worker_without_disturbing_it(self):
        with running_worker(self.db):
            for line in ("async status", "async jobs", "asyncdb status"):
                self.assertTrue(json.loads(self.ask(line)) is not None)
            self.wait_until(lambda: self.waiting.status == "completed-status")
