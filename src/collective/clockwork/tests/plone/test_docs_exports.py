"""The examples of the chapters about the job manager and about exports."""

from __future__ import annotations

from collective.clockwork.manager import IJobManager
from collective.clockwork.manager import ProgressableJob
from collective.clockwork.testing import drain
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone import backgroundwork
from collective.clockwork.tests.plone.taskcase import TaskTestCase
from contextlib import redirect_stdout
from openpyxl import load_workbook
from zope.component import getUtility

import io
import operator


def run(chapter, name, names):
    """Run one example; what it prints."""
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(named_blocks(chapter)[name], name, "exec"), names)
    return said.getvalue()


class TestManager(TaskTestCase):
    def test_a_job_is_put_and_found(self):
        names = {"make_statistics": operator.abs}
        run("docs/manager.rst", "manager.py", names)
        drain()
        job = names["manager"].get(names["job_id"])
        self.assertEqual(2026, job.result)
        said = run("docs/manager.rst", "asking.py", names)
        self.assertIn(f"{names['job_id']} completed-status", said)
        self.assertEqual([], list(names["manager"].jobs()))

    def test_one_of_the_service_is_put(self):
        names = {
            "service": self.service,
            "manager": getUtility(IJobManager),
            "make_thumbnail": backgroundwork.picture,
            "image": self.news,
        }
        run("docs/manager.rst", "wrapped.py", names)
        drain()
        self.assertEqual((200, ""), names["job"].result)

    def test_a_job_that_says_how_far_it_is(self):
        names = {}
        code = named_blocks("docs/manager.rst")["percent.py"]
        exec(compile(code.rpartition("job =")[0], "percent.py", "exec"), names)
        self.assertIs(ProgressableJob, names["ProgressableJob"])
        self.assertTrue(callable(names["make_statistics"]))


class TestExports(TaskTestCase):
    def test_a_file_is_made_listed_and_removed(self):
        names = {"folder": self.news}
        run("docs/exports.rst", "export.py", names)
        drain()
        path = names["shelf"].open_file(names["job"].id).path
        with open(path, "rb") as file:
            sheet = load_workbook(io.BytesIO(file.read())).active
        self.assertEqual(5, sheet.max_row)
        said = run("docs/exports.rst", "files.py", names)
        self.assertRegex(said, r"^completed news-[\d-]+\.xlsx 4\n/.*\.blob\n$")
        self.assertEqual([], names["shelf"].mine())
