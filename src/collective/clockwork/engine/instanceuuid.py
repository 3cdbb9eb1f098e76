"""The UUID of this process's dispatcher, kept over restarts in a file.

The file is named by the environment variable ZC_ASYNC_UUID, as in zc.async, or
is ``uuid.txt`` in the working directory; it is made when it is missing. Each
process that dispatches needs a file of its own.
"""

from __future__ import annotations

from .interfaces import IUUID
from pathlib import Path
from zope.interface import classImplements

import os
import uuid


key = "ZC_ASYNC_UUID"

_TEXT = """{uuid}

The first line names this process among the workers of its database. Keep the
file: a worker that is started again with it takes back its own jobs at once.
Do not copy it: two running workers must not have the same one.
"""

classImplements(uuid.UUID, IUUID)

_uuids: dict[Path, uuid.UUID] = {}


def getUUID() -> uuid.UUID:
    """The UUID in the file; the same one at each call of a process.

    Read when first asked for, not on import: a process that only queues jobs
    leaves no file behind. ValueError if the file holds something else.
    """
    path = uuid_file()
    if path not in _uuids:
        _uuids[path] = _read(path)
    return _uuids[path]


def uuid_file() -> Path:
    """Where this process's UUID is, or will be."""
    return Path(os.environ.get(key) or "uuid.txt").absolute()


def _read(path: Path) -> uuid.UUID:
    if not path.exists():
        path.write_text(_TEXT.format(uuid=uuid.uuid1()))
    first = path.read_text().partition("\n")[0].strip()
    try:
        return uuid.UUID(first)
    except ValueError as error:
        raise ValueError(
            f"the first line of {path} is {first!r}, which is no UUID: remove the "
            "file to get a new one"
        ) from error


def __getattr__(name: str):
    # zc.async read the file when this module was imported.
    if name == "UUID":
        return getUUID()
    raise AttributeError(name)
