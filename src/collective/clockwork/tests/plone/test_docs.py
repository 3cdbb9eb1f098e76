"""The examples of the documentation that need a site."""

from __future__ import annotations

from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING
from collective.clockwork.testing import drain
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.codeblocks import ROOT
from collective.clockwork.tests.plone import backgroundwork
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from contextlib import redirect_stdout
from datetime import timedelta

import io
import transaction
import unittest


class DocsTests(ServiceTestCase):
    """Chapters other than the ticks', which have tests of their own."""

    def test_the_example_of_a_test(self):
        names = {}
        blocks = named_blocks("docs/testing.rst")
        exec(compile(blocks["test_reports.py"], "test_reports.py", "exec"), names)
        case = names["ReportTests"]("test_a_report_is_made")
        self.assertIs(COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING, case.layer)
        result = unittest.TestResult()
        case.run(result)
        self.assertEqual(([], []), (result.errors, result.failures))

    def test_the_example_of_quotas(self):
        names = {
            "service": self.service,
            "make_thumbnail": work.add_numbers,
            "whenever": work.add_numbers,
            "image": self.folder,
            "context": self.folder,
        }
        blocks = named_blocks("docs/service.rst")
        exec(compile(blocks["quotas.py"], "quotas.py", "exec"), names)
        queue = self.service.getQueues()[""]
        self.assertEqual([("thumbnails",), ()], [job.quota_names for job in queue])
        self.assertEqual(4, queue.quotas["thumbnails"].size)

    def test_the_example_of_looking(self):
        blocks = named_blocks("docs/service.rst")
        names = {
            "service": self.service,
            "id": "1",
            "make_thumbnail": backgroundwork.picture,
            "image": self.folder,
        }
        self.login_as_site_owner()
        exec(compile(blocks["looking.py"], "looking.py", "exec"), names)

    def test_the_example_of_options(self):
        names = {
            "service": self.service,
            "make_thumbnail": backgroundwork.picture,
            "image": self.folder,
        }
        blocks = named_blocks("docs/service.rst")
        exec(compile(blocks["using.py"], "using.py", "exec"), names)
        job, batch = names["job"], names["batch"]
        self.assertEqual((None, "Thumbnails"), (job.title, batch.title))
        self.assertEqual({"title": "Cover"}, dict(job.kwargs))
        drain()
        self.assertEqual((200, "Cover"), job.result)
        self.assertEqual(
            [(200, ""), (400, "")], [member.result for member in batch.result]
        )

    def test_the_example_of_a_wrong_option(self):
        said = io.StringIO()
        code = named_blocks("docs/service.rst")["wrong_option.py"]
        names = {"service": self.service, "timedelta": timedelta}
        with redirect_stdout(said):
            exec(compile(code, "wrong_option.py", "exec"), names)
        text = (ROOT / "docs/service.rst").read_text()
        self.assertIn(f"prints ``{said.getvalue().strip()}``", text)

    def test_the_example_of_cancelling_and_retrying(self):
        failed = self.service.queueJob(work.fail, self.folder)
        drain()
        job = self.service.queueJob(work.note, self.folder, "never")
        transaction.commit()
        names = {"service": self.service, "id": job.id, "failed_id": failed.id}
        code = named_blocks("docs/service.rst")["control.py"]
        exec(compile(code, "control.py", "exec"), names)
        self.assertIs(job, names["job"])
        self.assertEqual("withdrawn", names["answer"])
        self.assertEqual("queued", self.service.getJobInfo(failed.id).status)
