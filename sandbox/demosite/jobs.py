"""What the jobs do: ordinary functions, called with the context in front.

All of it is done with the rights of the user who queued the job.
"""

from __future__ import annotations

from collective.clockwork.engine import local
from collective.clockwork.engine.failure import Failure
from collective.clockwork.identity import application
from plone import api
from plone.app.textfield.value import RichTextValue
from plone.dexterity.utils import createContentInContainer
from sandbox.demosite import chapters
from sandbox.demosite import records


def create_page(folder, name: str, title: str = "") -> str:
    """Add an empty page; gives its path. Unauthorized where she may not add."""
    page = createContentInContainer(folder, "Document", id=name, title=title or name)
    return "/".join(page.getPhysicalPath())


def create_chapter(folder, name: str) -> str:
    """Add a page with a chapter of the documentation; gives its path."""
    chapter = chapters.convert(name)
    page = createContentInContainer(
        folder,
        "Document",
        id=name,
        title=chapter.title,
        text=RichTextValue(chapter.html, "text/html", "text/x-html-safe"),
    )
    return "/".join(page.getPhysicalPath())


def submit_page(folder, name: str) -> str:
    """Submit a page for review; gives its new state."""
    api.content.transition(folder[name], transition="submit")
    return api.content.get_state(folder[name])


def append_word(folder, name: str, word: str) -> str:
    """Add a word to the description of a page; gives all of it."""
    page = folder[name]
    page.description = f"{page.description} {word}".strip()
    page.reindexObject(idxs=["Description"])
    return page.description


def count_words(folder, name: str) -> int:
    """How many words a chapter of the documentation has."""
    return len(chapters.source(name).split())


def divide(folder, dividend: int, divisor: int) -> float:
    """Fails for a divisor of 0, as Python does."""
    return dividend / divisor


def record_firing(site) -> str:
    """What the demo schedules; gives the user as whom it runs."""
    user = api.user.get_current().getId()
    records.add(site, "firing", f"by {user}")
    return user


def note_success(site_path: str, result: object) -> None:
    """Callback of a job that went well."""
    records.add(_site_of_callback(site_path), "success", repr(result))


def note_failure(site_path: str, failure: Failure) -> None:
    """Callback of a job that failed."""
    records.add(_site_of_callback(site_path), "failure", failure.getErrorMessage())


def _site_of_callback(path: str):
    # A callback is given the result alone: there is no site and no user in it.
    return application(local.getJob()._p_jar).unrestrictedTraverse(path)
