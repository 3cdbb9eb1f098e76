"""Methods of an object of which one runs at a time, Deferreds included."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from twisted.internet.defer import Deferred
from twisted.internet.defer import DeferredLock
from typing import Any


def instance_method_lock(lock_name: str) -> Callable[[Callable], Callable]:
    """Decorator for methods that wait for each other, on each instance by itself.

    The lock is a DeferredLock in the instance's attribute ``lock_name``, made when it
    is first needed. The method returns a Deferred of its result. A method that waits
    for another one with the same lock waits for ever. As in
    oni.twisted_event_dispatcher.
    """

    def decorate(method: Callable) -> Callable[..., Deferred]:
        @wraps(method)
        def locked(self: Any, *args: Any, **kwargs: Any) -> Deferred:
            lock = vars(self).setdefault(lock_name, DeferredLock())
            return lock.run(method, self, *args, **kwargs)

        return locked

    return decorate
