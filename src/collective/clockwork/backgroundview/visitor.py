"""Anonymous visitors are told apart by a signed cookie.

They own no jobs, so what they started is theirs by a random name, which their browser
keeps for the session. It is signed with the site's keys, and the database has a digest
of it only. The cookie is for the site alone: two at one address do not overwrite each
other's.
"""

from __future__ import annotations

from collective.clockwork import identity
from hashlib import sha256
from plone.keyring.interfaces import IKeyManager
from typing import Any
from uuid import uuid4
from zope.component import getUtility

import hmac


COOKIE = "clockwork_visitor"
RING = "_system"


def current(request: Any) -> str | None:
    """The visitor of this request; None without a cookie that this site signed."""
    name, _dot, signature = str(request.cookies.get(COOKIE, "")).partition(".")
    for secret in getUtility(IKeyManager)[RING]:
        if secret is not None and hmac.compare_digest(
            signature.encode(), _signature(name, secret).encode()
        ):
            return _digest(name)
    return None


def ensure(request: Any) -> str:
    """The visitor of this request; one without a name gets one, and the cookie."""
    known = current(request)
    if known is not None:
        return known
    name = uuid4().hex
    secret = getUtility(IKeyManager).secret(RING)
    value = f"{name}.{_signature(name, secret)}"
    site = identity.current_site()
    request.response.setCookie(
        COOKIE,
        value,
        path=request.physicalPathToURL(site.getPhysicalPath(), relative=1) or "/",
        http_only=True,
        same_site="Lax",
        secure=request.get("SERVER_URL", "").startswith("https:"),
    )
    # Asked again in this request, she is known.
    request.cookies[COOKIE] = value
    return _digest(name)


def _signature(name: str, secret: str) -> str:
    message = f"collective.clockwork visitor {name}"
    return hmac.new(secret.encode(), message.encode(), sha256).hexdigest()


def _digest(name: str) -> str:
    return sha256(name.encode()).hexdigest()
