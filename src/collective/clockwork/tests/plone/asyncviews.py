"""Background views, as add-ons write them, for the tests of their base class."""

from __future__ import annotations

from collective.clockwork.browser import BaseAsyncView
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FIXTURE
from collective.clockwork.testing import FunctionalTesting as WorkerTesting
from datetime import timedelta
from plone.app.testing import FunctionalTesting
from plone.app.testing import PloneSandboxLayer
from plone.namedfile.file import NamedBlobFile
from plone.testing.zope import WSGI_SERVER_FIXTURE
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from Products.statusmessages.interfaces import IStatusMessage
from zExceptions import Redirect
from ZPublisher.Iterators import filestream_iterator

import collective.clockwork.tests.plone
import hashlib
import io
import json
import queue
import tempfile
import threading


FORM = """<!DOCTYPE html>
<html><head><title>Form</title></head><body>
<form method="post" enctype="multipart/form-data" action="{url}">
<label for="name">Name</label> <input type="text" id="name" name="name">
<label for="upload">File</label> <input type="file" id="upload" name="upload">
<input type="submit" id="go" name="go" value="Go">
</form></body></html>"""

#: What the views wait for, and what they say; emptied by each test.
released = threading.Event()
begun = threading.Event()
steps: queue.Queue = queue.Queue()
seen: list = []


def forget():
    for event in (released, begun):
        event.clear()
    while not steps.empty():
        steps.get()
    seen.clear()


def made_file(content, opened):
    """A file with a name that nobody has to remove."""
    with tempfile.NamedTemporaryFile("wb", suffix=".pdf") as file:
        file.write(content)
        file.flush()
        return opened(file.name)


class Form(BaseAsyncView):
    """A view with a form."""

    def initial_page(self, *args, **kwargs):
        self.request.response.setHeader("Content-Type", "text/html; charset=utf-8")
        query = self.request.get("QUERY_STRING", "")
        address = f"{self.context.absolute_url()}/{self.__name__}?{query}"
        return FORM.format(url=address.removesuffix("?"))


class Greeting(Form):
    def __run__(self, process_id=None, *args, **kwargs):
        seen.append((process_id, args, kwargs))
        return f"Hello, {self.request.form.get('name', 'world')}!"


class Bare(BaseAsyncView):
    """A view without anything of its own."""


class Asked(Form):
    """Starts when a button was pressed; returns its form once more."""

    def run_process(self):
        return "go" in self.request.form

    def __run__(self, process_id=None, *args, **kwargs):
        return self(no_process=True)


class Counting(Form):
    """Tells its progress, step by step, as a test lets it."""

    def __run__(self, process_id=None, *args, **kwargs):
        self.set_progress(process_id, 0)
        while (step := steps.get(timeout=20)) is not None:
            self.set_progress(process_id, *step)
        return "counted"


class Answering(Form):
    """Returns what ``kind`` asks for."""

    result_once = False

    def __run__(self, process_id=None, *args, **kwargs):
        return getattr(self, f"as_{self.request.form['kind']}")()

    def as_nothing(self):
        return None

    def as_html(self):
        self.request.response.setHeader("Content-Type", "text/html; charset=utf-8")
        return "<html><body><div id='content'><p>Ünder way</p></div></body></html>"

    def as_bytes(self):
        self.request.response.setHeader("Content-Type", "application/pdf")
        return b"%PDF \xff"

    def as_iterator(self):
        return (f"line {number}\n" for number in range(3))

    def as_large(self):
        response = self.request.response
        response.setHeader("Content-Type", "application/x-large")
        return (bytes([number % 256]) * 10_000 for number in range(100))

    def as_opened(self):
        return made_file(b"a,b\n" * 50_000, lambda name: open(name, "rb"))

    def as_stream(self):
        return made_file(b"streamed", filestream_iterator)

    def as_memory(self):
        return io.BytesIO(b"in memory")

    def as_named(self):
        data = b"x" * 100_000
        return NamedBlobFile(data, "application/x-named", filename="Größe.bin")

    def as_written(self):
        self.request.response.setHeader("Content-Type", "text/csv")
        self.request.response.write(b"first\n")
        return b"second\n"

    def as_response(self):
        self.request.response.setBody("said to the response")
        return self.request.response

    def as_headers(self):
        response = self.request.response
        response.setStatus(418)
        response.setHeader("X-Tea", "pot")
        response.addHeader("Link", "<a>; rel=next")
        response.addHeader("Link", "<b>; rel=prev")
        response.setCookie("tea", "green", path="/", http_only=True)
        IStatusMessage(self.request).add("Tea is ready")
        return "short and stout"

    def as_redirect(self):
        return self.request.response.redirect(f"{self.context.absolute_url()}/there")

    def as_raised(self):
        raise Redirect(f"{self.context.absolute_url()}/there")


class Editing(Form):
    """Changes its context, as the user."""

    def __run__(self, process_id=None, *args, **kwargs):
        self.context.setTitle(self.request.form["name"])
        return self.context.Title()


class Uploading(Form):
    """Tells what it knows of the request."""

    def __run__(self, process_id=None, *args, **kwargs):
        request = self.request
        upload = request.form.get("upload")
        content = upload.read() if upload else b""
        request.response.setHeader("Content-Type", "application/json")
        return json.dumps(
            {
                "form": {
                    name: value
                    for name, value in request.form.items()
                    if name != "upload" and name != "_authenticator"
                },
                "filename": upload.filename if upload else None,
                "type": upload.headers["Content-Type"] if upload else None,
                "length": len(content),
                "digest": hashlib.sha256(content).hexdigest(),
                "method": request.method,
                "url": request["URL"],
                "url1": request["URL1"],
                "address": self.context.absolute_url(),
                "query": request.get("QUERY_STRING"),
                "agent": request.getHeader("User-Agent"),
                "client": request.getClientAddr(),
                "environ": sorted(request.environ),
                "cookies": sorted(request.cookies),
                "authorization": request._auth,
                "language": request.get("LANGUAGE"),
                "body": len(request.get("BODY") or b""),
                "published": request["PUBLISHED"].__name__,
            }
        )


class Held(Form):
    """Runs until it is released, or stopped."""

    def __run__(self, process_id=None, *args, **kwargs):
        begun.set()
        while not released.wait(0.02):
            self.set_progress(process_id, 50, "half way")
        return "released"


class Failing(Form):
    def __run__(self, process_id=None, *args, **kwargs):
        self.context.setTitle("Half done")
        self.set_progress(process_id, 30)
        raise ValueError("the wheel came off")


class Kept(Form):
    """Its result is there for an hour, however often it is fetched."""

    result_once = False
    result_lifetime = timedelta(hours=1)
    allow_cancel = False
    initial_page = ViewPageTemplateFile("asyncviews.pt")

    def __run__(self, process_id=None, *args, **kwargs):
        return "kept"


class AsyncViewsLayer(PloneSandboxLayer):
    """A site with the add-on, and these views."""

    defaultBases = (COLLECTIVE_CLOCKWORK_FIXTURE,)

    def setUpZope(self, app, configurationContext):
        package = collective.clockwork.tests.plone
        self.loadZCML("asyncviews.zcml", package=package)


ASYNC_VIEWS_FIXTURE = AsyncViewsLayer()

ASYNC_VIEWS_TESTING = FunctionalTesting(
    bases=(ASYNC_VIEWS_FIXTURE,), name="ClockworkAsyncViews:Functional"
)

#: With a database of their own for the queues, and a worker.
ASYNC_VIEWS_WORKER_TESTING = WorkerTesting(
    bases=(ASYNC_VIEWS_FIXTURE,), name="ClockworkAsyncViews:Worker"
)

ASYNC_VIEWS_BROWSER_TESTING = FunctionalTesting(
    bases=(ASYNC_VIEWS_FIXTURE, WSGI_SERVER_FIXTURE),
    name="ClockworkAsyncViews:Browser",
)
