"""What must not be stored with a job, and what to pass in its place.

Most of it belongs to the request that is being answered, and is worth nothing in the
worker. Some of it could even be pickled, and would then keep secrets in the database.
"""

from __future__ import annotations

from AccessControl.interfaces import ISecurityManager
from AccessControl.interfaces import IUser
from AccessControl.SecurityManagement import SecurityManager
from Products.CMFCore.interfaces import IMember
from Products.ZCatalog.interfaces import ICatalogBrain
from types import AsyncGeneratorType
from types import CoroutineType
from types import GeneratorType
from types import ModuleType
from typing import Any
from zope.browser.interfaces import IView
from zope.publisher.interfaces import IRequest
from ZPublisher.BaseResponse import BaseResponse

import io


#: Interface, and what an object that provides it is, and what to do.
_BY_INTERFACE = (
    (
        ICatalogBrain,
        "a catalog brain, which is worth nothing in another process: pass its UID "
        "or path, or the object that its getObject() gives",
    ),
    (IRequest, "a request: pass the values that you need from it"),
    (IMember, "a member: pass her id, and look her up inside the function"),
    (IUser, "a user: pass her id, and look her up inside the function"),
    (IView, "a view: pass its context, and look the view up inside the function"),
    (ISecurityManager, "a security manager: the job has the rights of its user"),
)

#: Types, and the same.
_BY_TYPE = (
    (BaseResponse, "a response: nobody waits for one when the job runs"),
    (io.IOBase, "an open file: pass what is in it, or its name"),
    (
        (GeneratorType, AsyncGeneratorType),
        "a generator: pass a list of what it yields",
    ),
    (CoroutineType, "a coroutine that was not awaited: pass what it returns"),
    (SecurityManager, "a security manager: the job has the rights of its user"),
    (ModuleType, "a module: import it inside the function"),
)


def refusal(obj: Any) -> str | None:
    """Why this object must not be stored, and what to do; None if it may be."""
    for kinds, reason in _BY_TYPE:
        if isinstance(obj, kinds):
            return reason
    for interface, reason in _BY_INTERFACE:
        if interface.providedBy(obj):
            return reason
    return None
