"""What the job of a background view does: the view again, with what was sent to it."""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork.backgroundview import answer
from collective.clockwork.backgroundview import sent
from collective.clockwork.backgroundview.errors import NoSuchProcessError
from collective.clockwork.engine import context as engine_context
from typing import Any
from zExceptions import Redirect
from zope.globalrequest import getRequest


def run(context: Any, process: Any, *, ctx: Any) -> None:
    """Call ``__run__`` of the view, as the job's user, and keep what it returns.

    Raises Unauthorized if she may not call the view (any more), and whatever the view
    raises; a Redirect is an answer.
    """
    request = getRequest()
    with sent.present(process.sent, request):
        view = find_view(context, process.view_name)
        request["PUBLISHED"] = view
        request["PARENTS"].insert(0, view)
        process_id = process.id_in(ctx.job)
        try:
            result = view.__run__(process_id=process_id)
        except Redirect as redirect:
            request.response.redirect(redirect)
            result = None
        process.answer = answer.keep(result, request.response, process._p_jar)
    process.sent = None


def find_view(context: Any, name: str) -> Any:
    """The view of this name for the current request, if the current user may call it.

    Raises NotFound or Unauthorized.
    """
    view = context.restrictedTraverse(f"@@{name}")
    if not hasattr(view, "__run__"):
        raise Unauthorized(f"{name} is no background view here")
    return view


def report(process_id: str, percent: float, message: str | None) -> None:
    """Say how far the process is that this thread runs; see ``set_progress``."""
    try:
        ctx = engine_context.current()
    except RuntimeError:
        ctx = None
    process = None if ctx is None else process_of(ctx.job)
    if process is None or process.id_in(ctx.job) != process_id:
        raise NoSuchProcessError(
            f"{process_id!r} is not the process that runs here: progress is told by "
            "__run__ itself, with the process_id that it was given"
        )
    if isinstance(percent, bool) or not isinstance(percent, int | float):
        raise TypeError(f"percentage is {percent!r}: it must be a number")
    # Who waits for the process may have asked it to stop.
    ctx.checkpoint()
    ctx.progress(percent=rounded(percent), message=message)


def rounded(percent: float) -> float:
    """To one decimal, and whole numbers as such. As in netsight.async."""
    short = round(percent, 1)
    return int(short) if short == int(short) else short


def process_of(job: Any) -> Any:
    """The Process that this job is the work of; None for another job."""
    if job.callable_name != NAME or len(job.args) != 1:
        return None
    return job.args[0]


#: By which the jobs of background views are known.
NAME = f"{run.__module__}.{run.__qualname__}"
