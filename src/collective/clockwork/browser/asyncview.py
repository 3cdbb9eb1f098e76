"""The base class of views whose work is done by a job, with pages that follow it.

The API is that of netsight.async: a view overrides ``__run__``. A POST queues a job and
leads to ``processing``, that to ``result``.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collective.clockwork import _
from collective.clockwork.backgroundview import process as processes
from collective.clockwork.backgroundview import running
from collective.clockwork.backgroundview.errors import NoSuchProcessError
from collective.clockwork.backgroundview.errors import ThreadDiedBeforeCompletionError
from collective.clockwork.backgroundview.process import uid_generator
from datetime import timedelta
from importlib.metadata import version
from plone.protect import CheckAuthenticator
from Products.Five.browser import BrowserView
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from typing import Any
from urllib.parse import urlencode
from zExceptions import Forbidden
from zope.component.hooks import getSite
from zope.i18n import translate
from zope.interface import implementer
from zope.publisher.interfaces import IPublishTraverse
from ZPublisher import zpublish

import json


__all__ = [
    "BaseAsyncView",
    "NoSuchProcessError",
    "ThreadDiedBeforeCompletionError",
    "is_numeric",
    "uid_generator",
]

#: Seconds between two refreshes of the page, with a script and without.
SCRIPT_INTERVAL = 1.5
INTERVAL = 5

SUB_PAGES = ("processing", "completed", "result", "cancel")


def is_numeric(value: Any) -> bool:
    """Whether it is a number; True and False are none. As in netsight.async."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@implementer(IPublishTraverse)
class BaseAsyncView(BrowserView):
    """A view that has its work done in the background; override ``__run__``."""

    #: What is shown while nothing is started, a template or another callable; None for
    #: what the view would show by itself, its template in ZCML for instance.
    initial_page: Callable | None = None
    #: The page that follows the work; called with ``process_id``.
    processing_page = ViewPageTemplateFile("processing.pt")

    #: Options of the job, as ``service.using`` takes them: ``queue``, ``quota``,
    #: ``title``, ``timeout``, ``priority``, ``notify`` ...
    job_options: Mapping[str, Any] = {}
    #: How long a result, or a failure, is kept.
    result_lifetime = timedelta(days=1)
    #: Whether a result can be fetched once only. As in netsight.async.
    result_once = True
    #: Whether whoever started the work may stop it.
    allow_cancel = True
    #: Whether this instance may do the work while no worker is alive.
    run_without_worker = True
    #: Bytes that may be sent to the view.
    body_limit = 1 << 30

    # For subclasses

    def __run__(self, process_id: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """Do the work, and return what becomes the response. To be overridden.

        It is called in a job, as the user who sent the request, with that request.
        ``process_id`` is for ``set_progress``.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no __run__, which would do the work"
        )

    def run_process(self) -> bool:
        """Whether this request starts the work: by default, whether it is a POST."""
        return self.request.get("REQUEST_METHOD") == "POST"

    def set_progress(
        self, process_id: str, percentage: float, message: str | None = None
    ) -> None:
        """Say how far the work is, 0 to 100; to be called by ``__run__``.

        Others see it about a second later. Raises NoSuchProcessError if it is not this
        process that runs here, TypeError or ValueError for what is no such number,
        and CancelledError if the work was stopped.
        """
        running.report(process_id, percentage, message)

    # Publishing

    def __call__(
        self, REQUEST: Any = None, no_process: bool = False, *args: Any, **kwargs: Any
    ) -> Any:
        """Start the work, or show the page from which it is started.

        With ``no_process`` nothing is started: a ``__run__`` that calls it needs that.
        """
        if self.run_process() and not no_process:
            return self._start()
        if self.initial_page is not None:
            return self.initial_page(*args, **kwargs)
        return super().__call__(REQUEST, *args, **kwargs)

    def publishTraverse(self, request: Any, name: str) -> Any:
        """The sub-page of this name; the view itself for any other."""
        return SubPage(self, name) if name in SUB_PAGES else self

    def processing(self, process_id: str | None = None) -> Any:
        """The page that follows the work; leads to the result when that is there.

        Raises what ``completed`` raises.
        """
        self._forbid_caching()
        if self._is_finished(self._find(process_id)):
            return self._redirect("result", process_id)
        return self.processing_page(process_id=process_id)

    def completed(self, process_id: str | None = None, output_json: Any = False) -> Any:
        """True if the result is there, 100 if the work told its progress.

        Before, what it told last, or False. Raises NoSuchProcessError, and
        ThreadDiedBeforeCompletionError if there will be no result. With
        ``output_json`` it is a JSON object, which has "ERROR" for both.
        """
        self._forbid_caching()
        if not output_json:
            return self._completed(self._find(process_id))
        self.request.response.setHeader("Content-Type", "application/json")
        return json.dumps(self._state(process_id))

    def result(self, process_id: str | None = None, output_json: Any = False) -> Any:
        """The response with the result; None, and the way back, if it is not there.

        Raises what ``completed`` raises; with ``output_json`` that is an object.
        """
        self._forbid_caching()
        try:
            found = self._find(process_id)
            is_finished = self._is_finished(found)
        except (NoSuchProcessError, ThreadDiedBeforeCompletionError):
            if not output_json:
                raise
            return self.completed(process_id, output_json)
        if not is_finished:
            self._redirect("processing", process_id)
            return None
        response = self.request.response
        found.give(response, self.request)
        return response

    def cancel(self, process_id: str | None = None) -> Any:
        """Stop the work, for a POST with Plone's token; leads back to its page.

        Raises NoSuchProcessError, and Forbidden if the view does not allow it.
        """
        self._forbid_caching()
        if self.request.method != "POST":
            raise Forbidden("The work is stopped by a POST only")
        CheckAuthenticator(self.request)
        found = self._find(process_id)
        if found.is_unfinished:
            if not found.may_cancel:
                raise Forbidden("This work cannot be stopped")
            found.cancel()
        return self._redirect("processing", process_id)

    # For the template

    def progress_of(self, process_id: str) -> dict[str, Any]:
        """What the page shows of an unfinished process, in the visitor's language."""
        found = self._find(process_id)
        return {
            **self._state(process_id),
            "may_cancel": found.may_cancel,
            "once": found.process.once,
            "poll_url": self._url("completed", process_id, output_json="1"),
            "processing_url": self._url("processing", process_id),
            "result_url": self._url("result", process_id),
            "cancel_url": self._url("cancel"),
            "interval": INTERVAL,
            "script_interval": SCRIPT_INTERVAL,
        }

    def resource_url(self, name: str) -> str:
        """The address of a style sheet or script of ours, with the release in it."""
        base = f"{getSite().absolute_url()}/++resource++collective.clockwork"
        return f"{base}/{name}?v={version('collective.clockwork')}"

    # How

    def _start(self) -> Any:
        wishes = processes.Wishes(
            self.job_options,
            self.result_lifetime,
            self.result_once,
            self.allow_cancel,
            self.run_without_worker,
            self.body_limit,
        )
        name = self.__name__
        process_id = processes.start(self.context, name, self.request, wishes)
        self._forbid_caching()
        return self._redirect("processing", process_id)

    def _find(self, process_id: Any) -> processes.Found:
        return processes.find(process_id, self.context, self.__name__, self.request)

    def _is_finished(self, found: processes.Found) -> bool:
        error = found.error
        if error is not None:
            raise error
        return not found.is_unfinished

    def _completed(self, found: processes.Found) -> bool | float:
        is_finished = self._is_finished(found)
        percent = found.said.percent
        if is_finished:
            return True if percent is None else 100
        return False if percent is None else running.rounded(percent)

    def _state(self, process_id: Any) -> dict[str, Any]:
        """What JSON tells. Both old names are there for what ``completed`` returns."""
        try:
            found = self._find(process_id)
            progress = self._completed(found)
        except (NoSuchProcessError, ThreadDiedBeforeCompletionError) as error:
            return {
                "completed": "ERROR",
                "progress": "ERROR",
                "finished": True,
                "progress_message": self._translate(explanation(error)),
                "error_id": getattr(error, "error_id", ""),
            }
        said = found.said
        is_unfinished = found.is_unfinished
        left = said.eta_seconds if is_unfinished else None
        return {
            "completed": progress,
            "progress": progress,
            "finished": not is_unfinished,
            "progress_message": self._percent_text(progress),
            "state": self._translate(STATES[found.status]),
            "message": said.message or "",
            "seconds_left": None if left is None else round(left),
            "time_left": "" if left is None else self._translate(time_left(left)),
        }

    def _percent_text(self, progress: bool | float) -> str | int:
        # As in netsight.async it is the number 0 where there is nothing to tell.
        if not is_numeric(progress):
            return 0
        text = _(
            "percentage_completion",
            default="${percent}% completed",
            mapping={"percent": progress},
        )
        return self._translate(text)

    def _translate(self, text: str) -> str:
        return translate(text, context=self.request)

    def _url(self, page: str, process_id: str | None = None, **query: str) -> str:
        address = f"{self.context.absolute_url()}/{self.__name__}/{page}"
        if process_id is None:
            return address
        return f"{address}?{urlencode({'process_id': process_id, **query})}"

    def _redirect(self, page: str, process_id: str | None) -> Any:
        return self.request.response.redirect(self._url(page, process_id))

    def _forbid_caching(self) -> None:
        self.request.response.setHeader("Cache-Control", "private, no-store")


@zpublish
class SubPage:
    """A method of a view as a page, for those who may see the view.

    The ``browser:page`` directive hides all methods that it is not told of.
    """

    def __init__(self, view: BaseAsyncView, name: str) -> None:
        self.__parent__ = view
        self.__name__ = name
        self.__roles__ = getattr(view, "__roles__", ())

    def __call__(self, process_id: str | None = None, output_json: Any = False) -> Any:
        method = getattr(self.__parent__, self.__name__)
        return method(process_id, output_json) if output_json else method(process_id)


STATES = {
    "queued": _("The work is waiting to begin."),
    "active": _("The work is being done."),
    "completed": _("The work is done."),
}


def time_left(seconds: float) -> str:
    """How long it takes still, for people."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return _("Less than a minute left")
    if minutes < 120:
        return _("About ${minutes} min left", mapping={"minutes": minutes})
    return _("About ${hours} h left", mapping={"hours": round(minutes / 60)})


def explanation(error: Exception) -> str:
    """Why there is no result, for people; of the exception only that there was one."""
    if isinstance(error, NoSuchProcessError):
        return _(
            "There is no such work that you may see. Results are kept for some time "
            "only, and some can be fetched once."
        )
    if processes.is_cancelled(error):
        return _("The work was stopped.")
    return _(
        "Something went wrong, and the work was not done. If you ask for help, please "
        "give the number ${number}.",
        mapping={"number": error.error_id},
    )


class ErrorPage(BrowserView):
    """What is shown in place of a result that will not come."""

    template = ViewPageTemplateFile("processerror.pt")

    def __init__(self, error: Exception, request: Any) -> None:
        page = request.get("PUBLISHED")
        view = page.__parent__ if isinstance(page, SubPage) else None
        super().__init__(getattr(view, "context", None) or getSite(), request)
        self.error = error
        self.view = view

    def __call__(self) -> str:
        response = self.request.response
        response.setHeader("Cache-Control", "private, no-store")
        # Locked, as Plone's transforms set that of the exception's class once more.
        response.setStatus(self.status, lock=True)
        return self.template()

    @property
    def status(self) -> int:
        if isinstance(self.error, NoSuchProcessError):
            return 404
        return 200 if processes.is_cancelled(self.error) else 500

    @property
    def is_failure(self) -> bool:
        return self.status == 500

    def title(self) -> str:
        if isinstance(self.error, NoSuchProcessError):
            return _("No such work")
        return _("Stopped") if self.status == 200 else _("Failed")

    def text(self) -> str:
        return explanation(self.error)

    def back_url(self) -> str:
        """Where it can be started anew."""
        name = getattr(self.view, "__name__", None)
        address = self.context.absolute_url()
        return f"{address}/{name}" if name else address
