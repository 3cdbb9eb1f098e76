"""Mail to the user who queued a job, when the job has ended, if she asked for it.

A job asks with its option ``notify``. The mail is a callback of the job: it is sent in
a transaction of its own, after the job's, in the job's site, with the virtual host and
the language of the request that queued it. Whether it can be sent changes nothing for
the job.
"""

from __future__ import annotations

from collective.clockwork import _
from collective.clockwork.engine import local
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.tasks import is_task
from email.mime.text import MIMEText
from email.utils import formataddr
from plone.registry.interfaces import IRegistry
from Products.CMFCore.utils import getToolByName
from typing import Any
from urllib.parse import urlencode
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.globalrequest import getRequest
from zope.i18n import translate
from zope.i18nmessageid import Message

import logging
import re


logger = logging.getLogger("collective.clockwork")

DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
#: A batch has ended, and some of its jobs have failed.
PARTLY = "partly"

#: What can be asked for, to the outcomes that are told of then.
WISHES = {
    "done": (DONE, PARTLY),
    "failed": (FAILED, CANCELLED, PARTLY),
    "both": (DONE, FAILED, CANCELLED, PARTLY),
}

SUBJECTS = {
    DONE: _("mail_subject_done", default="Done: ${title}"),
    FAILED: _("mail_subject_failed", default="Failed: ${title}"),
    CANCELLED: _("mail_subject_cancelled", default="Cancelled: ${title}"),
    PARTLY: _("mail_subject_partly", default="Done with errors: ${title}"),
}
OUTCOMES = {
    DONE: _("mail_done", default="The background job “${title}” is done."),
    FAILED: _("mail_failed", default="The background job “${title}” has failed."),
    CANCELLED: _(
        "mail_cancelled", default="The background job “${title}” was cancelled."
    ),
    PARTLY: _(
        "mail_partly",
        default="The background job “${title}” is done, but ${failed} of its ${count} "
        "parts have failed.",
    ),
}

#: One address, without a name or anything that would end a header.
ADDRESS = re.compile(r"[^\s@,;:<>()\"\\]+@[^\s@,;:<>()\"\\]+")


def is_due(result: Any, job: Any) -> bool:
    """Whether the job's user asked for a mail about such a result of it.

    Of what she cancelled herself she knows.
    """
    if job.notify is None:
        return False
    kind = _outcome(result, job)
    if kind == CANCELLED and getattr(result.value, "by", None) == job.user_id:
        return False
    return kind in WISHES.get(job.notify, ())


def mail_outcome(result: Any) -> None:
    """Callback: send the mail about the job that this is a callback of.

    What keeps it from being sent is logged. A job that was retried may have another
    result by now than that for which this was added.
    """
    job = local.getJob().parent
    if not is_due(result, job):
        return
    problem = _send(_outcome(result, job), job)
    if problem is not None:
        logger.warning("No mail about job %s is sent: %s", job.id, problem)


def _outcome(result: Any, job: Any) -> str:
    if not isFailure(result):
        return PARTLY if getattr(job, "failed_members", ()) else DONE
    return CANCELLED if result.check(CancelledError) else FAILED


def _send(kind: str, job: Any) -> str | None:
    """Send it with the commit; returns what makes that impossible."""
    site = getSite()
    if site is None:
        return "its site is gone"
    registry = getUtility(IRegistry)
    sender = registry.get("plone.email_from_address")
    if not sender or not registry.get("plone.smtp_host"):
        return "the site's mail settings are incomplete"
    # She is the current user, if she still exists.
    member = getToolByName(site, "portal_membership").getAuthenticatedMember()
    if job.user_id is None or member.getId() != job.user_id:
        return f"there is no user {job.user_id!r}"
    address = member.getProperty("email", None) or ""
    if ADDRESS.fullmatch(address) is None:
        return f"the user {job.user_id!r} has no e-mail address"
    language = member.getProperty("language", None) or None
    subject, text = _texts(kind, job, site, language)
    getToolByName(site, "MailHost").send(
        MIMEText(text, "plain", "utf-8"),
        mto=address,
        mfrom=formataddr((registry.get("plone.email_from_name") or "", sender)),
        subject=subject,
        charset="utf-8",
    )
    return None


def _texts(kind: str, job: Any, site: Any, language: str | None) -> tuple[str, str]:
    """Subject and text, in this language or else in that of the request."""

    def say(message: str, **words: Any) -> str:
        if isinstance(message, Message) and words:
            message = Message(message, mapping=words)
        return translate(message, context=getRequest(), target_language=language)

    title = " ".join(say(_title(job)).split())
    words = {"title": title}
    if kind == PARTLY:
        words |= {"failed": len(job.failed_members), "count": len(job.args)}
    view = "@@background-task" if is_task(job.callable_name) else "@@background-job"
    page = f"{site.absolute_url()}/{view}?{urlencode({'id': job.id})}"
    lines = (
        say(OUTCOMES[kind], **words),
        "",
        say(_("mail_link", default="More about it: ${url}"), url=page),
        "",
        "-- ",
        say(
            _(
                "mail_reason",
                default="You get this mail because you started this job in “${site}”.",
            ),
            site=site.Title(),
        ),
    )
    return say(SUBJECTS[kind], **words), "\n".join(lines) + "\n"


def _title(job: Any) -> str:
    if job.title:
        return job.title
    if hasattr(job, "failed_members"):
        return _("Batch of ${count} jobs", mapping={"count": len(job.args)})
    return job.callable_name.rpartition(".")[2]
