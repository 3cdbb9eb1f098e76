"""What the buttons of the page "Try it" queue, one function for each.

They get the service and the folder, and give the jobs that they have queued.
"""

from __future__ import annotations

from collective.clockwork.engine.job import Job
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from plone import api
from sandbox.demosite import chapters
from sandbox.demosite import jobs


#: How long the delayed job is held.
DELAY = timedelta(seconds=5)

SERIAL_WORDS = ("one", "two", "three")


def import_chapters(service, folder) -> list:
    """A page for each chapter that isn't there yet, then submit each for review."""
    missing = [name for name in chapters.names() if name not in folder]
    return [
        service.queueJob(function, folder, name)
        for name in missing
        for function in (jobs.create_chapter, jobs.submit_page)
    ]


def serial_batch(service, folder) -> list:
    """A batch one after the other: make a page, add words to it in their order."""
    name = _free_id(folder, "serial-batch")
    steps = [service.makeJob(jobs.create_page, folder, name, title="Serial batch")]
    steps += [
        service.makeJob(jobs.append_word, folder, name, word) for word in SERIAL_WORDS
    ]
    return [service.queueSerialJobs(*steps)]


def parallel_batch(service, folder) -> list:
    """A batch at the same time: count the words of all chapters."""
    counts = [
        service.makeJob(jobs.count_words, folder, name) for name in chapters.names()
    ]
    return [service.queueParallelJobs(*counts)]


def forbidden(service, folder) -> list:
    """A page in the site root, where an Editor may not add any: Unauthorized."""
    return [service.queueJob(jobs.create_page, api.portal.get(), "forbidden-page")]


def callbacks(service, folder) -> list:
    """Two jobs with callbacks for success and failure: one of them fails."""
    queued = [
        service.queueJob(jobs.divide, folder, 42, 6),
        service.queueJob(jobs.divide, folder, 42, 0),
    ]
    site_path = "/".join(api.portal.get().getPhysicalPath())
    for job in queued:
        job.addCallbacks(
            success=Job(jobs.note_success, site_path),
            failure=Job(jobs.note_failure, site_path),
        )
    return queued


def delayed(service, folder) -> list:
    """A page that is made in five seconds."""
    name = _free_id(folder, "delayed-page")
    due = datetime.now(timezone.utc) + DELAY
    return [
        service.queueJobWithDelay(None, due, jobs.create_page, folder, name, "Delayed")
    ]


#: Name in the form to the function and its button.
RECIPES = {
    "chapters": (import_chapters, "Import our documentation"),
    "serial": (serial_batch, "Serial batch"),
    "parallel": (parallel_batch, "Parallel batch"),
    "forbidden": (forbidden, "What an Editor may not do"),
    "callbacks": (callbacks, "Callbacks"),
    "delayed": (delayed, "In five seconds"),
}


def _free_id(folder, wanted: str) -> str:
    taken = set(folder.objectIds())
    numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (wanted, *numbered) if each not in taken)
