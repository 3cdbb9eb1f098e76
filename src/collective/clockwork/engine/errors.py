"""What can go wrong with a job, as exceptions that a caller can tell apart.

Those that the old engine had are in ``interfaces``. All are picklable: they end up in
the results of jobs.
"""

from __future__ import annotations


class OptionError(ValueError):
    """An option of a job is unknown, out of range, or contradicts another one.

    Raised before anything is stored.
    """


class DuplicateJobError(ValueError):
    """A job with this ``unique`` key is waiting or running already.

    ``key`` is that key; ``job`` is the other job, None when this was unpickled.
    """

    job = None

    def __init__(self, key: str, text: str = "", job=None):
        super().__init__(key, text)
        self.key = key
        self.text = text
        self.job = job

    def __str__(self) -> str:
        return self.text or f"there is a job with the unique key {self.key!r} already"

    def __reduce__(self):
        # The other job belongs to its own connection, and to no pickle.
        return type(self), (self.key, self.text)


class CancelledError(Exception):
    """The job was cancelled: raised at its checkpoints, and then its result.

    ``by`` says who asked, ``reason`` why; both None if nobody said.
    """

    def __init__(self, by: str | None = None, reason: str | None = None):
        super().__init__(by, reason)
        self.by = by
        self.reason = reason

    def __str__(self) -> str:
        text = "cancelled" if self.by is None else f"cancelled by {self.by}"
        return text if self.reason is None else f"{text}: {self.reason}"


class JobTimeoutError(Exception):
    """An attempt ran longer than the job's ``timeout``; its work was thrown away.

    ``seconds`` is that timeout.
    """

    def __init__(self, seconds: float):
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"it ran longer than its timeout of {self.seconds:g} s"


class QuarantinedError(Exception):
    """The job's process died under it too often, so it was set aside.

    ``deaths`` is how often.
    """

    def __init__(self, deaths: int):
        super().__init__(deaths)
        self.deaths = deaths

    def __str__(self) -> str:
        return f"its process died {self.deaths} times while it ran"


class RefusedOutcomeError(Exception):
    """What a job asked for, to be tried again later for instance, cannot be done.

    ``asked`` says what it asked for, ``why`` why not.
    """

    def __init__(self, asked: str, why: str):
        super().__init__(asked, why)
        self.asked = asked
        self.why = why

    def __str__(self) -> str:
        return f"the job asked to {self.asked}, but {self.why}"
