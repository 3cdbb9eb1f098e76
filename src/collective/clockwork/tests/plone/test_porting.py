"""Code and pages that were written for plone.app.async, after replacing its names."""

from __future__ import annotations

from collective.clockwork.engine.compose import serial
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_WORKER_FUNCTIONAL_TESTING
from collective.clockwork.testing import TEST_USER_ID
from collective.clockwork.testing import wait_for_result
from collective.clockwork.tests import base
from collective.clockwork.tests import funcs
from collective.clockwork.tests.codeblocks import ROOT
from plone import api

import doctest
import re
import transaction
import unittest


#: Where old documentation may lie, beside the checkout.
OLD_PAGES = ROOT.parent / "shared" / "seeds"

#: In this order. Python 3 has no name `async`, and writes texts without a prefix.
REPLACEMENTS = (
    (r"\bplone\.app\.async\b", "collective.clockwork"),
    (r"\bzc\.async\b", "collective.clockwork.engine"),
    (r"\basync\b", "async_"),
    (r"\bu'", "'"),
)

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def renamed(text: str) -> str:
    for old, new in REPLACEMENTS:
        text = re.sub(old, new, text)
    return text


class TestOldCalls(base.AsyncTestCase):
    """What the old package's page does not show."""

    def test_a_job_may_be_made_without_queueing_it(self):
        info = self.async_.makeJob(funcs.addNumbers, self.folder, 40, second=2)
        job = self.async_.wrapJob(info)
        queue = self.async_.getQueues()[""]
        self.assertEqual(("new-status", 0), (job.status, len(queue)))
        queue.put(job)
        transaction.commit()
        self.assertEqual(42, wait_for_result(job))
        self.assertEqual(TEST_USER_ID, job.user_id)

    def test_what_describes_no_job_is_refused(self):
        with self.assertRaisesRegex(TypeError, "pass what makeJob"):
            self.async_.wrapJob(funcs.addNumbers)

    def test_such_jobs_may_be_members_of_a_batch_of_the_engine(self):
        make, wrap = self.async_.makeJob, self.async_.wrapJob
        batch = serial(
            wrap(make(funcs.createDocument, self.folder, "one", "One", "", "")),
            wrap(make(funcs.submitObject, self.folder, "one")),
        )
        self.async_.getQueues()[""].put(batch)
        transaction.commit()
        wait_for_result(batch)
        self.assertEqual("pending", api.content.get_state(self.folder["one"]))

    def test_descriptions_may_be_plain_tuples(self):
        batch = self.async_.queueSerialJobs(
            (funcs.addNumbers, self.folder, (1,), {"second": 2}),
            (funcs.addNumbers, self.folder, (3, 4), {}),
        )
        transaction.commit()
        self.assertEqual([3, 7], [job.result for job in wait_for_result(batch)])


class TestPages(unittest.TestCase):
    layer = COLLECTIVE_CLOCKWORK_WORKER_FUNCTIONAL_TESTING

    def setUp(self):
        funcs.results = []

    def run_examples(self, name: str, text: str) -> int:
        """Run the examples of a page; gives their number."""
        test = doctest.DocTestParser().get_doctest(
            text, {"layer": self.layer}, name, name, 0
        )
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        report: list[str] = []
        outcome = runner.run(test, out=report.append)
        self.assertEqual(0, outcome.failed, "".join(report))
        return outcome.attempted

    def test_our_page_about_porting_says_the_truth(self):
        page = ROOT / "docs" / "porting.rst"
        self.assertLess(40, self.run_examples(page.name, page.read_text()))

    def test_the_old_packages_own_page_holds_after_replacing_names(self):
        pages = sorted(OLD_PAGES.glob("001_*")) if OLD_PAGES.is_dir() else []
        if not pages:
            self.skipTest(f"There is no page of plone.app.async in {OLD_PAGES}")
        for page in pages:
            examples = self.run_examples(page.name, renamed(page.read_text()))
            self.assertLess(40, examples)
