"""What is raised to those who ask for a process that they cannot have."""

from __future__ import annotations

from zope.interface import implementer
from zope.interface import Interface


class IProcessError(Interface):
    """What the page about it is registered for."""


@implementer(IProcessError)
class NoSuchProcessError(RuntimeError):
    """There is no process of this id, or none that one may see, or not any more.

    Which of these it is, is not told.
    """


@implementer(IProcessError)
class ThreadDiedBeforeCompletionError(RuntimeError):
    """The process has ended without a result. As in netsight.async.

    ``args[0]`` is the exception by which it ended, or a RuntimeError with its text.
    """

    def __init__(self, exception: BaseException, *, error_id: str = "") -> None:
        super().__init__(exception)
        #: By which the log names it: the id of its job.
        self.error_id = error_id
