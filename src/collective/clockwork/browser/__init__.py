"""Pages, and the base class of views that work in the background.

The classes of the old ``netsight.async.browser`` are imported from here.
"""

from __future__ import annotations

from collective.clockwork.browser.asyncview import BaseAsyncView
from collective.clockwork.browser.asyncview import is_numeric
from collective.clockwork.browser.asyncview import NoSuchProcessError
from collective.clockwork.browser.asyncview import ThreadDiedBeforeCompletionError
from collective.clockwork.browser.asyncview import uid_generator


__all__ = [
    "BaseAsyncView",
    "NoSuchProcessError",
    "ThreadDiedBeforeCompletionError",
    "is_numeric",
    "uid_generator",
]
