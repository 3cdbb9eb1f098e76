"""What pages this package has, as they are registered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from zope.component import getGlobalSiteManager
from zope.publisher.interfaces.browser import IDefaultBrowserLayer


OURS = "collective.clockwork."
TESTS = "collective.clockwork.tests."


class Page(NamedTuple):
    name: str
    #: Title of the permission that it asks for.
    permission: str
    #: What it is a page of.
    context: type
    #: For which requests it is there.
    layer: type


def our_pages() -> Iterator[Page]:
    """All pages that are found by a name in an address."""
    for registration in getGlobalSiteManager().registeredAdapters():
        if len(registration.required) != 2 or not registration.name:
            continue
        context, layer = registration.required
        if layer.isOrExtends(IDefaultBrowserLayer) and _is_ours(registration.factory):
            permission = registration.factory.__roles__.__name__
            yield Page(registration.name, permission, context, layer)


def _is_ours(factory) -> bool:
    modules = [kind.__module__ for kind in getattr(factory, "__mro__", ())]
    return any(m.startswith(OURS) and not m.startswith(TESTS) for m in modules)
