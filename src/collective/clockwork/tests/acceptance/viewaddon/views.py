"""A background view that a test holds and lets go, by files."""

from __future__ import annotations

from collective.clockwork.browser import BaseAsyncView
from collective.clockwork.tests.acceptance.addon.held import begun_file
from collective.clockwork.tests.acceptance.addon.held import PATIENCE
from collective.clockwork.tests.acceptance.addon.held import release_file
from plone import api
from threading import Event

import hashlib
import json
import os
import time


class HeldView(BaseAsyncView):
    """Waits for the release, and tells of the upload, the user and the process."""

    def initial_page(self, *args, **kwargs):
        self.request.response.setHeader("Content-Type", "text/html; charset=utf-8")
        return "<html><body><form method='post'></form></body></html>"

    def __run__(self, process_id=None, *args, **kwargs):
        form = self.request.form
        with begun_file(form["directory"], form["name"]).open("a") as begun:
            begun.write("x")
        deadline = time.monotonic() + PATIENCE
        while not release_file(form["directory"], form["name"]).exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"it was not released in {PATIENCE} seconds")
            self.set_progress(process_id, 50, "half way")
            Event().wait(0.05)
        self.request.response.setHeader("Content-Type", "application/json")
        told = {
            "process": os.getpid(),
            "user": api.user.get_current().getId(),
            "digest": hashlib.sha256(form["upload"].read()).hexdigest(),
            "filler": "x" * 100_000,
        }
        return json.dumps(told)
