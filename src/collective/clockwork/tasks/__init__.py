"""Ready-made jobs for editors: each goes through many objects, and can be cancelled.

All are functions that run as jobs of the service, in the site and with the rights of
the user who asks. They commit every so many objects, go on behind that after a crash,
and look at each object by itself: what she may not change, what somebody has locked
and what is gone by then is skipped and reported.
"""


def is_task(function: str) -> bool:
    """Whether jobs with this function, a dotted name, are tasks with a report."""
    return function.startswith(f"{__name__}.")
