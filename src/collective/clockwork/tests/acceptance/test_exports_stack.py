"""The job manager and exports with real processes: seen, killed, begun again."""

from __future__ import annotations

from collective.clockwork.tests.acceptance import test_stack
from collective.clockwork.tests.acceptance import test_two_databases
from collective.clockwork.tests.acceptance.addon import exports

import pytest
import re


#: Part of a page that says how far a job is.
PERCENT = re.compile(r"\b[1-9]\d?\s%")


@pytest.mark.timeout(400)
class TestExports(test_stack.StackTestCase):
    def export_page(self):
        return self.admin.text("@@my-exports")

    def test_the_web_process_sees_how_far_a_managers_job_is_while_it_runs(self):
        job_id = self.admin.json("@@start-test-job")

        def page():
            return self.admin.text(f"@@jobs/{job_id}")

        self.wait_until(lambda: PERCENT.search(page()))
        self.assertIn("running", page())
        self.assertNotIn("completed", page())

    def test_an_export_whose_worker_is_killed_is_made_anew_and_whole(self):
        job_id = self.admin.json("@@queue-held-export", directory=self.signals)
        self.wait_until(lambda: self.times_begun(exports.NAME) == 1)
        self.wait_until(lambda: self.job(job_id)["progress"])
        download = f"@@download-export?id={job_id}"
        self.assertEqual(404, self.admin.status(download))
        self.assertNotIn("@@download-export", self.export_page())

        self.stack.kill_worker()
        self.assertEqual(404, self.admin.status(download))
        self.release(exports.NAME)
        self.stack.start_worker()
        self.wait_until(lambda: self.job(job_id)["status"] == "completed")

        self.assertEqual(2, self.times_begun(exports.NAME))
        self.assertIn("@@download-export", self.export_page())
        heading, *rows = self.admin.text(download).splitlines()
        self.assertIn("Path in the site", heading)
        self.assertGreaterEqual(len(rows), exports.HELD_AT - 1)
        self.assertEqual(sorted(set(rows)), sorted(rows))


class TestExportsInASecondDatabase(TestExports):
    """The queues, and the files with them, are not where the content is."""

    @classmethod
    def start_stack(cls):
        cls.stack = test_two_databases.two_databases(cls.var)
