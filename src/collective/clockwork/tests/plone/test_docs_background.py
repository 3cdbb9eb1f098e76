"""The examples of docs/background.rst, in a module that a worker can import."""

from __future__ import annotations

from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING
from collective.clockwork.testing import drain
from collective.clockwork.testing import travel
from collective.clockwork.tests.codeblocks import Examples
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from contextlib import redirect_stdout
from datetime import timedelta
from io import StringIO

import pytest
import transaction
import unittest


class BackgroundDocsTests(ServiceTestCase):
    def setUp(self):
        super().setUp()
        monkeypatch = pytest.MonkeyPatch()
        self.addCleanup(monkeypatch.undo)
        self.run_block = Examples(
            "docs/background.rst",
            monkeypatch,
            image=self.folder,
            MY_FUNCTIONAL_TESTING=COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING,
            make_image=lambda layer: self.folder,
        )
        self.service.getQueues()[""].quotas.create("images", size=2)
        transaction.commit()
        self.run_block("thumbnails.py")

    def said_by(self, name):
        """What an example printed."""
        said = StringIO()
        with redirect_stdout(said):
            self.run_block(name)
        return said.getvalue().strip()

    def test_each_way_to_call_it(self):
        module = self.run_block("calls.py")
        self.assertEqual({100: False}, self.folder.thumbnails)
        self.assertEqual("Thumbnail of /plone/folder, 200 pixels", module.job.title)
        self.assertEqual((50, None), (module.urgent.priority, module.urgent.unique))
        drain()
        self.assertEqual({100: False, 200: False}, self.folder.thumbnails)
        with travel(timedelta(hours=2)):
            drain()
        self.assertEqual(400, module.later.result)
        self.assertTrue(self.folder.thumbnails[400])

    def test_a_call_that_does_not_fit_is_refused(self):
        self.assertIn("make_thumbnail(image, width", self.said_by("refused_call.py"))
        self.assertEqual(0, self.stored_jobs())

    def test_a_wrong_option_is_refused_as_it_says(self):
        said = self.said_by("refused_option.py")
        self.assertEqual(
            "'time_out' is no option of a job; did you mean 'timeout'?", said
        )

    def test_there_are_no_other_examples(self):
        self.assertEqual(
            {
                "thumbnails.py",
                "calls.py",
                "refused_call.py",
                "refused_option.py",
                "test_thumbnails.py",
            },
            set(named_blocks("docs/background.rst")),
        )

    def run_test(self, name):
        """Run one test of the example, in this test's own layer and database."""
        case = self.run_block("test_thumbnails.py").ThumbnailTests(name)
        self.assertIs(self.layer, case.layer)
        result = unittest.TestResult()
        case.run(result)
        self.assertEqual(([], []), (result.errors, result.failures))
        self.assertEqual(1, result.testsRun)

    def test_the_test_with_perform(self):
        self.run_test("test_a_thumbnail_is_made")

    def test_the_test_with_assert_queued(self):
        self.run_test("test_the_form_queues_it")

    def test_the_test_with_eager(self):
        self.run_test("test_it_is_there_after_the_request")

    def test_the_test_with_travel(self):
        self.run_test("test_it_is_made_at_its_time")
