"""Bytes that are kept: short ones where they are, long ones in a blob."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from io import BytesIO
from itertools import chain
from typing import Any
from typing import BinaryIO
from ZODB.blob import Blob
from ZODB.interfaces import IBlobStorage
from ZPublisher.Iterators import filestream_iterator


#: Bytes that are kept without a blob.
SHORT = 64 * 1024
#: Bytes that are read at a time.
CHUNK = 64 * 1024

#: What is stored.
Body = bytes | Blob


def chunks_of(file: Any) -> Iterator[bytes]:
    """What is left in an open file, piece by piece."""
    while chunk := file.read(CHUNK):
        yield chunk


def keep(chunks: Iterable[bytes], connection: Any) -> tuple[Body, int]:
    """Store the chunks over this connection; what to keep of them, and their length.

    ValueError for more than fits into a record, if the database takes no blobs.
    """
    first = bytearray()
    chunks = iter(chunks)
    for chunk in chunks:
        first += chunk
        if len(first) > SHORT:
            break
    else:
        return bytes(first), len(first)
    if not IBlobStorage.providedBy(connection.db().storage):
        raise ValueError(
            f"The database {connection.db().database_name!r} keeps the queues, and is "
            f"to keep more than {SHORT} bytes that were sent to a background view, or "
            "that it returned: give it a blob-dir in zope.conf"
        )
    blob = Blob()
    # Before anybody refers to it, so that it is in no other database.
    connection.add(blob)
    length = 0
    with blob.open("w") as file:
        for chunk in chain((bytes(first),), chunks):
            file.write(chunk)
            length += len(chunk)
    return blob, length


def opened(body: Body) -> BinaryIO:
    """A file with what was kept; it can be read from the start again."""
    return BytesIO(body) if isinstance(body, bytes) else body.open("r")


def streamed(body: Body) -> bytes | filestream_iterator:
    """What to give a response for it; of a blob, it must have been committed."""
    return body if isinstance(body, bytes) else filestream_iterator(body.committed())
