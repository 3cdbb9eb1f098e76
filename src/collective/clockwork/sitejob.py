"""The jobs of a site: each belongs to a user, and is run in her world.

Class paths are stored with the jobs: these classes stay importable from ``service``
too, where they were once.
"""

from __future__ import annotations

from AccessControl.users import nobody
from collections.abc import Callable
from collective.clockwork import arguments
from collective.clockwork import identity
from collective.clockwork import references
from collective.clockwork import world
from collective.clockwork.engine import local
from collective.clockwork.engine.interfaces import IAbstractJob
from collective.clockwork.engine.job import isFailure
from collective.clockwork.engine.job import Job
from collective.clockwork.events import has_subscribers
from collective.clockwork.events import JobFailure
from collective.clockwork.events import JobSuccess
from collective.clockwork.notify import is_due
from collective.clockwork.notify import mail_outcome
from collective.clockwork.retry import ServiceRetry
from Products.CMFCore.indexing import getQueue
from typing import Any
from zExceptions import BadRequest
from ZODB.utils import u64
from zope.component.hooks import getSite
from zope.event import notify

import logging


class SiteJob(Job):
    """A job that belongs to a site and to a user.

    All that it adds is written once, before it is queued.
    """

    #: Where the site was, and its UID if it has one.
    site_path: tuple[str, ...] = ()
    site_uid: str | None = None
    #: Where the user's folder was, and her id; empty and None for anonymous.
    userfolder_path: tuple[str, ...] = ()
    user_id: str | None = None
    #: Where the context was, and its UID if it has one; empty for a batch.
    context_path: tuple[str, ...] = ()
    context_uid: str | None = None
    #: What it is called in lists, a text for people; see ``options``.
    title: str | None = None
    #: Which end its user wants a mail about; see ``notify``.
    notify: str | None = None
    #: Language of the request that queued it; None if it was the site's default.
    language: str | None = None
    #: Where that request saw the site: see ``world.VirtualHost``.
    virtual_url: str | None = None
    virtual_root: tuple[str, ...] | None = None

    def belong_to(self, site: Any) -> None:
        """Remember the site, the current user, and what the request knew of both."""
        self.site_path = site.getPhysicalPath()
        self.site_uid = identity.uid_of(site)
        self.userfolder_path, self.user_id = identity.current_user(site)
        self.language = world.current_language()
        self.virtual_url, self.virtual_root = world.current_virtual_host(site)

    def belong_where(self, job: SiteJob) -> None:
        """Remember the same as another job."""
        self.site_path, self.site_uid = job.site_path, job.site_uid
        self.userfolder_path, self.user_id = job.userfolder_path, job.user_id
        self.language = job.language
        self.virtual_url, self.virtual_root = job.virtual_url, job.virtual_root

    def on_result(self, result: Any) -> None:
        """Have the event sent after the commit, if anybody listens, and the mail.

        Each costs a commit of its own, so nothing is stored for no one.
        """
        # The type of a list is enough here; a handler gets it with the objects in it.
        is_list = type(result) is references.Referring
        event = outcome(result.value if is_list else self.shown(result), self)
        app = identity.application(self._p_jar)
        with world.in_site(app, self.site_path, self.site_uid):
            wanted = has_subscribers(event)
        if wanted and not self._calls_back(tell_outcome):
            # A handler that never commits must not keep a thread for ever.
            self.addCallback(tell_outcome, retry_policy_factory=ServiceRetry)
        if is_due(result, self) and not self._calls_back(mail_outcome):
            # One attempt: it must not keep a thread busy until the mail server is back.
            self.addCallback(mail_outcome, logging.ERROR, ServiceRetry)

    def _calls_back(self, function: Callable) -> bool:
        """Whether it does so already; a job that is retried does."""
        name = f"{function.__module__}.{function.__name__}"
        return any(
            isinstance(callback, CallbackJob) and callback.callable_name == name
            for callback in self.callbacks
        )

    @property
    def result(self) -> Any:
        """See the engine's Job. Content objects in it are looked up for the reader.

        One that the current user may not view, or that is gone, is a
        ``ContentReference`` that says so.
        """
        return self.shown(self.stored_result)

    @property
    def stored_result(self) -> Any:
        """The result with references in place of content objects; needs no lookup."""
        return self._result

    def shown(self, value: Any) -> Any:
        """A stored value with the content objects that the current user may view."""
        if type(value) not in references.KINDS:
            return value
        try:
            return references.shown(value, self.find_site())
        except BadRequest:
            return value

    def find_site(self) -> Any:
        """The job's site, in the current request; BadRequest if it is gone.

        A job that is stored nowhere yet belongs to the current site.
        """
        if self._p_jar is None:
            return identity.current_site()
        app = world.in_current_request(identity.application(self._p_jar))
        return identity.find_site(app, self.site_path, self.site_uid)

    @property
    def id(self) -> str | None:
        """What ``getJobInfo`` finds it by; None before its queue is committed."""
        return None if self._p_oid is None else str(u64(self._p_oid))

    def addCallback(self, callback: Any, *options: Any, **named: Any) -> Any:
        """See the engine's Job. A function is called as this job's user, in its site.

        In plone.app.async it was called without both.
        """
        return super().addCallback(self._own(callback), *options, **named)

    def addCallbacks(
        self, success: Any = None, failure: Any = None, *options: Any, **named: Any
    ) -> Any:
        """See the engine's Job, and ``addCallback``."""
        return super().addCallbacks(
            self._own(success), self._own(failure), *options, **named
        )

    def _own(self, callback: Any) -> Any:
        if callback is None or IAbstractJob.providedBy(callback):
            return callback
        return CallbackJob.of(self, callback)

    def enter(self, app: Any) -> None:
        """Make the job's site and user the current ones; BadRequest if one is gone."""
        site = identity.find_site(app, self.site_path, self.site_uid)
        root = self.virtual_root
        if root is not None:
            root = identity.rebased(root, self.site_path, site.getPhysicalPath())
        host = world.VirtualHost(self.virtual_url, root)
        world.enter_site(app, site, host=host, language=self.language)
        world.enter_user(self.find_user(site))

    def find_user(self, site: Any) -> Any:
        """The job's user as she is now; BadRequest if she is gone."""
        path = self.userfolder_path
        path = identity.rebased(path, self.site_path, site.getPhysicalPath())
        return identity.find_user(site.getPhysicalRoot(), path, self.user_id)


class ServiceJob(SiteJob):
    """A call on a context, made in the site and with the rights of its user."""

    def setUp(self) -> world.Surroundings:
        """Enter the world of the job's user.

        Raises BadRequest if her site, her folder or she herself is gone, and
        leaves nothing behind then.
        """
        before, app = world.leave_thread(identity.application(self._p_jar))
        try:
            self.enter(app)
        except BaseException:
            world.restore_thread(before)
            raise
        return before

    def tearDown(self, setup_info: world.Surroundings | None) -> None:
        """Leave that world again; nothing of it stays in the thread."""
        if setup_info is not None:
            world.restore_thread(setup_info)

    def begin_again(self) -> None:
        """Let the user have the rights that she has now; BadRequest if she is gone."""
        site = self.find_site()
        world.renew_user(self.find_user(site))

    def invoke(self, args: tuple, kwargs: dict) -> Any:
        """Call the function with the context, looked up anew, in front."""
        site = getSite()
        path = identity.rebased(
            self.context_path, self.site_path, site.getPhysicalPath()
        )
        context = identity.find_context(site, path, self.context_uid)
        world.enter_context(context)
        what = f"what {self.callable_name} does on {'/'.join(path)}"
        args, kwargs = arguments.given(args, kwargs, site, arguments.AFTER_CONTEXT)
        with world.naming_who_may_not(what):
            result = super().invoke((context, *args), kwargs)
        return references.storable_result(result, site)

    def complete_work(self) -> None:
        """Index what the call changed as its user, before others share the commit.

        By the queue itself: CMFCore's ``processQueue`` does nothing while another
        thread is at it.
        """
        queue = getQueue()
        if queue.length():
            queue.process()


class BatchJob(SiteJob):
    """The outer job of a batch: it only queues its inner jobs, and waits for them."""

    @property
    def failed_members(self) -> tuple[ServiceJob, ...]:
        """Those of its jobs that failed so far. The batch itself does not fail then."""
        if self._p_jar is not None:
            ghosts = [member for member in self._args if member._p_changed is None]
            self._p_jar.prefetch([ghost._p_oid for ghost in ghosts if ghost._p_oid])
        return tuple(member for member in self._args if isFailure(member.stored_result))


class CallbackJob(ServiceJob):
    """Callback of a job, run in that one's site and as its user, as far as they exist.

    A job fails because its site or its user is gone, too, and its callbacks
    are called all the same: then without site, or as anonymous.
    """

    @classmethod
    def of(cls, job: SiteJob, function: Callable) -> CallbackJob:
        """A callback that calls ``function``, to be added to ``job``."""
        callback = cls(function)
        callback.belong_where(job)
        return callback

    def enter(self, app: Any) -> None:
        """Make the site and user current as far as they still exist."""
        try:
            super().enter(app)
        except BadRequest:
            return

    def find_user(self, site: Any) -> Any:
        """The user, or the anonymous one if she is gone."""
        try:
            return super().find_user(site)
        except BadRequest:
            return nobody

    def begin_again(self) -> None:
        """As with other jobs, as far as the site still exists."""
        try:
            super().begin_again()
        except BadRequest:
            return

    def invoke(self, args: tuple, kwargs: dict) -> Any:
        """Call the function with the result; it has no context."""
        site = getSite()
        with world.naming_who_may_not(f"what {self.callable_name} does"):
            result = Job.invoke(self, tuple(map(self.shown, args)), kwargs)
        return result if site is None else references.storable_result(result, site)

    def on_result(self, result: Any) -> None:
        """Nobody is told of callbacks."""


def outcome(result: Any, job: SiteJob) -> JobSuccess | JobFailure:
    """The event that tells of a job's result."""
    kind = JobFailure if isFailure(result) else JobSuccess
    return kind(result, job)


def tell_outcome(result: Any) -> None:
    """Callback: send the event about the job that this is a callback of."""
    notify(outcome(result, local.getJob().parent))
