"""What was sent to a view: kept with its job, and put into the job's request.

Kept are the method, the address, the query, the body with its forms and uploaded files,
and few of the headers. A job's request has the site, its layers, the language and the
user already, see ``world``.

Not kept are cookies, names and passwords of the Authorization header, and headers that
are not in ``HEADERS``: whoever reads the database must not be able to be the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from collective.clockwork.backgroundview import body
from contextlib import contextmanager
from persistent import Persistent
from typing import Any
from zExceptions import BadRequest
from ZPublisher.HTTPRequest import HTTPRequest
from ZPublisher.HTTPResponse import HTTPResponse
from ZPublisher.HTTPResponse import WSGIResponse

import tempfile


#: What is kept of the environment of a request.
HEADERS = (
    "CONTENT_TYPE",
    "HTTP_ACCEPT",
    "HTTP_HOST",
    "HTTP_USER_AGENT",
    "HTTP_X_REQUESTED_WITH",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "wsgi.url_scheme",
)
#: Longest value that is kept of them, in characters; the query may be longer.
VALUE_LENGTH = 2_000
#: Characters of a query.
QUERY_LENGTH = 100_000
#: Bytes that a response keeps in memory of what is written to it.
IN_MEMORY = 1 << 20

WITHOUT_BODY = ("GET", "HEAD")


class SentRequest(Persistent):
    """Written once, before its job is queued."""

    #: Pairs of name and value.
    environ: tuple = ()
    #: The address, and its parts, as the publisher found them.
    url: str = ""
    actual_url: str = ""
    #: The address of the client, behind proxies that Zope trusts.
    client: str = ""
    script: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    body: body.Body = b""
    length: int = 0


def keep(request: HTTPRequest, connection: Any, limit: int) -> SentRequest:
    """What is kept of a request, over this connection.

    Raises BadRequest for a body of more than ``limit`` bytes, and RuntimeError if the
    web server lets it be read only once.
    """
    sent = SentRequest()
    environ = request.environ
    if len(environ.get("QUERY_STRING") or "") > QUERY_LENGTH:
        raise BadRequest(f"The query is longer than {QUERY_LENGTH} characters")
    sent.environ = tuple(
        (name, value)
        for name in HEADERS
        if isinstance(value := environ.get(name), str)
        and (len(value) <= VALUE_LENGTH or name == "QUERY_STRING")
    )
    sent.url = str(request.other.get("URL", ""))
    sent.actual_url = str(request.other.get("ACTUAL_URL", sent.url))
    sent.client = str(request.getClientAddr())[:VALUE_LENGTH]
    sent.script, sent.steps = tuple(request._script), tuple(request._steps)
    connection.add(sent)
    if environ.get("REQUEST_METHOD", "GET") not in WITHOUT_BODY:
        chunks = _limited(body.chunks_of(_from_start(request)), limit)
        sent.body, sent.length = body.keep(chunks, connection)
        _from_start(request)
    return sent


def _from_start(request: HTTPRequest) -> Any:
    stdin = request.stdin
    try:
        stdin.seek(0)
    except (AttributeError, OSError) as error:
        raise RuntimeError(
            "The web server lets a request be read only once, so a background view "
            "cannot keep what was sent to it: serve the site by waitress"
        ) from error
    return stdin


def _limited(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    length = 0
    for chunk in chunks:
        length += len(chunk)
        if length > limit:
            raise BadRequest(f"More than {limit} bytes were sent")
        yield chunk


@contextmanager
def present(sent: SentRequest, request: HTTPRequest) -> Iterator[None]:
    """Let the job's request be the one that was sent, while the block lasts.

    It has a response of its own that takes whatever the view says and writes.
    """
    environ = dict(sent.environ)
    before = request.response
    with (
        body.opened(sent.body) as file,
        tempfile.SpooledTemporaryFile(IN_MEMORY) as written,
    ):
        environ["CONTENT_LENGTH"] = str(sent.length)
        parsed = HTTPRequest(file, dict(environ), HTTPResponse(stdout=written))
        parsed.processInputs()
        request.environ.update(environ)
        request.stdin = file
        for name in ("form", "taintedform", "args", "_fs", "_file"):
            setattr(request, name, getattr(parsed, name))
        request["method"] = parsed.method
        request._client_addr = sent.client
        request._script, request._steps = list(sent.script), list(sent.steps)
        request["URL"], request["ACTUAL_URL"] = sent.url, sent.actual_url
        request.response = request["RESPONSE"] = WSGIResponse(stdout=written)
        try:
            yield
        finally:
            request.response = request["RESPONSE"] = before
            request.form, request.taintedform = {}, {}
            parsed.clear()
