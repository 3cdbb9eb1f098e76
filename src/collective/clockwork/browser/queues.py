"""The page on which the sizes of quotas are changed, and quotas added and removed.

Everything that is sent is checked before anything is changed. A quota is changed only
if its field was: what others have changed meanwhile is left alone.
"""

from __future__ import annotations

from AccessControl import Unauthorized
from collective.clockwork import _
from collective.clockwork import jobrules
from collective.clockwork import quotas
from collective.clockwork.browser.jobs import JobPage
from dataclasses import dataclass
from dataclasses import field
from plone.protect import CheckAuthenticator
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from Products.statusmessages.interfaces import IStatusMessage
from zope.i18n import translate
from zope.i18nmessageid import Message

import re


#: A larger size than this is a slip of the hand.
SIZE = re.compile(r"[0-9]{1,6}")

#: So many quotas of one form are read at most.
MOST_ROWS = 1000

VIEW = "@@background-queues"


@dataclass
class Row:
    """One quota in the form, as it is, or as it was sent."""

    index: int
    queue: str
    name: str
    #: The size when the form was made, and the one that is wanted; as texts.
    was: str
    size: str
    running: int = 0
    remove: bool = False
    error: Message | None = None

    @property
    def is_changed(self) -> bool:
        return self.size != self.was

    @property
    def may_be_removed(self) -> bool:
        return self.name != quotas.DEFAULT_QUOTA


@dataclass
class NewQuota:
    """What was sent to make a quota of, and what is wrong with it."""

    queue: str = ""
    name: str = ""
    size: str = "1"
    #: Field to what is wrong there.
    errors: dict[str, Message] = field(default_factory=dict)


class QueuesPage(JobPage):
    """Shows the quotas of all queues; a POST changes them."""

    template = ViewPageTemplateFile("queues.pt")

    def __call__(self) -> str:
        self.forbid_caching()
        self.new = NewQuota()
        self.rows = self.rows_as_they_are()
        if self.request.method == "POST":
            CheckAuthenticator(self.request)
            if not self.may_change:
                raise Unauthorized(
                    "Other sites share these quotas: they are changed by those who "
                    "may manage background jobs at the Zope root"
                )
            change = self.add if "add" in self.request.form else self.save
            message = change()
            if message is not None:
                IStatusMessage(self.request).add(message, type="info")
                return self.request.response.redirect(self.url(VIEW))
        return self.template()

    @property
    def may_change(self) -> bool:
        return jobrules.may_change_quotas()

    def page_title(self) -> str:
        return translate(_("Queues and quotas"), context=self.request)

    def rows_as_they_are(self) -> list[Row]:
        return [
            Row(
                index,
                quota.queue,
                quota.name,
                str(quota.size),
                str(quota.size),
                quota.running,
            )
            for index, quota in enumerate(quotas.list_quotas())
        ]

    def queues(self) -> list[dict]:
        """The queues with their rows, for the template."""
        return [
            {
                "name": name,
                "title": self.queue_title(name),
                "rows": [row for row in self.rows if row.queue == name],
            }
            for name in quotas.list_queues()
        ]

    def queue_title(self, name: str) -> str:
        title = name or _("Default queue")
        return translate(title, context=self.request)

    @property
    def has_errors(self) -> bool:
        return bool(self.new.errors) or any(row.error for row in self.rows)

    def save(self) -> Message | None:
        """Change what was changed in the form; None if something of it is wrong."""
        present = {(row.queue, row.name): row for row in self.rows}
        wanted = []
        for sent in self.rows_sent():
            row = present.get((sent.queue, sent.name))
            if row is None:
                # Somebody has removed it meanwhile.
                continue
            if sent.is_changed or sent.remove:
                sent.error = self.problem(sent, row)
                row.size, row.remove, row.error = sent.size, sent.remove, sent.error
                wanted.append(sent)
        if self.has_errors:
            return None
        for sent in wanted:
            if sent.remove:
                quotas.remove(sent.queue, sent.name)
            else:
                quotas.set_size(sent.queue, sent.name, int(sent.size))
        return _("Changes saved.") if wanted else _("Nothing was changed.")

    def rows_sent(self) -> list[Row]:
        rows = []
        for index in range(MOST_ROWS):
            if f"name-{index}" not in self.request.form:
                break
            rows.append(
                Row(
                    index,
                    self.sent(f"queue-{index}"),
                    self.sent(f"name-{index}"),
                    self.sent(f"was-{index}"),
                    self.sent(f"size-{index}").strip(),
                    remove=bool(self.sent(f"remove-{index}")),
                )
            )
        return rows

    def sent(self, name: str) -> str:
        """A field of the form; empty if it was not sent, or not as a text."""
        value = self.request.form.get(name)
        return value if isinstance(value, str) else ""

    def problem(self, sent: Row, present: Row) -> Message | None:
        """Why a change cannot be made."""
        if sent.was != present.was:
            return _(
                "Somebody has set it to ${size} meanwhile.",
                mapping={"size": present.was},
            )
        if not sent.remove:
            return self.size_problem(sent.size)
        try:
            quotas.check_removable(sent.queue, sent.name)
        except quotas.QuotaInUseError:
            return _("Jobs run in it or wait for it, so it cannot be removed now.")
        except ValueError:
            return _("Every queue has this quota.")
        return None

    def size_problem(self, size: str) -> Message | None:
        if SIZE.fullmatch(size):
            return None
        return _("Please enter a whole number from 0 to 999999.")

    def add(self) -> Message | None:
        """Make a quota; None if something of what was sent is wrong."""
        self.new = new = NewQuota(
            self.sent("queue"), self.sent("name").strip(), self.sent("size").strip()
        )
        if new.queue not in quotas.list_queues():
            new.errors["queue"] = _("There is no such queue.")
        try:
            quotas.check_name("name", new.name)
        except ValueError:
            new.errors["name"] = _(
                "Please enter a name of 1 to ${length} characters.",
                mapping={"length": quotas.NAME_LENGTH},
            )
        if (new.queue, new.name) in ((row.queue, row.name) for row in self.rows):
            new.errors["name"] = _("There is a quota of this name already.")
        problem = self.size_problem(new.size)
        if problem is not None:
            new.errors["size"] = problem
        if new.errors:
            return None
        quotas.create(new.queue, new.name, int(new.size))
        return _("The quota ${name} was added.", mapping={"name": new.name})
