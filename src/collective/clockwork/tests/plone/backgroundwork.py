"""Functions that say themselves how they are done in the background."""

from __future__ import annotations

from collective.clockwork import background
from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.engine.outcomes import Snooze
from collective.clockwork.tests.plone import work
from datetime import timedelta
from plone import api
from zope.i18nmessageid import MessageFactory


_ = MessageFactory("my.addon")

#: Whether ``unreliable`` works, in this process.
state = {"works": False}


@background()
def plain(context, word="nothing"):
    """Note a word."""
    work.happened.append(word)
    return word


@background(priority=7, timeout=timedelta(minutes=2), title="Rename to {new_id}")
def rename(context, new_id, *, ctx):
    ctx.progress(1, 1)
    return new_id


@background(title=_("title_convert", default="Convert ${size} of ${context_path}"))
def convert(context, size=200):
    return size


def picture(context, width, title=""):
    return width, title


@background(unique="{context_uid} {size:04d} by {user_id}", on_duplicate="drop")
def thumbnail(context, size=200):
    work.happened.append(size)
    return size


@background(quota="thumbnails", retry=Backoff(tries=3), groupable=True)
def shrink(context):
    return context.getId()


@background(unique="{page}")
def about(context, page):
    return page


@background(debounce=timedelta(minutes=5), unique="{context_path}")
def refresh(context):
    work.happened.append("refreshed")


@background()
def unreliable(context):
    if not state["works"]:
        raise RuntimeError("it does not work")
    return "it works"


@background()
async def fetch(context, word):
    return word


@background()
def add_page(context, page_id):
    return api.content.create(context, "Document", page_id)


@background()
def who(context):
    return api.user.get_current().getId()


@background()
def later(context):
    return Snooze(timedelta(hours=1))


@background()
def twice(context, word):
    plain.queue(context, word)
    plain.using(quota=()).queue(context, word)


@background()
def tell(item, func="", context="", self=""):
    """A function whose parameters are called as those of the service's methods are."""
    return func, context, self


@background(queue="reports", quota="reports", priority=7, title="Report {name}")
def report(context, name):
    return name
