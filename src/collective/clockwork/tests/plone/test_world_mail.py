"""Mail that a job sends: to a real server, if and only if the job commits."""

from __future__ import annotations

from collective.clockwork.engine import groups
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.job import isFailure
from collective.clockwork.engine.station import ticket_of
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone import worldwork
from collective.clockwork.tests.plone.postbox import Postbox
from collective.clockwork.tests.plone.workercase import WorkerTestCase
from plone import api
from unittest import mock
from uuid import uuid4
from zope.globalrequest import getRequest

import transaction


class TestMail(WorkerTestCase):
    def setUp(self):
        super().setUp()
        self.postbox = self.enterContext(Postbox())
        registry = api.portal.get_tool("portal_registry")
        registry["plone.smtp_host"] = "127.0.0.1"
        registry["plone.smtp_port"] = self.postbox.port
        registry["plone.email_from_address"] = "site@example.org"
        registry["plone.email_from_name"] = "The site"
        transaction.commit()

    def queue(self, func, *args, **kwargs):
        return self.service.queueJob(func, self.folder, *args, **kwargs)

    def test_mail_of_a_job_that_commits_is_sent_once(self):
        getRequest()["SERVER_URL"] = "https://www.example.org"
        self.run_in_worker(self.queue(worldwork.mail, "done"))
        (letter,) = self.postbox.letters
        self.assertEqual(["done"], self.postbox.subjects)
        self.assertEqual("The site <site@example.org>", letter["From"])
        self.assertEqual("editor@example.org", letter["To"])
        body = letter.get_payload(decode=True).decode()
        self.assertEqual("Look at https://www.example.org/plone/folder", body.strip())

    def test_mail_of_a_job_that_fails_is_not_sent(self):
        failed = self.queue(worldwork.mail, "failed", fail=True)
        after = self.queue(worldwork.mail, "after")
        result, _after = self.run_in_worker(failed, after)
        self.assertTrue(result.check(RuntimeError))
        self.assertEqual(["after"], self.postbox.subjects)

    def test_mail_of_a_job_that_is_tried_again_is_sent_once(self):
        self.run_in_worker(self.queue(worldwork.mail, "third time", times=2))
        self.assertEqual(["third time"] * 3, work.happened)
        self.assertEqual(["third time"], self.postbox.subjects)

    def test_mail_of_a_job_whose_commit_fails_is_not_sent(self):
        (result,) = self.run_in_worker(
            self.queue(worldwork.mail_and_spoil_the_commit, "never")
        )
        self.assertTrue(isFailure(result))
        self.assertEqual(["never"], sorted(set(work.happened)))
        self.assertEqual([], self.postbox.subjects)

    def test_mail_of_a_grouped_job_that_fails_is_not_sent_with_the_others(self):
        queue = self.service.getQueues()[""]
        for subject, fail in (("first", False), ("bad", True)):
            info = self.service.makeJob(worldwork.mail, self.folder, subject, fail=fail)
            queue.put(self.service._single(info), groupable=True)
        agent = self.add_agent(queue)
        transaction.commit()
        good, bad = agent.claimJob(), agent.claimJob()
        transaction.commit()
        tickets = [ticket_of((job, job.attempt, None), agent) for job in (good, bad)]
        waiting = iter(tickets)
        # Else a slow first mail would end the group.
        self.enterContext(mock.patch.object(groups, "BUDGET", 20))
        outcome = groups.run_together(
            queue._p_jar, tickets, lambda: next(waiting, None)
        )
        self.assertEqual([good], [job for _ticket, job in outcome.landed])
        self.assertEqual([tickets[1]], outcome.alone)
        self.assertEqual(["first", "bad"], work.happened)
        self.assertEqual(["first"], self.postbox.subjects)

    def add_agent(self, queue):
        """Have an agent in this thread, whose jobs the test runs itself."""
        uuid = uuid4()
        queue.dispatchers.register(uuid)
        agents = queue.dispatchers[uuid]
        agents.activate("this test")
        agents["main"] = Agent()
        return agents["main"]

    def test_a_job_whose_mail_nobody_takes_fails_and_changes_nothing(self):
        registry = api.portal.get_tool("portal_registry")
        with Postbox() as closed:
            registry["plone.smtp_port"] = closed.port
        (result,) = self.run_in_worker(self.queue(worldwork.mail_and_retitle, "never"))
        self.assertTrue(result.check(ConnectionRefusedError))
        self.assertEqual("folder", self.folder.title or self.folder.id)
