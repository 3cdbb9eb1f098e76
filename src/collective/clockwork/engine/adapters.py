"""The default queue, under the name that it has in zc.async."""

from __future__ import annotations

from .queue import getDefaultQueue as defaultQueueAdapter


__all__ = ["defaultQueueAdapter"]
