"""The examples of the documentation that need a site."""

from __future__ import annotations

from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase

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
        names = {"service": self.service, "id": "1"}
        exec(compile(blocks["looking.py"], "looking.py", "exec"), names)
