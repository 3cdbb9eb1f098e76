"""The sections ``<clock-server>`` and ``<clocks>`` of zope.conf, read and checked.

ZConfig imports this module while it parses, before Zope is set up, so it imports
nothing but the standard library. What the sections do is in ``clockserver``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.parse import unquote_to_bytes

import os
import string


class PasswordMissing(LookupError):
    """The variable or file that a section names gives no password."""


@dataclass(frozen=True)
class ClockSection:
    """One ``<clock-server>`` section. Without a user its calls are anonymous."""

    #: Name of the section, unique in a process; ZConfig has made it lower case.
    #: None only while a section without a name is read, see `ClocksSection`.
    name: str | None
    #: Path and query string, from the Zope root, quoted as in a URL.
    method: str
    #: Seconds.
    period: int = 60
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    #: Name of an environment variable.
    password_env: str | None = None
    #: Absolute path.
    password_file: str | None = None
    host: str | None = None
    #: Whether one of all processes calls, and not each of them.
    once: bool = False

    @classmethod
    def read(cls, section: Any) -> ClockSection:
        """The ZConfig datatype. Raises ValueError for what makes no clock."""
        clock = cls(
            name=section.getSectionName(),
            method=section.method or "",
            period=section.period,
            user=section.user,
            password=section.password,
            password_env=section.password_env,
            password_file=section.password_file,
            host=section.host,
            once=section.once,
        )
        complaint = clock._complaint()
        if complaint is not None:
            named = (
                "clock-server" if clock.name is None else f"clock-server {clock.name}"
            )
            raise ValueError(f"<{named}>: {complaint}")
        return clock

    def _complaint(self) -> str | None:
        if not self.method:
            return "method is missing. Say what to call, as in: method /Plone/@@tick"
        if not self.method.startswith("/"):
            return (
                f"method is {self.method!r} and has to begin with a slash: it is the "
                "path from the Zope root, as in /Plone/@@tick"
            )
        if not _is_utf8(self.path):
            return f"method is {self.method!r}, and that is no UTF-8 when unquoted"
        if self.period < 1:
            return f"period is {self.period} and has to be 1 second or more"
        if self.host is not None and "/" in self.host:
            return (
                f"host is {self.host!r} and has to be a name, with a port if need be, "
                "as in www.example.org:8080. For https see the documentation"
            )
        if self.user is not None and ":" in self.user:
            return f"user is {self.user!r}, and HTTP allows no colon in a user's name"
        return self._complaint_about_passwords()

    def _complaint_about_passwords(self) -> str | None:
        keys = ("password", "password-env", "password-file")
        given = [
            key for key in keys if getattr(self, key.replace("-", "_")) is not None
        ]
        if len(given) > 1:
            return f"it has {' and '.join(given)}. Keep one of them"
        if self.password_file is not None and not os.path.isabs(self.password_file):
            return (
                f"password-file is {self.password_file!r} and has to be an absolute "
                "path"
            )
        return None

    def getSectionName(self) -> str | None:
        """By which Zope keys the section in ``product_config``."""
        return self.name

    @property
    def path(self) -> bytes:
        """The path of the method, unquoted."""
        return unquote_to_bytes(self.method.partition("?")[0])

    @property
    def query(self) -> str:
        """The query string of the method, without the question mark, in ASCII."""
        return quote(self.method.partition("?")[2], safe=string.printable)

    def credentials(
        self, environ: Mapping[str, str] = os.environ
    ) -> tuple[str, str] | None:
        """User and password, read anew; None if the section doesn't have both.

        Raises PasswordMissing if the variable or the file has no password: the call
        is not made anonymously then.
        """
        password = self.password
        if self.password_env is not None:
            password = environ.get(self.password_env)
            if not password:
                raise PasswordMissing(
                    f"The environment variable {self.password_env} is not set or is "
                    "empty"
                )
        elif self.password_file is not None:
            password = _first_line(self.password_file)
        return (self.user, password) if self.user and password else None


@dataclass(frozen=True)
class ClocksSection:
    """A ``<clocks>`` section: clocks, named after it if they have no name."""

    name: str
    servers: tuple[ClockSection, ...]

    @classmethod
    def read(cls, section: Any) -> ClocksSection:
        """The ZConfig datatype."""
        name = section.getSectionName()
        servers = tuple(
            replace(each, name=f"{name}/{each.name or number}")
            for number, each in enumerate(section.servers, 1)
        )
        return cls(name=name, servers=servers)

    def getSectionName(self) -> str:
        """By which Zope keys the section in ``product_config``."""
        return self.name


def sections_in(product_config: Mapping[str, Any] | None) -> list[ClockSection]:
    """All clocks of a configuration, in the order in which they are written."""
    clocks: list[ClockSection] = []
    for section in (product_config or {}).values():
        if isinstance(section, ClockSection):
            clocks.append(section)
        elif isinstance(section, ClocksSection):
            clocks.extend(section.servers)
    return clocks


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _first_line(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordMissing(f"The file {path} cannot be read: {error}") from error
    line = text.partition("\n")[0].rstrip("\r")
    if not line:
        raise PasswordMissing(f"The first line of the file {path} is empty")
    return line
