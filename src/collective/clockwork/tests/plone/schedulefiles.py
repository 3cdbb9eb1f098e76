"""What the tests share that have the set-up tool import and export schedules."""

from __future__ import annotations

from collective.clockwork.schedules.setupelements import SetupFileError
from collective.clockwork.tests.plone.schedulerscase import SchedulersTestCase
from io import BytesIO
from pathlib import Path
from Products.GenericSetup import EXTENSION
from Products.GenericSetup import profile_registry
from tempfile import TemporaryDirectory

import tarfile


PROFILE = "collective.clockwork:schedules"


class FilesTestCase(SchedulersTestCase):
    """Has a profile in a directory that is empty at first."""

    #: The file of the tests, and the step that imports it.
    filename = "schedules.xml"
    step = "collective.clockwork.schedules"

    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(TemporaryDirectory()))
        profile_registry.registerProfile(
            "schedules",
            "Schedules",
            "",
            str(self.directory),
            "collective.clockwork",
            EXTENSION,
        )
        self.addCleanup(
            profile_registry.unregisterProfile, "schedules", "collective.clockwork"
        )

    def import_text(self, text):
        """Have the set-up tool import this file; returns the import's log."""
        (self.directory / self.filename).write_text(text, "utf-8")
        tool = self.portal.portal_setup
        result = tool.runImportStepFromProfile(
            f"profile-{PROFILE}", self.step, run_dependencies=False
        )
        return "\n".join(result["messages"].values())

    def export(self):
        result = self.portal.portal_setup.runExportStep(self.step)
        with tarfile.open(fileobj=BytesIO(result["tarball"])) as archive:
            return archive.extractfile(self.filename).read().decode("utf-8")

    def assert_file_refused(self, text, *parts):
        before = self.scheduler.list()
        parts = (self.filename, *parts)
        self.assert_refused(SetupFileError, parts, self.import_text, text)
        self.assertEqual(before, self.scheduler.list())
