"""The examples of the chapter about arguments and results."""

from __future__ import annotations

from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import tearDownDatetime
from collective.clockwork.testing import drain
from collective.clockwork.tests.codeblocks import Examples
from collective.clockwork.tests.codeblocks import named_blocks
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from contextlib import redirect_stdout
from datetime import datetime
from datetime import timezone
from plone import api
from plone.app.testing import logout

import io
import pytest
import transaction


PAGE = "docs/arguments.rst"


def fetch_news(address):
    work.happened.append(address)
    if len(work.happened) == 1:
        raise ConnectionError("the site does not answer")
    return "news"


class TestExamples(ServiceTestCase):
    def setUp(self):
        super().setUp()
        monkeypatch = pytest.MonkeyPatch()
        self.addCleanup(monkeypatch.undo)
        for name in ("overview", "a", "b"):
            api.content.create(self.folder, "Document", name, title=name.upper())
        transaction.commit()
        self.examples = Examples(
            PAGE,
            monkeypatch,
            __name__="clockwork_docs_examples",
            folder=self.folder,
            request=self.layer["request"],
            fetch_news=fetch_news,
        )

    def printed_by(self, name):
        output = io.StringIO()
        with redirect_stdout(output):
            self.examples(name)
        return output.getvalue()

    def test_content_objects_are_passed_and_given_back(self):
        job = self.examples("content.py").job
        drain()
        self.assertEqual("A, B", self.folder["overview"].description)
        self.assertEqual("completed-status", job.status)
        self.assertEqual("OVERVIEW\n", self.printed_by("results.py"))
        logout()
        self.assertEqual(
            "folder/overview cannot be shown: You may not view it\n",
            self.printed_by("results.py"),
        )

    def test_what_is_refused_is_said_in_these_words(self):
        self.examples("content.py")
        words = named_blocks(PAGE)["refused.txt"]
        self.assertEqual(words, self.printed_by("refused.py"))

    def test_a_method_is_called(self):
        self.examples("methods.py")
        drain()
        self.assertEqual(["overview"], self.folder.objectIds())

    def test_a_job_is_tried_again(self):
        start = datetime(2030, 1, 1, tzinfo=timezone.utc)
        self.addCleanup(tearDownDatetime)
        set_now(start)
        self.examples("methods.py")
        job = self.examples("delay.py").job
        drain()
        self.assertEqual("pending-status", job.status)
        set_now(job.begin_after)
        self.assertEqual("news", self.run_job(job))
