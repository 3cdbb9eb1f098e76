"""What a view returned: kept as a response, and given to whoever asks for it later."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collective.clockwork.backgroundview import body
from copy import deepcopy
from itertools import chain
from persistent import Persistent
from plone.namedfile.interfaces import INamed
from typing import Any
from urllib.parse import quote
from ZPublisher.HTTPResponse import HTTPBaseResponse
from ZPublisher.Iterators import IStreamIterator
from ZPublisher.Iterators import IUnboundStreamIterator

import io
import mimetypes
import os


#: Headers that are not kept: they are about one transfer.
OF_TRANSFER = (
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "server",
    "set-cookie",
    "transfer-encoding",
)

UNKNOWN_TYPE = "application/octet-stream"


class Answer(Persistent):
    """Written once, in the commit that ends its job."""

    status: int = 200
    #: Pairs of name and value.
    headers: tuple = ()
    #: Headers of which there may be several.
    added_headers: tuple = ()
    #: Name to the attributes of a cookie, the value among them.
    cookies: dict = {}
    body: body.Body = b""
    length: int = 0

    def give(self, response: HTTPBaseResponse, *, with_cookies: bool) -> None:
        """Let this response be the kept one."""
        response.setStatus(self.status)
        # The answer is for one user, and may be there once.
        response.setHeader("Cache-Control", "private, no-store")
        for name, value in self.headers:
            response.setHeader(name, value)
        for name, value in self.added_headers:
            response.addHeader(name, value)
        if with_cookies:
            response.cookies.update(deepcopy(self.cookies))
        streamed = body.streamed(self.body)
        response.setBody(streamed)
        if streamed is not self.body:
            response.setHeader("Content-Length", str(self.length))


def keep(result: Any, response: HTTPBaseResponse, connection: Any) -> Answer:
    """What is kept of a view's result, and of what it said to its response.

    The result is a text, bytes, a file, a named file as of plone.namedfile, an
    iterator of texts or bytes, or whatever else a view may return. It takes part in
    the transaction of the connection.
    """
    answer = Answer()
    connection.add(answer)
    chunks = _chunks_of(result, response)
    answer.body, answer.length = body.keep(_written(response, chunks), connection)
    answer.status = response.getStatus()
    answer.headers = tuple(
        (name, value)
        for name, value in response.headers.items()
        if name not in OF_TRANSFER
    )
    answer.added_headers = tuple(
        (name, value)
        for name, value in response.accumulated_headers
        if name.lower() not in OF_TRANSFER
    )
    answer.cookies = deepcopy(response.cookies)
    return answer


def _written(response: HTTPBaseResponse, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What was written to the response stands before its body."""
    if response.stdout.tell():
        response.stdout.seek(0)
        yield from body.chunks_of(response.stdout)
    yield from chunks


def _chunks_of(result: Any, response: HTTPBaseResponse) -> Iterable[bytes]:
    if result is response or result is None:
        result = response.body
    if INamed.providedBy(result):
        _say_type(response, result.filename, getattr(result, "contentType", None))
        return _chunks_of_named(result)
    if hasattr(result, "read"):
        _say_type(response, _filename_of(result), None)
        return (_as_bytes(chunk, response) for chunk in _until_closed(result))
    if isinstance(result, Iterator) or IUnboundStreamIterator.providedBy(result):
        return _chunks_of_iterator(iter(result), response)
    response.setBody(result)
    return (response.body,)


def _chunks_of_named(file: Any) -> Iterable[bytes]:
    if not hasattr(file, "open"):
        return (file.data,)
    return _until_closed(file.open())


def _until_closed(opened: Any) -> Iterator:
    """What is in a file, which is closed then, as a web server does."""
    try:
        yield from body.chunks_of(opened)
    finally:
        if hasattr(opened, "close"):
            opened.close()


def _chunks_of_iterator(
    chunks: Iterator, response: HTTPBaseResponse
) -> Iterable[bytes]:
    for first in chunks:
        if response.getHeader("Content-Type") is None:
            is_text = isinstance(first, str)
            kind = f"text/plain; charset={response.charset}" if is_text else None
            response.setHeader("Content-Type", kind or UNKNOWN_TYPE)
        return (_as_bytes(each, response) for each in chain((first,), chunks))
    return ()


def _as_bytes(chunk: str | bytes, response: HTTPBaseResponse) -> bytes:
    return chunk.encode(response.charset) if isinstance(chunk, str) else chunk


def _filename_of(file: Any) -> str | None:
    """The name of an upload, or of a file that was opened by its name.

    A stream iterator mostly is about a blob, whose name is not for people.
    """
    name = getattr(file, "filename", None)
    if (
        not name
        and isinstance(file, io.IOBase)
        and not IStreamIterator.providedBy(file)
    ):
        name = getattr(file, "name", None)
    return os.path.basename(name) if isinstance(name, str) and name else None


def _say_type(
    response: HTTPBaseResponse, filename: str | None, kind: str | None
) -> None:
    """Say the type and the name of a file, unless the view has said them."""
    if response.getHeader("Content-Type") is None:
        guessed = mimetypes.guess_type(filename)[0] if filename else None
        response.setHeader("Content-Type", kind or guessed or UNKNOWN_TYPE)
    if filename and response.getHeader("Content-Disposition") is None:
        named = f"attachment; filename*=UTF-8''{quote(filename)}"
        response.setHeader("Content-Disposition", named)
