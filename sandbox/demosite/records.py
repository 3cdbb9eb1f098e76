"""A short list of what happened on the site, kept in an annotation of it."""

from __future__ import annotations

from datetime import datetime
from datetime import timezone
from persistent.list import PersistentList
from zope.annotation.interfaces import IAnnotations


KEY = "sandbox.demosite.records"

#: How many of the newest records are kept.
LIMIT = 50


def add(site, kind: str, text: str) -> None:
    """Add a record. It is committed with whatever else the caller does."""
    notes = IAnnotations(site).setdefault(KEY, PersistentList())
    now = datetime.now(timezone.utc).isoformat()
    notes.append({"kind": kind, "text": text, "time": now})
    del notes[:-LIMIT]


def read(site) -> list[dict[str, str]]:
    """The records, each with kind, text and time in ISO 8601; the oldest first."""
    return list(IAnnotations(site).get(KEY, ()))
