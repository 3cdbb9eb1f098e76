"""What the greenhouse does when it hears of a job."""

from collective.greenhouse.watering import note
from collective.greenhouse.watering import water
from plone import api


def note_failure(event):
    """Handler of IJobFailure: write into the diary why nobody was watered.

    It is called in the worker, as the job's user and in its site, after what the job
    had written was rolled back. It hears of the jobs of all add-ons.
    """
    if event.job.callable_name != f"{water.__module__}.{water.__name__}":
        return
    path = "/".join(event.job.context_path)
    greenhouse = api.portal.get().unrestrictedTraverse(path)
    note(greenhouse, f"Not watered: {event.object.getErrorMessage()}")
