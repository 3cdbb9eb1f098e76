"""Functions that doctests queue, by the names that plone.app.async's have."""

from __future__ import annotations

from plone.app.textfield.value import RichTextValue
from typing import Any


#: What callbacks and handlers were told; doctests look here, and may replace it.
results: list = []


def addNumbers(context: Any, first: int, second: int) -> int:
    """The sum."""
    return first + second


def createDocument(
    context: Any, id: str, title: str, description: str, body: str
) -> str:
    """Add a page as far as the current user may; gives its id."""
    context.invokeFactory("Document", id, title=title, description=description)
    page = context[id]
    page.text = RichTextValue(body, "text/plain", "text/x-html-safe")
    return page.getId()


def submitObject(context: Any, id: str) -> None:
    """Submit an object of this folder for publication."""
    context.portal_workflow.doActionFor(context[id], "submit")


def failingJob(context: Any) -> None:
    """Raise a RuntimeError."""
    raise RuntimeError("FooBared")


def job_success_callback(result: Any) -> None:
    """Note the result."""
    results.append(f"Success: {result}")


def job_failure_callback(failure: Any) -> None:
    """Note the failure."""
    results.append(failure)


def successHandler(event: Any) -> None:
    """Note the result of an IJobSuccess."""
    results.append(event.object)


def failureHandler(event: Any) -> None:
    """Note the failure of an IJobFailure."""
    results.append(event.object)
