"""The stored result of a job that failed.

Kept as text, so that a record of today can be read in two years: the name of
the exception's type, its message, the traceback without the values of local
variables (which may be secrets), and the exception itself only where it can
be pickled on its own and is small. It has the methods of Twisted's Failure
that users of zc.async call, and needs no Twisted.
"""

from __future__ import annotations

from persistent import Persistent

import importlib
import io
import pickle
import sys
import traceback


#: Characters of traceback that are kept, the end of it.
TRACEBACK_LIMIT = 20_000
#: Characters of message that are kept.
MESSAGE_LIMIT = 4_000
#: Bytes of pickled exception that are kept.
VALUE_LIMIT = 10_000


class _PlainPickler(pickle.Pickler):
    """Refuses persistent objects, which must not be copied into a failure."""

    def persistent_id(self, obj):
        if isinstance(obj, Persistent):
            raise pickle.PicklingError("persistent object")
        return None


def _pickled(value: BaseException) -> bytes | None:
    buffer = io.BytesIO()
    try:
        _PlainPickler(buffer, 3).dump(value)
        data = buffer.getvalue()
        if len(data) <= VALUE_LIMIT:
            pickle.loads(data)
            return data
    except Exception:
        # Whatever keeps an exception from being pickled and read back, its
        # text is kept; this must never make a failure out of a failure.
        return None
    return None


def dotted_type(exception_type: type) -> str:
    """``ValueError`` for builtins, else ``module.Name``."""
    if exception_type.__module__ == "builtins":
        return exception_type.__qualname__
    return f"{exception_type.__module__}.{exception_type.__qualname__}"


class Failure:
    """What went wrong in a job, readable without the code that raised it.

    ``Failure(exception)``, or ``Failure()`` in an ``except`` clause.
    """

    _pickle: bytes | None = None
    _live: BaseException | None = None

    def __init__(self, exception: BaseException | None = None):
        if exception is None:
            exception = sys.exc_info()[1]
        if exception is None:
            raise ValueError("Failure() needs an exception, or an except clause")
        self._live = exception
        self.typeName = dotted_type(type(exception))
        self.bases = tuple(dotted_type(base) for base in type(exception).__mro__[:-1])
        try:
            message = str(exception)
        except Exception:
            # A broken __str__ is the application's; the type still helps.
            message = "(the exception has no readable message)"
        self.message = message[:MESSAGE_LIMIT]
        lines = traceback.format_exception(
            type(exception), exception, exception.__traceback__
        )
        self.traceback = "".join(lines)[-TRACEBACK_LIMIT:]

    def __getstate__(self):
        state = {
            "typeName": self.typeName,
            "bases": self.bases,
            "message": self.message,
            "traceback": self.traceback,
        }
        data = self._pickle or (_pickled(self._live) if self._live else None)
        if data:
            state["_pickle"] = data
        return state

    @property
    def type(self) -> type | None:
        """The exception's class; None where it cannot be imported."""
        if self._live is not None:
            return type(self._live)
        module, _dot, name = self.typeName.rpartition(".")
        try:
            return getattr(importlib.import_module(module or "builtins"), name)
        except (ImportError, AttributeError):
            return None

    @property
    def value(self) -> BaseException:
        """The exception, or a RuntimeError with its text where it was not kept."""
        if self._live is None:
            if self._pickle:
                try:
                    self._live = pickle.loads(self._pickle)
                except Exception:
                    # Its class changed or is gone since: the text remains.
                    self._live = None
            if self._live is None:
                return RuntimeError(f"{self.typeName}: {self.message}")
        return self._live

    def check(self, *types) -> object | None:
        """The first of ``types`` (classes or dotted names) that this is a kind of."""
        for candidate in types:
            name = candidate if isinstance(candidate, str) else dotted_type(candidate)
            if name in self.bases:
                return candidate
        return None

    def trap(self, *types) -> object:
        """Like ``check``, but raises the exception when none fits."""
        found = self.check(*types)
        if found is None:
            self.raiseException()
        return found

    def raiseException(self) -> None:
        """Raise the exception again."""
        raise self.value

    def getErrorMessage(self) -> str:
        """The exception's text."""
        return self.message

    def getBriefTraceback(self) -> str:
        """The last few lines of the traceback."""
        return "\n".join(self.traceback.splitlines()[-4:])

    def getTraceback(self, elideFrameworkCode=0, detail="default") -> str:
        """The traceback as text; the arguments are Twisted's, and ignored."""
        return self.traceback

    def printTraceback(self, file=None, **ignored) -> None:
        """Write the traceback to ``file``, or to standard error."""
        (file or sys.stderr).write(self.traceback)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.Failure {self.typeName}: {self.message}>"


def isFailure(value) -> bool:
    """Whether a job's result says that it failed."""
    return isinstance(value, Failure)
