"""One call of a clock: a request to the application, without a socket.

It goes through the whole publisher, virtual hosting, authentication, transaction
and repetition after conflicts included, but not through the WSGI pipeline of the
server, so that it has no line in the access log. The environ is that of ZServer's
clock-server.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from collections.abc import Iterable
from collective.clockwork.clocksection import ClockSection
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from plone.protect.interfaces import IDisableCSRFProtection
from typing import Any
from zope.interface import implementer
from ZPublisher.httpexceptions import HTTPExceptionHandler
from ZPublisher.HTTPRequest import WSGIRequest
from ZPublisher.WSGIPublisher import publish_module

import socket
import sys
import time


@implementer(IDisableCSRFProtection)
class ClockRequest(WSGIRequest):
    """A request that no page and no link can cause.

    So what the called method writes is kept: plone.protect would drop the writes of
    a GET by somebody logged in, without a word, and a clock has no token to send.
    """


#: Zope as a WSGI application. The exceptions for which there is no view, such as
#: NotFound, become answers, as in the pipelines that Zope makes.
application = HTTPExceptionHandler(
    partial(publish_module, _request_factory=ClockRequest)
)


@dataclass(frozen=True)
class Answer:
    """How the application answered; the body is not kept."""

    #: Status line, for instance ``200 OK``.
    status: str
    #: Where a redirect leads.
    location: str | None = None

    @property
    def is_success(self) -> bool:
        """A redirect is none: it usually leads to the login form."""
        return self.status.startswith("2")

    def __str__(self) -> str:
        if self.location is None:
            return self.status
        return f"{self.status}, to {self.location}"


def make_environ(section: ClockSection) -> dict[str, Any]:
    """The WSGI environ of one call.

    Raises PasswordMissing if the password cannot be read.
    """
    credentials = section.credentials()
    # WSGI has text in which each character is a byte.
    path = section.path.decode("latin-1")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "PATH_TRANSLATED": path,
        "QUERY_STRING": section.query,
        "SERVER_NAME": "Zope Clock Server",
        # Zope takes the port from the Host header, which is always there.
        "SERVER_PORT": "Clock",
        "SERVER_PROTOCOL": "HTTP/1.0",
        "SERVER_SOFTWARE": "Zope",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REMOTE_ADDR": "0",
        "HTTP_ACCEPT": "text/html,text/plain",
        "HTTP_HOST": section.host or socket.gethostname(),
        "HTTP_USER_AGENT": "Zope Clock Server Client",
        "channel.creation_time": time.time(),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if credentials is not None:
        token = b64encode(":".join(credentials).encode("utf-8")).decode("ascii")
        environ["HTTP_AUTHORIZATION"] = f"Basic {token}"
    return environ


def call(
    section: ClockSection, application: Callable[..., Iterable[bytes]] = application
) -> Answer:
    """Call the method of a clock and wait for the end of the answer.

    Raises PasswordMissing, and what leaves the publisher.
    """
    answers: list[Answer] = []

    def start_response(status, headers, exc_info=None):
        location = {key.lower(): value for key, value in headers}.get("location")
        answers.append(Answer(status, location))

    body = application(make_environ(section), start_response)
    try:
        for _part in body:
            # A streamed answer does its work while it is read.
            continue
    finally:
        if hasattr(body, "close"):
            body.close()
    return answers[-1]
