"""The engine: jobs in a ZODB, and the workers that run them.

It knows nothing of Zope 2 or Plone; any application that keeps its data in a
ZODB can use it. ``docs/engine.rst`` explains it.
"""

from __future__ import annotations

from .threadlocal import local


__all__ = ["local"]
