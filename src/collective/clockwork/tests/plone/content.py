"""Functions of jobs that get, give or are about content objects."""

from __future__ import annotations

from AccessControl import getSecurityManager
from Acquisition import aq_base
from collections.abc import Iterator
from collective.clockwork import Job
from collective.clockwork import queue
from collective.clockwork.engine.job import isFailure
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.tests.plone.work import happened
from dataclasses import dataclass
from io import BytesIO
from plone import api
from plone.dexterity.utils import createContent
from plone.dexterity.utils import createContentInContainer
from typing import Any
from ZODB._compat import PersistentUnpickler
from ZODB.POSException import ConflictError
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.globalrequest import getRequest

import transaction


@dataclass
class Note:
    """A value with a field for an object."""

    title: str
    about: Any


class Plain:
    """An object with whatever attributes."""


def path_of(obj):
    return "/".join(obj.getPhysicalPath())


def paths_in(context, *args, **kwargs):
    """Paths of the content objects in these arguments, in order."""
    return [path_of(obj) for obj in _walk([*args, *kwargs.values()])]


def _walk(value) -> Iterator:
    if hasattr(aq_base(value), "getPhysicalPath"):
        yield value
    elif isinstance(value, dict):
        yield from _walk([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, Note | Plain):
        yield from _walk(vars(value))


def describe(context, page):
    return {
        "path": path_of(page),
        "title": page.title,
        "request": page.REQUEST is getRequest(),
    }


def are_the_same(context, pair):
    return aq_base(pair[0]) is aq_base(pair[1])


def ring(context, value):
    """The first item, as path if it has one, and whether the second is the list."""
    first = value[0] if isinstance(value[0], str) else path_of(value[0])
    return [first, value[1] is value]


def nested(value, levels):
    for _level in range(levels):
        value = [value]
    return value


def same_argument(context, value):
    return value


def innermost(context, value):
    while isinstance(value, list):
        value = value[0]
    return path_of(value)


def flatten(value):
    """Take a deep list apart, so that its end needs no deep stack."""
    while isinstance(value, list) and value:
        value = value.pop()


def note(context, *args):
    happened.append("called")


def give(context, name):
    return context[name]


def give_bare(context, name):
    return aq_base(context[name])


def give_nested(context, name):
    page = context[name]
    return {"pages": [page], "note": Note("news", page), "plain": "plain"}


def give_all(context):
    return context.objectValues()


def make_and_give(context, name):
    return createContentInContainer(context, "Document", id=name)


def give_by_another_job(context, name):
    return getUtility(IAsyncService).queueJobInQueue("", (), give, context, name)


def give_brains(context):
    return list(api.content.find(context, portal_type="Document"))


def give_request(context):
    return getRequest()


def give_loose(context):
    return createContent("Document", id="loose")


def rename_and_give_request(context):
    context.title = "half done"
    return getRequest()


def note_title(page):
    happened.append(page.title)


def same(result):
    return result


def note_event(event):
    happened.append(event.object.title)


def note_outcome(event):
    result = event.object
    happened.append(type(result.value).__name__ if isFailure(result) else result)


def note_object(page, event):
    happened.append(page.title)


def multiply(number, by=2):
    return number * by


def where_and_who():
    return {
        "site": path_of(getSite()),
        "user": getSecurityManager().getUser().getId(),
        "request": getRequest() is not None,
    }


def queue_a_job(word):
    queue(Job(note_word, word))


def note_word(word):
    happened.append(word)


def doom():
    happened.append("called")
    transaction.doom()


def doom_once(result):
    happened.append("called")
    if len(happened) == 1:
        transaction.doom()


def quota_names_of(job):
    return job.quota_names


def references_from(job):
    """What the record of a stored job refers to, as ZODB writes it."""
    data, _serial = job._p_jar._storage.load(job._p_oid)
    found = []
    unpickler = PersistentUnpickler(None, found.append, BytesIO(data))
    unpickler.noload()
    unpickler.noload()
    return found


def oids_from(job):
    """Object ids of its own database among them."""
    return {each[0] if type(each) is tuple else each for each in references_from(job)}


def fail_so_often(times):
    """Fail that many times, then say how often it was called."""
    happened.append("called")
    if len(happened) <= times:
        raise RuntimeError(f"failure {len(happened)}")
    return len(happened)


def conflict_so_often(times):
    happened.append("called")
    if len(happened) <= times:
        raise ConflictError(f"conflict {len(happened)}")
    return len(happened)
